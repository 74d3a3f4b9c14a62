"""The roofline of a device: what its products and its memory allow at each intensity, and where steps are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import files


def drawable(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that tell what a roofline needs."""
    return [result for result in results if {"flops_per_byte", "copy_ceiling_bytes_per_second"} <= result.keys()]


def attainable(flops_per_byte: np.ndarray, product: float, copy: float) -> np.ndarray:
    """FLOP/s at most (Williams et al. 2009).

    Args:
      flops_per_byte: arithmetic intensities.
      product: FLOP/s of matrix products.
      copy: bytes per second of copies.
    """
    return np.minimum(product, flops_per_byte * copy)


def roofs(results: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], tuple[float, float]]:
    """For each device and precision the highest ceilings that any of the results has measured."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for result in drawable(results):
        name = result["device"]["kind"], result["precision"]
        product, copy = found.get(name, (0.0, 0.0))
        found[name] = (max(product, result["matmul_ceiling_flops_per_second"]),
                       max(copy, result["copy_ceiling_bytes_per_second"]))
    return found


def write(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Draws a PNG with a roof for each device and precision, and a mark for each result.

    A mark stands at analytic FLOPs over the bytes that XLA's cost analysis tells, and at measured FLOP/s.
    """
    from sercl_jax.report import style

    points, lines = drawable(results), roofs(results)
    intensities = [result["flops_per_byte"] for result in points]
    ridges = [product / copy for product, copy in lines.values()]
    low, high = min(intensities + ridges, default=1.0) / 8, max(intensities + ridges, default=1.0) * 8
    x = np.geomspace(low, high, 200)
    with style.drawing():
        figure, (axes,) = style.new_figure(7.0, 4.4)
        for number, ((device, precision), (product, copy)) in enumerate(lines.items()):
            axes.loglog(x, attainable(x, product, copy), color=(style.INK, style.MUTED)[number % 2],
                        linestyle=("-", "--", ":")[number % 3],
                        label=f"{device}, {precision}: {product / 1e9:.4g} GFLOP/s, {copy / 1e9:.3g} GB/s")
        for number, result in enumerate(points):
            shade = style.SERIES[number % len(style.SERIES)]
            axes.loglog(result["flops_per_byte"], result["flops_per_second"],
                        style.MARKERS[number % len(style.MARKERS)], color=shade, markersize=7,
                        label=f"{result['title']}, batch {result['batch']}, {result['precision']}: "
                              f"{100 * result['share_of_ceiling']:.0f} % of the product ceiling")
        axes.set(xlabel="analytic FLOPs per byte accessed (XLA's cost analysis)", ylabel="FLOP/s",
                 title="Steps under the ceilings that were measured beside them")
        if points:
            axes.legend(loc="lower right")
        drawn = style.png(figure)
    with files.atomic_path(path) as temporary:
        temporary.write_bytes(drawn)
