"""A manifest of a million utterances: how long parsing and splitting it takes, and how much memory.

    python -m benchmarks.manifest [--json FILE] [--rows 1000000] [--audio files,segments] [--formats csv,jsonl]
        [--speakers 1000] [--folds 10] [--protocols kfold,speakers] [--folder FOLDER]

The audio is simulated. "files" gives each utterance a file of its own, a hard link to one of a few tiny WAV files, in
a folder for each speaker; "segments" cuts all utterances of a speaker from one tiny file by start and end. Each
manifest, as CSV and as JSON lines, is read by a process of its own, which then draws folds and makes their protocol
sheets as a run does, and by another that makes of it the configuration of records (read, and named by the state of
every file). `seconds` is what the clock says, `cpu_seconds` what this process and the system computed for it, and
`peak_bytes` the most physical memory the process has held so far. Writing the files is not counted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sercl_jax.errors import UserError

from . import rss, timing

AUDIO, FORMATS = ("files", "segments"), ("csv", "jsonl")
EMOTIONS = ("angry", "happy", "neutral", "sad")
LINKS = 50_000  # to one file; file systems allow no more than 65,000
RATE, SAMPLES = 16_000, 400
SEED = 0
T = TypeVar("T")


def _tiny(path: Path, number: int) -> Path:
    """A WAV file of 25 ms; none equals another."""
    import soundfile

    soundfile.write(path, np.random.default_rng(number).integers(-9000, 9000, SAMPLES).astype(np.int16), RATE)
    return path


def rows(folder: Path, audio: str, count: int, speakers: int) -> Iterator[dict[str, Any]]:
    """Writes the audio, and yields what a manifest says of each utterance: its path, emotion, speaker and so on."""
    per_speaker = -(-count // speakers)
    original = folder / "none"
    for number in range(count):
        speaker, take = divmod(number, per_speaker)
        if audio == "files":
            if number % LINKS == 0:
                original = _tiny(folder / f"{number}.wav", number)
            if take == 0:
                (folder / f"{speaker:05d}").mkdir()
            path = f"{speaker:05d}/{take:06d}.wav"
            os.link(original, folder / path)
        else:
            path = f"{speaker:05d}.wav"
            if take == 0:
                _tiny(folder / path, speaker)
        row = {"path": path, "label": EMOTIONS[number % len(EMOTIONS)], "speaker": f"speaker {speaker:05d}",
               "session": str(speaker % 5), "text": f"sentence {take % 100}", "gender": "fm"[speaker % 2],
               "activation": number % 61 / 10 + 1, "valence": number % 59 / 10 + 1}
        if audio == "segments":
            row |= {"start": round(take * 2.5, 1), "end": round(take * 2.5 + 2.4, 1)}
        yield row


def generate(folder: Path, audio: str, count: int, speakers: int) -> None:
    """Writes `m.csv` and `m.jsonl`, which say the same, and what they list."""
    folder.mkdir()
    with (folder / "m.csv").open("w", encoding="utf-8") as table, (folder / "m.jsonl").open("w") as lines:
        for number, row in enumerate(rows(folder, audio, count, speakers)):
            if number == 0:
                table.write(",".join(row) + "\n")
            table.write(",".join(map(str, row.values())) + "\n")
            lines.write(json.dumps(row) + "\n")


class Steps:
    """Takes the time of one step after another, and the memory at the end of each."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, float]] = {"start": {"peak_bytes": rss.peak()}}

    def __call__(self, name: str, function: Callable[[], T]) -> T:
        wall, cpu = time.perf_counter(), time.process_time()
        result = function()
        self.told[name] = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu,
                           "peak_bytes": rss.peak()}
        return result


def split(manifest: Path, protocols: list[str], folds: int) -> dict[str, Any]:
    """Reads a manifest and draws its folds; the time of each step."""
    from sercl_jax import protocol_sheet, splits
    from sercl_jax.corpora import listing

    steps = Steps()
    utterances = [source.utterance for source in steps("parse", lambda: listing.read(manifest))]
    for protocol in protocols:
        drawn = steps(protocol, lambda protocol=protocol: splits.make_folds(  # type: ignore[misc]
            utterances, protocol, folds=folds, fold_seed=SEED))
        steps(f"sheet of {protocol}", lambda drawn=drawn: protocol_sheet.protocol_sheet(  # type: ignore[misc]
            utterances, drawn))
    return {"utterances": len(utterances), "steps": steps.told}


def configure(manifest: Path) -> dict[str, Any]:
    """What a run does before it knows whether records of this manifest are there."""
    from sercl_jax.corpora import base, registry

    builder = registry.builder_class("manifest")
    request = base.Request(options=base.Options(), records=manifest.parent / "records", manifest=manifest)
    steps = Steps()
    made = steps("configuration", lambda: builder.configuration(request))
    return {"utterances": len(made.sources), "steps": steps.told}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--rows", type=int, default=1_000_000, help="utterances in the manifest")
    parser.add_argument("--audio", default=",".join(AUDIO), help="kinds of audio, separated by commas")
    parser.add_argument("--formats", default=",".join(FORMATS), help="of the manifest, separated by commas")
    parser.add_argument("--speakers", type=int, default=1000, help="the utterances are of so many")
    parser.add_argument("--folds", type=int, default=10, help="of the protocols that draw them")
    parser.add_argument("--protocols", default="kfold,speakers", help="separated by commas")
    parser.add_argument("--folder", type=Path, help="where the files are written for a while")
    parser.add_argument("--threads", type=int, default=1, help="CPUs")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)  # the manifest, in a process that is measured
    arguments = parser.parse_args(argv)
    for name, known in (("audio", AUDIO), ("formats", FORMATS)):
        given = getattr(arguments, name).split(",")
        if unknown := set(given) - set(known):
            raise UserError(f"--{name}: {min(unknown)!r} is none of {', '.join(known)}.")
        setattr(arguments, name, given)
    for name in ("rows", "speakers"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name}={getattr(arguments, name)}: must be at least 1.")
    arguments.protocols = arguments.protocols.split(",") if arguments.protocols else []
    return arguments


def _in_a_process(arguments: argparse.Namespace, manifest: Path, protocols: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", __spec__.name, f"--of={manifest}", f"--folds={arguments.folds}",
               f"--protocols={','.join(protocols)}", f"--threads={arguments.threads}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise UserError(f"The process that reads {manifest.name} failed: {lines[-1]}")
    return json.loads(done.stdout)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds; in a process that is measured, the figures of that process."""
    if arguments.of:
        return split(arguments.of, arguments.protocols, arguments.folds) if arguments.protocols else \
            configure(arguments.of)
    began = timing.machine()
    found = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for audio in arguments.audio:
            generate(Path(folder) / audio, audio, arguments.rows, arguments.speakers)
            for kind in arguments.formats:
                manifest = Path(folder) / audio / f"m.{kind}"
                steps = _in_a_process(arguments, manifest, arguments.protocols)["steps"]
                named = _in_a_process(arguments, manifest, [])["steps"]
                found.append({"audio": audio, "format": kind, "manifest_bytes": manifest.stat().st_size,
                              "steps": steps, **_total(steps), "configuration": {"steps": named, **_total(named)}})
    return {"benchmark": "manifest", "rows": arguments.rows, "speakers": arguments.speakers,
            "folds": arguments.folds, "protocols": arguments.protocols, "threads": arguments.threads,
            "versions": timing.versions("numpy", "scikit-learn"), "manifests": found,
            "machine": began | {"load_after": list(os.getloadavg())}}


def _total(steps: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: sum(step.get(name, 0.0) for step in steps.values()) for name in ("seconds", "cpu_seconds")} | {
        "peak_bytes": max(step["peak_bytes"] for step in steps.values())}


def print_result(result: dict[str, Any]) -> None:
    """A few lines for people; JSON from a process that is measured."""
    if "manifests" not in result:
        print(json.dumps(result))
        return
    for told in result["manifests"]:
        print(f"{result['rows']} utterances, {told['audio']}, {told['format']} "
              f"({told['manifest_bytes'] / 1e6:.0f} MB): parsed and split in {_told(told)}")
        for name, step in told["steps"].items():
            if "seconds" in step:
                print(f"  {name}: {_told(step)}")
        print(f"  configuration of records, in a process of its own: {_told(told['configuration'])}")


def _told(step: dict[str, float]) -> str:
    return (f"{step['seconds']:.1f} s ({step['cpu_seconds']:.1f} s of CPU), peak memory "
            f"{step['peak_bytes'] / 2**20:.0f} MiB")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, print_result)


if __name__ == "__main__":
    sys.exit(main())
