"""One figure of a corpus: classes by speakers, durations and levels."""

from collections import Counter

import numpy as np
from matplotlib.axes import Axes

from sercl_jax.corpora import tables
from sercl_jax.corpora.check import Survey
from sercl_jax.errors import UserError
from sercl_jax.report import style

_NAMES = 40  # speakers that are named on an axis


def png(survey: Survey) -> bytes:
    """Draws it.

    Raises:
      UserError: not one utterance can be used.
    """
    rows = survey.usable
    if not rows:
        raise UserError(f"{survey.place}: there is nothing to plot, for no utterance can be used.")
    seconds, levels = [s.seconds for _, s in rows], [s.level for _, s in rows]
    synthetic = not any(s.rate for _, s in rows)
    with style.drawing():
        figure, (counts, durations, loudness) = style.new_figure(12.0, 3.6, 1, 3)
        _classes(counts, Counter((u.speaker or "unknown", u.label or "unlabelled") for u, _ in rows))
        _bars(durations, seconds, tables.duration_edges(seconds), "seconds")
        _bars(loudness, levels, tables.level_edges(levels), "level, dB of full scale")
        durations.set_ylabel("utterances")
        counts.set_title(f"{survey.corpus}: {len(rows)} utterances, {sum(seconds) / 60:.1f} minutes")
        if synthetic:
            style.mark_synthetic(figure)
        return style.png(figure)


def _classes(axis: Axes, counts: Counter[tuple[str, str]]) -> None:
    """Stacked bars of classes over speakers."""
    speakers = sorted({speaker for speaker, _ in counts})
    labels = sorted({label for _, label in counts})
    bottom = np.zeros(len(speakers))
    for number, label in enumerate(labels):
        heights = np.array([counts[speaker, label] for speaker in speakers])
        axis.bar(range(len(speakers)), heights, bottom=bottom, width=0.8, label=label,
                 color=style.SERIES[number % len(style.SERIES)])
        bottom += heights
    axis.set_xlabel("speaker")
    axis.set_ylabel("utterances")
    named = speakers if len(speakers) <= _NAMES else []
    axis.set_xticks(range(len(named)), named, rotation=90 if len(named) > 12 else 0)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)


def _bars(axis: Axes, values: list[float], edges: np.ndarray, unit: str) -> None:
    beyond = np.minimum(values, edges[-1] - 1e-9)  # what is longer counts in the last bin
    axis.hist(beyond, edges.tolist(), color=style.ACCENT)
    axis.set_xlabel(unit + (f" (last bar: or more, up to {max(values):.1f})" if max(values) > edges[-1] else ""))
