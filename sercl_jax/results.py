"""What a run writes to its workdir: `results.json`, `predictions.csv`, `embeddings.npz`; whole, and checked."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.evaluate import Predictions
from sercl_jax.files import atomic_path, write_json
from sercl_jax.ratings import DIMENSIONS, RatingPredictions
from sercl_jax.types import Utterance

RESULTS = "results.json"
PREDICTIONS = "predictions.csv"
EMBEDDINGS = "embeddings.npz"
_COLUMNS = ("id", "speaker", "label", "fold", "seed", "fold_seed", "predicted")
_SCORE = "score_"
_RATED = ("id", "speaker", "fold", "seed")
PREDICTED = "predicted_"  # before a dimension's name
_TYPES: Mapping[str, type] = {"method": str, "corpus": str, "protocol": dict, "seed": int, "labels": list,
                              "metrics": dict, "folds": list, "confusion": list, "seconds": dict}
_OPTIONAL: Mapping[str, type] = {"runs": list, "per_class": dict, "baselines": list, "probes": dict,
                                 "protocol_sheet": dict, "synthetic": bool, "command": str, "paper": dict,
                                 "pretraining": dict, "warnings": list, "notes": list}


def validate(results: Mapping[str, Any]) -> None:
    """Checks the shape of results: keys, types, fractions in range, intervals in order, a square confusion matrix.

    Keys: "method", "corpus", "protocol", "seed", "labels", "metrics" {name: {"mean", "std", "ci95": [low, high]}},
    "folds" [{"name", "n", "UA", "WA", ...}], "confusion" (K x K; empty for regression), "seconds" {part: seconds};
    and, where known, "runs", "per_class", "baselines" [{"name", "metrics", "difference"}, perhaps "paper"], "probes",
    "protocol_sheet", "synthetic", "command", "paper" {metric: value or {"mean", "std"}}, "pretraining" {..., perhaps
    "identified": {"k": [fraction for each step ahead], "chance"}}, "warnings" and "notes". Other keys may hold any
    finite JSON. UA, WA and F1 are fractions in [0, 1]; names that begin with CCC are correlations in [-1, 1].

    Raises:
      UserError: what is wrong, by its key.
    """
    for key, kind in {**_TYPES, **_OPTIONAL}.items():
        if key in results:
            if not isinstance(results[key], kind) or (isinstance(results[key], bool) and kind is not bool):
                raise UserError(f"{key}: expected {kind.__name__}, found {type(results[key]).__name__}.")
        elif key in _TYPES:
            raise UserError(f"{key}: it is missing.")
    _check_finite(results, "")
    measured = "pretraining" not in results or bool(results["metrics"])  # a pre-training may have nothing held out
    if measured:
        _check_metrics(results["metrics"], "metrics")
    _check_paper(results.get("paper", {}), "paper")
    for b, baseline in enumerate(results.get("baselines", [])):
        if not {"name", "metrics", "difference"} <= set(baseline):
            raise UserError(f"baselines.{b}: it needs name, metrics and difference; found {sorted(baseline)}.")
        if measured:
            _check_metrics(baseline["metrics"], f"baselines.{b}.metrics")
        _check_paper(baseline.get("paper", {}), f"baselines.{b}.paper")
    for f, fold in enumerate(results["folds"]):
        if "name" not in fold or not isinstance(fold.get("n"), int):
            raise UserError(f"folds.{f}: it needs a name and a number n of utterances; found {sorted(fold)}.")
        _check_scores(fold, f"folds.{f}")
    for r, run in enumerate(results.get("runs", [])):
        _check_scores(run, f"runs.{r}")
    _check_identified(results.get("pretraining", {}).get("identified", {"k": []}))
    classes = len(results["labels"])
    if results["confusion"] and any(_is_concordance(name) for name in results["metrics"]):
        raise UserError("confusion: ratings have no confusion matrix; it must be empty beside CCC.")
    if results["confusion"] and [len(row) for row in results["confusion"]] != [classes] * classes:
        raise UserError(f"confusion: it must be {classes} x {classes}, as there are {classes} labels.")


def _is_concordance(name: str) -> bool:
    """Whether a metric is a concordance correlation coefficient: in [-1, 1] and never a percentage."""
    return name.startswith("CCC")


def _check_metrics(metrics: Mapping[str, Any], where: str) -> None:
    if not metrics:
        raise UserError(f"{where}: it is empty.")
    for name, value in metrics.items():
        if not isinstance(value, Mapping) or not {"mean", "std", "ci95"} <= set(value):
            raise UserError(f"{where}.{name}: it needs mean, std and ci95.")
        _check_range(value["mean"], name, f"{where}.{name}.mean")
        if len(value["ci95"]) != 2 or not value["ci95"][0] <= value["ci95"][1]:
            raise UserError(f"{where}.{name}.ci95: {value['ci95']} is not an interval [low, high].")


def _check_scores(record: Mapping[str, Any], where: str) -> None:
    for name, value in record.items():
        if name in ("UA", "WA", "F1") or _is_concordance(name):
            _check_range(value, name, f"{where}.{name}")


def _check_paper(paper: Mapping[str, Any], where: str) -> None:
    for name, value in paper.items():
        _check_range(value["mean"] if isinstance(value, Mapping) and "mean" in value else value, name,
                     f"{where}.{name}")


def _check_identified(identified: Mapping[str, Any]) -> None:
    where = "pretraining.identified"
    if not isinstance(identified, Mapping) or not isinstance(identified.get("k"), list):
        raise UserError(f"{where}: it needs a list k of fractions, one for each step ahead.")
    for k, share in enumerate(identified["k"]):
        _check_range(share, "share", f"{where}.k.{k}")
    if "chance" in identified:
        _check_range(identified["chance"], "chance", f"{where}.chance")


def _check_range(value: Any, name: str, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {value!r} is not a number.")
    lowest = -1 if _is_concordance(name) else 0
    if not lowest <= value <= 1:
        raise UserError(f"{where}: {value} is not in [{lowest}, 1]; figures are fractions, not percent.")


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: {value} is not a finite number.")
    if isinstance(value, Mapping):
        for key, part in value.items():
            _check_finite(part, f"{where}.{key}".lstrip("."))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for position, part in enumerate(value):
            _check_finite(part, f"{where}.{position}")


def write(workdir: Path, results: Mapping[str, Any]) -> Path:
    """Writes WORKDIR/results.json, whole or not at all, after `validate`; returns its path."""
    validate(results)
    write_json(workdir / RESULTS, results)
    return workdir / RESULTS


def read(workdir: Path) -> dict[str, Any]:
    """Reads and checks WORKDIR/results.json.

    Raises:
      UserError: it is absent, not JSON, or not of the shape that `validate` checks.
    """
    path = workdir / RESULTS
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); the run has not finished: "
                        "give the same command again.") from error
    except ValueError as error:
        raise UserError(f"{path}: it is not JSON ({error}); remove it and give the same command again.") from error
    if not isinstance(results, dict):
        raise UserError(f"{path}: expected an object, found {type(results).__name__}.")
    try:
        validate(results)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return results


def write_embeddings(workdir: Path, utterances: Sequence[Utterance], values: np.ndarray) -> None:
    """Writes `embeddings.npz`: ids, labels and speakers of U utterances, and their embeddings [U, D]."""
    with atomic_path(workdir / EMBEDDINGS) as path, path.open("wb") as file:
        np.savez(file, ids=np.array([u.id for u in utterances]), embeddings=values,
                 speakers=np.array([u.speaker for u in utterances]), labels=np.array([u.label for u in utterances]))


def write_predictions(workdir: Path, runs: Sequence[Predictions]) -> Path:
    """Writes WORKDIR/predictions.csv: a row for each tested utterance of each run.

    Columns: id, speaker, label, fold, seed, fold_seed, predicted, and score_<label> for each of the K labels (the
    SVM's decision: votes plus squashed margins; empty for a class that the training part lacked).
    """
    if len({run.labels for run in runs}) != 1:
        raise ValueError("one table needs runs with the same labels.")
    path = workdir / PREDICTIONS
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*_COLUMNS, *(_SCORE + label for label in runs[0].labels)])
        for run in runs:
            for u in run.tested.nonzero()[0]:
                scores = ["" if math.isnan(v) else f"{v:.6f}" for v in run.decision[u].tolist()]
                table.writerow([run.ids[u], run.speakers[u], run.labels[run.truth[u]], run.folds[run.fold[u]].name,
                                run.seed, run.fold_seed, run.labels[run.predicted[u]], *scores])
    return path


def write_ratings(workdir: Path, runs: Sequence[RatingPredictions]) -> Path:
    """Writes WORKDIR/predictions.csv: a row for each tested utterance of each run.

    Columns: id, speaker, fold, seed, then what listeners gave in each dimension (activation, valence, dominance;
    empty where unrated) and predicted_<dimension>.
    """
    path = workdir / PREDICTIONS
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*_RATED, *DIMENSIONS, *(PREDICTED + dimension for dimension in DIMENSIONS)])
        for run in runs:
            for u in run.tested.nonzero()[0]:
                given = ["" if math.isnan(v) else f"{v:.6g}" for v in run.truth[u].tolist()]
                table.writerow([run.ids[u], run.speakers[u], run.folds[run.fold[u]].name, run.seed, *given,
                                *(f"{v:.6f}" for v in run.predicted[u].tolist())])
    return path
