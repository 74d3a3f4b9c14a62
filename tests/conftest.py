"""What all tests share. The environment is set here because JAX reads it when it is first imported."""

import os
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"

from collections.abc import Iterator

import jax
import pytest
from hypothesis import settings

# The same code gets the same verdict: properties are tried on draws that follow from the test's own source.
# `pytest --hypothesis-profile=search` draws anew each time.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("search", derandomize=False, print_blob=True)
settings.load_profile("fixed")

jax.config.update("jax_numpy_rank_promotion", "raise")
# What one test has compiled no other compiles again, nor the next `make test`. JAX does not write these files
# atomically, so each of pytest's processes has a folder, as have the programs that tests start, and kill.
PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "alone")
jax.config.update("jax_compilation_cache_dir",
                  str(Path(__file__).resolve().parents[1] / ".pytest_cache" / f"xla-{PROCESS}"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
REAL_SPEECH = "real speech"  # a property of the tests that use `shared_corpora`


@pytest.fixture(scope="session")
def shared_corpora() -> Path:
    """The folder of real corpora beside the checkout, with EMO-DB as distributed; skips the test without it."""
    if not (CORPORA / "emodb-download.zip").exists():
        pytest.skip(f"NOT tested: real EMO-DB, because {CORPORA / 'emodb-download.zip'} is not there")
    return CORPORA


@pytest.fixture(scope="module")
def quick_compilation() -> Iterator[None]:
    """For modules that compile many programs and run each a few times: XLA skips its costly optimisations."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "shared_corpora" in getattr(item, "fixturenames", ()):
        item.user_properties.append((REAL_SPEECH, True))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says whether real speech was tested, so that its absence never passes unnoticed."""
    outcomes = {outcome: len({report.nodeid for report in terminalreporter.getreports(outcome)
                              if (REAL_SPEECH, True) in map(tuple, getattr(report, "user_properties", ()))})
                for outcome in ("passed", "failed", "error", "skipped")}
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
    if outcomes["passed"] + outcomes["failed"] + outcomes["error"]:
        terminalreporter.write_line(f"real EMO-DB: {told}")
    else:
        terminalreporter.write_line(f"real EMO-DB: NOT tested ({told or 'no test that uses it was run'})")
