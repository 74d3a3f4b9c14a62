"""What the benchmarks share: their command line, threads, summaries, the machine, its matrix product ceiling."""

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
        measure: Callable[[argparse.Namespace], dict[str, Any]], show: Callable[[dict[str, Any]], None]) -> int:
    """A benchmark's command line; returns the exit status: 0, or 2 when something is the user's to mend.

    Args:
      argv: arguments, without the program's name; None for this process's own.
      parse: reads them; they have at least `threads` and `json`.
      measure: gives every figure, JSON-like.
      show: prints them.
    """
    try:
        arguments = parse(argv)
        if arguments.json:
            files.make_directory(arguments.json.resolve().parent)
        use_threads(arguments.threads)
        result = measure(arguments)
        show(result)
        if arguments.json:
            files.write_json(arguments.json, result)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def spread(values: np.ndarray) -> dict[str, Any]:
    """Median and quartiles."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"median": middle, "quartiles": [low, high]}


def summary(seconds: np.ndarray) -> dict[str, Any]:
    """Median, quartiles and minimum."""
    return spread(seconds) | {"min": float(seconds.min())}


def matmul_ceiling(device: Any, dtype: str, seconds: float = 0.1, trials: int = 5) -> float:
    """FLOP/s of the fastest square matrix product, in XLA, on a JAX device.

    Sizes double from 512 until one product takes `seconds`, or to 8192; each size counts with its best trial.
    """
    import jax

    product = jax.jit(lambda a: a @ a)
    best = 0.0
    for size in (512, 1024, 2048, 4096, 8192):
        a = jax.device_put(np.random.default_rng(0).standard_normal((size, size), np.float32), device).astype(dtype)
        product(a).block_until_ready()
        took = math.inf
        for _ in range(trials):
            start = time.perf_counter()
            product(a).block_until_ready()
            took = min(took, time.perf_counter() - start)
        best = max(best, 2 * size**3 / took)
        if took > seconds:
            break
    return best


def machine() -> dict[str, Any]:
    """The processor and how busy it is: load averages of 1, 5 and 15 minutes, this process included."""
    information = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in information.read_text().splitlines()
             if line.startswith("model name")] if information.exists() else []
    return {"processor": names[0] if names else platform.processor(), "cpus": os.cpu_count(),
            "system": platform.platform(), "load": list(os.getloadavg())}


def versions(*packages: str) -> dict[str, str]:
    """Installed versions by name."""
    return {name: metadata.version(name) for name in packages}


def implausible(figures: Mapping[str, float], ceiling: float, rates: tuple[str, ...]) -> list[str]:
    """What cannot be true: figures that are not positive and finite, and rates (FLOP/s) above the ceiling."""
    found = [f"{name} is {value}, not a positive number" for name, value in figures.items()
             if not (math.isfinite(value) and value > 0)]
    return found + [f"{name} is {figures[name]:.3g}, above the matrix product ceiling of {ceiling:.3g} FLOP/s"
                    for name in rates if figures[name] > ceiling]
