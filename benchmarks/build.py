"""Building records: how many hours of audio a minute, how much memory, and where the time goes.

    python -m benchmarks.build [--hours 1,3,10] [--workers N] [--json FILE]
    python -m benchmarks.build --corpus emodb --manual_dir DIR [--features is10_librosa] [--json FILE]

The first generates hours of noise with the rhythm of speech, as FLAC in LibriSpeech's layout: a few distinct files,
and many hard links to them. The second builds a real corpus from empty caches, and extracts its features. Each build
has a process of its own, with `--workers` more to decode (one for each CPU by default). `memory` is the most physical
memory that the building process ever held, and the largest of its workers. `seconds` tells where the building process
spends its time: it lists the distribution, waits for the workers, writes shards, and reads everything back for the
index; `worker_cpu` is what the workers computed meanwhile.
"""

import argparse
import functools
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sercl_jax import workers
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE

from . import rss, timing

DISTINCT = 24  # files that differ
SHORTEST, LONGEST = 8.0, 16.0  # seconds, about what LibriSpeech's utterances last
PER_CHAPTER, PER_SPEAKER = 40, 120  # utterances
SEED = 0


def generate(folder: Path, hours: float) -> Path:
    """Writes `hours` of audio in LibriSpeech's layout; returns its root."""
    root = folder / "LibriSpeech"
    originals = folder / "originals"
    originals.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    lengths = rng.uniform(SHORTEST, LONGEST, DISTINCT)
    for number, seconds in enumerate(lengths):
        soundfile.write(originals / f"{number}.flac", _speechlike(rng, seconds), SAMPLE_RATE)
    left, number = hours * 3600, 0
    texts: dict[Path, list[str]] = defaultdict(list)
    while left > 0:
        speaker, chapter = 1000 + number // PER_SPEAKER, 10_000 + number // PER_CHAPTER
        name = f"{speaker}-{chapter}-{number % PER_CHAPTER:04d}"
        place = root / "train-clean-100" / str(speaker) / str(chapter)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.flac").hardlink_to(originals / f"{number % DISTINCT}.flac")
        texts[place / f"{speaker}-{chapter}.trans.txt"].append(f"{name} NOISE {number}\n")
        left, number = left - lengths[number % DISTINCT], number + 1
    for path, lines in texts.items():
        path.write_text("".join(lines), encoding="utf-8")
    return root


def _speechlike(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Noise that falls with frequency, in syllables and pauses: FLAC makes about half of it, as of speech."""
    size = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / (1 + (frequency / 500) ** 2), size)
    syllables = np.interp(np.arange(size), np.arange(0, size + 2000, 2000), rng.uniform(0, 1, size // 2000 + 2)) ** 2
    return np.round(9000 * syllables * noise / np.abs(noise).max()).astype(np.int16)


def measure(corpus: str, manual_dir: Path, processes: int | None, kind: str) -> dict[str, Any]:
    """Builds from empty caches, in this process and its workers.

    Args:
      corpus: name of a builder.
      manual_dir: its distribution.
      processes: how many workers.
      kind: of features to extract as well; "" for none.
    """
    from sercl_jax import corpora
    from sercl_jax.corpora import index, registry, shards

    spent: dict[str, float] = defaultdict(float)
    builder = registry.builder_class(corpus)
    _timed(builder, "configuration", spent, "list")
    _timed(builder, "sources", spent, "list")
    _timed(shards, "_serialized", spent, "write")
    _timed(shards._Writer, "add", spent, "write")
    _timed(shards._Writer, "close", spent, "write")
    _timed(index, "write", spent, "index")
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        loaded = corpora.load(corpus, cache_dir=Path(folder), manual_dir=manual_dir, workers=processes,
                              labels="all", progress=sys.stderr.isatty())
        build = time.perf_counter() - start
        memory = {"builder": rss.peak(), "worker": watch.stop()}
        times = os.times()
        extracting = 0.0
        if kind:
            from sercl_jax import features
            start = time.perf_counter()
            features.extract(loaded, kind, cache_dir=Path(folder), workers=processes, progress=sys.stderr.isatty())
            extracting = time.perf_counter() - start
        size = sum(path.stat().st_size for path in loaded.directory.iterdir())
    hours = sum(utterance.seconds for utterance in loaded.utterances) / 3600
    seconds = {"build": build, **spent, "wait": build - sum(spent.values()),
               "worker_cpu": times.children_user + times.children_system}
    return {"corpus": corpus, "utterances": len(loaded), "hours": hours, "hours_per_minute": 60 * hours / build,
            "seconds": seconds | ({"features": extracting} if kind else {}), "memory": memory, "bytes": size}


def _timed(place: Any, name: str, spent: dict[str, float], what: str) -> None:
    """Adds the time that a function takes to `spent[what]`."""
    function: Callable[..., Any] = getattr(place, name)

    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[what] += time.perf_counter() - start

    setattr(place, name, timed)


class _Watch:
    """Looks at the workers of this process, and keeps the largest peak among them."""

    def __init__(self) -> None:
        self._largest = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(0.2):
            for process in multiprocessing.active_children():
                self._largest = max(self._largest, _peak(process.pid))

    def stop(self) -> int:
        """Bytes; 0 where the system does not tell, or without workers."""
        self._done.set()
        self._thread.join()
        return self._largest


def _peak(pid: int | None) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _alone(*arguments: Any) -> dict[str, Any]:
    """`measure` in a process of its own, so that no build inherits the memory of another."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    builds = []
    if arguments.corpus:
        builds.append(_alone(arguments.corpus, arguments.manual_dir, arguments.workers, arguments.features))
    else:
        for hours in arguments.hours:
            with tempfile.TemporaryDirectory() as folder:
                root = generate(Path(folder), hours)
                builds.append(_alone("librispeech", root, arguments.workers, arguments.features))
    return {"benchmark": "build", "machine": timing.machine(), "threads": arguments.threads,
            "workers": arguments.workers or arguments.threads, "builds": builds,
            "versions": timing.versions("soundfile", "soxr", "array_record", "tensorflow-datasets", "numpy")}


def show(result: dict[str, Any]) -> None:
    for build in result["builds"]:
        seconds, memory = build["seconds"], build["memory"]
        told = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if name != "build")
        print(f"{build['corpus']}: {build['hours']:.2f} h in {build['utterances']} utterances, built in "
              f"{seconds['build']:.1f} s, {build['hours_per_minute']:.2f} h of audio a minute ({told}); peak memory "
              f"{memory['builder'] / 2**20:.0f} MiB, of a worker {memory['worker'] / 2**20:.0f} MiB; "
              f"{build['bytes'] / 2**20:.0f} MiB of records")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.build", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hours", default="1,3,10", help="sizes to generate and build, with commas between")
    parser.add_argument("--corpus", default="", help="build this corpus instead, from --manual_dir")
    parser.add_argument("--manual_dir", type=Path, help="its distribution")
    parser.add_argument("--features", default="", help="extract these features as well, such as is10_librosa")
    parser.add_argument("--workers", type=int, help="decoding processes; one for each CPU by default")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs to use")
    parser.add_argument("--json", type=Path, help="file to write every figure to")
    arguments = parser.parse_args(argv)
    try:
        arguments.hours = [float(hours) for hours in arguments.hours.split(",")]
    except ValueError:
        arguments.hours = []
    if not arguments.hours or min(arguments.hours) <= 0:
        raise UserError("--hours takes positive numbers with commas between, such as 1,3,10.")
    return arguments


if __name__ == "__main__":
    sys.exit(timing.run(None, parse, run, show))
