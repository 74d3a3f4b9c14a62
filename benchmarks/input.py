"""Training from records: is the input pipeline the bottleneck, and does its memory depend on the corpus' size?

    python -m benchmarks.input [--json FILE] [--utterances 200,2000] [--batch 8] [--seconds 10] [--models small,paper]
        [--repeats 5] [--steps 10] [--batches 400] [--threads N] [--device cpu|gpu|tpu]

Corpora of generated noise, of utterances from 2 to 14 seconds, are built as a manifest's are, in a temporary folder.
CPC trains on the largest as `train.run` does: batches are cut from the records by a thread while the device computes.
`ratio` is the time of such steps over that of the same steps with one batch that stays on the device: 1 means that
input costs nothing. Both take turns in one process, with one compiled step; each turn starts the pipeline anew. On a
CPU they compete for the same cores; what the pipeline sustains alone is in `alone`. `memory` is of processes that
read `--batches` batches of each corpus without training: "opened" once the records are open, "reading" after the
first quarter of the batches, "read" after the last ("own" leaves out pages of mapped files).
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from sercl_jax import workers
from sercl_jax.errors import UserError

from . import pairs, rss, timing

if TYPE_CHECKING:
    from sercl_jax.corpora import Corpus

RATE = 16_000
SHORTEST, LONGEST = 2.0, 14.0  # seconds
MODELS = {"small": {"channels": 32, "context": 32, "norm": "channel"}, "paper": {"norm": "channel"}}
KINDS = ("real", "resident")
PER_FILE = 20  # utterances; a manifest may cut many from one file
SEED = 0


def generate(folder: Path, utterances: int) -> Path:
    """Writes noise and the manifest that cuts utterances from it."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    lines = ["path,label,speaker,start,end,id"]
    for first in range(0, utterances, PER_FILE):
        lengths = np.round(rng.uniform(SHORTEST, LONGEST, min(PER_FILE, utterances - first)), 2)
        ends = np.cumsum(lengths)
        noise = rng.integers(-3000, 3000, round(ends[-1] * RATE) + 1, np.int16)
        soundfile.write(folder / f"{first}.wav", noise, RATE)
        lines += [f"{first}.wav,,,{end - length:.2f},{end:.2f},{first + i}"
                  for i, (length, end) in enumerate(zip(lengths, ends, strict=True))]
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def build(folder: Path, utterances: int) -> "Corpus":
    """Records of a generated corpus."""
    from sercl_jax import corpora

    manifest = generate(folder / str(utterances), utterances)
    return corpora.load("manifest", cache_dir=folder / "cache", manifest=manifest, progress=sys.stderr.isatty())


class Training:
    """Steps of CPC, on batches from the records and on one that stays on the device."""

    def __init__(self, directory: str, settings: dict[str, Any], batch: int, seconds: float, steps: int,
                 device: str | None):
        import jax

        from sercl_jax import data, optim, parallel, train, waveforms
        from sercl_jax.corpora import reader
        from sercl_jax.models import cpc as model

        try:
            self._devices = (jax.devices(device)[0],)
        except RuntimeError as error:
            raise UserError(f"--device {device}: JAX finds none ({error}).") from error
        corpus = reader.open_corpus("manifest", Path(directory))
        self._batch = waveforms.batches(corpus, np.arange(len(corpus)), batch_size=batch, seconds=seconds,
                                        crop="random", seed=SEED)
        self._steps, self._in_flight = steps, parallel.in_flight(self._devices)
        self._prefetch, self._shard, self._wait = data.prefetch, parallel.shard, jax.block_until_ready
        self._resident = parallel.shard(self._batch(0), self._devices)
        made = model.CpcSettings(**settings)
        optimizer = optim.make(name="adam", learning_rate=2e-4, steps=1_000_000, weight_decay=1e-5)
        variables = model.initializer(made)(train.init_key(SEED), {})
        self._state = parallel.replicate(
            {"step": np.zeros((), np.int32), "params": variables["params"],
             "optimizer": optimizer.init(variables["params"]), "fixed": {}}, self._devices)
        self._seed = parallel.replicate(np.uint32(SEED), self._devices)
        self._step: Any = train.mapped_step(model.cpc_loss(made), optimizer.update, self._devices)
        for kind in KINDS:
            self._take(kind, 0)
        self._seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}

    def __call__(self, turn: int) -> None:
        """Times `steps` steps of each kind; the order rotates."""
        for kind in np.roll(KINDS, turn).tolist():
            time.sleep(pairs.PAUSE_SECONDS)
            start = time.perf_counter()
            self._take(kind, turn * self._steps)
            self._seconds[kind].append((time.perf_counter() - start) / self._steps)

    def _take(self, kind: str, first: int) -> None:
        """Steps as the loop of `train.run` takes them."""
        batches = self._prefetch(lambda step: self._shard(self._batch(step), self._devices), first,
                                 first + self._steps) if kind == "real" else [self._resident] * self._steps
        pending: list[Any] = []
        for batch in batches:
            self._state, told = self._step(self._state, batch, self._seed)
            pending.append(told)
            if len(pending) >= self._in_flight:
                self._wait(pending[-self._in_flight])
        self._wait((self._state, pending))

    def facts(self) -> dict[str, Any]:
        device = self._devices[0]
        return {"device": {"platform": device.platform, "kind": device.device_kind}, "seconds": self._seconds}


class Reading:
    """The input pipeline alone, up to batches on the device."""

    def __init__(self, directory: str, batch: int, seconds: float, batches: int, device: str | None):
        import jax

        from sercl_jax import data, parallel, waveforms
        from sercl_jax.corpora import reader

        devices = (jax.devices(device)[0],)
        parallel.shard({"warm": np.zeros(1)}, devices)
        self._memory = {"imported": rss.now()}
        corpus = reader.open_corpus("manifest", Path(directory))
        corpus.waveform(0)
        self._memory["opened"] = rss.now()
        make = waveforms.batches(corpus, np.arange(len(corpus)), batch_size=batch, seconds=seconds, crop="random",
                                 seed=SEED)
        self._batches, self._wait = batches, jax.block_until_ready
        self._prefetch = lambda first: data.prefetch(lambda step: parallel.shard(make(step), devices), first,
                                                     first + batches)

    def __call__(self, turn: int) -> None:
        """All batches, each dropped as soon as it is on the device."""
        for number, batch in enumerate(self._prefetch(turn * self._batches), 1):
            self._wait(batch)
            if turn == 0 and number == -(-self._batches // 4):
                self._memory["reading"] = rss.now()
        self._memory["read"] = rss.now()

    def facts(self) -> dict[str, Any]:
        return {"memory": {**self._memory, "peak": rss.peak()}}


def make_training(**arguments: Any) -> Training:
    """A warm side for `pairs`."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # tensorboardX would import it, with its thread pools
    return Training(**arguments)


def make_reading(**arguments: Any) -> Reading:
    """A side for `pairs`."""
    return Reading(**arguments)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--utterances", default="200,2000", help="sizes of the corpora, separated by commas")
    parser.add_argument("--batch", type=int, default=8, help="utterances per step")
    parser.add_argument("--seconds", type=float, default=10.0, help="of every waveform; 10 ms at least")
    parser.add_argument("--models", default="small,paper", help=f"of {', '.join(MODELS)}, separated by commas")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each side")
    parser.add_argument("--steps", type=int, default=10, help="training steps in a turn")
    parser.add_argument("--batches", type=int, default=400, help="read of each corpus to follow memory")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs for each side")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="the default is JAX's")
    arguments = parser.parse_args(argv)
    try:
        arguments.utterances = [int(size) for size in arguments.utterances.split(",")]
    except ValueError:
        raise UserError(f"--utterances={arguments.utterances}: whole numbers are wanted, such as 200,2000.") from None
    for name, least in (("batch", 1), ("repeats", 1), ("steps", 1), ("batches", 4)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name}={getattr(arguments, name)}: must be at least {least}.")
    if min(arguments.utterances) < 1:
        raise UserError(f"--utterances={min(arguments.utterances)}: must be at least 1.")
    arguments.models = arguments.models.split(",")
    if unknown := set(arguments.models) - set(MODELS):
        raise UserError(f"--models: {min(unknown)!r} is none of {', '.join(MODELS)}.")
    return arguments


def steps_per_second(arguments: argparse.Namespace, directory: str) -> dict[str, Any]:
    """Real input beside a batch that stays on the device, for each model."""
    found: dict[str, Any] = {}
    for model in arguments.models:
        side = pairs.Side(".input:make_training", {
            "directory": directory, "settings": MODELS[model], "batch": arguments.batch,
            "seconds": arguments.seconds, "steps": arguments.steps, "device": arguments.device}, pairs.TRAINING)
        with contextlib.closing(pairs.SideProcess(side)) as process:
            process.time(0, arguments.repeats)
            told = process.facts()
        seconds = {kind: np.array(turns) for kind, turns in told["seconds"].items()}
        found["device"] = told["device"]
        found.setdefault("models", {})[model] = {
            "settings": MODELS[model],
            **{f"{kind}_steps_per_second": 1 / float(np.median(turns)) for kind, turns in seconds.items()},
            "step_seconds": {kind: timing.summary(turns) for kind, turns in seconds.items()},
            "ratio": timing.spread(seconds["real"] / seconds["resident"])}
    return found


def read(arguments: argparse.Namespace, corpus: "Corpus") -> dict[str, Any]:
    """Speed and memory of the pipeline alone."""
    side = pairs.Side(".input:make_reading", {
        "directory": str(corpus.directory), "batch": arguments.batch, "seconds": arguments.seconds,
        "batches": arguments.batches, "device": arguments.device})
    with contextlib.closing(pairs.SideProcess(side)) as process:
        seconds = process.time(0, 1)
        memory = process.facts()["memory"]
    rate = arguments.batches / seconds
    return {"utterances": len(corpus), "audio_hours": sum(u.seconds for u in corpus.utterances) / 3600,
            "audio_bytes": 2 * sum(u.num_samples for u in corpus.utterances), "batches": arguments.batches,
            "batches_per_second": rate,
            "audio_hours_per_second": rate * arguments.batch * arguments.seconds / 3600, "memory": memory,
            "growth_while_reading": memory["read"]["own"] - memory["reading"]["own"]}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    began = timing.machine()
    with tempfile.TemporaryDirectory() as folder:
        corpora = [build(Path(folder), size) for size in arguments.utterances]
        alone = [read(arguments, corpus) for corpus in corpora]
        largest = max(corpora, key=len)
        trained = steps_per_second(arguments, str(largest.directory))
    return {"benchmark": "input", "batch": arguments.batch, "seconds": arguments.seconds,
            "repeats": arguments.repeats, "steps_per_repeat": arguments.steps, "threads": arguments.threads,
            "versions": timing.versions("jax", "jaxlib", "grain", "array_record"), **trained, "alone": alone,
            "machine": began | {"load_after": list(os.getloadavg())}}


def print_result(result: dict[str, Any]) -> None:
    """A few lines for people."""
    print(f"Batches of {result['batch']} x {result['seconds']:g} s, {result['device']['kind']}, "
          f"{result['threads']} threads")
    for name, told in result["models"].items():
        print(f"CPC, {name}: {told['real_steps_per_second']:.3f} steps/s with real input, "
              f"{told['resident_steps_per_second']:.3f} with a batch on the device; time ratio "
              f"{told['ratio']['median']:.3f} (quartiles {told['ratio']['quartiles'][0]:.3f}, "
              f"{told['ratio']['quartiles'][1]:.3f})")
    for told in result["alone"]:
        memory = told["memory"]
        print(f"Input alone, {told['utterances']} utterances ({told['audio_bytes'] / 1e6:.0f} MB): "
              f"{told['batches_per_second']:.1f} batches/s, {told['audio_hours_per_second']:.3f} hours of audio per "
              f"second; memory opened {memory['opened']['own'] / 1e6:.0f} MB, after {told['batches']} batches "
              f"{memory['read']['own'] / 1e6:.0f} MB, grown by {told['growth_while_reading'] / 1e6:.1f} MB over the "
              "last three quarters")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, print_result)


if __name__ == "__main__":
    sys.exit(main())
