"""The worst mistakes: the most confident wrong classes, the ratings farthest off."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sercl_jax.evaluate import Predictions
from sercl_jax.ratings import RatingPredictions
from sercl_jax.report.tested import Tested


@dataclass(frozen=True)
class Mistake:
    """One tested utterance.

    Attributes:
      id, speaker: of the utterance.
      truth: its class, or its ratings.
      predicted: the class that it was most often taken for, or the mean predictions.
      wrong, runs: in how many of how many runs (seeds) it was classified wrongly; of ratings, both are
        the number of runs.
      size: of a class, by how much its score was below that of the class given, 0 where it was right; of ratings, how
        far off they are, the mean over dimensions. The mean over runs.
    """

    id: str
    speaker: str
    truth: str | tuple[float, ...]
    predicted: str | tuple[float, ...]
    wrong: int
    runs: int
    size: float


def of(tested: Tested) -> list[Mistake]:
    """Every mistake, the worst first: what at least half of the runs classify wrongly, or every rated utterance."""
    found = _ratings(_all(tested, RatingPredictions)) if isinstance(tested[0], RatingPredictions) else _classes(
        _all(tested, Predictions))
    return sorted(found, key=lambda mistake: (-mistake.size, mistake.id))


def shared(by_run: Sequence[Sequence[Mistake]]) -> list[str]:
    """Ids of the mistakes that all runs make, the worst first.

    Systems measure confidence differently, so it is the place among a run's own mistakes that counts.
    """
    places = [{mistake.id: (place + 1) / len(run) for place, mistake in enumerate(run)} for run in by_run]
    common = set.intersection(*(set(run) for run in places))
    return sorted(common, key=lambda name: (sum(run[name] for run in places), name))


def _all(tested: Tested, kind: type) -> list:
    return [run for run in tested if isinstance(run, kind)]


def _classes(runs: Sequence[Predictions]) -> list[Mistake]:
    sizes: dict[str, list[float]] = {}
    given: dict[str, list[str]] = {}
    known: dict[str, tuple[str, str]] = {}
    for run in runs:
        rows = np.arange(len(run.ids))
        # A class that the training part lacked has no score: it counts as the lowest.
        decision = np.where(np.isnan(run.decision), np.fmin.reduce(run.decision, axis=1)[:, None], run.decision)
        margin = np.maximum(decision[rows, run.predicted] - decision[rows, run.truth], 0)
        for u, name in enumerate(run.ids):
            sizes.setdefault(name, []).append(float(margin[u]))
            known[name] = run.speakers[u], run.labels[run.truth[u]]
            if run.predicted[u] != run.truth[u]:
                given.setdefault(name, []).append(run.labels[run.predicted[u]])
    return [Mistake(name, *known[name], _most(labels), len(labels), len(sizes[name]), float(np.mean(sizes[name])))
            for name, labels in given.items() if 2 * len(labels) >= len(sizes[name])]


def _most(labels: Sequence[str]) -> str:
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))


def _ratings(runs: Sequence[RatingPredictions]) -> list[Mistake]:
    predicted: dict[str, list[np.ndarray]] = {}
    known: dict[str, tuple[str, np.ndarray]] = {}
    for run in runs:
        for u, name in enumerate(run.ids):
            predicted.setdefault(name, []).append(run.predicted[u])
            known[name] = run.speakers[u], run.truth[u]
    found = []
    for name, (speaker, truth) in known.items():
        mean = np.mean(predicted[name], axis=0)
        rated = np.isfinite(truth)
        if rated.any():
            count = len(predicted[name])
            found.append(Mistake(name, speaker, tuple(truth.tolist()), tuple(mean.tolist()), count, count,
                                 float(np.abs(mean - truth)[rated].mean())))
    return found
