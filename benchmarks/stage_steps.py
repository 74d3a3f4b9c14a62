"""Steps of a stage taken as `train.run` takes them: its feed, its compiled step, its looks at the clock only."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import jax

    from sercl_jax.types import Stage


class Source(Protocol):
    """Where batches come from: a `feed.Feed`, or something like it."""

    select: Any
    arrays: tuple[Any, ...]

    def dispatches(self, first: int, stop: int, due: Callable[[int], bool]) -> Iterator[tuple[Any, int]]: ...


class Steps:
    """A training without logs and checkpoints, fed from anywhere.

    Args:
      stage: what is trained.
      devices: of all processes.

    Attributes:
      loss: of the last step.
    """

    def __init__(self, stage: "Stage", devices: Sequence["jax.Device"]):
        from sercl_jax import parallel, train

        self._stage, self._devices = stage, tuple(devices)
        start = stage.init(train.init_key(0), stage.batch(0))
        self._state = parallel.replicate(train.initial_state(start, stage.optimizer), devices)
        self._seed = parallel.replicate(np.uint32(0), devices)
        self.loss = float("nan")

    def take(self, source: Source, first: int, stop: int) -> float:
        """Takes the steps from `first` to `stop`; returns seconds for each."""
        import jax

        from sercl_jax import parallel, train

        stage = self._stage
        in_flight, pending = parallel.in_flight(self._devices), []
        began = time.perf_counter()
        for batch, count in source.dispatches(first, stop, lambda step: step == stop):
            take = train.mapped_step(stage.loss, stage.optimizer.update, self._devices, source.select, count > 1)
            self._state, told = take(self._state, batch, self._seed, *source.arrays)
            pending.append(told)
            if len(pending) >= in_flight:
                jax.block_until_ready(pending[-in_flight])
        jax.block_until_ready((self._state, pending[-1]))
        seconds = time.perf_counter() - began
        self.loss = float(np.ravel(pending[-1][0].addressable_shards[0].data)[-1])
        return seconds / (stop - first)


class StageSteps:
    """The same with a feed of its own, on and on.

    Args:
      stage, devices: see `Steps`.
      resident, steps_per_dispatch: see `feed.Feed`.

    Attributes:
      waited: seconds that the last turn waited for input.
    """

    def __init__(self, stage: "Stage", devices: Sequence["jax.Device"], *, resident: str, steps_per_dispatch: int):
        from sercl_jax import feed

        self._feed = feed.Feed(stage.batch, devices, resident=resident, steps_per_dispatch=steps_per_dispatch,
                               log_every=10**9)
        self._steps = Steps(stage, devices)
        self._done = 0
        self.waited = 0.0

    @property
    def loss(self) -> float:
        """Of the last step."""
        return self._steps.loss

    def take(self, steps: int) -> float:
        """Takes so many steps; returns seconds for each."""
        seconds = self._steps.take(self._feed, self._done, self._done + steps)
        self._done, self.waited = self._done + steps, self._feed.waited
        return seconds
