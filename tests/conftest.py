"""What all tests share. The environment is set here because JAX reads it when it is first imported."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"

from pathlib import Path

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"


@pytest.fixture(scope="session")
def shared_corpora() -> Path | None:
    """The folder of real corpora beside the checkout, or None where there is none."""
    return CORPORA if CORPORA.is_dir() else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says whether real speech was tested, so that its absence never passes unnoticed."""
    found = (CORPORA / "emodb-download.zip").exists()
    terminalreporter.write_line(f"real EMO-DB: {'tested' if found else 'not present, its tests did not run'}")
