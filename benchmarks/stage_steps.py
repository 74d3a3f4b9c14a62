"""Steps of a stage taken as `train.run` takes them: its feed, its compiled step, its looks at the clock only."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax

    from sercl_jax.types import Stage


class StageSteps:
    """A training without logs and checkpoints.

    Args:
      stage: what is trained.
      devices: of all processes.
      resident, steps_per_dispatch: see `feed.Feed`.

    Attributes:
      loss: of the last step.
      waited: seconds that the last turn waited for input.
    """

    def __init__(self, stage: "Stage", devices: Sequence["jax.Device"], *, resident: str, steps_per_dispatch: int):
        from sercl_jax import feed, parallel, train

        self._stage, self._devices = stage, tuple(devices)
        self._feed = feed.Feed(stage.batch, devices, resident=resident, steps_per_dispatch=steps_per_dispatch,
                               log_every=10**9)
        start: Any = stage.init(train.init_key(0), stage.batch(0))
        self._state = parallel.replicate(
            {"step": np.zeros((), np.int32), "params": start["params"],
             "optimizer": stage.optimizer.init(start["params"]),
             "fixed": {name: tree for name, tree in start.items() if name != "params"}}, devices)
        self._seed = parallel.replicate(np.uint32(0), devices)
        self._done = 0
        self.loss = float("nan")
        self.waited = 0.0

    def take(self, steps: int) -> float:
        """Takes so many steps; returns seconds for each."""
        import jax

        from sercl_jax import parallel, train

        stage, last = self._stage, self._done + steps
        in_flight, pending = parallel.in_flight(self._devices), []
        began = time.perf_counter()
        for batch, count in self._feed.dispatches(self._done, last, lambda step: step == last):
            take = train.mapped_step(stage.loss, stage.optimizer.update, self._devices, self._feed.select, count > 1)
            self._state, told = take(self._state, batch, self._seed, *self._feed.arrays)
            pending.append(told)
            if len(pending) >= in_flight:
                jax.block_until_ready(pending[-in_flight])
        jax.block_until_ready((self._state, pending[-1]))
        seconds = time.perf_counter() - began
        self._done, self.waited = last, self._feed.waited
        self.loss = float(np.ravel(pending[-1][0].addressable_shards[0].data)[-1])
        return seconds / steps
