"""What it gains to keep the corpus on the device, and to send it several steps at once.

    python -m benchmarks.dispatch
    python -m benchmarks.dispatch --steps-per-dispatch 1,4,16 --json dispatch.json --table dispatch.md

Trains SERUGCL and CPC's recognizer on random data as `train.run` does, in every combination of
`config.train.resident` and `config.train.steps_per_dispatch`, in turns. Gains are over whole batches sent one by one.
On a CPU there is little to gain: the corpus is in its memory anyway, and a step takes far longer than its dispatch.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import workers
from sercl_jax.errors import UserError

from . import small_stages, timing

PLAIN = ("no", 1)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dispatch", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="serugcl,recognizer", help=f"of {', '.join(small_stages.KINDS)}")
    parser.add_argument("--size", choices=small_stages.SIZES, default="full")
    parser.add_argument("--steps-per-dispatch", default="1,8", help="separated by commas; 1 is always among them")
    parser.add_argument("--repeats", type=int, default=7, help="timed turns of each combination")
    parser.add_argument("--steps", type=int, default=16, help="in a turn")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="the default is JAX's")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--table", type=Path, help="where to write the table, as Markdown")
    arguments = parser.parse_args(argv)
    arguments.models = arguments.models.split(",")
    if unknown := set(arguments.models) - set(small_stages.KINDS):
        raise UserError(f"--models: {min(unknown)!r} is none of {', '.join(small_stages.KINDS)}.")
    try:
        arguments.counts = sorted({1, *(int(count) for count in arguments.steps_per_dispatch.split(","))})
    except ValueError:
        raise UserError(f"--steps-per-dispatch={arguments.steps_per_dispatch}: whole numbers are wanted.") from None
    for name in ("repeats", "steps"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name}={getattr(arguments, name)}: must be at least 1.")
    if arguments.counts[0] < 1 or arguments.counts[-1] > arguments.steps:
        raise UserError(f"--steps-per-dispatch: from 1 to --steps={arguments.steps}.")
    return arguments


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    began = timing.machine()
    from . import our_step  # after the threads are set

    device = our_step.chosen_device(arguments.device)
    models = {name: _measure(name, arguments, device) for name in arguments.models}
    return {"benchmark": "dispatch", "size": arguments.size, "repeats": arguments.repeats,
            "steps_per_repeat": arguments.steps, "threads": arguments.threads, "models": models,
            "device": {"platform": device.platform, "kind": device.device_kind}, "date": timing.now(),
            "versions": timing.versions("jax", "jaxlib"),
            "machine": began | {"load_after": list(os.getloadavg())}}


def _measure(name: str, arguments: argparse.Namespace, device: Any) -> dict[str, Any]:
    from . import stage_steps

    size = small_stages.SIZES[arguments.size][name]
    stage = small_stages.make(name, size)
    able = getattr(stage.batch, "arrays", None) is not None
    ways = list(itertools.product(("no", "yes") if able else ("no",), arguments.counts))
    sides = {way: stage_steps.StageSteps(stage, (device,), resident=way[0], steps_per_dispatch=way[1])
             for way in ways}
    first = {way: side.take(arguments.steps) * arguments.steps for way, side in sides.items()}
    seconds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    waited: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    for turn in range(arguments.repeats):
        for way in ways[turn % len(ways):] + ways[:turn % len(ways)]:
            seconds[way].append(sides[way].take(arguments.steps))
            waited[way].append(sides[way].waited / arguments.steps / seconds[way][-1])
    plain = np.array(seconds[PLAIN])
    return {"size": size, "ways": [
        {"resident": way[0], "steps_per_dispatch": way[1], "step_seconds": timing.summary(np.array(seconds[way])),
         "gain": timing.spread(plain / np.array(seconds[way])), "input_wait": float(np.median(waited[way])),
         "first_turn_seconds": first[way], "loss": sides[way].loss} for way in ways]}


def table(result: dict[str, Any]) -> str:
    """Markdown: a row for each combination."""
    lines = ["| model | corpus on the device | steps per dispatch | ms per step | gain | waits for input |",
             "| --- | --- | ---: | ---: | ---: | ---: |"]
    for name, told in result["models"].items():
        lines += [f"| {name} | {way['resident']} | {way['steps_per_dispatch']} | "
                  f"{1e3 * way['step_seconds']['median']:.3g} | {way['gain']['median']:.2f} "
                  f"({way['gain']['quartiles'][0]:.2f} to {way['gain']['quartiles'][1]:.2f}) | "
                  f"{100 * way['input_wait']:.1f} % |" for way in told["ways"]]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    def show(result: dict[str, Any]) -> None:
        print(f"{result['device']['kind']}, {result['threads']} threads, size {result['size']}\n\n{table(result)}")

    return timing.run(argv, parse, measure, show, table)


if __name__ == "__main__":
    sys.exit(main())
