"""From embeddings to figures: fold by fold predictions, their summary over seeds, and paired comparisons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.classify import FittedSvm, SvmSettings, fit_svm, standardiser
from sercl_jax.errors import UserError
from sercl_jax.intervals import ci95, ci95_difference, cluster_warning, speaker_confusions
from sercl_jax.metrics import METRICS, confusion, recall, ua, wa
from sercl_jax.splits import Fold

if TYPE_CHECKING:
    from sercl_jax.types import Utterance

Embeddings = np.ndarray | Callable[[Fold], np.ndarray]


@dataclass(frozen=True)
class FoldScore:
    """One test fold: its size, its own UA and WA (fractions), and what was chosen inside its training part."""

    name: str
    n: int
    UA: float
    WA: float
    chosen: Mapping[str, Any]  # such as kernel and C of an SVM

    @classmethod
    def of(cls, name: str, matrix: np.ndarray, **chosen: Any) -> "FoldScore":
        """From the confusion matrix [K, K] of the fold."""
        return cls(name, int(matrix.sum()), float(ua(matrix)), float(wa(matrix)), chosen)


@dataclass(frozen=True)
class Predictions:
    """Pooled test predictions of one (seed, fold_seed) for U utterances.

    Attributes:
      labels: K class names; classes are numbered by them everywhere.
      ids, speakers: U.
      truth: [U] class number, -1 for the unlabelled.
      predicted: [U] class number, -1 where no fold tested the utterance.
      decision: [U, K] scores, NaN where untested and for a class that the training part lacked.
      fold: [U] number of the fold that tested the utterance, -1 for none.
      folds: one score per fold.
    """

    labels: tuple[str, ...]
    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    truth: np.ndarray
    predicted: np.ndarray
    decision: np.ndarray
    fold: np.ndarray
    folds: tuple[FoldScore, ...]
    seed: int = 0
    fold_seed: int = 0

    @property
    def tested(self) -> np.ndarray:
        """[U] bool."""
        return self.fold >= 0

    def confusion(self) -> np.ndarray:
        """[K, K] counts over all tested utterances, rows truth."""
        return confusion(self.truth[self.tested], self.predicted[self.tested], len(self.labels))

    def facts(self) -> set[tuple[str, str, int]]:
        """(id, speaker, true class) of every tested utterance."""
        return {(self.ids[u], self.speakers[u], int(self.truth[u])) for u in np.flatnonzero(self.tested)}

    def speaker_confusions(self) -> np.ndarray:
        """[S, K, K], see `intervals.speaker_confusions`."""
        rows = np.flatnonzero(self.tested)
        return speaker_confusions(self.truth[rows], self.predicted[rows], [self.speakers[u] for u in rows],
                                  len(self.labels))


def class_numbers(utterances: "Sequence[Utterance]", labels: Sequence[str]) -> np.ndarray:
    """[U] position of each utterance's label in `labels`, -1 for the unlabelled.

    Raises:
      UserError: an utterance has a label that is not in `labels`.
    """
    number = {label: k for k, label in enumerate(labels)}
    for u in utterances:
        if u.label and u.label not in number:
            raise UserError(f"utterance {u.id!r} is labelled {u.label!r}, which is not among {', '.join(labels)}.")
    return np.array([number[u.label] if u.label else -1 for u in utterances], dtype=np.int64)


def evaluate(embed: Embeddings, utterances: "Sequence[Utterance]", labels: tuple[str, ...], folds: Sequence[Fold], *,
             settings: SvmSettings, group_inner: bool, seed: int = 0, fold_seed: int = 0) -> Predictions:
    """Fits an SVM on the training part of each fold and predicts its test part.

    Nothing of a test part is used but its embeddings, and those only to be classified.

    Args:
      embed: [U, D] embeddings in the order of the utterances, or a function of the fold that returns them (called
        once per fold), for encoders or normalisations that are fitted on the training part.
      labels: K class names, in the order of confusion matrices.
      folds: made from the same utterances; no utterance is tested twice.
      settings: what the SVM may choose from, inside each training part.
      group_inner: whether inner folds keep speakers apart; wanted whenever the outer folds do. Training utterances
        without a speaker then count as one speaker.
      seed, fold_seed: recorded in the result.

    Raises:
      UserError: embeddings that are not finite, or labels outside `labels`.
    """
    truth = class_numbers(utterances, labels)
    speakers = np.array([u.speaker for u in utterances])
    count = len(utterances)
    predicted, fold_of = np.full(count, -1), np.full(count, -1)
    decision = np.full((count, len(labels)), np.nan)
    scores = []
    for number, fold in enumerate(folds):
        if (fold_of[fold.test] >= 0).any() or np.intersect1d(fold.train, fold.test).size:
            raise ValueError(f"fold {fold.name!r} tests what it trains on, or what another fold tests.")
        x = fold_embeddings(embed, fold, count)
        machine = fit_svm(x[fold.train], truth[fold.train],
                          speakers[fold.train].tolist() if group_inner else None, settings)
        predicted[fold.test] = _predict(machine, x[fold.test], fold)
        decision[np.ix_(fold.test, machine.classes)] = machine.decision(x[fold.test])
        fold_of[fold.test] = number
        scores.append(FoldScore.of(fold.name, confusion(truth[fold.test], predicted[fold.test], len(labels)),
                                   kernel=machine.kernel, C=machine.c))
    return Predictions(labels=tuple(labels), ids=tuple(u.id for u in utterances), speakers=tuple(speakers.tolist()),
                       truth=truth, predicted=predicted, decision=decision, fold=fold_of, folds=tuple(scores),
                       seed=seed, fold_seed=fold_seed)


def fold_embeddings(embed: Embeddings, fold: Fold, count: int) -> np.ndarray:
    """[U, D] the embeddings to use in this fold."""
    x = embed(fold) if callable(embed) else embed
    if x.ndim != 2 or len(x) != count:
        raise ValueError(f"embeddings {x.shape} must be [{count}, D], one row per utterance.")
    return x


def _predict(machine: FittedSvm, x: np.ndarray, fold: Fold) -> np.ndarray:
    if not np.isfinite(x).all():
        raise UserError(f"embeddings: test rows of fold {fold.name!r} hold NaN or infinite values; "
                        "the training diverged or a feature is broken.")
    return machine.predict(x)


GROUPS = ("speaker", "corpus")  # whose own statistics may normalise their utterances


def group_normalise(x: np.ndarray, utterances: "Sequence[Utterance]",
                    field: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Standardises each speaker's (or corpus') rows by that speaker's own mean and deviation, labels unseen.

    A column that is constant for a speaker becomes 0 (up to rounding) for that speaker. One that varies for a
    speaker by less than a hundredth of what it does over all utterances (a channel that is silent but for one
    utterance, say) is divided by that hundredth: it must not outweigh all others.

    Args:
      x: [U, D].
      field: one of GROUPS.

    Returns:
      [U, D], and the warnings of `group_warnings`.

    Raises:
      UserError: an utterance has no speaker, or no corpus: only joined corpora have names.
    """
    check_groups(utterances, field)
    groups = np.array([getattr(u, field) for u in utterances])
    normalised = np.empty(x.shape, dtype=np.float64)
    least = 0.01 * np.asarray(x, dtype=np.float64).std(0)
    for name in np.unique(groups):
        rows = np.flatnonzero(groups == name)
        mean, scale = standardiser(x[rows])
        normalised[rows] = (x[rows] - mean) / np.maximum(scale, least)
    return normalised, group_warnings(utterances, field)


def check_groups(utterances: "Sequence[Utterance]", field: str) -> None:
    """Raises `UserError` unless every utterance has a speaker, or a corpus."""
    unknown = [u.id for u in utterances if not getattr(u, field)]
    if not unknown:
        return
    if field == "corpus":
        raise UserError("normalise=corpus: is for several corpora, as in corpus=emodb+ravdess; choose "
                        "normalise=global or speaker.")
    raise UserError(f"normalise=speaker: {len(unknown)} utterances have no speaker, such as {unknown[0]!r}; "
                    "add speakers or choose normalise=global.")


def group_warnings(utterances: "Sequence[Utterance]", field: str) -> tuple[str, ...]:
    """Warnings of what normalising by `field` would erase.

    They name speakers whose labelled utterances hold one or two emotions only (their emotion is then what is
    subtracted), and those with a single utterance (which becomes all zeros).
    """
    if field != "speaker":
        return ()
    few, single = [], []
    by_speaker: dict[str, list[Utterance]] = {}
    for u in utterances:
        by_speaker.setdefault(u.speaker, []).append(u)
    for name, own in sorted(by_speaker.items()):
        emotions = {u.label for u in own} - {""}
        if len(own) == 1:
            single.append(name)
        elif 0 < len(emotions) <= 2:
            few.append(f"{name} ({', '.join(sorted(emotions))})")
    warnings = []
    if few:
        warnings.append(f"normalise=speaker: {len(few)} speakers have only one or two emotions, such as {few[0]}; "
                        "normalising by their own audio erases what is to be recognised.")
    if single:
        warnings.append(f"normalise=speaker: {len(single)} speakers have a single utterance, such as {single[0]}; "
                        "it is all zeros when normalised.")
    return tuple(warnings)


def summarise(runs: Sequence[Predictions]) -> dict[str, Any]:
    """The figures of several runs (pairs of seed and fold_seed) on the same utterances.

    UA, WA and F1 are those of each run's pooled test predictions; mean and standard deviation (of the
    population, 0 for one run) are over runs; the interval is that of the mean over runs, from resampled speakers.

    Returns:
      {"metrics": {"UA": {"mean", "std", "ci95": [low, high]}, "WA", "F1"}, "per_class": {label: recall or None},
      "confusion": [[...]] mean counts over runs, "folds": [{"name", "n", "UA", "WA", what was chosen
      (kernel and C of an SVM), "seed", "fold_seed"}],
      "runs": [{"seed", "fold_seed", "UA", "WA", "F1"}], "warnings": [str]}; fractions.
    """
    _check_runs(runs)
    confusions = np.stack([run.speaker_confusions() for run in runs])
    pooled = confusions.sum(1)
    values = {name: metric(pooled) for name, metric in METRICS.items()}
    mean = pooled.mean(0)
    recalls = recall(pooled).mean(0)
    warnings = [text for text in (cluster_warning(confusions),) if text]
    if any(not speaker for _, speaker, _ in runs[0].facts()):
        warnings.append("Some speakers are unknown: their utterances are resampled one by one, "
                        "which makes the intervals too narrow.")
    return {
        "metrics": {name: {"mean": float(v.mean()), "std": float(v.std()),
                           "ci95": list(ci95(confusions, METRICS[name]))} for name, v in values.items()},
        "per_class": {label: None if np.isnan(r) else float(r)
                      for label, r in zip(runs[0].labels, recalls, strict=True)},
        "confusion": [[int(v) if v == int(v) else float(v) for v in row] for row in mean.tolist()],
        "folds": [_fold_row(score, run) for run in runs for score in run.folds],
        "runs": [{"seed": run.seed, "fold_seed": run.fold_seed, **{name: float(v[r]) for name, v in values.items()}}
                 for r, run in enumerate(runs)],
        "warnings": warnings,
    }


def compare(ours: Sequence[Predictions], theirs: Sequence[Predictions]) -> dict[str, dict[str, Any]]:
    """The paired difference ours - theirs of two systems tested on the same utterances and folds.

    Returns:
      {"UA": {"mean", "std" (over the pairs of `paired_confusions`), "ci95": [low, high]}, "WA", "F1"}.
    """
    left, right = paired_confusions(ours, theirs)
    result = {}
    for name, metric in METRICS.items():
        differences = metric(left.sum(1)) - metric(right.sum(1))
        result[name] = {"mean": float(differences.mean()), "std": float(differences.std()),
                        "ci95": list(ci95_difference(left, right, metric))}
    return result


def paired_confusions(ours: Sequence[Predictions], theirs: Sequence[Predictions]) -> tuple[np.ndarray, np.ndarray]:
    """Each system's confusion matrices by speaker, both [P, S, K, K], for P pairs of runs.

    A run is paired with the other system's run of the same fold_seed: of the same seed if there is one, else
    with each of that fold_seed's runs (a baseline has no seed).
    """
    _check_runs([*ours, *theirs])
    pairs = [(a, b) for a in ours for b in _partners(a, theirs)]
    left, right = (np.stack([pair[side].speaker_confusions() for pair in pairs]) for side in (0, 1))
    return left, right


def _partners(run: Predictions, others: Sequence[Predictions]) -> list[Predictions]:
    same = [other for other in others if other.fold_seed == run.fold_seed]
    exact = [other for other in same if other.seed == run.seed]
    if not same:
        raise ValueError(f"the other system has no run with fold_seed={run.fold_seed}.")
    return exact or same


def _check_runs(runs: Sequence[Predictions]) -> None:
    if not runs:
        raise ValueError("there are no runs.")
    if any(run.labels != runs[0].labels or run.facts() != runs[0].facts() for run in runs[1:]):
        raise ValueError("the runs were not tested on the same utterances with the same labels and speakers.")


def _fold_row(score: FoldScore, run: Predictions) -> dict[str, Any]:
    row = asdict(score)
    chosen = row.pop("chosen")
    return {**row, **chosen, "seed": run.seed, "fold_seed": run.fold_seed}
