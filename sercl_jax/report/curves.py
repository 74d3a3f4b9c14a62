"""Figures of training: what the logs hold decides which panels there are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sercl_jax.report import style
from sercl_jax.report.inputs import Curve
from sercl_jax.report.style import Drawing

_LINES = 20  # single curves drawn behind their mean
_CONTRAST = {"loss": "Contrastive loss", "positive_similarity": "Similarity of positive pairs",
             "negative_similarity": "Similarity of negative pairs"}
_IDENTIFIED = {"identified_1": "Next step identified, %", "identified": "Identified, mean of all steps, %"}
_HELD_OUT = "held_out_"
_RECOGNITION = {"ccc_act": "CCC of activation", "ccc_val": "CCC of valence", "ccc_dom": "CCC of dominance",
                "score": "CCC in validation"}

Line = tuple[np.ndarray, np.ndarray]


def draw(curves: Sequence[Curve], chance: float | None, synthetic: bool) -> list[Drawing]:
    """The figures that these logs are enough for.

    Args:
      curves: the logs.
      chance: share of true frames that guessing among the negatives would identify, where it is known.
      synthetic: whether the data are.
    """
    rated = [curve for curve in curves if any(name.startswith("ccc_") for name in curve.columns)]
    predictive = [curve for curve in curves if any(name in curve.columns for name in _IDENTIFIED)]
    contrastive = [curve for curve in curves if curve not in rated and curve not in predictive]
    drawings = [training(contrastive, synthetic), pretraining(predictive, chance, synthetic),
                recognition(rated, synthetic)]
    return [drawing for drawing in drawings if drawing is not None]


def training(curves: Sequence[Curve], synthetic: bool) -> Drawing | None:
    """Loss and similarities over training, every run thin and their mean heavy."""
    names = [name for name in _CONTRAST if any(name in curve.columns for curve in curves)]
    if not names:
        return None
    axis_name = _axis_name(curves)
    with style.drawing():
        figure, axes = style.new_figure(2.75 * len(names) + 0.3, 2.5, 1, len(names))
        words = []
        series = _series(curves) if any(curve.run for curve in curves) else {"": curves}
        for axis, name in zip(axes, names, strict=True):
            for index, (label, members) in enumerate(series.items()):
                lines = _lines(members, axis_name, name)
                _bundle(axis, lines, _color(index, series))
                if lines:
                    _, mean = _mean(lines)
                    words.append(f"{_CONTRAST[name]}{_of(label, series)} goes from {mean[0]:.3f} to {mean[-1]:.3f}")
            _label(axis, _CONTRAST[name], axis_name)
        _legend(figure, series, [])
        return style.finish(figure, "training", "Training", _caption(len(curves)), "; ".join(words) + ".", synthetic)


def pretraining(curves: Sequence[Curve], chance: float | None, synthetic: bool) -> Drawing | None:
    """Predictive coding: loss, and how often what comes next is told from the negatives, beside chance."""
    if not curves:
        return None
    axis_name = _axis_name(curves)
    series = _series(curves)
    # Where ratings are learned as well, the loss is that of both.
    alone = [curve for curve in curves
             if "loss" in curve.columns and not any(name.startswith("ccc_") for name in curve.columns)]
    names = [name for name in _IDENTIFIED if any(name in curve.columns for curve in curves)]
    words = []
    with style.drawing():
        figure, axes = style.new_figure(3.0 * (len(names) + bool(alone)) + 0.3, 2.8, 1, len(names) + bool(alone))
        if alone:
            for index, (_, members) in enumerate(series.items()):
                _bundle(axes[0], _lines([curve for curve in members if curve in alone], axis_name, "loss"),
                        _color(index, series))
            _label(axes[0], "Contrastive loss", axis_name)
        for axis, name in zip(axes[bool(alone):], names, strict=True):
            for index, (label, members) in enumerate(series.items()):
                color = _color(index, series)
                seen = _lines(members, axis_name, name, 100)
                unseen = _lines(members, axis_name, _HELD_OUT + name, 100)
                if seen:
                    _plot(axis, _mean(seen), color, linewidth=1.2, linestyle=(0, (1, 1.2)))
                _bundle(axis, unseen, color)
                words += [f"{_IDENTIFIED[name]}{_of(label, series)}{where}: from {mean[0]:.1f} to {mean[-1]:.1f}"
                          for where, lines in ((" in training", seen), (" on held-out speech", unseen)) if lines
                          for _, mean in [_mean(lines)]]
            if chance is not None:
                axis.axhline(100 * chance, color=style.INK, linewidth=1, linestyle=(0, (6, 3)))
            axis.set_ylim(bottom=0)
            _label(axis, _IDENTIFIED[name], axis_name)
        kinds = [Line2D([], [], color=style.INK, linestyle=(0, (1, 1.2)), linewidth=1.2, label="training batches")]
        if any(_HELD_OUT + name in curve.columns for curve in curves for name in names):
            kinds.append(Line2D([], [], color=style.INK, linewidth=2, label="held-out speech"))
        if chance is not None:
            kinds.append(Line2D([], [], color=style.INK, linewidth=1, linestyle=(0, (6, 3)),
                                label=f"chance, {100 * chance:.2f} %"))
            words.append(f"chance is {100 * chance:.2f} %")
        _legend(figure, series, kinds)
        caption = (f"{_caption(len(curves))} Identified: the true frame scores higher than every negative drawn from "
                   "the same utterance.")
        return style.finish(figure, "pretraining", "Pre-training", caption, "; ".join(words) + ".", synthetic)


def recognition(curves: Sequence[Curve], synthetic: bool) -> Drawing | None:
    """Recognizers of ratings: CCC of the batches in each dimension, and in validation."""
    names = [name for name in _RECOGNITION if any(name in curve.columns for curve in curves)]
    if not names:
        return None
    axis_name = _axis_name(curves)
    series = _series(curves)
    words = []
    with style.drawing():
        figure, axes = style.new_figure(2.4 * len(names) + 0.3, 2.6, 1, len(names), sharey="row")
        for axis, name in zip(axes, names, strict=True):
            for index, (label, members) in enumerate(series.items()):
                lines = _lines(members, axis_name, name)
                _bundle(axis, lines, _color(index, series))
                if lines:
                    _, mean = _mean(lines)
                    words.append(f"{_RECOGNITION[name]}{_of(label, series)} goes from {mean[0]:.3f} to "
                                 f"{mean[-1]:.3f}")
            _label(axis, _RECOGNITION[name], axis_name)
        _legend(figure, series, [])
        caption = _caption(len(curves)) + (" The first panels are of training batches, with dropout."
                                           if "score" in names else "")
        if "score" in names:
            caption += " The epoch that does best in validation is the one that is tested."
        return style.finish(figure, "recognition", "Training of the recognizers", caption, "; ".join(words) + ".",
                            synthetic)


def _series(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        found.setdefault(curve.series, []).append(curve)
    return found


def _color(index: int, series: Mapping[str, Sequence[Curve]]) -> str:
    return style.SERIES[index % len(style.SERIES)] if len(series) > 1 else style.ACCENT


def _told(series: Mapping[str, Sequence[Curve]]) -> bool:
    """Whether a series must be named: it is one of several, or of one of several runs."""
    return len(series) > 1 or any(curve.run for members in series.values() for curve in members)


def _of(label: str, series: Mapping[str, Sequence[Curve]]) -> str:
    return f" ({label})" if _told(series) else ""


def _legend(figure: Figure, series: Mapping[str, Sequence[Curve]], kinds: Sequence[Line2D]) -> None:
    handles = [Line2D([], [], color=_color(index, series), linewidth=2, label=f"\u200b{label}")
               for index, label in enumerate(series)] if _told(series) else []
    if handles or kinds:
        figure.legend(handles=[*handles, *kinds], loc="outside lower left", ncols=4)


def _label(axis: Axes, title: str, axis_name: str) -> None:
    axis.set_title(title)
    axis.set_xlabel(axis_name)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _caption(trainings: int) -> str:
    if trainings == 1:
        return "One training."
    return f"{trainings} trainings: " + (f"{_LINES} of them thin, the mean of all heavy." if trainings > _LINES
                                         else "each thin, their mean heavy.")


def _bundle(axis: Axes, lines: Sequence[Line], color: str) -> None:
    """Every line thin, their mean heavy."""
    for x, y in lines[:_LINES] if len(lines) > 1 else []:
        axis.plot(x, y, color=color, linewidth=0.8, alpha=0.3)
    if lines:
        _plot(axis, _mean(lines), color, linewidth=2)


def _plot(axis: Axes, line: Line, color: str, **look: Any) -> None:
    """A line, or a dot where there is but one point."""
    axis.plot(*line, marker="o" if len(line[0]) == 1 else "", color=color, markersize=4, **look)


def _axis_name(curves: Sequence[Curve]) -> str:
    by_epoch = all("epoch" in curve.columns and len(set(curve.columns["epoch"] // 1)) >= 5 for curve in curves)
    return "epoch" if by_epoch else "step"


def _lines(curves: Sequence[Curve], axis_name: str, name: str, scale: float = 1) -> list[Line]:
    """The curves that have this column: means over whole epochs, or steps as they are, where it was logged."""
    lines = []
    for curve in curves:
        if name in curve.columns:
            x, y = curve.columns[axis_name], curve.columns[name]
            known = np.isfinite(x) & np.isfinite(y)
            x, y = x[known], scale * y[known]
            lines.append(_average(np.floor(x) if axis_name == "epoch" else x, y))
    return lines


def _mean(lines: Sequence[Line]) -> Line:
    return _average(np.concatenate([x for x, _ in lines]), np.concatenate([y for _, y in lines]))


def _average(x: np.ndarray, y: np.ndarray) -> Line:
    places, index = np.unique(x, return_inverse=True)
    return places, np.bincount(index, weights=y) / np.bincount(index)
