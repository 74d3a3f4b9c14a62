"""Finished predictions on disk, so that an evaluation that was killed goes on where it was."""

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np

from sercl_jax.evaluate import FoldScore, Predictions
from sercl_jax.files import atomic_path

_ARRAYS = ("truth", "predicted", "decision", "fold")


def save(path: Path, predictions: Predictions) -> None:
    """Writes one run's predictions, whole or not at all."""
    plain = {f.name: getattr(predictions, f.name) for f in dataclasses.fields(predictions) if f.name not in _ARRAYS}
    plain["folds"] = [dataclasses.asdict(score) for score in predictions.folds]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, json=np.array(json.dumps(plain)),
                            **{name: getattr(predictions, name) for name in _ARRAYS})


def load(path: Path) -> Predictions | None:
    """Reads them back; None if they are absent or unreadable, to be made again."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            plain = json.loads(str(stored["json"]))
            arrays = {name: stored[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    for name in ("labels", "ids", "speakers"):
        plain[name] = tuple(plain[name])
    plain["folds"] = tuple(FoldScore(**score) for score in plain["folds"])
    return Predictions(**plain, **arrays)
