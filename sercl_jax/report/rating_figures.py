"""Figures of runs that predict ratings, and of what a predictive pre-training can tell."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from sercl_jax.metrics import ccc
from sercl_jax.report import projection, style
from sercl_jax.report.inputs import Ratings, Results
from sercl_jax.report.style import Drawing


def scatter(ratings: Ratings, synthetic: bool, suffix: str = "") -> Drawing | None:
    """Predicted against given ratings, a panel for each dimension, on equal axes with the identity line."""
    drawn = [(name, ratings.truth[rated, a], ratings.predicted[rated, a])
             for a, name in enumerate(ratings.dimensions)
             if (rated := np.isfinite(ratings.truth[:, a]) & np.isfinite(ratings.predicted[:, a])).any()]
    if not drawn:
        return None
    words = []
    with style.drawing():
        figure, axes = style.new_figure(3.1 * len(drawn), 3.7, 1, len(drawn))
        for axis, (name, truth, predicted) in zip(axes, drawn, strict=True):
            score = ccc(truth, predicted)
            shown = projection.subsample(len(truth))
            low, high = _limits(truth, predicted)
            axis.plot([low, high], [low, high], color=style.CONTRAST, linewidth=1, linestyle=(0, (4, 3)))
            axis.plot(truth[shown], predicted[shown], "o", color=style.ACCENT, markersize=3.2, markeredgewidth=0,
                      alpha=0.35)
            axis.text(0.04, 0.96, f"CCC {score:.3f}".replace("-", "−"), transform=axis.transAxes, va="top",
                      fontsize=9.5, fontweight="bold")
            axis.set_xlim(low, high)
            axis.set_ylim(low, high)
            axis.set_box_aspect(1)
            axis.set_title(name)
            axis.set_xlabel("given by listeners")
            for side in (axis.xaxis, axis.yaxis):
                side.set_major_locator(MaxNLocator(5))
            words.append(f"{name}: CCC {score:.3f} over {len(truth)} utterances; given {_spread(truth)}, "
                         f"predicted {_spread(predicted)}")
        axes[0].set_ylabel("predicted")
        most = max(len(truth) for _, truth, _ in drawn)
        number = f"{projection.LIMIT} of {most} test utterances are drawn; CCC is that of all of them." \
            if most > projection.LIMIT else f"{most} test utterances."
        return style.finish(figure, f"ratings{suffix}", "Predicted and given ratings",
                            f"Seed {ratings.seed}: {number} Test predictions of all folds pooled. Dashed: perfect "
                            "agreement.", "; ".join(words) + ".", synthetic)


def identified(results: Results) -> Drawing | None:
    """How often each step ahead is told from the negatives, beside chance and, where known, the untrained network."""
    found = results.pretraining
    if found is None or not found.identified:
        return None
    steps = np.arange(1, len(found.identified) + 1)
    with style.drawing():
        figure, (axis,) = style.new_figure(5.6, 2.9)
        axis.plot(steps, 100 * np.asarray(found.identified), "o-", color=style.ACCENT, markersize=5, label="trained")
        if found.untrained:
            axis.plot(steps[:len(found.untrained)], 100 * np.asarray(found.untrained), "s-", color=style.MUTED,
                      markersize=4, linewidth=1.2, label="untrained")
        if found.chance is not None:
            axis.axhline(100 * found.chance, color=style.CONTRAST, linewidth=1, linestyle=(0, (4, 3)),
                         label=f"chance, {100 * found.chance:.2f} %")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("steps ahead, k (10 ms each)")
        axis.set_ylabel("identified, %")
        axis.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axis.legend(loc="upper right")
        words = "; ".join(f"k = {k}: {100 * share:.1f} %" for k, share in zip(steps, found.identified, strict=True))
        chance = "" if found.chance is None else f"; chance {100 * found.chance:.2f} %"
        return style.finish(figure, "identified", "How far ahead it can tell",
                            "Share of held-out predictions whose true frame scores higher than every negative of the "
                            "same utterance.", f"Identified: {words}{chance}.", results.synthetic)


def _limits(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    margin = 0.05 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std():.2f}"
