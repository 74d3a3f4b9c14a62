"""What the benchmarks share: their command line and files, threads, summaries, the machine."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import files, workers
from sercl_jax.errors import UserError


def use_threads(threads: int) -> None:
    """Lets this process compute on `threads` CPUs; call it before JAX or torch is imported.

    Raises:
      UserError: fewer than 1, or more than this process may use.
    """
    available = workers.cpu_count()
    if not 1 <= threads <= available:
        raise UserError(f"--threads={threads}: this process may use 1 to {available}.")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ.update(dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))


def run(argv: Sequence[str] | None, parse: Callable[[Sequence[str] | None], argparse.Namespace],
        measure: Callable[[argparse.Namespace], dict[str, Any]], show: Callable[[dict[str, Any]], None],
        table: Callable[[dict[str, Any]], str] | None = None) -> int:
    """A benchmark's command line; returns the exit status: 0, or 2 when something is the user's to mend.

    Args:
      argv: arguments, without the program's name; None for this process's own.
      parse: reads them; they have at least `threads` and `json`, perhaps `markdown` and `plot`.
      measure: gives every figure, JSON-like.
      show: prints them.
      table: makes a table of a benchmark's own, in Markdown, which goes to the argument `table` if it is given.
    """
    try:
        arguments = parse(argv)
        places = {name: path.resolve() for name in ("json", "markdown", "plot", "table")
                  if (path := getattr(arguments, name, None)) is not None}
        for path in places.values():
            files.make_directory(path.parent)
        use_threads(arguments.threads)
        result = measure(arguments)
        show(result)
        write(result, places)
        if table is not None and "table" in places:
            files.write_text(places["table"], table(result))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(result: dict[str, Any], places: Mapping[str, Path]) -> None:
    """Writes a result as "json", as a table ("markdown") and as a figure ("plot"), each where it has a place."""
    from . import roofline, summary  # they know this module's results

    if "json" in places:
        files.write_json(places["json"], result)
    if "markdown" in places:
        files.write_text(places["markdown"], summary.markdown([result]))
    if "plot" in places:
        roofline.write(places["plot"], [result])


def spread(values: np.ndarray) -> dict[str, Any]:
    """Median and quartiles."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"median": middle, "quartiles": [low, high]}


def summary(seconds: np.ndarray) -> dict[str, Any]:
    """Median, quartiles and minimum."""
    return spread(seconds) | {"min": float(seconds.min())}


def machine() -> dict[str, Any]:
    """The processor and how busy it is.

    "load" are the load averages of 1, 5 and 15 minutes, "busy" the share of all CPUs' time that goes to others while
    this process sleeps for a moment; None where the system does not tell.
    """
    information = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in information.read_text().splitlines()
             if line.startswith("model name")] if information.exists() else []
    return {"processor": names[0] if names else platform.processor(), "cpus": os.cpu_count(),
            "system": platform.platform(), "load": list(os.getloadavg()), "busy": _busy()}


def _busy(seconds: float = 0.5) -> float | None:
    before = _cpu_times()
    if before is None:
        return None
    time.sleep(seconds)
    after = _cpu_times() or before
    return 1 - (after[1] - before[1]) / max(after[0] - before[0], 1)


def _cpu_times() -> tuple[int, int] | None:
    """Of all CPUs since the system started: all time, and idle time, in ticks."""
    told = Path("/proc/stat")
    if not told.exists():
        return None
    ticks = [int(value) for value in told.read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]  # idle, and waiting for a disk


def now() -> str:
    """The date and time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by name."""
    return {name: metadata.version(name) for name in packages}
