"""Arrays to results: pure functions of variables and a batch, compiled once for each shape."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np

from sercl_jax.inference.card import Card
from sercl_jax.types import Batch, Variables

PROBABILITY, RATING, EMBEDDING, FRAMES = "probability", "rating", "embedding", "frames"


class Inputs(Protocol):
    """How waveforms become arrays, on the host. Picklable and free of JAX: worker processes call `describe`.

    Attributes:
      lengths: what a batch may be padded to, increasing, in the unit of `size`.
      longest: samples of the longest window that the longest length holds; None if it holds any.
      in_workers: whether `describe` takes so long that worker processes pay off for much audio.
    """

    @property
    def lengths(self) -> tuple[int, ...]: ...

    @property
    def longest(self) -> int | None: ...

    @property
    def in_workers(self) -> bool: ...

    def describe(self, waveform: np.ndarray) -> Mapping[str, np.ndarray]:
        """One window, [S] int16 at 16 kHz, not longer than the longest length, as unpadded arrays."""

    def size(self, described: Mapping[str, np.ndarray]) -> int:
        """How long it is; the shortest length that holds it is its bucket."""

    def batch(self, described: Sequence[Mapping[str, np.ndarray]], length: int) -> dict[str, np.ndarray]:
        """Arrays [B, ...], padded to a length; what is in the padding changes no result."""

    def facts(self) -> dict[str, Any]:
        """JSON-like; `inputs.from_facts` makes the same of it."""


class Runner(Protocol):
    """What a `Model` needs: of a workdir a `Pipeline`, of a bundle its stored programs."""

    @property
    def card(self) -> Card: ...

    @property
    def inputs(self) -> Inputs: ...

    @property
    def batch_size(self) -> int: ...

    def run(self, batch: Batch, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Padded arrays of B windows -> those named of PROBABILITY [B, K] or RATING [B, A], EMBEDDING [B, D] and,
        if `card.frames`, FRAMES [B, T, F] float32.
        """


@dataclass(frozen=True)
class Pipeline:
    """The network and all that stands around it.

    Attributes:
      apply: pure and exportable: (variables, padded arrays) -> results by name, see `Runner.run`; no callbacks and no
        constants but small ones, as parameters come in as variables.
      variables: nested dicts of NumPy arrays: parameters, statistics, classifier, calibration.
      frames: the same for FRAMES alone, or None.
      batch_size: windows at a time.
    """

    card: Card
    inputs: Inputs
    apply: Callable[[Variables, Batch], dict[str, jax.Array]]
    variables: Variables
    frames: Callable[[Variables, Batch], jax.Array] | None = None
    batch_size: int = 16
    _placed: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def run(self, batch: Batch, names: Sequence[str]) -> dict[str, np.ndarray]:
        """See `Runner`. One window alone has a program of its own; any other number is filled up to `batch_size`."""
        count = len(next(iter(batch.values())))
        if count > self.batch_size:
            raise ValueError(f"{count} windows at a time; at most {self.batch_size}.")
        size = 1 if count == 1 else self.batch_size
        rows = np.minimum(np.arange(size), count - 1)
        full = {name: np.asarray(x)[rows] for name, x in batch.items()}
        if not self._placed:
            self._placed["variables"] = jax.device_put(self.variables)
            self._placed["apply"] = jax.jit(self.apply)
            self._placed["frames"] = self.frames and jax.jit(self.frames)
        made: dict[str, Any] = {}
        if set(names) - {FRAMES}:
            made |= self._placed["apply"](self._placed["variables"], full)
        if FRAMES in names:
            made[FRAMES] = self._placed["frames"](self._placed["variables"], full)
        return {name: np.asarray(made[name])[:count] for name in names}
