"""How fast `python -m sercl_jax.predict` answers: from a cold start, and once it is running.

    python -m benchmarks.predict --workdir RUN [--corpus_zip FILE | --folder DIR] [--repeats N] [--starts N]
        [--threads N] [--json FILE]

The recordings are the audio files of a zip (EMO-DB's `download.zip`, say) or of a folder; without either, the
embedded demo corpus, written as WAV files. All of them lie on the disk, and every figure includes their decoding.

`start_seconds` is the time from calling the command with one recording of median length to its first line, each in a
process of its own: "empty" with an empty cache of compiled programs, "warm" with what that call left.
`command_seconds` is that of the whole command on all recordings, with a warm cache. `seconds` is a pass over all
recordings in one process, after a pass that compiled everything; `files_per_second` and `times_real_time` belong to
it, and `cpu_seconds` is what it takes of all CPUs, which says more on a machine that others use too. Medians and
quartiles over repeats.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sercl_jax import workers
from sercl_jax.errors import UserError
from sercl_jax.predicting import finding
from sercl_jax.types import SAMPLE_RATE

from . import rss, stepping, timing, zip_corpus


def recordings(arguments: argparse.Namespace, folder: Path) -> Path:
    """Where the files to predict are: the folder that was named, or this one, which they are written to."""
    if arguments.folder is not None:
        return Path(arguments.folder)
    if arguments.corpus_zip is None:
        corpus = zip_corpus.load_corpus(None)
        for u, utterance in enumerate(corpus.utterances):
            soundfile.write(folder / f"{utterance.id}.wav", corpus.waveform(u), SAMPLE_RATE)
    else:
        try:
            with zipfile.ZipFile(arguments.corpus_zip) as archive:
                archive.extractall(folder)
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{arguments.corpus_zip}: not a readable zip ({error}).") from error
    return folder


def run_command(workdir: Path, path: Path, cache: Path) -> tuple[float, float]:
    """Seconds from calling the command to its first line, and to its end."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as messages, subprocess.Popen(
            [sys.executable, "-m", "sercl_jax.predict", f"--workdir={workdir}", "--format=jsonl", str(path)],
            env=environment | {"SERCL_CACHE": str(cache)}, stdout=subprocess.PIPE, stderr=messages) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - start
        process.stdout.read()
        if process.wait():
            messages.seek(0)
            raise UserError(f"predict failed: {messages.read().decode(errors='replace').strip()}")
    return first, time.perf_counter() - start


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    before = timing.machine()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "audio").mkdir()
        place = recordings(arguments, root / "audio")
        paths = finding.find([str(place)])
        seconds = np.array([soundfile.info(path).duration for path in paths])
        middle = paths[int(np.argsort(seconds)[len(seconds) // 2])]
        starts: dict[str, list[float]] = {"empty": [], "warm": []}
        for repeat in range(arguments.starts):
            for state in starts:
                starts[state].append(run_command(arguments.workdir, middle, root / f"cache{repeat}")[0])
        cache = root / "cache"
        told = _passes(arguments, paths, cache)
        commands = [run_command(arguments.workdir, place, cache)[1] for _ in range(arguments.starts)]
    taken = told.pop("taken")
    result = {"benchmark": "predict", "date": timing.now(), "machine": before, "threads": arguments.threads, **told,
              "files": len(paths), "audio_minutes": seconds.sum() / 60, "repeats": arguments.repeats,
              "start_seconds": {state: timing.summary(np.array(found)) for state, found in starts.items()},
              "command_seconds": timing.summary(np.array(commands)), "seconds": timing.summary(taken),
              "files_per_second": timing.spread(len(paths) / taken),
              "times_real_time": timing.spread(seconds.sum() / taken), "memory": {"peak": rss.peak()},
              "versions": timing.versions("jax", "numpy", "soundfile")}
    return result | {"notes": notes(before)}


def _passes(arguments: argparse.Namespace, paths: Sequence[Path], cache: Path) -> dict[str, Any]:
    """What the model is, and seconds of each pass over all recordings."""
    import jax

    import sercl_jax
    from sercl_jax import parallel
    from sercl_jax.predicting import answers
    from sercl_jax.predicting.streaming import predictions

    parallel.enable_compilation_cache(cache / "compiled")  # where the command looks for it
    model = sercl_jax.load(arguments.workdir)
    taken, computed = [], []
    for _ in range(1 + arguments.repeats):  # the first one compiles
        start, before = time.perf_counter(), os.times()
        for _, outcome in predictions(model, paths):
            if isinstance(outcome, UserError):
                raise outcome
            answers.plain(outcome)
        taken.append(time.perf_counter() - start)
        computed.append(sum(os.times()[:4]) - sum(before[:4]))
    device = jax.devices()[0]
    return {"model": {name: getattr(model.card, name) for name in ("method", "kind", "corpus")},
            "device": {"platform": device.platform, "kind": device.device_kind}, "first_pass_seconds": taken[0],
            "cpu_seconds": timing.summary(np.array(computed[1:])), "taken": np.array(taken[1:])}


def notes(machine: dict[str, Any]) -> list[str]:
    """What speaks against figures that were measured on such a machine."""
    if machine["busy"] is None or machine["busy"] <= stepping.BUSY:
        return []
    return [f"others took {100 * machine['busy']:.0f} % of the CPUs before the measurement began: repeat it when "
            "they have ended"]


def show(result: dict[str, Any]) -> None:
    """Some lines for people."""
    model, starts = result["model"], result["start_seconds"]
    print(f"{model['method']} ({model['kind']}, trained on {model['corpus']}) on {result['files']} recordings, "
          f"{result['audio_minutes']:.1f} minutes, {result['device']['kind']}, {result['threads']} threads")
    print(f"first answer after {starts['empty']['median']:.2f} s with an empty cache of programs, "
          f"{starts['warm']['median']:.2f} s with a warm one; the whole command takes "
          f"{result['command_seconds']['median']:.2f} s")
    low, high = result["times_real_time"]["quartiles"]
    print(f"once running: {result['files_per_second']['median']:.1f} recordings a second, "
          f"{result['times_real_time']['median']:.1f} times real time (quartiles {low:.1f}, {high:.1f}), "
          f"{result['cpu_seconds']['median']:.1f} s of CPUs; peak memory {result['memory']['peak'] / 2**20:.0f} MiB")
    for line in result["notes"]:
        print(f"note: {line}", file=sys.stderr)


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """What benchmarks of a trained model on recordings are told alike."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="a finished run, or a bundle")
    audio = parser.add_mutually_exclusive_group()
    audio.add_argument("--corpus_zip", type=Path, help="zip of audio files; the demo corpus without it")
    audio.add_argument("--folder", type=Path, help="folder of audio files")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs to use")
    parser.add_argument("--json", type=Path, help="file to write every figure to")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = parser_of("predict", __doc__)
    parser.add_argument("--repeats", type=int, default=5, help="passes over all recordings")
    parser.add_argument("--starts", type=int, default=3, help="calls of the command of each kind")
    arguments = parser.parse_args(argv)
    for name in ("repeats", "starts"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name}={getattr(arguments, name)}: at least 1 is needed.")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, show)


if __name__ == "__main__":
    sys.exit(main())
