"""What a run is worth beside another: the paired difference with its interval, and tests of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sercl_jax import evaluate, metrics, ratings, significance
from sercl_jax.evaluate import Predictions
from sercl_jax.ratings import RatingPredictions
from sercl_jax.report import groups
from sercl_jax.report.inputs import Results
from sercl_jax.report.run import Run
from sercl_jax.report.values import Estimate


@dataclass(frozen=True)
class Comparison:
    """One run against another.

    Attributes:
      run, other: names.
      unpaired: why the two cannot be compared utterance by utterance; "" if they can.
      note: what a reader must know of the pairing.
      difference: metric -> run minus other; without an interval where it is not paired.
      metric: the one that is tested.
      speakers: how many there are to exchange.
      folds: how many folds there are, over all fold seeds.
      exchange, signed_rank, corrected_t: p-values, or why there is none.
      adjusted: the same by Holm's method, with those of the other comparisons.
    """

    run: str
    other: str
    unpaired: str
    note: str
    difference: Mapping[str, Estimate]
    metric: str
    speakers: int = 0
    folds: int = 0
    exchange: float | str = ""
    signed_rank: float | str = ""
    corrected_t: float | str = ""
    adjusted: Mapping[str, float] | None = None


TESTS = ("exchange", "signed_rank", "corrected_t")


def against(runs: Sequence[Run], other: Run) -> list[Comparison]:
    """Each of several runs against one, with p-values adjusted for their number."""
    found = [compare(run, other) for run in runs]
    adjusted: list[dict[str, float]] = [{} for _ in found]
    for test in TESTS:
        places = [place for place, one in enumerate(found) if isinstance(getattr(one, test), float)]
        for place, p in zip(places, significance.holm([getattr(found[place], test) for place in places]),
                            strict=True):
            adjusted[place][test] = p
    return [replace(one, adjusted=own) for one, own in zip(found, adjusted, strict=True)]


def compare(run: Run, other: Run) -> Comparison:
    """One run against another of the same kind."""
    metric = next((name for name in ("UA", ratings.AVERAGE) if name in run.results.metrics),
                  next(iter(run.results.metrics), ""))
    plain = {name: Estimate(run.results.metrics[name].mean - other.results.metrics[name].mean)
             for name in run.results.metrics if name in other.results.metrics}
    reason = _obstacle(run, other)
    seeds = [] if reason else _same_folds(run, other)
    if not reason and not seeds:
        reason = "the same utterances, but divided into other folds"
    if reason:
        return Comparison(run.name, other.name, reason, "", plain, metric)
    ours, theirs = ([one for one in side.tested if _fold_seed(one) in seeds] for side in (run, other))
    left_out = len(run.tested) + len(other.tested) - len(ours) - len(theirs)
    note = f"fold seeds that only one of them has are left out ({left_out} runs)" if left_out else ""
    return _paired(run, other, ours, theirs, metric, note)


def _obstacle(run: Run, other: Run) -> str:
    """Why no pair of predictions can be made, or ""."""
    for side in (run, other):
        if not side.tested:
            return f"{side.name} has no predictions.csv"
    mine, its = run.tested[0], other.tested[0]
    if isinstance(mine, Predictions) and isinstance(its, Predictions) and mine.labels != its.labels:
        return "other classes"
    if _facts(mine) != _facts(its):
        shared = len(set(mine.ids) & set(its.ids))
        return f"other utterances ({len(mine.ids)} and {len(its.ids)}, of which {shared} have the same ids)"
    return ""


def _facts(run: Predictions | RatingPredictions) -> list[tuple[Any, ...]]:
    """(id, speaker, truth) of every tested utterance, which are sorted by id; NaN as text, to be equal to itself."""
    truth = [str(value) for value in run.truth.tolist()]
    return list(zip(run.ids, run.speakers, truth, strict=True))


def _fold_seed(run: Predictions | RatingPredictions) -> int:
    return run.fold_seed if isinstance(run, Predictions) else 0


def _same_folds(run: Run, other: Run) -> list[int]:
    """The fold seeds by which both divide the utterances alike."""
    mine, its = ({_fold_seed(one): tuple(one.folds[f].name for f in one.fold) for one in side.tested}
                 for side in (run, other))
    return [seed for seed, folds in mine.items() if its.get(seed) == folds]


def _paired(run: Run, other: Run, ours: list[Any], theirs: list[Any], metric: str, note: str) -> Comparison:
    statistic: metrics.Metric
    if isinstance(ours[0], RatingPredictions):
        found = ratings.compare(ours, theirs)
        left, right = ratings.paired_moments(ours, theirs)
        statistic = ratings.average_ccc
    else:
        found = evaluate.compare(ours, theirs)
        left, right = evaluate.paired_confusions(ours, theirs)
        statistic = metrics.ua
    speakers = left.shape[1]
    folds = _fold_scores(ours) - _fold_scores(theirs)
    folds = folds[np.isfinite(folds)]  # one in which nobody is rated has no score
    unknown = any(not name for name in ours[0].speakers)
    if unknown:
        note = "; ".join(filter(None, [note, "unknown speakers count as one each"]))
    return Comparison(
        run.name, other.name, "", note, {name: _estimate(value) for name, value in found.items()}, metric, speakers,
        len(folds), _p(partial(significance.exchange_p, left, right, statistic)),
        "speakers are unknown" if unknown else
        _p(partial(significance.signed_rank_p, _speaker_scores(ours) - _speaker_scores(theirs))),
        _p(partial(significance.corrected_t_p, folds, _test_to_train(run.results, len(ours[0].folds)))))


def _p(test: Callable[[], float]) -> float | str:
    try:
        return test()
    except ValueError as error:
        return str(error)


def _speaker_scores(runs: Any) -> np.ndarray:
    """[S] of the speakers that have a score."""
    found = groups.by_speaker(runs)
    return np.array([one.score for one in found.values() if one.score is not None])


def _fold_scores(runs: Sequence[Any]) -> np.ndarray:
    """[folds of all fold seeds] UA or CCC_avg of each, the mean over seeds."""
    scores: dict[tuple[int, str], list[float]] = {}
    for run in runs:
        for fold in run.folds:
            score = fold.CCC_avg if isinstance(run, RatingPredictions) else fold.UA
            scores.setdefault((_fold_seed(run), fold.name), []).append(np.nan if score is None else score)
    return np.array([np.mean(scores[key]) for key in sorted(scores)])


def _test_to_train(results: Results, folds: int) -> float:
    """Size of a test part over that of its training part: from the protocol sheet, or as folds usually are."""
    ratios = [line["test"] / line["train"] for line in results.protocol_sheet
              if isinstance(line.get("test"), int) and line.get("train")]
    return float(np.mean(ratios)) if ratios else 1 / max(folds - 1, 1)


def _estimate(value: Mapping[str, Any]) -> Estimate:
    low, high = value["ci95"]
    return Estimate(value["mean"], value["std"], (low, high))
