"""How well a run does on each speaker, or on each sentence."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sercl_jax import metrics
from sercl_jax.evaluate import Predictions
from sercl_jax.ratings import RatingPredictions
from sercl_jax.report.tested import Tested
from sercl_jax.types import Utterance

FEWEST_RATED = 5  # utterances: CCC of fewer means nothing
_REPEATED = 3  # utterances to a sentence, on the average, from which on sentences are worth telling apart
_MOST_SENTENCES = 200


class Group(NamedTuple):
    """The tested utterances of one speaker, or of one sentence.

    `score` is UA over the emotions that they have, or CCC_avg, the mean over runs; None where too few are rated.
    """

    n: int
    score: float | None


def by_speaker(tested: Tested) -> dict[str, Group]:
    """Name of each known speaker -> group, in the order of the names."""
    return _by(tested, dict(zip(tested[0].ids, tested[0].speakers, strict=True)))


def by_sentence(tested: Tested, utterances: Sequence[Utterance]) -> dict[str, Group]:
    """The same by sentence; empty where sentences are unknown or hardly ever said twice."""
    sentences = {u.id: u.sentence for u in utterances}
    found = {name: sentences.get(name, "") for name in tested[0].ids}
    different = set(found.values()) - {""}
    said = sum(map(bool, found.values()))
    if not 2 <= len(different) <= _MOST_SENTENCES or said < _REPEATED * len(different):
        return {}
    return _by(tested, found)


def score_name(tested: Tested) -> str:
    return "CCC_avg" if isinstance(tested[0], RatingPredictions) else "UA"


def hardest_for_all(by_run: Sequence[Mapping[str, Group]]) -> list[str]:
    """Groups that are in the lowest quarter of every run, the hardest first; empty where there are too few."""
    shared = [name for name in by_run[0] if all(name in run and run[name].score is not None for run in by_run)]
    if len(shared) < 4:
        return []
    low = [set(order(shared, [run])[:len(shared) // 4]) for run in by_run]
    return order([name for name in shared if all(name in names for names in low)], by_run)


def order(names: Sequence[str], by_run: Sequence[Mapping[str, Group]]) -> list[str]:
    """From the lowest mean score of all runs to the highest; without a score last."""
    def key(name: str) -> tuple[bool, float, str]:
        known = [score for run in by_run if name in run and (score := run[name].score) is not None]
        return not known, float(np.mean(known)) if known else 0.0, name

    return sorted(names, key=key)


def _by(tested: Tested, group_of: Mapping[str, str]) -> dict[str, Group]:
    numbers = {name: number for number, name in enumerate(sorted(set(group_of.values()) - {""}))}
    per_run: list[list[float | None]] = []
    counts = np.zeros(len(numbers), dtype=int)
    for run in tested:
        group = np.array([numbers.get(group_of.get(name, ""), -1) for name in run.ids])
        counts = np.maximum(counts, np.bincount(group[group >= 0], minlength=len(numbers)))
        score = _rated(run) if isinstance(run, RatingPredictions) else _classified(run)
        per_run.append([score(np.flatnonzero(group == number)) for number in range(len(numbers))])
    found = {}
    for name, number in numbers.items():
        known = [value for run in per_run if (value := run[number]) is not None]
        found[name] = Group(int(counts[number]), float(np.mean(known)) if known else None)
    return found


def _classified(run: Predictions) -> Callable[[np.ndarray], float | None]:
    def score(rows: np.ndarray) -> float | None:
        if not len(rows):
            return None
        return float(metrics.ua(metrics.confusion(run.truth[rows], run.predicted[rows], len(run.labels))))

    return score


def _rated(run: RatingPredictions) -> Callable[[np.ndarray], float | None]:
    def score(rows: np.ndarray) -> float | None:
        each = [metrics.ccc(truth, predicted) for truth, predicted in zip(
            run.truth[rows].T, run.predicted[rows].T, strict=True) if np.isfinite(truth).sum() >= FEWEST_RATED]
        return float(np.mean(each)) if each else None

    return score
