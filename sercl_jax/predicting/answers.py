"""Which part of a prediction is asked for, and how it looks as plain data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sercl_jax import config
from sercl_jax.errors import UserError
from sercl_jax.inference import card
from sercl_jax.inference.prediction import Prediction

_DIGITS = 6  # of probabilities and ratings; float32 has about seven


def chosen(wanted: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels named in a comma-separated list, in the model's order; all of them if the list is empty.

    Raises:
      UserError: an unknown label (the nearest known one is named).
    """
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in labels:
            raise UserError(f"--labels: the model does not know {name!r}.{config.nearest(name, labels)}")
    return tuple(label for label in labels if label in names or not names)


def restricted(prediction: Prediction, labels: Sequence[str]) -> Prediction:
    """Only these labels, in this order; probabilities are divided by what they sum to, for each window too.

    Classes that together have no probability at all share it equally.
    """
    if tuple(prediction.values) == tuple(labels):
        return prediction
    windows = tuple(dataclasses.replace(window, values=_part(window.values, labels, prediction.kind))
                    for window in prediction.windows)
    return dataclasses.replace(prediction, values=_part(prediction.values, labels, prediction.kind), windows=windows)


def _part(values: Mapping[str, float], labels: Sequence[str], kind: str) -> dict[str, float]:
    part = {label: values[label] for label in labels}
    if kind != card.CLASSES:
        return part
    total = sum(part.values())
    return {label: value / total if total else 1 / len(part) for label, value in part.items()}


def ranked(values: Mapping[str, float], top: int = 0) -> list[tuple[str, float]]:
    """Labels and their values, the largest first, of equals the first; `top` of them, or all if it is 0."""
    return sorted(values.items(), key=lambda item: -item[1])[:top or None]


def plain(prediction: Prediction, top: int = 0) -> dict[str, Any]:
    """A prediction as JSON has it; `python -m sercl_jax.predict --help` documents the keys.

    Args:
      prediction: of classes or ratings.
      top: of classes, how many of the most probable are told; 0 means all.
    """
    windows = [{"start": _seconds(window.start), "end": _seconds(window.end),
                **_values(window.values, prediction.kind, top)} for window in prediction.windows]
    return {"path": prediction.source, "seconds": _seconds(prediction.seconds),
            **_values(prediction.values, prediction.kind, top), "windows": windows}


def _values(values: Mapping[str, float], kind: str, top: int) -> dict[str, Any]:
    if kind != card.CLASSES:
        return {"ratings": {name: round(value, _DIGITS) for name, value in values.items()}}
    order = ranked(values, top)
    label, probability = order[0]
    told = {name: round(value, _DIGITS) for name, value in values.items() if name in dict(order)}
    return {"label": label, "probability": round(probability, _DIGITS), "probabilities": told}


def _seconds(value: float) -> float:
    return round(value, 3)
