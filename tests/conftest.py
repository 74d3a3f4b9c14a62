"""What all tests share. The environment is set here because JAX reads it when it is first imported."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

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
