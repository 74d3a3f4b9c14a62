"""Emotions of recordings: `python -m sercl_jax.predict --workdir=RUN PATH...`. From Python: `sercl_jax.load`.

Nothing here imports JAX until there is something to compute, so that --help and mistakes are answered at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sercl_jax import commands
from sercl_jax.errors import UserError
from sercl_jax.predicting import flags

DESCRIPTION = """Tells the emotions of recordings by a trained model.

  python -m sercl_jax.predict --workdir=runs/mine call.wav
  python -m sercl_jax.predict --workdir=runs/mine calls/ 'more/**/*.flac' --format=csv > calls.csv
  python -m sercl_jax.predict --workdir=runs/mine meeting.mp3 --window=4 --overlap=0.75
  python -m sercl_jax.predict --bundle=my-model calls/ --labels=angry,neutral --format=jsonl | jq .label
  ffmpeg -i video.mp4 -f wav - | python -m sercl_jax.predict --workdir=runs/mine -
"""
EPILOG = """What is printed, a recording at a time as it is ready; messages go to standard error:

  table   for people: file, seconds, label, its probability, the other classes; below a recording of several
          windows its windows, by their time
  jsonl   an object in each line: {"path", "seconds", "label", "probability", "probabilities": {class: value},
          "windows": [{"start", "end", "label", "probability", "probabilities"}, ...]}, times in seconds; models of
          ratings have "ratings": {dimension: value} in place of the three; {"path", "error"} for a recording that
          cannot be used
  json    the same objects as one array
  csv     path, seconds, label, probability and a column for each class (or rating); with --windows a row for each
          window, with start and end in place of seconds

A probability of a recording is the mean over its windows, each weighted by its length.

Exit status: 0 everything was predicted, 1 some recordings could not be used, 2 nothing could be done.
"""
_FORMATS = ("table", "json", "jsonl", "csv")
_MOST_OVERLAP = 0.9


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 if some recordings could not be used, 2 if nothing could be done."""
    arguments = _parser().parse_args(argv)
    return commands.status(lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sercl_jax.predict", description=DESCRIPTION, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    flags.add_recordings(parser)
    add = parser.add_argument
    add("--seed", type=int, default=0, metavar="N", help="which model of a run that has one for each seed (0)")
    add("--format", choices=_FORMATS, default="table", help="what is printed, see below (default table)")
    add("--out", type=Path, metavar="FILE", help="write the results to this file too, whole or not at all; a suffix "
        ".json, .jsonl or .csv decides its format, else it is the one printed")
    add("--labels", default="", metavar="A,B", help="only these classes or ratings; probabilities are among them")
    add("--top", type=int, default=0, metavar="N", help="tell only the N most probable classes")
    flags.add_window(parser)
    add("--overlap", type=float, default=0.5, metavar="SHARE", help="how much of a window the next one repeats, from "
        "0 to 0.9 (default 0.5)")
    add("--windows", action=argparse.BooleanOptionalAction, help="print every window, in a table or CSV, or none "
        "(default: in a table, of recordings that have several)")
    add("--together", action="store_true", help="all recordings are one speaker's, for models that were trained with "
        "every speaker normalised (normalise=speaker): all are read before the first result")
    add("--device", choices=("cpu", "gpu", "tpu"), help="where to compute (default: the best there is)")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    if arguments.window is not None and not 0 < arguments.window < float("inf"):
        raise UserError(f"--window={arguments.window:g}: give a number of seconds.")
    if not 0 <= arguments.overlap <= _MOST_OVERLAP:
        raise UserError(f"--overlap={arguments.overlap:g}: a share of the window, from 0 to {_MOST_OVERLAP}.")
    if arguments.top < 0:
        raise UserError(f"--top={arguments.top}: give how many classes to tell.")
    from sercl_jax.predicting import finding

    paths = finding.find(arguments.paths)
    from sercl_jax.predicting import session

    return session.run(arguments, paths)


if __name__ == "__main__":
    sys.exit(commands.flushed(main))
