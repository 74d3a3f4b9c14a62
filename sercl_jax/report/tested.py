"""Reads `predictions.csv`: what a run predicted for every tested utterance."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.evaluate import FoldScore, Predictions
from sercl_jax.metrics import confusion
from sercl_jax.ratings import DIMENSIONS, RatingFold, RatingPredictions
from sercl_jax.results import PREDICTED

_SCORE = "score_"

Tested = list[Predictions] | list[RatingPredictions]
_Rows = list[Mapping[str, str]]


def read(path: Path, labels: Sequence[str]) -> Tested:
    """Each run's (each seed's and fold seed's) tested utterances, sorted by id; all of them are tested.

    Args:
      path: of `predictions.csv`.
      labels: K class names of the results; ignored for ratings.

    Raises:
      UserError: it is no such file, a label is unknown, or an utterance is tested twice by one run.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            columns = tuple(table.fieldnames or ())
            by_run: dict[tuple[int, int], _Rows] = {}
            for row in table:
                by_run.setdefault((int(row["seed"]), int(row["fold_seed"]) if "fold_seed" in columns else 0),
                                  []).append(row)
        rated = any(name.startswith(PREDICTED) for name in columns)
        runs: list[Any] = []
        for (seed, fold_seed), rows in by_run.items():
            rows.sort(key=lambda row: row["id"])
            if len({row["id"] for row in rows}) < len(rows):
                raise ValueError(f"an utterance is there twice with seed {seed} and fold seed {fold_seed}")
            runs.append(_ratings(rows, seed) if rated else _classes(rows, tuple(labels), seed, fold_seed))
        return runs
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        reason = f"{error} is unknown" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: cannot be read ({reason}); evaluate again to write it anew.") from error


def _classes(rows: _Rows, labels: tuple[str, ...], seed: int, fold_seed: int) -> Predictions:
    number = {label: k for k, label in enumerate(labels)}
    truth, predicted = (np.array([number[row[name]] for row in rows]) for name in ("label", "predicted"))
    decision = np.array([[_number(row[_SCORE + label]) for label in labels] for row in rows])
    names, fold = _folds(rows)
    folds = tuple(FoldScore.of(name, confusion(truth[fold == f], predicted[fold == f], len(labels)))
                  for f, name in enumerate(names))
    return Predictions(labels, *_who(rows), truth, predicted, decision, fold, folds, seed, fold_seed)


def _ratings(rows: _Rows, seed: int) -> RatingPredictions:
    truth, predicted = (np.array([[_number(row[before + name]) for name in DIMENSIONS] for row in rows])
                        for before in ("", PREDICTED))
    names, fold = _folds(rows)
    folds = tuple(RatingFold.of(name, 0, truth[fold == f], predicted[fold == f]) for f, name in enumerate(names))
    return RatingPredictions(*_who(rows), truth, predicted, fold, folds, seed)


def _who(rows: _Rows) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(row["id"] for row in rows), tuple(row["speaker"] for row in rows)


def _folds(rows: _Rows) -> tuple[list[str], np.ndarray]:
    names = sorted({row["fold"] for row in rows})
    return names, np.array([names.index(row["fold"]) for row in rows])


def _number(text: str) -> float:
    return float(text) if text else math.nan
