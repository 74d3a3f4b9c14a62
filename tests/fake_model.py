"""A model without a network, for tests of what stands around one: louder is angrier."""

import threading
from collections.abc import Iterable, Iterator

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.inference.card import Card
from sercl_jax.inference.prediction import Prediction, Window, combine
from sercl_jax.inference.recording import Recording
from sercl_jax.inference.windows import spans
from sercl_jax.types import SAMPLE_RATE

LABELS = ("angry", "happy", "neutral", "sad")
RATED = ("activation", "valence", "dominance")


class FakeModel:
    """Probabilities or ratings from the loudness of each window.

    Args:
      kind: see `Card`.
      gate: who predicts waits until it is set.

    Attributes:
      calls: how many recordings each call was given.
      threads: names of the threads that have called.
    """

    def __init__(self, kind: str = "classes", gate: threading.Event | None = None):
        labels = {"classes": LABELS, "ratings": RATED}.get(kind, ())
        self.card = Card("serugcl", kind, labels, "tones", 8, 2.0, calibration="none" if kind == "classes" else "")
        self.gate, self.calls, self.threads = gate, list[int](), set[str]()
        self.started = threading.Event()

    def predict_each(self, items: Iterable[Recording], *, window: float | None = None, overlap: float = 0.5,
                     workers: int | None = None) -> Iterator[Prediction | UserError]:
        assert workers == 0
        items = list(items)
        self.calls.append(len(items))
        self.threads.add(threading.current_thread().name)
        self.started.set()
        if self.gate is not None:
            self.gate.wait(60)
        return (self._prediction(item, self.card.seconds if window is None else window, overlap) for item in items)

    def _prediction(self, item: Recording, window: float, overlap: float) -> Prediction | UserError:
        if item.name == "unlucky.wav":
            return UserError("unlucky.wav: has no voiced frame.")
        if item.name == "broken.wav":
            raise ZeroDivisionError("inside the model")
        told = tuple(Window(start / SAMPLE_RATE, end / SAMPLE_RATE, self._values(item.waveform[start:end]))
                     for start, end in spans(len(item.waveform), window, overlap))
        return Prediction(item.name, len(item.waveform) / SAMPLE_RATE, combine(told), told, self.card.kind)

    def _values(self, waveform: np.ndarray) -> dict[str, float]:
        loudness = float(np.sqrt(np.mean((waveform / 32768) ** 2)))
        if self.card.kind == "ratings":
            return {name: 1 + (k + 1) * loudness for k, name in enumerate(RATED)}
        scores = np.exp([8 * loudness, 1, 1 - loudness, 2 - 8 * loudness])
        return dict(zip(LABELS, (scores / scores.sum()).tolist(), strict=True))
