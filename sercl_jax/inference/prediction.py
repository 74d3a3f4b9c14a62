"""What a model says of a recording."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """A part of a recording. Seconds from its beginning; `values` are probabilities by class, or ratings by
    dimension.
    """

    start: float
    end: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """Attributes:
      source: name of the recording: its path, or what the caller called it.
      seconds: how long it is.
      values: probability of each class, summing to 1, or rating of each dimension: the mean of the windows', each
        weighted by its length.
      windows: one or more, in order; a short recording is one window.
      kind: "classes" or "ratings".
    """

    source: str
    seconds: float
    values: Mapping[str, float]
    windows: tuple[Window, ...]
    kind: str

    @property
    def label(self) -> str:
        """The most probable class; "" for ratings."""
        return max(self.values, key=lambda name: self.values[name]) if self.kind == "classes" else ""


def combine(windows: tuple[Window, ...]) -> dict[str, float]:
    """The mean over windows, each weighted by its length."""
    weights = np.array([window.end - window.start for window in windows])
    return {name: float(np.average([window.values[name] for window in windows], weights=weights))
            for name in windows[0].values}
