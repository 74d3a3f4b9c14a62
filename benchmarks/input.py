"""Training from records: is the input pipeline the bottleneck, and does its memory depend on the corpus' size?

    python -m benchmarks.input [--trainings serugcl,cpc,cpc-small,supcon] [--utterances 200,2000] [--repeats 5]
        [--batch N] [--seconds S] [--steps N] [--batches 400] [--device cpu|gpu|tpu] [--threads N] [--json FILE]
        [--markdown FILE] [--profile DIR]

Corpora of generated noise, of utterances from 2 to 14 seconds, are built as a manifest's are, in a temporary folder.
Each method trains as `train.run` does, SERUGCL and SupCon on the smallest of them (what they compute of a corpus
once, features and the output of the frozen part, is not timed), CPC on the largest: batches are made of what is on
disk or in memory by a thread while the device computes. `share_of_resident` is the rate of such steps over that of
the same steps with one batch that stays on the device: 1 means that input costs nothing; `ratio` is the inverse.
Where training would by itself keep the corpus on the device or take several steps per dispatch, "default" has that as
well. All take turns in one process, with one compiled step; each turn starts the pipeline anew. On a CPU input and
steps compete for the same cores.

`--profile` also writes a trace of a turn from records, for TensorBoard or Perfetto, in which "waiting for input"
stands wherever training waits; `trace` has its sum after the first batch as a share of the turn. On an accelerator
steps go on meanwhile, so that the device is idle for no longer than that.

`alone` is of processes that read `--batches` batches of CPC's waveforms of each corpus without training: their speed
and memory, "opened" once the records are open, "reading" after the first quarter of the batches, "read" after the
last ("own" leaves out pages of mapped files).
"""

import argparse
import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.errors import UserError

from . import input_sides, pairs, stepping, timing
from .input_stages import TRAININGS, Training, build

if TYPE_CHECKING:
    from sercl_jax.corpora import Corpus

READ = TRAININGS["cpc"]  # what `alone` reads as


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", default="serugcl,cpc,cpc-small,supcon",
                        help=f"of {', '.join(TRAININGS)}, separated by commas")
    parser.add_argument("--utterances", default="200,2000", help="sizes of the corpora, separated by commas")
    parser.add_argument("--batch", type=int, help="utterances per step; each training has its own")
    parser.add_argument("--seconds", type=float, help="what utterances are cut to; each training has its own")
    parser.add_argument("--steps", type=int, help="training steps in a turn; each training has its own")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each side")
    parser.add_argument("--batches", type=int, default=400, help="read of each corpus to follow memory")
    stepping.add_outputs(parser, plot=False)
    parser.add_argument("--profile", type=Path, metavar="DIR", help="where to write traces of steps from records")
    arguments = parser.parse_args(argv)
    try:
        arguments.utterances = [int(size) for size in arguments.utterances.split(",")]
    except ValueError:
        raise UserError(f"--utterances={arguments.utterances}: whole numbers are wanted, such as 200,2000.") from None
    stepping.check_least(arguments, repeats=1, batches=4, **{
        name: least for name, least in (("batch", 1), ("steps", 1), ("seconds", 0.1))
        if getattr(arguments, name) is not None})
    if min(arguments.utterances) < 1:
        raise UserError(f"--utterances={min(arguments.utterances)}: must be at least 1.")
    arguments.trainings = arguments.trainings.split(",")
    if unknown := set(arguments.trainings) - set(TRAININGS):
        raise UserError(f"--trainings: {min(unknown)!r} is none of {', '.join(TRAININGS)}.")
    return arguments


def chosen(arguments: argparse.Namespace, training: Training) -> Training:
    """A training with what the command line says instead of its own."""
    given = {name: getattr(arguments, name) for name in ("batch", "steps", "seconds")
             if getattr(arguments, name) is not None}
    return dataclasses.replace(training, **given)


def trained(arguments: argparse.Namespace, name: str, training: Training, corpus: "Corpus",
            folder: Path) -> dict[str, Any]:
    """Real input beside a batch that stays on the device."""
    side = input_sides.training_side(training, corpus.directory, folder / "cache", arguments.device)
    with contextlib.closing(pairs.SideProcess(side)) as process:
        process.time(0, arguments.repeats)
        told, alone = process.facts(), process.call("alone")
        trace = {} if arguments.profile is None else {
            "trace": process.call("trace", folder=str(arguments.profile / name))}
    seconds = {kind: np.array(turns) for kind, turns in told["seconds"].items()}
    resident = seconds[input_sides.RESIDENT]
    return {"device": told["device"], "told": {
        **dataclasses.asdict(training), "utterances": len(corpus),
        **{f"{kind}_steps_per_second": 1 / float(np.median(turns)) for kind, turns in seconds.items()},
        "step_seconds": {kind: timing.summary(turns) for kind, turns in seconds.items()},
        "waiting_seconds": timing.summary(np.array(told["waited"])),
        "share_of_resident": timing.spread(resident / seconds[input_sides.REAL]),
        "ratio": timing.spread(seconds[input_sides.REAL] / resident),
        **({"default_share_of_resident": timing.spread(resident / seconds[input_sides.DEFAULT])}
           if input_sides.DEFAULT in seconds else {}),
        "input_alone_steps_per_second": alone, **trace}}


def read(arguments: argparse.Namespace, corpus: "Corpus") -> dict[str, Any]:
    """Speed and memory of the pipeline of waveforms alone."""
    training = chosen(arguments, READ)
    side = pairs.Side(".input_sides:make_reading", {
        "directory": str(corpus.directory), "batch": training.batch, "seconds": training.seconds,
        "batches": arguments.batches, "device": arguments.device})
    with contextlib.closing(pairs.SideProcess(side)) as process:
        seconds = process.time(0, 1)
        memory = process.facts()["memory"]
    rate = arguments.batches / seconds
    return {"utterances": len(corpus), "audio_hours": sum(u.seconds for u in corpus.utterances) / 3600,
            "audio_bytes": 2 * sum(u.num_samples for u in corpus.utterances), "batches": arguments.batches,
            "batch": training.batch, "batches_per_second": rate,
            "audio_hours_per_second": rate * training.batch * training.seconds / 3600, "memory": memory,
            "growth_while_reading": memory["read"]["own"] - memory["reading"]["own"]}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    began = timing.machine()
    models: dict[str, Any] = {}
    device: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        corpora = [build(Path(folder), size) for size in arguments.utterances]
        alone = [read(arguments, corpus) for corpus in corpora]
        for name in arguments.trainings:
            training = chosen(arguments, TRAININGS[name])
            corpus = (max if training.method == "cpc" else min)(corpora, key=len)
            found = trained(arguments, name, training, corpus, Path(folder))
            models[name], device = found["told"], found["device"]
    result = {"benchmark": "input", "date": timing.now(), "repeats": arguments.repeats, "threads": arguments.threads,
              "device": device, "versions": timing.versions("jax", "jaxlib", "grain", "array_record"),
              "models": models, "alone": alone, "machine": began | {"load_after": list(os.getloadavg())}}
    return result | {"implausible": implausible(models)}


def implausible(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What cannot be true, in words: input does not make steps faster."""
    shares = {name: told["share_of_resident"]["median"] for name, told in models.items()}
    return [f"{name}: steps with real input have {share:.2f} times the rate of those with a resident batch"
            for name, share in shares.items() if not 0 < share < 1.2]


def print_result(result: dict[str, Any]) -> None:
    """A few lines for people."""
    for name, told in result["models"].items():
        share = told["share_of_resident"]
        print(f"{name}, batches of {told['batch']}, {result['device']['kind']}, {result['threads']} threads: "
              f"{told['real_steps_per_second']:.4g} steps/s with real input, "
              f"{told['resident_steps_per_second']:.4g} with a batch on the device: {100 * share['median']:.1f} % "
              f"(quartiles {100 * share['quartiles'][0]:.1f}, {100 * share['quartiles'][1]:.1f}); input alone "
              f"{told['input_alone_steps_per_second']:.4g} batches/s")
        if trace := told.get("trace"):
            print(f"{name}, in the trace of {trace['steps']} steps: {1e3 * trace['first_wait_seconds']:.3g} ms until "
                  f"the first batch, then {100 * trace['waiting_share']:.2g} % of the time waiting for input")
    for told in result["alone"]:
        memory = told["memory"]
        print(f"Waveforms alone, {told['utterances']} utterances ({told['audio_bytes'] / 1e6:.0f} MB): "
              f"{told['batches_per_second']:.1f} batches/s, {told['audio_hours_per_second']:.3f} hours of audio per "
              f"second; memory opened {memory['opened']['own'] / 1e6:.0f} MB, after {told['batches']} batches "
              f"{memory['read']['own'] / 1e6:.0f} MB, grown by {told['growth_while_reading'] / 1e6:.1f} MB over the "
              "last three quarters")
    for line in result["implausible"]:
        print(f"implausible: {line}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, print_result)


if __name__ == "__main__":
    sys.exit(main())
