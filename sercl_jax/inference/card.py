"""What a model is and where it comes from, as it is told to people and stored in bundles."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

CLASSES, RATINGS, REPRESENTATION = KINDS = ("classes", "ratings", "representation")


@dataclass(frozen=True)
class Card:
    """Attributes:
      method: serugcl, cpc or supcon; or another that a user added.
      kind: one of KINDS: it tells emotion classes, ratings, or makes embeddings only.
      labels: K class names, or names of the rated dimensions; () for a representation.
      corpus: what it was trained on.
      embedding: D, the width of an utterance's embedding.
      seconds: how long a window of a long recording is by default: as long as most training utterances.
      trim: whether digital silence at both ends is left out first.
      calibration: how probabilities were calibrated, in words; "" for other kinds.
      notes: what whoever uses it should know, such as that it was trained on synthetic speech.
      frames: F, the width of frame embeddings; 0 if it has none.
      frame_hop: samples at 16 kHz between frames.
      frame_reach: samples that the first frame needs: S samples have 1 + (S - frame_reach) // frame_hop frames, but
        at least one.
    """

    method: str
    kind: str
    labels: tuple[str, ...]
    corpus: str
    embedding: int
    seconds: float
    trim: bool = False
    calibration: str = ""
    notes: tuple[str, ...] = ()
    frames: int = 0
    frame_hop: int = 160
    frame_reach: int = 160
    facts: Mapping[str, Any] = field(default_factory=dict)  # JSON-like: protocol, metrics, config, versions

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Card":
        return cls(**{**plain, "labels": tuple(plain["labels"]), "notes": tuple(plain["notes"])})
