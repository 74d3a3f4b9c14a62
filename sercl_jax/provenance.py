"""Under what a run was made: settings, seed, versions, devices, revision."""

import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from sercl_jax.files import make_directory, write_json

_PACKAGES = ("sercl_jax", "jax", "jaxlib", "flax", "optax", "jraph", "orbax-checkpoint", "grain", "array_record",
             "tensorflow-datasets", "numpy", "scipy", "scikit-learn", "librosa", "soundfile", "soxr", "opensmile")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True,
                              timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def revision() -> dict[str, Any]:
    """The git revision of this package and whether files differ from it; both None outside a checkout of it."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top) != Path(__file__).resolve().parents[1]:
        return {"revision": None, "changed": None}
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"revision": _git("rev-parse", "HEAD"), "changed": None if changes is None else bool(changes)}


def record(workdir: Path, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Writes `WORKDIR/run.json` and returns what it says.

    Args:
      workdir: of the run.
      config: JSON-like.
      seed: the run's.
    """
    devices = jax.devices()
    value = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "command": sys.argv, "seed": seed,
        "config": dict(config), "git": revision(), "python": platform.python_version(),
        "platform": platform.platform(), "packages": {name: _version(name) for name in _PACKAGES},
        "devices": {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices),
                    "processes": jax.process_count()},
    }
    make_directory(workdir)
    write_json(workdir / "run.json", value)
    return value
