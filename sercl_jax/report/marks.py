"""Marks that several figures share."""

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from sercl_jax.report import style, values
from sercl_jax.report.values import Estimate

_WRAP = 34  # characters to a line of a name beside a plot
_SHORT = 24  # characters of a name inside a plot


def point(axis: Axes, place: float, metric: str, score: Estimate, color: str = style.ACCENT) -> None:
    """The mean as a dot, and its 95 % interval, or else one standard deviation, as a bar."""
    low, high = bar(score)
    scale = values.scale(metric)
    axis.plot([scale * low, scale * high], [place, place], color=color, linewidth=2.2, alpha=0.5,
              solid_capstyle="butt")
    axis.plot(scale * score.mean, place, "o", color=color, markersize=6)


def paper_point(axis: Axes, place: float, metric: str, value: Estimate, upright: bool = False) -> None:
    """The paper's value, hollow, and its spread; `upright` where the metric runs up the vertical axis."""
    x, y = values.scale(metric) * value.mean, place
    if value.std:
        ends = [values.scale(metric) * end for end in bar(value)]
        axis.plot(*(([y, y], ends) if upright else (ends, [y, y])), color=style.CONTRAST, linewidth=1.2, alpha=0.7)
    axis.plot(*((y, x) if upright else (x, y)), "D", color=style.CONTRAST, markerfacecolor="none", markersize=6,
              markeredgewidth=1.5)


def of_series(number: int, count: int) -> dict[str, Any]:
    """Colour and marker of one of several series; with more series than colours a colour has another marker."""
    if count == 1:
        return {"color": style.ACCENT, "marker": "o"}
    return {"color": style.SERIES[number % len(style.SERIES)],
            "marker": style.MARKERS[(number + number // len(style.SERIES)) % len(style.MARKERS)]}


def bar(score: Estimate) -> tuple[float, float]:
    """Both ends of the error bar."""
    if score.ci is not None:
        return score.ci
    spread = score.std or 0.0
    return score.mean - spread, score.mean + spread


def short(name: str) -> str:
    """A name that cannot crowd a plot out; tables give it in full."""
    return name if len(name) <= _SHORT else name[:_SHORT - 1] + "…"


def wrapped(names: Sequence[str]) -> list[str]:
    return [textwrap.fill(name, _WRAP) for name in names]


def name_width(names: Sequence[str]) -> float:
    """Inches that the wrapped names take beside the axes."""
    return 0.08 * max((len(line) for name in wrapped(names) for line in name.split("\n")), default=0)


def name_places(axis: Axes, names: Sequence[str], shown: bool = True) -> None:
    """One name to a line, from the top, instead of numbers on the vertical axis."""
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_yticks(range(len(names)), wrapped(names) if shown else [""] * len(names))
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
