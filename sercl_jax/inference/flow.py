"""Recordings through a model: cut, described, computed in batches, and put together in order.

A few batches of windows are in memory at a time, however many or long the recordings are.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from sercl_jax import audio, bucketed, workers
from sercl_jax.errors import UserError
from sercl_jax.inference.inputs import Described
from sercl_jax.inference.pipeline import Inputs, Runner
from sercl_jax.inference.recording import Recording
from sercl_jax.inference.windows import Span, spans
from sercl_jax.types import SAMPLE_RATE

BATCHES = 8  # of windows that are sorted by length together
# Processes take seconds to start: so much audio must be at hand for them to pay off.
WORTH_WORKERS = 240  # seconds


@dataclass(frozen=True)
class Settings:
    """How recordings are cut: see `Model.predict`."""

    seconds: float
    overlap: float
    trim: bool = False
    workers: int | None = None


_NONE = Span(0, 0)


@dataclass(frozen=True)
class Part:
    """One window of a recording, or an error in its place.

    Attributes:
      number: which recording it is of.
      name: of the recording.
      samples: length of the recording.
      span: where the window lies in it.
      waveform: its samples.
      error: what is wrong with the recording; it has no other part then.
    """

    number: int
    name: str = ""
    samples: int = 0
    span: Span = _NONE
    waveform: np.ndarray | None = None
    error: UserError | None = None


@dataclass(frozen=True)
class Result:
    """What the windows of one recording give, in order; `spans` in samples from the recording's beginning."""

    name: str
    samples: int
    spans: tuple[Span, ...]
    values: tuple[np.ndarray, ...]


def results(runner: Runner, items: Iterable[Recording | UserError], name: str,
            settings: Settings) -> Iterator[Result | UserError]:
    """One result or error for each recording, in order; `name` is what to ask the runner for."""
    pairs = described(runner.inputs, parts(items, settings, runner.inputs.longest), settings)
    return together(computed(runner, pairs, (name,)), name)


def parts(items: Iterable[Recording | UserError], settings: Settings, longest: int | None) -> Iterator[Part]:
    """The windows of all recordings. Those of digital silence are left out, unless there are no others."""
    for number, item in enumerate(items):
        if isinstance(item, UserError):
            yield Part(number, error=item)
            continue
        waveform, first = item.waveform, 0
        if settings.trim:
            first, length = audio.trimmed(len(waveform), *audio.silence(waveform))
            waveform = waveform[first:first + length]
        cut = spans(len(waveform), settings.seconds, settings.overlap, longest)
        sounding = [span for span in cut if np.ptp(waveform[span.start:span.end])]
        for span in sounding or cut:
            yield Part(number, item.name, len(item.waveform), Span(first + span.start, first + span.end),
                       waveform[span.start:span.end])


def described(inputs: Inputs, stream: Iterable[Part],
              settings: Settings) -> Iterator[tuple[Part, Described | UserError]]:
    """Each window with its arrays: by worker processes, where features take long and there is much to do."""
    count, stream = _processes(inputs, iter(stream), settings.workers)
    kept: deque[Part] = deque()  # windows whose arrays are still being made

    def waveforms() -> Iterator[np.ndarray | None]:
        for part in stream:
            kept.append(part)
            yield part.waveform

    for made in workers.stream(partial(_describe, inputs), waveforms(), workers=count, description="Features"):
        part = kept.popleft()
        yield part, part.error or (UserError(f"{part.name}: {made}") if isinstance(made, str) else made)


def _processes(inputs: Inputs, stream: Iterator[Part], wanted: int | None) -> tuple[int, Iterator[Part]]:
    """How many processes describe, and the windows again, some of which may be looked at for that."""
    if wanted is not None or not inputs.in_workers or workers.cpu_count() == 1:
        return (wanted or 0) if inputs.in_workers else 0, stream
    head, seconds = [], 0.0
    for part in stream:
        head.append(part)
        seconds += (part.span.end - part.span.start) / SAMPLE_RATE
        if seconds >= WORTH_WORKERS:
            return workers.cpu_count(), itertools.chain(head, stream)
    return 0, iter(head)


def _describe(inputs: Inputs, waveform: np.ndarray | None) -> Described | str:
    """Errors travel as text: what is wrong with one recording is no reason to end."""
    if waveform is None:
        return ""
    try:
        return inputs.describe(waveform)
    except UserError as error:
        return str(error)


def computed(runner: Runner, stream: Iterable[tuple[Part, Described | UserError]],
             names: Sequence[str]) -> Iterator[tuple[Part, Mapping[str, np.ndarray] | UserError]]:
    """Each window with what the model makes of it; windows of similar length go together."""
    stream = iter(stream)
    while group := list(itertools.islice(stream, BATCHES * runner.batch_size)):
        made: dict[int, Mapping[str, np.ndarray] | UserError] = {}
        buckets: dict[int, list[int]] = {}
        for place, (_, arrays) in enumerate(group):
            if isinstance(arrays, UserError):
                made[place] = arrays
            else:
                length = bucketed.length(runner.inputs.size(arrays), runner.inputs.lengths)
                buckets.setdefault(length, []).append(place)
        for length, places in sorted(buckets.items()):
            for start in range(0, len(places), runner.batch_size):
                chosen = places[start:start + runner.batch_size]
                batch = runner.inputs.batch([group[place][1] for place in chosen], length)  # type: ignore[misc]
                found = runner.run(batch, names)
                made |= {place: {name: found[name][row] for name in names} for row, place in enumerate(chosen)}
        for place, (part, _) in enumerate(group):
            yield part, made[place]


def together(stream: Iterable[tuple[Part, Mapping[str, np.ndarray] | UserError]],
             name: str) -> Iterator[Result | UserError]:
    """The windows of each recording as one result; an error in one of them is the recording's."""
    for _, group in itertools.groupby(stream, lambda pair: pair[0].number):
        pairs = list(group)
        error = next((made for _, made in pairs if isinstance(made, UserError)), None)
        if error is not None:
            yield error
            continue
        first = pairs[0][0]
        yield Result(first.name, first.samples, tuple(part.span for part, _ in pairs),
                     tuple(made[name] for _, made in pairs if not isinstance(made, UserError)))
