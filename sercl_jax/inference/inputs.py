"""Waveforms to arrays, on the host: features where they are NumPy's, else the samples themselves.

Nothing here imports JAX, and everything pickles: worker processes describe while this one computes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sercl_jax import features as feature_kinds
from sercl_jax import functionals as functional_values
from sercl_jax import nodes as node_values
from sercl_jax.bucketed import SECONDS
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE

HOP = 160  # samples; lengths of waveforms are multiples of it
SAMPLES = tuple(round(seconds * SAMPLE_RATE) for seconds in SECONDS)  # of padded waveforms
FRAMES = tuple(samples // HOP for samples in SAMPLES)  # of padded features, 10 ms each

# Statistics of one speaker, relative to those of the training corpus: what standardises by that speaker's own audio.
SPEAKER = {"speaker_mean": 0.0, "speaker_std": 1.0}
SPEAKER_EMBEDDING = {"speaker_embedding_mean": 0.0, "speaker_embedding_std": 1.0}

Described = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class NodeInputs:
    """Features of the host, averaged to the nodes of a graph: "x" [B, N, F] float32, "mask" [B, N] bool.

    Attributes:
      features: kinds of features, joined by "+" where several stand side by side; none that needs the device.
      nodes: N, the most there can be.
      functionals: whether "functionals" [B, D] of the frames go with them.
      speaker: F, where a model standardises each speaker: "speaker_mean" and "speaker_std" [B, F], 0 and 1 unless
        `described` holds others; 0 otherwise.
      speaker_embedding: the same for the embedding, [B, D].
    """

    features: str
    nodes: int
    functionals: bool = False
    speaker: int = 0
    speaker_embedding: int = 0

    @property
    def lengths(self) -> tuple[int, ...]:
        return (self.nodes,)

    @property
    def longest(self) -> None:
        """Any number of frames is averaged to the nodes."""

    @property
    def in_workers(self) -> bool:
        return True

    def describe(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        frames, names = frames_of(waveform, self.features)
        voiced_only = tuple(i for i, name in enumerate(names) if name in node_values.VOICED_ONLY)
        made = {"x": node_values.average_frames(frames, self.nodes, voiced_only)}
        if self.functionals:
            made["functionals"] = functional_values.functionals(frames, names)
        return made

    def size(self, described: Described) -> int:
        return len(described["x"])

    def batch(self, described: Sequence[Described], length: int) -> dict[str, np.ndarray]:
        made = _padded_frames(described, length)
        if self.functionals:
            made["functionals"] = np.stack([one["functionals"] for one in described])
        return made | _speaker(described, self.speaker, self.speaker_embedding)

    def facts(self) -> dict[str, Any]:
        return {"kind": "nodes", **asdict(self)}


@dataclass(frozen=True)
class FrameInputs:
    """Features of the host, frame by frame: "x" [B, T, F] float32, "mask" [B, T] bool.

    Attributes:
      features: as in `NodeInputs`.
      lengths: frames of 10 ms.
    """

    features: str
    lengths: tuple[int, ...] = FRAMES

    @property
    def longest(self) -> int:
        """Samples of the longest window."""
        return self.lengths[-1] * HOP

    @property
    def in_workers(self) -> bool:
        return self.features != "logmel"  # quicker than sending it to and fro

    def describe(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": frames_of(waveform, self.features)[0]}

    def size(self, described: Described) -> int:
        return len(described["x"])

    def batch(self, described: Sequence[Described], length: int) -> dict[str, np.ndarray]:
        return _padded_frames(described, length)

    def facts(self) -> dict[str, Any]:
        return {"kind": "frames", **asdict(self)}


@dataclass(frozen=True)
class WaveformInputs:
    """Samples: "waveform" [B, S] int16, "samples" [B] int32.

    Attributes:
      lengths: in samples, multiples of `HOP`.
      speaker, speaker_embedding: as in `NodeInputs`.
    """

    lengths: tuple[int, ...] = SAMPLES
    speaker: int = 0
    speaker_embedding: int = 0

    @property
    def longest(self) -> int:
        """Samples of the longest window."""
        return self.lengths[-1]

    @property
    def in_workers(self) -> bool:
        return False

    def describe(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        return {"waveform": waveform}

    def size(self, described: Described) -> int:
        return len(described["waveform"])

    def batch(self, described: Sequence[Described], length: int) -> dict[str, np.ndarray]:
        waveforms = [one["waveform"] for one in described]
        padded = np.zeros((len(waveforms), length), np.int16)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[:len(waveform)] = waveform
        return {"waveform": padded, "samples": np.array([len(waveform) for waveform in waveforms], np.int32),
                **_speaker(described, self.speaker, self.speaker_embedding)}

    def facts(self) -> dict[str, Any]:
        return {"kind": "waveform", **asdict(self)}


AnyInputs = NodeInputs | FrameInputs | WaveformInputs
_KINDS: dict[str, type[AnyInputs]] = {"nodes": NodeInputs, "frames": FrameInputs, "waveform": WaveformInputs}


def from_facts(facts: Mapping[str, Any]) -> AnyInputs:
    """The inverse of `facts()`, also after a passage through JSON.

    Raises:
      UserError: unknown or missing facts: another version wrote them.
    """
    own: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
    try:
        return _KINDS[own.pop("kind")](**own)
    except (KeyError, TypeError) as error:
        raise UserError(f"inputs {dict(facts)}: not known to this version ({error}); use the one that wrote "
                        "them.") from error


def frames_of(waveform: np.ndarray, features: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames [T, F] of one waveform [S], kinds joined by "+" side by side and cut to the shortest, and F names."""
    kinds = features.split("+")
    parts = [feature_kinds.describe(waveform, kind) for kind in kinds]
    count = min(map(len, parts))
    return (np.concatenate([part[:count] for part in parts], axis=1),
            tuple(name for kind in kinds for name in feature_kinds.feature_names(kind)))


def _padded_frames(described: Sequence[Described], length: int) -> dict[str, np.ndarray]:
    x = np.zeros((len(described), length, described[0]["x"].shape[1]), np.float32)
    mask = np.zeros(x.shape[:2], bool)
    for b, one in enumerate(described):
        x[b, :len(one["x"])] = one["x"]
        mask[b, :len(one["x"])] = True
    return {"x": x, "mask": mask}


def _speaker(described: Sequence[Described], width: int, embedding: int) -> dict[str, np.ndarray]:
    """What is given of a speaker's statistics, and the training corpus' own for the others."""
    made = {}
    for columns, defaults in ((width, SPEAKER), (embedding, SPEAKER_EMBEDDING)):
        for name, value in defaults.items() if columns else ():
            made[name] = np.stack([np.asarray(one[name], np.float32) if name in one else
                                   np.full(columns, value, np.float32) for one in described])
    return made
