"""The processes of `benchmarks.input`: training from records, and reading records alone."""

import dataclasses
import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import input_stages, our_step, pairs, rss

REAL, RESIDENT, DEFAULT = "real", "resident", "default"
STEPS = "steps from records"  # as a trace names them


class _Lying:
    """One batch that stays on the device, given to every step."""

    select = None
    arrays = ()

    def __init__(self, batch: Any):
        self._batch = batch

    def dispatches(self, first: int, stop: int, due: Callable[[int], bool]) -> Iterator[tuple[Any, int]]:
        del due
        return iter([(self._batch, 1)] * (stop - first))


class Training:
    """Steps on batches from the records, on one that stays on the device and, where it differs, as training does."""

    def __init__(self, directory: str, training: dict[str, Any], cache_dir: str, device: str | None):
        import jax

        from sercl_jax import feed, parallel, train
        from sercl_jax.corpora import reader

        from . import stage_steps

        chosen = input_stages.Training(**training)
        stage = input_stages.stage(chosen, reader.open_corpus("manifest", Path(directory)), Path(cache_dir))
        first = stage.batch(0)
        self._devices = our_step.used(our_step.chosen_device(device), len(next(iter(first.values()))),
                                      stage.init(train.init_key(0), first))
        self._count, self._wait = chosen.steps, jax.block_until_ready
        self._real = feed.Feed(stage.batch, self._devices, resident="no", steps_per_dispatch=1, log_every=50)
        default = feed.Feed(stage.batch, self._devices, resident="auto", steps_per_dispatch=0, log_every=50)
        self._sources: dict[str, Any] = {
            RESIDENT: _Lying(parallel.shard(first, self._devices)), REAL: self._real,
            **({DEFAULT: default} if default.arrays or default.steps > 1 else {})}
        self._steps = stage_steps.Steps(stage, self._devices)
        for source in self._sources.values():
            self._steps.take(source, 0, self._count)
        self._seconds: dict[str, list[float]] = {kind: [] for kind in self._sources}
        self._waited: list[float] = []

    def __call__(self, turn: int) -> None:
        """Times so many steps of each kind; the order rotates."""
        first = turn * self._count
        for kind in np.roll(list(self._sources), turn).tolist():
            time.sleep(pairs.PAUSE_SECONDS)
            self._seconds[kind].append(self._steps.take(self._sources[kind], first, first + self._count))
            if kind == REAL:
                self._waited.append(self._real.waited / self._count)

    def alone(self) -> float:
        """Batches per second of the input without training, up to the device."""
        start = time.perf_counter()
        for batch, _ in self._real.dispatches(0, self._count, lambda step: False):
            self._wait(batch)
        return self._count / (time.perf_counter() - start)

    def trace(self, folder: str) -> dict[str, Any]:
        """Traces steps on batches from the records; tells, of the trace itself, how long they waited for input."""
        import jax

        from sercl_jax import feed

        with jax.profiler.trace(folder, create_perfetto_trace=True), jax.profiler.TraceAnnotation(STEPS):
            self._steps.take(self._real, 0, self._count)
        written = max(Path(folder).rglob("perfetto_trace.json.gz"), key=lambda path: path.stat().st_mtime)
        events = json.loads(gzip.decompress(written.read_bytes()))["traceEvents"]
        seconds = {name: [event["dur"] / 1e6 for event in sorted(events, key=lambda event: event.get("ts", 0))
                          if event.get("name") == name and event.get("ph") == "X"] for name in (STEPS, feed.WAITING)}
        (whole,), (first, *later) = seconds[STEPS], seconds[feed.WAITING]
        return {"file": str(written.relative_to(folder)), "steps": self._count, "seconds": whole,
                "first_wait_seconds": first, "later_waits_seconds": sum(later),
                "waiting_share": sum(later) / (whole - first)}

    def facts(self) -> dict[str, Any]:
        device = self._devices[0]
        return {"device": {"platform": device.platform, "kind": device.device_kind,
                           "count": len(self._devices)}, "seconds": self._seconds,
                "waited": self._waited}


class Reading:
    """The input pipeline of waveforms alone, up to batches on the device."""

    def __init__(self, directory: str, batch: int, seconds: float, batches: int, device: str | None):
        import jax

        from sercl_jax import data, parallel, waveforms
        from sercl_jax.corpora import reader

        devices = (our_step.chosen_device(device),)
        parallel.shard({"warm": np.zeros(1)}, devices)
        self._memory = {"imported": rss.now()}
        corpus = reader.open_corpus("manifest", Path(directory))
        corpus.waveform(0)
        self._memory["opened"] = rss.now()
        make = waveforms.batches(corpus, np.arange(len(corpus)), batch_size=batch, seconds=seconds, crop="random",
                                 seed=input_stages.SEED)
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


def training_side(training: input_stages.Training, directory: Path, cache_dir: Path,
                  device: str | None) -> pairs.Side:
    """A side for `pairs`."""
    return pairs.Side(".input_sides:make_training", {
        "directory": str(directory), "training": dataclasses.asdict(training), "cache_dir": str(cache_dir),
        "device": device}, pairs.TRAINING)


def make_training(**arguments: Any) -> Training:
    """What `training_side` names."""
    our_step.import_all("sercl_jax.feed")
    return Training(**arguments)


def make_reading(**arguments: Any) -> Reading:
    """A side for `pairs`."""
    return Reading(**arguments)
