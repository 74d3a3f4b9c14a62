"""The processes of `benchmarks.input`: training from records, and reading records alone."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import input_stages, our_step, pairs, rss

REAL, RESIDENT, DEFAULT = "real", "resident", "default"


class Training:
    """Steps on batches from the records, on one that stays on the device and, where it differs, as training does."""

    def __init__(self, directory: str, training: dict[str, Any], cache_dir: str, device: str | None):
        import jax

        from sercl_jax import feed, parallel, train
        from sercl_jax.corpora import reader

        self._devices = (our_step.chosen_device(device),)
        chosen = input_stages.Training(**training)
        stage = input_stages.stage(chosen, reader.open_corpus("manifest", Path(directory)), Path(cache_dir))
        self._steps, self._in_flight = chosen.steps, parallel.in_flight(self._devices)
        self._wait = jax.block_until_ready
        feeds = {REAL: feed.Feed(stage.batch, self._devices, resident="no", steps_per_dispatch=1, log_every=50),
                 DEFAULT: feed.Feed(stage.batch, self._devices, resident="auto", steps_per_dispatch=0, log_every=50)}
        if not feeds[DEFAULT].arrays and feeds[DEFAULT].steps == 1:
            del feeds[DEFAULT]
        self._feeds = feeds
        first = stage.batch(0)
        self._resident = parallel.shard(first, self._devices)
        start: Any = stage.init(train.init_key(input_stages.SEED), first)
        self._state = parallel.replicate(
            {"step": np.zeros((), np.int32), "params": start["params"],
             "optimizer": stage.optimizer.init(start["params"]),
             "fixed": {name: tree for name, tree in start.items() if name != "params"}}, self._devices)
        self._seed = parallel.replicate(np.uint32(input_stages.SEED), self._devices)

        def step(select: Any, several: bool) -> Any:
            return train.mapped_step(stage.loss, stage.optimizer.update, self._devices, select, several)

        self._step = step
        self._kinds = (RESIDENT, *feeds)
        for kind in self._kinds:
            self._take(kind, 0)
        self._seconds: dict[str, list[float]] = {kind: [] for kind in self._kinds}
        self._waited: list[float] = []

    def __call__(self, turn: int) -> None:
        """Times so many steps of each kind; the order rotates."""
        for kind in np.roll(self._kinds, turn).tolist():
            time.sleep(pairs.PAUSE_SECONDS)
            start = time.perf_counter()
            self._take(kind, turn * self._steps)
            self._seconds[kind].append((time.perf_counter() - start) / self._steps)
            if kind == REAL:
                self._waited.append(self._feeds[REAL].waited / self._steps)

    def _take(self, kind: str, first: int) -> None:
        """Steps as the loop of `train.run` takes them."""
        stop = first + self._steps
        feed = self._feeds.get(kind)
        dispatches = [(self._resident, 1)] * self._steps if feed is None else feed.dispatches(
            first, stop, lambda step: step == stop)
        select, arrays = (None, ()) if feed is None else (feed.select, feed.arrays)
        pending: list[Any] = []
        for batch, count in dispatches:
            self._state, told = self._step(select, count > 1)(self._state, batch, self._seed, *arrays)
            pending.append(told)
            if len(pending) >= self._in_flight:
                self._wait(pending[-self._in_flight])
        self._wait((self._state, pending))

    def alone(self) -> float:
        """Batches per second of the input without training, up to the device."""
        start = time.perf_counter()
        for batch, _ in self._feeds[REAL].dispatches(0, self._steps, lambda step: False):
            self._wait(batch)
        return self._steps / (time.perf_counter() - start)

    def facts(self) -> dict[str, Any]:
        device = self._devices[0]
        return {"device": {"platform": device.platform, "kind": device.device_kind}, "seconds": self._seconds,
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
