"""The command line: `python -m sercl_jax.report RUN [RUN...]`."""

import argparse
import datetime
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sercl_jax import commands, report
from sercl_jax.errors import UserError

DESCRIPTION = """Writes the report of a finished run, or puts several runs side by side.

  python -m sercl_jax.report runs/a                          runs/a/report.html, anew, with recordings to listen to
  python -m sercl_jax.report runs/a runs/b runs/c            runs/compare-DATE/report.html: b and c against a
  python -m sercl_jax.report runs/table5/rows/*              the rows of a table against its first
  python -m sercl_jax.report runs/a runs/b --names=GIN,GCN --out=paper --audio=no

RUN is the --workdir of a finished run. The page needs no other file and no network; it follows the light or dark
scheme of the reader, and prints. Beside it lie figures/*.png and every table as tables/*.csv and tables/*.tex.
"""
EPILOG = """What a comparison has:
  scores          of every run, with intervals from a bootstrap over speakers
  differences     to the first run. Runs that were tested on the same utterances in the same folds are paired: the
                  difference has an interval from a bootstrap over speakers, and p-values from a permutation test
                  that exchanges the systems speaker by speaker, Wilcoxon's signed-rank test over speakers, and the
                  corrected resampled t-test over folds, each adjusted for the number of runs by Holm's method. With
                  fewer than 6 speakers, or 5 folds, there is no p-value; other runs are not paired, and the page
                  says why.
  confusions, recalls or ratings, training curves, maps of the embeddings
  speakers and sentences, and who is hard for all
  the worst mistakes, of all runs and of each, with their recordings
  the knobs, protocols, commands and warnings

Runs that predict classes and runs that predict ratings have no score in common and are refused together.
Exit status: 0, or 2 when something is yours to mend.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    arguments = _parser().parse_args(argv)
    return commands.status(lambda: print(_write(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sercl_jax.report", description=DESCRIPTION, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    add("--out", type=Path, metavar="DIR", help="where a comparison goes; the default is runs/compare-DATE")
    add("--names", metavar="A,B,...", help="what the page calls the runs; the default is their folders' names")
    add("--audio", choices=("auto", "yes", "no"), default="auto",
        help="recordings of the worst mistakes in the page: auto leaves out those of corpora that are given on "
        "agreement only (default: auto)")
    add("--worst", type=int, default=report.WORST, metavar="N",
        help=f"mistakes to list of each run (default: {report.WORST})")
    add("--cache_dir", type=Path, metavar="DIR", help="where the corpora's records lie, if not where the runs had "
        "them")
    return parser


def _write(arguments: argparse.Namespace) -> Path:
    if arguments.worst < 0:
        raise UserError(f"--worst={arguments.worst}: is negative; give the number of mistakes.")
    names = names_of(arguments.runs, arguments.names)
    from sercl_jax.report import compare, run  # matplotlib, for which --help does not wait

    if len(arguments.runs) == 1:
        if arguments.out is not None or arguments.names is not None:
            raise UserError("--out and --names are for several runs; the report of one goes into its own folder.")
        return report.write(arguments.runs[0], audio=arguments.audio, worst=arguments.worst,
                            cache_dir=arguments.cache_dir)
    loaded = [run.load(place, name, arguments.cache_dir) for place, name in zip(arguments.runs, names, strict=True)]
    out = arguments.out or Path("runs") / f"compare-{datetime.datetime.now().strftime('%Y-%m-%d_%H%M%S')}"
    return compare.write(loaded, out, audio=arguments.audio, worst=arguments.worst)


def names_of(places: Sequence[Path], given: str | None) -> list[str]:
    """What to call the runs: as given, or the ends of their paths, as long as is needed to tell them apart.

    Raises:
      UserError: a run is there twice, or the names given do not fit.
    """
    whole = [place.expanduser().resolve() for place in places]
    for place in whole:
        if whole.count(place) > 1:
            raise UserError(f"{place}: is there twice; give each run once.")
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        if len(names) != len(places) or len(set(names)) < len(names) or not all(names):
            raise UserError(f"--names={given}: {len(places)} different names are needed, one for each run.")
        return names
    # The rows of a table end in a digest of their config.
    parts = [(*place.parts[1:-1], re.sub(r"-[0-9a-f]{16}$", "", place.name)) for place in whole]
    names = ["/".join(one[-1:]) for one in parts]
    for length in range(2, max(map(len, parts)) + 1):
        if len(set(names)) == len(names):
            break
        names = ["/".join(one[-length:]) if names.count(name) > 1 else name
                 for one, name in zip(parts, names, strict=True)]
    return names if len(set(names)) == len(names) else [str(place) for place in whole]


if __name__ == "__main__":
    sys.exit(commands.flushed(main))
