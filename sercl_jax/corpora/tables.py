"""Tables and histograms of a corpus as plain text."""

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sercl_jax.types import Utterance

_SPEAKERS = 30  # as many have rows of their own
_CLASSES = 12  # as many have columns of their own
_NAMES = 12  # sessions or partitions that are listed
_BINS = 14
_BAR = 40  # characters
_STEPS = (0.1, 0.2, 0.25, 0.5, 1, 2, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def classes(utterances: Sequence[Utterance], seconds: Sequence[float]) -> str:
    """How many utterances, speakers and hours every class has, and how many utterances of it one speaker has."""
    labels = [utterance.label for utterance in utterances]
    speakers = sorted({utterance.speaker for utterance in utterances} - {""})
    rows = [["class", "utterances", "share", "speakers", "per speaker", "hours"]]
    for label in sorted(set(labels), key=lambda label: (label == "", label)):
        own = [u for u in utterances if u.label == label]
        each = Counter(u.speaker for u in own)
        of = [each[speaker] for speaker in speakers]
        hours = sum(s for s, other in zip(seconds, labels, strict=True) if other == label) / 3600
        rows.append([label or "(unlabelled)", str(len(own)), f"{len(own) / len(labels):.1%}",
                     str(sum(map(bool, of))), _extent(of), f"{hours:.2f}"])
    if len(rows) > 2:
        each = Counter(u.speaker for u in utterances)
        rows.append(["all", str(len(labels)), "", str(len(speakers)), _extent([each[s] for s in speakers]),
                     f"{sum(seconds) / 3600:.2f}"])
    return aligned(rows)


def _extent(counts: Sequence[int]) -> str:
    if not counts:
        return ""
    return str(counts[0]) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def speakers(utterances: Sequence[Utterance]) -> str:
    """Utterances of every speaker in every class; "" if there are too many of either for a table."""
    names = sorted({utterance.speaker for utterance in utterances} - {""})
    labels = sorted({utterance.label for utterance in utterances} - {""})
    if not names or not labels or len(names) > _SPEAKERS or len(labels) > _CLASSES:
        return ""
    counts = Counter((utterance.speaker, utterance.label) for utterance in utterances)
    genders = {utterance.speaker: utterance.gender for utterance in utterances}
    rows = [["speaker", *labels, "all"]]
    for name in names:
        of = [counts[name, label] for label in labels]
        rows.append([f"{name} ({genders[name]})" if genders[name] else name, *map(str, of),
                     str(sum(counts[name, label] for label in {*labels, ""}))])
    return aligned(rows)


def named(utterances: Sequence[Utterance], field: str) -> str:
    """Values of a field and how many utterances have each, in one line; "" if it is unknown for all."""
    counts = Counter(getattr(utterance, field) for utterance in utterances)
    unknown = counts.pop("", 0)
    if not counts:
        return ""
    shown = [f"{name}: {count}" for name, count in sorted(counts.items())[:_NAMES]]
    more = [f"{len(counts) - _NAMES} more"] if len(counts) > _NAMES else []
    return f"{len(counts)} ({', '.join([*shown, *more, *([f'unknown: {unknown}'] if unknown else [])])})"


def duration_edges(seconds: Sequence[float]) -> np.ndarray:
    """Edges of at most 14 equally wide bins that all but the longest hundredth fall into."""
    least, most = min(seconds), float(np.quantile(seconds, 0.99))
    step = next((step for step in _STEPS if most // step - least // step < _BINS), _STEPS[-1])
    first, last = int(least // step), int(most // step)
    return step * np.arange(first, min(last, first + _BINS - 1) + 2)


def level_edges(levels: Sequence[float]) -> np.ndarray:
    """Edges of bins of 5 dB."""
    return np.arange(5 * np.floor(min(levels) / 5), 5 * np.floor(max(levels) / 5) + 6, 5)


def histogram(values: Sequence[float], edges: np.ndarray, unit: str) -> str:
    """One line a bin, with a bar of # that tells how many values it has; the last line is for all beyond."""
    counts = np.histogram(values, edges)[0].tolist()
    digits = int(any(edge % 1 for edge in edges)) + int(any(10 * edge % 1 > 1e-6 for edge in edges))
    names = [f"{low:.{digits}f} to {high:.{digits}f} {unit}" for low, high in itertools.pairwise(edges)]
    if beyond := sum(value > edges[-1] for value in values):
        names.append(f"over {edges[-1]:.{digits}f} {unit}")
        counts.append(beyond)
    width = max(map(len, names))
    longest = max(counts)
    return "\n".join(f"{name:>{width}}  {count:>{len(str(longest))}}  {'#' * -(-_BAR * count // longest)}".rstrip()
                     for name, count in zip(names, counts, strict=True))
