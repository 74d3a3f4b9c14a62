"""Fig. 4 of cross-corpus SupCon: how alike positive and negative pairs are in each layer, before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sercl_jax.report import style
from sercl_jax.report.style import Drawing

Kinds = Mapping[str, Sequence[float]]  # what `similarity.layer_similarity` returns

_COLORS = {"positive": (style.ACCENT, "o"), "negative": (style.CONTRAST, "s")}
_LOOKS: dict[str, dict[str, Any]] = {"before": {"linewidth": 1.2, "linestyle": (0, (4, 3))},
                                     "after": {"linewidth": 1.8, "linestyle": "-"}}
_ACROSS = "_across"
_ROW = 3  # panels side by side


def draw(panels: Mapping[str, tuple[Kinds | None, Kinds]], synthetic: bool) -> Drawing | None:
    """Mean cosine of positive and of negative pairs over the layers.

    A corpus, or several together, has a panel, and a second one for pairs across corpora where these were measured.

    Args:
      panels: title -> what `layer_similarity` found before (None: not measured) and after the contrastive stage.
      synthetic: whether the data are.

    Returns:
      The figure, or None if nothing was measured.
    """
    drawn = []
    for title, (before, after) in panels.items():
        for suffix, words in (("", ""), (_ACROSS, " across corpora")):
            lines = {(kind, time): np.asarray(found[kind + suffix], float)
                     for time, found in (("before", before), ("after", after)) if found is not None
                     for kind in _COLORS if kind + suffix in found}
            if lines:
                drawn.append((f"{title}{',' if words else ''}{words}", lines))
    if not drawn:
        return None
    columns = min(len(drawn), _ROW)
    rows = -(-len(drawn) // columns)
    words = []
    with style.drawing():
        figure, axes = style.new_figure(3.1 * columns + 0.4, 2.5 * rows + 0.4, rows, columns, sharey="row")
        for axis, (title, lines) in zip(axes, drawn, strict=False):
            for (kind, time), values in lines.items():
                color, marker = _COLORS[kind]
                axis.plot(np.arange(len(values)), values, color=color, marker=marker, markersize=3.5, **_LOOKS[time])
            axis.set_title(title)
            axis.set_xlabel("layer")
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            words.append(f"{title}: " + ", ".join(f"{kind} pairs {time} {_course(values)}"
                                                  for (kind, time), values in lines.items()))
        for axis in axes[len(drawn):]:
            axis.set_visible(False)
        for axis in axes[::columns]:
            axis.set_ylabel("mean cosine")
        times = {time for _, lines in drawn for _, time in lines}
        kinds = [Line2D([], [], color=color, marker=marker, markersize=3.5, linewidth=1.8, label=f"{kind} pairs")
                 for kind, (color, marker) in _COLORS.items()]
        looks = [Line2D([], [], color=style.INK, label=time, **look) for time, look in _LOOKS.items()
                 if len(times) > 1]
        figure.legend(handles=[*kinds, *looks], loc="outside lower left", ncols=4)
        caption = ("Mean cosine of the utterances' average outputs of each layer, over all pairs of held-out "
                   "utterances of equal (positive) and of different (negative) emotion"
                   + (", before and after the contrastive stage." if len(times) > 1 else ".")
                   + " Layer 0 is what the first layer is given.")
        return style.finish(figure, "similarity", "Similarity of pairs by layer", caption, "; ".join(words) + ".",
                            synthetic)


def _course(values: np.ndarray) -> str:
    return f"{values[0]:.3f}" if len(values) == 1 else f"from {values[0]:.3f} to {values[-1]:.3f}"
