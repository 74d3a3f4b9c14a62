"""How much memory a process has in use, as the system sees it."""

import resource
import sys
from pathlib import Path

from sercl_jax.errors import UserError


def _status(name: str, process: int | None = None) -> int | None:
    """A line of Linux's status of this process or another, in bytes."""
    status = Path("/proc") / ("self" if process is None else str(process)) / "status"
    if not status.exists():
        return None
    found = [line.split() for line in status.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(found[0][1]) * 1024 if found else None


def peak() -> int:
    """Most bytes of physical memory that this process has ever held."""
    # What getrusage tells on Linux begins with the memory of the process that started this one.
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024)


def now(process: int | None = None) -> dict[str, int]:
    """Bytes of physical memory held now: "total", and "own" without pages of mapped files, which cost nothing.

    The system drops such pages whenever it needs the room. Where it does not tell, both are the peak.

    Args:
      process: by its number; this one by default.

    Raises:
      UserError: the system does not tell of another process, or there is none.
    """
    total, own = _status("VmRSS", process), _status("RssAnon", process)
    if process is not None and (total is None or own is None):
        raise UserError(f"process {process}: has ended, or this system does not tell its memory (/proc is needed).")
    return {"total": peak() if total is None else total, "own": peak() if own is None else own}
