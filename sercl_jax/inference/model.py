"""Recordings of any length in, emotions, ratings or embeddings out."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sercl_jax.errors import UserError
from sercl_jax.inference import flow, recording, speaker, windows
from sercl_jax.inference.card import CLASSES, REPRESENTATION, Card
from sercl_jax.inference.flow import Result
from sercl_jax.inference.pipeline import EMBEDDING, FRAMES, PROBABILITY, RATING, Runner
from sercl_jax.inference.prediction import Prediction, Window, combine
from sercl_jax.inference.recording import Recording
from sercl_jax.types import SAMPLE_RATE

LEVELS = ("utterance", "frame")
Item = Recording | UserError


class Model:
    """What `sercl_jax.load` returns.

    Recordings are cut into overlapping windows (`windows.spans`), described, and computed in batches of few shapes; a
    recording says the same alone and among others.

    Attributes:
      card: what the model is.
      labels: K class names, or names of the rated dimensions; () for a representation.
    """

    def __init__(self, runner: Runner):
        self._runner = runner
        self.card: Card = runner.card
        self.labels: tuple[str, ...] = runner.card.labels

    def predict(self, audio: Any, sampling_rate: float | None = None, *, window: float | None = None,
                overlap: float = 0.5, together: bool = False, progress: bool = False,
                workers: int | None = None) -> Any:
        """Class probabilities, or ratings.

        Args:
          audio: a path, an array [S] or [S, channels] (int16, int32, or floats in [-1, 1]), or a list of those.
          sampling_rate: Hz of arrays, 16 kHz by default; files tell their own.
          window: seconds; `card.seconds` by default. See `windows.spans`.
          overlap: share of a window that the next one repeats.
          together: for models that normalise each speaker: all that is given is one speaker's, whose own statistics
            are used; otherwise those of the training corpus stand in.
          progress: whether to show a bar.
          workers: processes that extract features; None takes one per CPU where that pays off, 0 or 1 none.

        Returns:
          A `Prediction`, or a list of them for a list.

        Raises:
          UserError: bad audio, a window that is too long, or a model that predicts nothing.
        """
        made = self.predict_each(_read(audio, sampling_rate), window=window, overlap=overlap, together=together,
                                 workers=workers)
        return _as_given(audio, made, "Predicting" if progress else "")

    def predict_each(self, items: Iterable[Item], *, window: float | None = None, overlap: float = 0.5,
                     together: bool = False, workers: int | None = None) -> Iterator[Prediction | UserError]:
        """The same for programs that go on after a bad file: an error takes its prediction's place.

        Only so many recordings as fill some batches are in memory, unless `together`.

        Args:
          items: recordings; errors among them come out where they stood.
          window, overlap, together, workers: see `predict`.

        Raises:
          UserError: at once, if the model or a setting does not fit.
        """
        if self.card.kind == REPRESENTATION:
            raise UserError("this model makes embeddings only and predicts nothing; use embed.")
        name = PROBABILITY if self.card.kind == CLASSES else RATING
        return (self._prediction(result, name) if isinstance(result, Result) else result
                for result in self._results(items, name, window, overlap, together, workers))

    def embed(self, audio: Any, sampling_rate: float | None = None, *, level: str = "utterance",
              window: float | None = None, overlap: float = 0.5, together: bool = False, progress: bool = False,
              workers: int | None = None) -> Any:
        """Embeddings, [D] float32 of a recording or [T, F] of its frames; a list of them for a list.

        Of a recording with several windows: the mean of their embeddings, each weighted by its length; or the frames
        of all windows, each from a window in whose middle it lies.

        Args:
          level: "utterance" or "frame".
          audio, sampling_rate, window, overlap, together, progress, workers: see `predict`.

        Raises:
          UserError: as `predict`; or the model has no frame embeddings.
        """
        made = self.embed_each(_read(audio, sampling_rate), level=level, window=window, overlap=overlap,
                               together=together, workers=workers)
        return _as_given(audio, made, "Embedding" if progress else "")

    def embed_each(self, items: Iterable[Item], *, level: str = "utterance", window: float | None = None,
                   overlap: float = 0.5, together: bool = False,
                   workers: int | None = None) -> Iterator[np.ndarray | UserError]:
        """`embed` as `predict_each` is to `predict`."""
        if level not in LEVELS:
            raise UserError(f"level={level}: must be {' or '.join(LEVELS)}.")
        if level == "frame" and not self.card.frames:
            raise UserError("this model has no frame embeddings; use level=utterance.")
        name = EMBEDDING if level == "utterance" else FRAMES
        whole = self._frames if level == "frame" else self._mean
        return (whole(result) if isinstance(result, Result) else result
                for result in self._results(items, name, window, overlap, together, workers))

    def _results(self, items: Iterable[Item], name: str, window: float | None, overlap: float, together: bool,
                 workers: int | None) -> Iterator[Result | UserError]:
        seconds = self.card.seconds if window is None else window
        longest = self._runner.inputs.longest
        windows.spans(1, seconds, overlap, longest)  # errors come before the work
        settings = flow.Settings(seconds, overlap, self.card.trim, workers)
        if not together:
            return flow.results(self._runner, items, name, settings)
        return speaker.results(self._runner, items, name, settings)

    def _prediction(self, result: Result, name: str) -> Prediction:
        told = tuple(Window(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE,
                            dict(zip(self.labels, map(float, values), strict=True)))
                     for span, values in zip(result.spans, result.values, strict=True))
        return Prediction(result.name, result.samples / SAMPLE_RATE, combine(told), told,
                          "classes" if name == PROBABILITY else "ratings")

    def _mean(self, result: Result) -> np.ndarray:
        lengths = [span.end - span.start for span in result.spans]
        return np.average(np.stack(result.values), axis=0, weights=lengths).astype(np.float32)

    def _frames(self, result: Result) -> np.ndarray:
        def count(samples: int) -> int:
            return max(1 + (samples - self.card.frame_reach) // self.card.frame_hop, 1)

        parts = [values[:count(span.end - span.start)] for span, values in
                 zip(result.spans, result.values, strict=True)]
        total = count(result.spans[-1].end - result.spans[0].start)
        return windows.stitch(parts, result.spans, total, self.card.frame_hop)


def _read(audio: Any, sampling_rate: float | None) -> Iterator[Recording]:
    """One after another, when each is asked for: thousands of files need not fit in memory."""
    if not isinstance(audio, list | tuple):
        yield recording.read(audio, sampling_rate)
        return
    for number, one in enumerate(audio):
        yield recording.read(one, sampling_rate, None if isinstance(one, str | Path) else f"recording {number}")


def _as_given(audio: Any, made: Iterator[Any], bar: str) -> Any:
    """All of them as a list for a list, else the only one; the first error is raised."""
    several = isinstance(audio, list | tuple)
    found = []
    for one in tqdm(made, total=len(audio) if several else 1, desc=bar, unit="recording", disable=not bar,
                    dynamic_ncols=True):
        if isinstance(one, UserError):
            raise one
        found.append(one)
    return found if several else found[0]
