"""The thread that owns the model: what waits goes through it together."""

import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.inference.card import Card
from sercl_jax.inference.prediction import Prediction
from sercl_jax.inference.recording import Recording
from sercl_jax.types import SAMPLE_RATE

_log = logging.getLogger(__name__)


class Predictor(Protocol):
    """What of `sercl_jax.inference.model.Model` is used here."""

    @property
    def card(self) -> Card: ...

    def predict_each(self, items: Iterable[Recording], *, window: float | None = None, overlap: float = 0.5,
                     workers: int | None = None) -> Iterator[Prediction | UserError]: ...


def warm_up(model: Predictor) -> None:
    """Predicts noise of many lengths, alone and together, so that nobody waits for programs to be compiled."""
    rng = np.random.default_rng(0)
    most = 1.5 * model.card.seconds  # longer recordings are cut into windows
    for seconds in [*(0.5 * 2**k for k in range(8) if 0.5 * 2**k < most), most]:
        noise = Recording("warm-up", rng.normal(0, 1000, round(seconds * SAMPLE_RATE)).astype(np.int16))
        for together in (1, 2):
            for result in model.predict_each([noise] * together, workers=0):
                if isinstance(result, UserError):
                    raise result


@dataclass(frozen=True)
class Job:
    """One recording, how it is cut into windows, and where its answer goes."""

    recording: Recording
    window: float | None
    overlap: float
    answer: "Future[Prediction]"


class Engine:
    """Args:
      model: used by one thread only, as models are not made for more.
      together: so many recordings at a time; those that wait while others are computed share programs and calls.
    """

    def __init__(self, model: Predictor, together: int = 16):
        self._model, self._together = model, together
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def submit(self, recording: Recording, window: float | None = None,
               overlap: float = 0.5) -> "Future[Prediction]":
        """The answer to come, or a `UserError`; cancelled before its turn, it is not computed."""
        job = Job(recording, window, overlap, Future())
        self._jobs.put(job)
        return job.answer

    def close(self) -> None:
        """Answers what waits and ends the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, ended = [job], False
            while len(jobs) < self._together and not self._jobs.empty():
                another = self._jobs.get()
                if another is None:
                    ended = True
                    break
                jobs.append(another)
            self._answer([job for job in jobs if job.answer.set_running_or_notify_cancel()])
            if ended:
                return

    def _answer(self, jobs: list[Job]) -> None:
        for window, overlap in dict.fromkeys((job.window, job.overlap) for job in jobs):
            alike = [job for job in jobs if (job.window, job.overlap) == (window, overlap)]
            try:
                found = self._model.predict_each([job.recording for job in alike], window=window, overlap=overlap,
                                                 workers=0)
                for job, result in zip(alike, found, strict=True):
                    if isinstance(result, UserError):
                        job.answer.set_exception(result)
                    else:
                        job.answer.set_result(result)
            except Exception as error:
                if not isinstance(error, UserError):
                    _log.exception("The model failed on %d recordings.", len(alike))
                for job in alike:
                    if not job.answer.done():
                        job.answer.set_exception(error)
