"""A process of `benchmarks.scaling`: takes its part in steps and prints, as JSON, what they took."""

import json
import os
import sys
from typing import Any

import numpy as np

from . import small_stages


def main(kind: str, size: dict[str, int], repeats: int, steps: int, coordinator: str | None = None,
         processes: int | None = None, process_id: int | None = None, core: int | None = None) -> dict[str, Any]:
    """Joins the others, if there are any, and trains.

    Args:
      kind, size: see `small_stages`.
      repeats, steps: timed turns, and steps in each.
      coordinator, processes, process_id: see `parallel.initialize`.
      core: the one to stay on, modulo those there are; None for all.
    """
    if core is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})
        os.environ.update(NPROC="1", OMP_NUM_THREADS="1")
    from sercl_jax import parallel

    parallel.initialize(coordinator, processes, process_id)
    from . import stage_steps

    devices = parallel.all_devices()
    side = stage_steps.StageSteps(small_stages.make(kind, size), devices, resident="no", steps_per_dispatch=1)
    side.take(steps)
    seconds, waited = [], []
    for _ in range(repeats):
        seconds.append(side.take(steps))
        waited.append(side.waited / steps / seconds[-1])
    return {"seconds": seconds, "loss": side.loss, "devices": len(devices), "waited": float(np.median(waited))}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
