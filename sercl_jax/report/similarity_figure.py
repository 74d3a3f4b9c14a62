"""Fig. 4 of cross-corpus SupCon: how alike positive and negative pairs are in each layer, before and after."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from sercl_jax.report import style
from sercl_jax.report.style import Drawing

Kinds = Mapping[str, Sequence[float]]  # what `similarity.by_layer` returns

_COLORS = {"positive": (style.ACCENT, "o"), "negative": (style.CONTRAST, "s")}
_LOOKS: dict[str, dict[str, Any]] = {
    "before": {"linewidth": 1.2, "linestyle": (0, (4, 3)), "markersize": 3.5, "markerfacecolor": "none"},
    "after": {"linewidth": 1.8, "linestyle": "-", "markersize": 3.5}}
_SCOPES = {"": "all pairs", "_across": "pairs across corpora"}  # suffix of a kind
_ROW = 3  # panels side by side
_WRAP = 30  # characters to a line of a panel's title
_TICKS = 9  # at most, on the axis of layers


def draw(panels: Mapping[str, tuple[Kinds | None, Kinds]], synthetic: bool) -> Drawing | None:
    """Mean cosine of positive and of negative pairs over the layers.

    A corpus, or several together, has a panel, and a second one for pairs across corpora where these were measured.

    Args:
      panels: title ("" where there is nothing to tell apart) -> what `similarity.by_layer` found before (None: not
        measured) and after the contrastive stage.
      synthetic: whether the data are.

    Returns:
      The figure, or None if nothing was measured.
    """
    drawn = [(_title(title, scope, any("positive_across" in found for found in (before, after) if found)), lines)
             for title, (before, after) in panels.items()
             for suffix, scope in _SCOPES.items() if (lines := _lines(before, after, suffix))]
    if not drawn:
        return None
    columns = min(len(drawn), _ROW)
    rows = -(-len(drawn) // columns)
    times = [time for time in _LOOKS if any(time == of for _, lines in drawn for _, of in lines)]
    words = []
    with style.drawing():
        figure, axes = style.new_figure(max(3.1 * columns + 0.4, 4.4), 2.5 * rows + 0.4, rows, columns)
        for axis, (title, lines) in zip(axes, drawn, strict=False):
            for (kind, time), values in lines.items():
                color, marker = _COLORS[kind]
                axis.plot(np.arange(len(values)), values, color=color, marker=marker, **_LOOKS[time])
            axis.set_title(textwrap.fill(title, _WRAP))
            axis.set_xlabel("layer")
            layers = max(len(values) for values in lines.values())
            axis.set_xticks(range(0, layers, -(-layers // _TICKS)))
            axis.set_xlim(-0.5, layers - 0.5)
            words.append(f"{title}: " + ", ".join(f"{kind} pairs {time} {_course(values)}"
                                                  for (kind, time), values in lines.items()))
        for axis in axes[len(drawn):]:
            axis.set_visible(False)
        everything = np.concatenate([values for _, lines in drawn for values in lines.values()])
        margin = 0.05 * np.ptp(everything) or 0.05
        for place, axis in enumerate(axes):  # one scale, so that panels can be compared
            axis.set_ylim(everything.min() - margin, everything.max() + margin)
            axis.tick_params(labelleft=place % columns == 0)
        for axis in axes[::columns]:
            axis.set_ylabel("mean cosine")
        handles = [Line2D([], [], color=color, marker=marker, markersize=3.5, label=f"{kind} pairs")
                   for kind, (color, marker) in _COLORS.items()]
        if len(times) > 1:
            handles += [Line2D([], [], color=style.INK, marker="o", label=time, **_LOOKS[time]) for time in times]
        figure.legend(handles=handles, loc="outside lower left", ncols=4 if columns > 1 else 2)
        caption = ("Mean cosine of the utterances' average outputs of each layer, over pairs of held-out utterances "
                   "of equal (positive) and of different (negative) emotion"
                   + (", before and after the contrastive stage." if len(times) > 1 else ".")
                   + " Layer 0 is what the first trained layer is given.")
        return style.finish(figure, "similarity", "Similarity of pairs by layer", caption, "; ".join(words) + ".",
                            synthetic)


def _lines(before: Kinds | None, after: Kinds, suffix: str) -> dict[tuple[str, str], np.ndarray]:
    return {(kind, time): np.asarray(found[kind + suffix], float)
            for time, found in (("before", before), ("after", after)) if found is not None
            for kind in _COLORS if kind + suffix in found}


def _title(title: str, scope: str, several: bool) -> str:
    if not title:
        return scope.capitalize()
    return f"{title}, {scope}" if several else title


def _course(values: np.ndarray) -> str:
    return f"{values[0]:.3f}" if len(values) == 1 else f"from {values[0]:.3f} to {values[-1]:.3f}"
