"""From predicted ratings to figures: CCC of pooled test predictions, its interval, paired comparisons.

CCC is a function of the number of utterances and of the sums of x, y, x², y² and xy. These sums of a resample of
speakers are a weighted sum of the speakers' own, so that all resamples are one matrix product (see `intervals`).
Nothing here imports JAX.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax import intervals, stored
from sercl_jax.errors import UserError
from sercl_jax.metrics import ccc

if TYPE_CHECKING:
    from sercl_jax.types import Utterance

DIMENSIONS = ("activation", "valence", "dominance")
METRICS = ("CCC_act", "CCC_val", "CCC_dom")  # of the dimensions, in their order
AVERAGE = "CCC_avg"
_ARRAYS = ("truth", "predicted", "fold")


@dataclass(frozen=True)
class RatingFold:
    """One test fold: its size, the epoch that its validation part chose, and its own CCC.

    None stands for a dimension in which none of its utterances is rated; the average is over the others.
    """

    name: str
    n: int
    best_epoch: int
    CCC_avg: float | None
    CCC_act: float | None
    CCC_val: float | None
    CCC_dom: float | None

    @classmethod
    def of(cls, name: str, best_epoch: int, truth: np.ndarray, predicted: np.ndarray) -> "RatingFold":
        """From the fold's ratings [U, 3], NaN where unrated, and predictions [U, 3]."""
        each = [None if np.isnan(x).all() else ccc(x, y) for x, y in zip(truth.T, predicted.T, strict=True)]
        known = [value for value in each if value is not None]
        return cls(name, len(truth), best_epoch, float(np.mean(known)) if known else None, *each)


@dataclass(frozen=True)
class RatingPredictions:
    """Pooled test predictions of one run for U utterances.

    Attributes:
      ids, speakers: U.
      truth: [U, 3] ratings in the order of `DIMENSIONS`, NaN where unrated.
      predicted: [U, 3] on the same scale, NaN where no fold tested the utterance.
      fold: [U] number of the fold that tested the utterance, -1 for none.
      folds: one score per fold.
      seed: of the run.
    """

    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    truth: np.ndarray
    predicted: np.ndarray
    fold: np.ndarray
    folds: tuple[RatingFold, ...]
    seed: int = 0

    @property
    def tested(self) -> np.ndarray:
        """[U] bool."""
        return self.fold >= 0


def ratings_of(utterances: "Sequence[Utterance]") -> np.ndarray:
    """[U, 3] float64 ratings in the order of `DIMENSIONS`, NaN where there is none."""
    return np.array([[getattr(u, name) for name in DIMENSIONS] for u in utterances], dtype=np.float64).reshape(-1, 3)


def summarise(runs: Sequence[RatingPredictions]) -> dict[str, Any]:
    """The figures of several runs (seeds) on the same utterances.

    CCC is that of each run's pooled test predictions, CCC_avg the mean of the three; mean and standard deviation (of
    the population, 0 for one run) are over runs; the interval is that of the mean over runs, from resampled speakers.

    Returns:
      {"metrics": {"CCC_avg": {"mean", "std", "ci95": [low, high]}, "CCC_act", "CCC_val", "CCC_dom"},
      "folds": [{"name", "n", "best_epoch", "CCC_...", "seed"}], "runs": [{"seed", "CCC_..."}], "warnings": [str],
      "confusion": []}. A dimension in which nobody is rated is left out everywhere, with a warning, and the average
      is over the others.

    Raises:
      UserError: predictions that are not finite.
    """
    _check_runs(runs)
    moments = np.stack([_moments(run) for run in runs])
    names = _names(runs[0])
    values = _by_name(_ccc(moments.sum(1)), names)  # each [R]
    resampled = _by_name(_resampled(moments), names)  # each [resamples, R]
    warnings = [text for text in (intervals.cluster_warning(moments),) if text]
    if any(not runs[0].speakers[u] for u in np.flatnonzero(runs[0].tested)):
        warnings.append("Some speakers are unknown: their utterances are resampled one by one, "
                        "which makes the intervals too narrow.")
    unrated = [dimension for dimension, name in zip(DIMENSIONS, METRICS, strict=True) if name not in names]
    if unrated:
        warnings.append(f"No tested utterance is rated in {' or '.join(unrated)}: CCC_avg is without.")
    return {
        "metrics": {name: _figure(v, resampled[name].mean(1)) for name, v in values.items()},
        "folds": [_fold_row(fold, run.seed) for run in runs for fold in run.folds],
        "runs": [{"seed": run.seed, **{name: float(v[r]) for name, v in values.items()}}
                 for r, run in enumerate(runs)],
        "warnings": warnings, "confusion": [],
    }


def compare(ours: Sequence[RatingPredictions], theirs: Sequence[RatingPredictions]) -> dict[str, dict[str, Any]]:
    """The paired difference ours - theirs of two systems tested on the same utterances.

    Returns:
      {"CCC_avg": {"mean", "std" (over the pairs of `paired_moments`), "ci95": [low, high]}, ...}, as in `summarise`.
    """
    left, right = paired_moments(ours, theirs)
    names = _names(ours[0])
    values = _by_name(_ccc(left.sum(1)) - _ccc(right.sum(1)), names)
    resampled = _by_name(_resampled(left) - _resampled(right), names)
    return {name: _figure(v, resampled[name].mean(1)) for name, v in values.items()}


def paired_moments(ours: Sequence[RatingPredictions],
                   theirs: Sequence[RatingPredictions]) -> tuple[np.ndarray, np.ndarray]:
    """What CCC is a function of, by speaker, for P pairs of runs of two systems: both [P, S, 3, 6].

    A run is paired with the other system's run of the same seed; if that has none, with all of its runs.
    """
    _check_runs([*ours, *theirs])
    pairs = [(a, b) for a in ours for b in [b for b in theirs if b.seed == a.seed] or theirs]
    left, right = (np.stack([_moments(pair[side]) for pair in pairs]) for side in (0, 1))
    return left, right


def average_ccc(moments: np.ndarray) -> np.ndarray:
    """[..., 3, 6] sums over speakers of `paired_moments` -> [...] CCC_avg, over the dimensions that are rated."""
    return np.nanmean(_ccc(moments), axis=-1)


def save(path: Path, predictions: RatingPredictions) -> None:
    """Writes one run's predictions, whole or not at all."""
    plain = {f.name: getattr(predictions, f.name) for f in dataclasses.fields(predictions) if f.name not in _ARRAYS}
    plain["folds"] = [dataclasses.asdict(fold) for fold in predictions.folds]
    stored.save(path, plain, {name: getattr(predictions, name) for name in _ARRAYS})


def load(path: Path) -> RatingPredictions | None:
    """Reads them back; None if they are absent or unreadable, to be made again."""
    found = stored.load(path, _ARRAYS)
    if found is None:
        return None
    plain, arrays = found[0], dict[str, Any](found[1])
    for name in ("ids", "speakers"):
        plain[name] = tuple(plain[name])
    plain["folds"] = tuple(RatingFold(**fold) for fold in plain["folds"])
    return RatingPredictions(**plain, **arrays)


def _moments(run: RatingPredictions) -> np.ndarray:
    """[S, 3, 6] by speaker and dimension: n and the sums of x, y, x², y², xy over tested, rated utterances.

    x are ratings and y predictions, both less the mean rating: CCC does not change, and large means cancel no digits.
    """
    rows = np.flatnonzero(run.tested)
    truth, predicted = run.truth[rows].astype(np.float64), run.predicted[rows].astype(np.float64)
    rated = np.isfinite(truth)
    centre = np.where(rated, truth, 0).sum(0) / np.maximum(rated.sum(0), 1)
    x, y = (np.where(rated, values - centre, 0) for values in (truth, predicted))
    clusters = intervals.speaker_clusters([run.speakers[u] for u in rows])
    moments = np.zeros((clusters.max() + 1, len(DIMENSIONS), 6))
    np.add.at(moments, clusters, np.stack([rated, x, y, x * x, y * y, x * y], -1))
    return moments


def _ccc(moments: np.ndarray) -> np.ndarray:
    """[..., 6] -> [...] CCC (as `metrics.ccc` has it, 0 for two equal constants), NaN where n is 0."""
    n = moments[..., 0]
    x, y, xx, yy, xy = np.moveaxis(moments[..., 1:] / np.maximum(n, 1)[..., None], -1, 0)
    below = xx - x * x + yy - y * y + (x - y) ** 2
    defined = below > 1e-12 * (xx + yy)  # less is what rounding leaves
    scores = np.where(defined, 2 * (xy - x * y) / np.where(defined, below, 1), 0)
    return np.where(n > 0, scores, np.nan)


def _resampled(moments: np.ndarray) -> np.ndarray:
    """[R, S, 3, 6] -> [resamples, R, 3] CCC of resampled speakers, NaN where none of them is rated."""
    runs, clusters = moments.shape[:2]
    flat = moments.transpose(1, 0, 2, 3).reshape(clusters, -1)
    return _ccc((intervals.draw_counts(clusters) @ flat).reshape(-1, runs, len(DIMENSIONS), 6))


def _names(run: RatingPredictions) -> list[str]:
    """The metrics of the dimensions in which a tested utterance is rated."""
    rated = np.isfinite(run.truth[run.tested]).any(0)
    return [name for name, there in zip(METRICS, rated, strict=True) if there]


def _by_name(scores: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """[..., 3] -> the average and each dimension of `names`, [...]."""
    columns = {name: scores[..., METRICS.index(name)] for name in names}
    return {AVERAGE: np.mean(list(columns.values()), axis=0), **columns}


def _figure(values: np.ndarray, resampled: np.ndarray) -> dict[str, Any]:
    """Mean and deviation of the runs' values, and the percentiles of their mean in the resamples that have one."""
    return {"mean": float(values.mean()), "std": float(values.std()),
            "ci95": list(intervals.percentiles(resampled[np.isfinite(resampled)]))}


def _fold_row(fold: RatingFold, seed: int) -> dict[str, Any]:
    return {**{name: value for name, value in dataclasses.asdict(fold).items() if value is not None}, "seed": seed}


def _check_runs(runs: Sequence[RatingPredictions]) -> None:
    if not runs:
        raise ValueError("there are no runs.")
    for run in runs:
        if (run.ids, run.speakers) != (runs[0].ids, runs[0].speakers) or not (
                np.array_equal(run.tested, runs[0].tested)
                and np.array_equal(run.truth[run.tested], runs[0].truth[run.tested], equal_nan=True)):
            raise ValueError("the runs were not tested on the same utterances with the same ratings and speakers.")
        broken = run.tested & ~np.isfinite(run.predicted).all(1)
        if broken.any():
            raise UserError(f"seed {run.seed}: the predictions for {broken.sum()} utterances, such as "
                            f"{run.ids[np.argmax(broken)]!r}, are not finite; the training diverged.")
    if not np.isfinite(runs[0].truth[runs[0].tested]).any():
        raise ValueError("no tested utterance is rated.")
