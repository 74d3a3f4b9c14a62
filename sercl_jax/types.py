"""What the parts hand to each other: every field with its shape and the meaning of padding.

Letters used everywhere: B batch, S samples, T frames, N nodes, E edges, F features, D model width, L layers,
K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # worker processes read this module and must not pay for importing JAX
    import jax

SAMPLE_RATE = 16_000  # Hz; every record is resampled to it

# Trees of arrays.
Variables = Mapping[str, Any]
Batch = Mapping[str, Any]
Metrics = dict[str, tuple["jax.Array", "jax.Array"]]  # name -> (sum, count), so that they add up over steps


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is known of one utterance, but for its samples. Empty text means unknown, NaN a missing rating."""

    id: str  # unique in its corpus; sorting by it fixes the order of everything
    num_samples: int  # at 16 kHz
    label: str = ""  # emotion, canonical English lower case ("angry"), or "" for unlabelled
    speaker: str = ""
    session: str = ""
    sentence: str = ""  # which text is spoken; equal for two takes of one sentence
    gender: str = ""  # "female", "male" or ""
    split: str = ""  # official partition, if the corpus has one
    fold: str = ""  # official or user-given test fold, if any
    activation: float = math.nan
    valence: float = math.nan
    dominance: float = math.nan
    corpus: str = ""  # which one, where several are joined

    @property
    def seconds(self) -> float:
        return self.num_samples / SAMPLE_RATE


@dataclass(frozen=True)
class Input:
    """Batches in two steps: `draw` says what a batch is made of, `read` makes it, and calling both makes it whole.

    Every process draws all of a batch and reads only its own rows of it. Where the corpus fits on the devices,
    `arrays` lie there and `select` makes the batch of them, inside the compiled step.
    """

    # Global step -> small arrays with leading axis B (numbers of utterances, masks, places to cut), cheap to make.
    draw: Callable[[int], Batch]
    read: Callable[[Batch], Batch]  # any rows of what was drawn -> the same rows of the batch, as NumPy arrays
    # (arrays, rows of what was drawn) -> the same as `read`, in JAX. One object for all stages of a kind: stages with
    # the same one share a compiled step.
    select: Callable[[Mapping[str, Any], Batch], Batch] | None = None
    arrays: Mapping[str, np.ndarray] | None = None  # of the whole corpus; may be memory-mapped

    def __call__(self, step: int) -> Batch:
        """The whole batch of a global step."""
        return self.read(self.draw(step))


@dataclass(frozen=True)
class Stage:
    """One training stage: functions and data, nothing else. `train.run` runs any of them.

    Every function is pure. `loss` runs inside `pmap` over `parallel.AXIS` on one device's part of the batch and
    returns the loss of the *global* batch (it gathers what it needs), so that N devices do what one would.
    Stages with the same `loss` and `optimizer.update` objects share one compiled step.
    """

    name: str
    steps: int  # optimizer steps in all
    steps_per_epoch: int  # for logs and schedules
    # Global step -> the whole batch as NumPy arrays with leading axis B, divisible by the number of devices. An
    # `Input` lets each process read its own rows only, and a corpus stay on the devices.
    batch: Callable[[int], Batch]
    init: Callable[[jax.Array, Batch], Variables]  # (key, batch) -> {"params": ..., other collections}
    loss: Callable[[Variables, Batch, jax.Array], tuple[jax.Array, Metrics]]  # (variables, batch, step key)
    optimizer: Any  # optax.GradientTransformation; sees variables["params"] only
    predict: Callable[[Variables, Batch], Any] | None = None
    variables: Variables | None = None  # what it starts from, instead of `init`
    # A score, or "score" and other figures for the log; a higher score is better, and keeps its checkpoint.
    validate: Callable[[Variables], float | Mapping[str, float]] | None = None
    validate_every: int = 0  # steps; 0 never
    settings: Mapping[str, Any] = field(default_factory=dict)  # JSON-like; names this training for resuming


@dataclass(frozen=True)
class Frames:
    """Low-level descriptors of a whole corpus, in the order of its utterances.

    Attributes:
      values: [total frames, F] float32, all utterances one after another (may be memory-mapped).
      offsets: [U + 1] int64; utterance u owns rows offsets[u]:offsets[u + 1].
      names: F feature names.
      hop: seconds between frames.
      key: hexadecimal name of corpus, settings and version; equal keys mean equal values.
    """

    values: np.ndarray
    offsets: np.ndarray
    names: tuple[str, ...]
    hop: float
    key: str

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, u: int) -> np.ndarray:
        """The frames of utterance u, [T, F]."""
        return self.values[self.offsets[u]:self.offsets[u + 1]]
