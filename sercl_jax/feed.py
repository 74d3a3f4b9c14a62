"""What the steps of a training are fed: batches, or only their numbers where the corpus lies on the devices.

Several steps may go to the devices in one dispatch. Neither changes a batch: it is a function of (seed, step).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sercl_jax import data, parallel
from sercl_jax.errors import UserError
from sercl_jax.types import Batch, Input

RESIDENT = ("auto", "yes", "no")
SHARE = 0.25  # of an accelerator's memory that a corpus may take by itself
WAITING = "waiting for input"  # as a trace names it
MOST = 32  # steps in a dispatch, where it is ours to choose


class Feed:
    """The batches of a training on its devices, made by a thread ahead of time.

    Attributes:
      select: makes a batch inside the compiled step, see `types.Input`; None if whole batches are sent.
      arrays: () or (the corpus on the devices,), what `select` needs.
      steps: at most so many in one dispatch.
      waited: seconds that the training has waited for input since `dispatches` was called.
    """

    def __init__(self, batch: Callable[[int], Batch], devices: Sequence[jax.Device], *, resident: str,
                 steps_per_dispatch: int, log_every: int):
        """Puts the corpus on the devices, if it is to be there.

        Args:
          batch: of a stage.
          devices: of all processes.
          resident: "yes": if the stage can; "no"; "auto": on accelerators, if it takes no more than a quarter of
            their memory.
          steps_per_dispatch: at most; 0: on accelerators with a resident corpus as many as divide `log_every`, up to
            32, else 1.
          log_every: steps between lines of the log, which no dispatch crosses.

        Raises:
          UserError: a value that is none of these.
        """
        if resident not in RESIDENT:
            raise UserError(f"config.train.resident={resident}: must be {', '.join(RESIDENT)}.")
        if steps_per_dispatch < 0:
            raise UserError(f"config.train.steps_per_dispatch={steps_per_dispatch}: must not be negative.")
        self._batch, self._devices = batch, devices
        self.select: Callable[..., Batch] | None = None
        self.arrays: tuple[Any, ...] = ()
        if isinstance(batch, Input) and batch.select is not None and batch.arrays is not None \
                and (resident == "yes" or (resident == "auto" and _fits(batch.arrays, devices))):
            self.select = batch.select
            self.arrays = (parallel.replicate(dict(batch.arrays), devices),)
        self.steps = steps_per_dispatch
        if steps_per_dispatch == 0:
            small = self.select is not None and devices[0].platform != "cpu"
            self.steps = max(n for n in range(1, MOST + 1) if max(log_every, 1) % n == 0) if small else 1
        self.waited = 0.0

    def dispatches(self, first: int, stop: int, due: Callable[[int], bool]) -> Iterator[tuple[Any, int]]:
        """What to dispatch for the steps from `first` to `stop`: batches on the devices, and how many each.

        A batch of one step is [devices, B/N, ...], of several [devices, steps, B/N, ...]. None goes beyond a number
        of done steps that is `due`, so that where dispatches end does not depend on where a training was resumed.
        """
        self.waited = 0.0
        chunks = list(_chunks(first, stop, self.steps, due))
        made = data.prefetch(lambda i: self._make(*chunks[i]), 0, len(chunks))
        while True:
            began = time.perf_counter()
            with jax.profiler.TraceAnnotation(WAITING):
                found = next(made, None)
            self.waited += time.perf_counter() - began
            if found is None:
                return
            yield from found

    def _make(self, start: int, stop: int) -> list[tuple[Any, int]]:
        parts = [self._part(step) for step in range(start, stop)]
        # Where lengths differ from step to step, such as those of SupCon, each goes by itself.
        if len(parts) > 1 and len({_shapes(part) for part in parts}) == 1:
            return [(parallel.place_steps(parts, self._devices), len(parts))]
        return [(parallel.place(part, self._devices), 1) for part in parts]

    def _part(self, step: int) -> dict[str, Any]:
        """This process's rows of a step's batch, or of what it is made of."""
        if not isinstance(self._batch, Input):
            return parallel.own_part(self._batch(step), self._devices)
        drawn = parallel.own_part(self._batch.draw(step), self._devices)
        return drawn if self.select else dict(self._batch.read(drawn))


def _fits(arrays: Mapping[str, np.ndarray], devices: Sequence[jax.Device]) -> bool:
    limit = parallel.memory_limit(devices[0])
    return limit is not None and sum(x.nbytes for x in arrays.values()) <= SHARE * limit


def _shapes(part: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((name, np.shape(x)) for name, x in part.items())


def _chunks(first: int, stop: int, most: int, due: Callable[[int], bool]) -> Iterator[tuple[int, int]]:
    """Divides steps into runs of `most` and single ones, so that two programs are enough."""
    start = first
    while start < stop:
        free = 1
        while free < most and start + free < stop and not due(start + free):
            free += 1
        end = start + (most if free == most else 1)
        yield start, end
        start = end
