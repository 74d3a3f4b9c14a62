"""Embeddings of recordings: `python -m sercl_jax.embed --workdir=RUN --out=FILE PATH...`.

From Python: `sercl_jax.load("RUN").embed(...)`. Nothing here imports JAX until there is something to compute.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from sercl_jax import commands, embed_formats, workers
from sercl_jax.errors import UserError
from sercl_jax.inference.recording import Recording
from sercl_jax.predicting import flags
from sercl_jax.types import SAMPLE_RATE

DESCRIPTION = """Describes recordings by what a trained model makes of them: a vector for each, or one for each frame.

  python -m sercl_jax.embed --workdir=runs/mine --out=x.npz calls/ extra.flac
  python -m sercl_jax.embed --workdir=runs/cpc --out=frames.parquet --level=frame 'calls/**/*.wav'
  python -m sercl_jax.embed --bundle=my-model --out=data/xvector.ark calls/
"""
EPILOG = """What a vector is depends on the model:

  serugcl          what the graph encoders' readout gives; no frames
  cpc, pretrained  mean and standard deviation over time of the context; its frames, one per 10 ms
  cpc, probe       the same
  cpc, ratings     mean and standard deviation over time of the recognizer's attention; frames: the context below it
  supcon           what attention pools from the encoder's last layer; its frames, one per 20 ms (10 on a CPC)

A bundle has frames if it was exported with --frames. Of a recording longer than a window: the mean over its windows;
of frames, each comes from the window in whose middle it lies.

What is written, by the suffix of --out or by --format:

  .npz             NumPy: "ids" [U], "embeddings" [U, D]; or "ids", "frames" [sum of T, F], "offsets" [U + 1]
                   (recording u owns rows offsets[u]:offsets[u + 1]), "seconds" between frames
  .parquet         "id", "seconds", "embedding"; of frames a row each: "id", "frame", "start" (seconds), "embedding"
  .ark, .scp       Kaldi: both files, vectors or matrices; in keys, white space and % are written as in URLs

Ids are the paths as given. The last two formats need the extra: pip install 'sercl_jax[embed]'.

Exit status: 0 everything was embedded, 1 some recordings could not be used, 2 nothing could be done.
"""


def run(place: Path, paths: Sequence[str], out: Path, *, level: str = embed_formats.UTTERANCE, form: str = "",
        seed: int = 0, window: float | None = None, overlap: float = 0.5, together: bool = False,
        device: str | None = None, progress: bool = True) -> int:
    """Embeds files and writes them; returns how many could not be used (their reasons go to standard error).

    Args:
      place: workdir of a finished run, or an exported bundle.
      paths: files, folders and patterns.
      out: the file; it is whole or, after an error, as it was.
      level: "utterance" or "frame".
      form: one of `embed_formats.FORMATS`; "" is what the suffix says.
      seed: which of several pre-trainings.
      window, overlap, together: see `Model.predict`.
      device: "cpu", "gpu" or "tpu"; None is the best there is.
      progress: whether to show a bar.

    Raises:
      UserError: no such model, a setting that does not fit it, or no recording that can be used.
    """
    out = out.expanduser()
    form = embed_formats.format_of(out, form)
    from sercl_jax.predicting import finding

    found = finding.find(paths)
    import sercl_jax  # computes
    from sercl_jax.predicting import session
    from sercl_jax.predicting.decoding import decoded

    session.use(device)
    model = sercl_jax.load(place, seed=seed)
    for note in model.card.notes if progress else ():
        print(f"note: {note}", file=sys.stderr)
    seconds: list[float] = []  # of the recordings so far
    failed = 0
    hop = model.card.frame_hop / SAMPLE_RATE
    with contextlib.closing(decoded(found, threads=workers.cpu_count())) as recordings:
        outcomes = model.embed_each(_timed(recordings, seconds), level=level, window=window, overlap=overlap,
                                    together=together)
        with embed_formats.writer(form, out, level, hop) as writer:
            for number, outcome in enumerate(tqdm(outcomes, total=len(found), desc="Embedding", unit="recording",
                                                  disable=not progress, dynamic_ncols=True)):
                if isinstance(outcome, UserError):
                    failed += 1
                    tqdm.write(f"error: {outcome}", file=sys.stderr)
                else:
                    writer.write(str(found[number]), seconds[number], outcome)
            if failed == len(found):
                raise UserError("none of the recordings could be used; nothing was written.")
    return failed


def _timed(recordings: Iterable[Recording | UserError], seconds: list[float]) -> Iterator[Recording | UserError]:
    """The same; notes how long each is."""
    for recording in recordings:
        seconds.append(len(recording.waveform) / SAMPLE_RATE if isinstance(recording, Recording) else 0.0)
        yield recording


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sercl_jax.embed", description=DESCRIPTION, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    flags.add_recordings(parser)
    add = parser.add_argument
    add("--out", required=True, type=Path, metavar="FILE", help="what to write, see below")
    add("--format", choices=embed_formats.FORMATS, default="", help="its format, where the suffix tells none")
    add("--level", choices=embed_formats.LEVELS, default=embed_formats.UTTERANCE,
        help="utterance: a vector for each recording (default); frame: one for each frame")
    flags.add_window(parser)
    add("--overlap", type=float, default=0.5, metavar="SHARE", help="how much of a window the next one repeats, from "
        "0 to 0.95 (default 0.5)")
    add("--together", action="store_true", help="all recordings are one speaker's, for models that were trained with "
        "every speaker normalised (normalise=speaker)")
    add("--seed", type=int, default=0, metavar="N", help="which of several pre-trainings (default 0)")
    add("--device", choices=("cpu", "gpu", "tpu"), help="where to compute (default: the best there is)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 if some recordings could not be used, 2 if nothing could be done."""
    arguments = _parser().parse_args(argv)
    return commands.status(lambda: min(run(
        arguments.workdir or arguments.bundle, arguments.paths, arguments.out, level=arguments.level,
        form=arguments.format, seed=arguments.seed, window=arguments.window, overlap=arguments.overlap,
        together=arguments.together, device=arguments.device), 1), "Stopped; nothing was written.")


if __name__ == "__main__":
    sys.exit(main())
