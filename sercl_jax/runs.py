"""Evaluations as tasks, whose predictions lie on disk: one that was killed goes on where it was.

Nothing here imports JAX, so that tasks can go to other processes.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from sercl_jax import stored
from sercl_jax.classify import SvmSettings
from sercl_jax.evaluate import Embeddings, FoldScore, Predictions, evaluate
from sercl_jax.splits import Fold
from sercl_jax.types import Utterance

_ARRAYS = ("truth", "predicted", "decision", "fold")


@dataclass(frozen=True)
class Task:
    """One evaluation, with the arguments of `evaluate.evaluate` and the file that its predictions go to."""

    path: Path
    embed: Embeddings
    utterances: Sequence[Utterance]
    labels: tuple[str, ...]
    folds: Sequence[Fold]
    settings: SvmSettings
    group_inner: bool
    seed: int
    fold_seed: int


def run(task: Task) -> Predictions:
    """Evaluates and saves."""
    # The matrices are small: threads would only wait for each other, and for the other tasks.
    with threadpool_limits(1):
        predictions = evaluate(task.embed, task.utterances, task.labels, task.folds, settings=task.settings,
                               group_inner=task.group_inner, seed=task.seed, fold_seed=task.fold_seed)
    save(task.path, predictions)
    return predictions


def save(path: Path, predictions: Predictions) -> None:
    """Writes one run's predictions, whole or not at all."""
    plain = {f.name: getattr(predictions, f.name) for f in dataclasses.fields(predictions) if f.name not in _ARRAYS}
    plain["folds"] = [dataclasses.asdict(score) for score in predictions.folds]
    stored.save(path, plain, {name: getattr(predictions, name) for name in _ARRAYS})


def load(path: Path) -> Predictions | None:
    """Reads them back; None if they are absent or unreadable, to be made again."""
    found = stored.load(path, _ARRAYS)
    if found is None:
        return None
    plain, arrays = found[0], dict[str, Any](found[1])
    for name in ("labels", "ids", "speakers"):
        plain[name] = tuple(plain[name])
    plain["folds"] = tuple(FoldScore(**score) for score in plain["folds"])
    return Predictions(**plain, **arrays)
