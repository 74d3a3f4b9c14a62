"""What a device can do at most, measured: matrix products and copies of its own memory."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

TRIALS = 5
LONG_ENOUGH = 0.03  # seconds; what takes longer is not made any larger
PRODUCTS = (512, 1024, 2048, 4096, 8192, 16384)  # rows and columns
COPIES = (2**28, 2**30)  # bytes; far beyond any cache


def measure(device: Any, dtype: str) -> dict[str, float]:
    """Both, as they are named in a benchmark's JSON."""
    return {"matmul_ceiling_flops_per_second": matmul(device, dtype),
            "copy_ceiling_bytes_per_second": copy(device)}


def matmul(device: Any, dtype: str, sizes: tuple[int, ...] = PRODUCTS) -> float:
    """FLOP/s of the fastest square matrix product, in XLA, on a JAX device; each size counts with its best trial."""
    import jax

    product = jax.jit(lambda a: a @ a)
    best = 0.0
    for size in sizes:
        a = jax.device_put(np.random.default_rng(0).standard_normal((size, size), np.float32), device).astype(dtype)

        def once(a: Any = a) -> None:
            product(a).block_until_ready()

        took = _fastest(once)
        best = max(best, 2 * size**3 / took)
        if took > LONG_ENOUGH:
            break
    return best


def copy(device: Any, sizes: tuple[int, ...] = COPIES) -> float:
    """Bytes per second, read and written ones together, of a pass from one array of a device to another.

    Signs are turned on the way, since XLA may leave a plain copy out. The result takes the place of an argument that
    is given up: fresh memory would cost the system more than the copy.
    """
    import jax

    turned = jax.jit(lambda a, b: -a, donate_argnums=1, keep_unused=True)
    best = 0.0
    for size in sizes:
        source = jax.device_put(np.ones(size // 4, np.float32), device)
        place = [jax.device_put(np.zeros(size // 4, np.float32), device)]

        def swap(source: Any = source, place: list[Any] = place) -> None:
            place[0] = turned(source, place[0]).block_until_ready()

        took = _fastest(swap)
        best = max(best, 2 * size / took)
        if took > LONG_ENOUGH:
            break
    return best


def _fastest(function: Callable[[], Any]) -> float:
    """Seconds of the best trial; the first call is not one."""
    function()
    took = math.inf
    for _ in range(TRIALS):
        start = time.perf_counter()
        function()
        took = min(took, time.perf_counter() - start)
    return took
