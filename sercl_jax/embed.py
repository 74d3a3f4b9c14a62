"""Representations of recordings: `python -m sercl_jax.embed --workdir=RUN --out=FILE.npz PATH...`.

From Python:

    model = Embedder(Path("runs/cpc"))
    c = model.frames(waveform)          # [T, 256], one row per 10 ms
    x = model.utterance(waveform)       # [512], mean and standard deviation over time
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sercl_jax import audio, checkpoint, features, files, pretraining, representations
from sercl_jax.errors import UserError
from sercl_jax.models.cpc import CpcSettings
from sercl_jax.types import SAMPLE_RATE, Utterance

LEVELS = ("utterance", "frame")
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@dataclass(frozen=True)
class _Waveforms:
    """A few waveforms, each [S] int16 at 16 kHz, with the interface of a corpus."""

    waveforms: Sequence[np.ndarray]
    name: str = "recordings"

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        return tuple(Utterance(id=str(u), num_samples=len(x)) for u, x in enumerate(self.waveforms))

    def __len__(self) -> int:
        return len(self.waveforms)

    def waveform(self, u: int) -> np.ndarray:
        return self.waveforms[u]


class Embedder:
    """The CPC of a finished run: of setup=pretrain, or the one under a recognizer.

    Args:
      workdir: of the run.
      seed: which of several pre-trainings.

    Raises:
      UserError: the folder holds no CPC.
    """

    def __init__(self, workdir: Path, seed: int = 0):
        workdir = workdir.expanduser()
        if (workdir / pretraining.MODELS).is_dir():
            if seed not in (found := pretraining.seeds(workdir)):
                raise UserError(f"{workdir}: has no pre-training with seed {seed}; it has "
                                f"{', '.join(map(str, found))}.")
            self.settings, self.variables = pretraining.load(workdir, seed)
            return
        variables, _, facts = checkpoint.load_model(workdir / "model")
        if "cpc" not in variables:
            raise UserError(f"{workdir}: its model has no CPC; give a run of configs/cpc.py with setup=pretrain, "
                            "pre, mini or joint.")
        self.settings, self.variables = CpcSettings(**facts["settings"]["cpc"]), variables["cpc"]

    def frames(self, waveform: np.ndarray) -> np.ndarray:
        """Waveform [S], int16 or floats in [-1, 1] at 16 kHz -> context [T, F] float32, T = max(S // 160, 1).

        What is longer than `representations.LONGEST` seconds is cut there.
        """
        return self.many_frames([waveform])[0]

    def many_frames(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """`frames` of several waveforms, computed together."""
        corpus = _Waveforms([audio.to_int16(x) for x in waveforms])
        return list(representations.compute(corpus, self.settings, self.variables, progress=False))

    def utterance(self, waveform: np.ndarray) -> np.ndarray:
        """Waveform [S] -> mean and standard deviation of its frames, [2 F] float32."""
        return representations.statistics(self.frames(waveform))


def find(paths: Sequence[str]) -> list[Path]:
    """Audio files: those named, and those in the folders named, sorted.

    Raises:
      UserError: a path does not exist, or nothing is found.
    """
    found: list[Path] = []
    for text in paths:
        path = Path(text).expanduser()
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: there is no such file or folder.")
    if not found:
        raise UserError(f"{', '.join(paths)}: no audio files ({', '.join(SUFFIXES)}).")
    return found


def run(workdir: Path, paths: Sequence[str], out: Path, *, level: str, seed: int, progress: bool = True) -> int:
    """Embeds files and writes them; returns how many could not be read (their reasons go to standard error).

    Args:
      workdir, seed: see `Embedder`.
      paths: files and folders.
      out: an .npz with "ids" [U] and, by level, "embeddings" [U, 2 F], or "frames" [sum of T, F] with "offsets"
        [U + 1]: recording u owns rows offsets[u]:offsets[u + 1]; and "seconds" between frames.
      level: one of LEVELS.
    """
    model = Embedder(workdir, seed)
    ids, rows, failed = [], [], 0
    found = find(paths)
    for first in tqdm(range(0, len(found), representations.BATCH), desc="Embedding", disable=not progress):
        waveforms = []
        for path in found[first:first + representations.BATCH]:
            try:
                waveforms.append(audio.decode(path, name=str(path)))
                ids.append(str(path))
                if len(waveforms[-1]) > representations.LONGEST * SAMPLE_RATE:
                    print(f"note: {path}: only its first {representations.LONGEST:g} seconds are embedded; cut it "
                          "into shorter recordings.", file=sys.stderr)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                failed += 1
        for frames in model.many_frames(waveforms) if waveforms else []:
            rows.append(frames if level == "frame" else representations.statistics(frames))
    if not rows:
        raise UserError("none of the files could be read; nothing was written.")
    content: dict[str, np.ndarray] = {"ids": np.array(ids)}
    if level == "frame":
        content |= {"frames": np.concatenate(rows), "offsets": np.cumsum([0, *map(len, rows)]),
                    "seconds": np.array(features.HOP)}
    else:
        content["embeddings"] = np.stack(rows)
    with files.atomic_path(out) as temporary, temporary.open("wb") as file:
        np.savez(file, **content)  # type: ignore[arg-type]
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 if some files could not be read, 2 if nothing could be done."""
    parser = argparse.ArgumentParser(
        prog="python -m sercl_jax.embed", description="Representations of recordings by a CPC run.",
        epilog="Example: python -m sercl_jax.embed --workdir=runs/cpc --out=x.npz calls/ extra.flac")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="audio files, or folders of them")
    parser.add_argument("--workdir", required=True, type=Path, help="a finished run of configs/cpc.py")
    parser.add_argument("--out", required=True, type=Path, help="the .npz to write")
    parser.add_argument("--level", choices=LEVELS, default="utterance",
                        help="utterance: mean and deviation over time; frame: one row per 10 ms")
    parser.add_argument("--seed", type=int, default=0, help="which of several pre-trainings (default 0)")
    arguments = parser.parse_args(argv)
    try:
        failed = run(arguments.workdir, arguments.paths, arguments.out, level=arguments.level, seed=arguments.seed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; nothing was written.", file=sys.stderr)
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
