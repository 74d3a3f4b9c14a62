"""How much memory this process has in use, as the system sees it."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def _status(name: str) -> int | None:
    """A line of Linux's status of this process, in bytes."""
    if not _STATUS.exists():
        return None
    found = [line.split() for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(found[0][1]) * 1024 if found else None


def peak() -> int:
    """Most bytes of physical memory that this process has ever held."""
    # What getrusage tells on Linux begins with the memory of the process that started this one.
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024)


def now() -> dict[str, int]:
    """Bytes of physical memory held now: "total", and "own" without pages of mapped files, which cost nothing.

    The system drops such pages whenever it needs the room. Where it does not tell, both are the peak.
    """
    total, own = _status("VmRSS"), _status("RssAnon")
    return {"total": peak() if total is None else total, "own": peak() if own is None else own}
