"""The command line: `python -m sercl_jax.corpora check|list`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sercl_jax import commands, files, resources
from sercl_jax.corpora import registry
from sercl_jax.errors import UserError

DESCRIPTION = """Looks at corpora before anyone trains on them.

  python -m sercl_jax.corpora list
  python -m sercl_jax.corpora check --corpus=emodb --manual_dir=download.zip
  python -m sercl_jax.corpora check --corpus=manifest --manifest=my.csv --json=check.json --plot=check.png
"""
CHECK = """Decodes every utterance of a distribution in parallel, builds nothing, and prints:

  classes, speakers, sessions and partitions; sampling rates, channels and encodings; histograms of durations and
  levels; files that cannot be used, and why; recordings that are there several times (a problem where their labels
  differ); nearly empty, clipped and shifted audio; digital silence at the ends; ratings outside their scale; and
  whether the published counts hold.

The last line says "fine" or how many problems there are.
Exit status: 0 fine, 1 problems, 2 nothing could be examined.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 if the corpus has problems, 2 if nothing could be examined."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except UserError as error:
        print(f"error: {str(error).replace('--config.data.', '--')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m sercl_jax.corpora", description=DESCRIPTION, formatter_class=raw)
    both = parser.add_subparsers(required=True, metavar="check|list")
    command = both.add_parser("list", help="the corpora, and what each needs", formatter_class=raw,
                                  description="The corpora, and what each needs.")
    command.set_defaults(run=_list)
    command = both.add_parser("check", help="examine a corpus as it was distributed", description=CHECK,
                                  formatter_class=raw)
    command.set_defaults(run=_check)
    add = command.add_argument
    add("--corpus", required=True, metavar="NAME", help="one of: " + ", ".join(registry.names()))
    add("--manual_dir", type=Path, metavar="DIR", help="the corpus as distributed: a folder, an archive or the "
        "unpacked tree")
    add("--manifest", type=Path, metavar="FILE", help="CSV or JSON lines, for --corpus=manifest")
    add("--allow_outside", action="store_true", help="the manifest may name files outside its folder")
    add("--subset", default="", metavar="NAME", help="a part of the distribution, for corpora that have parts, such "
        "as train-clean-100 of librispeech")
    add("--pattern", default="", metavar="PATTERN", help="what the names of files say, for --corpus=folder, such as "
        "'{speaker}_{label}_*.wav'")
    add("--cache_dir", type=Path, metavar="DIR", help="where downloads and decompressed archives go; the default is "
        "$SERCL_CACHE or ~/.cache/sercl_jax")
    add("--no_download", action="store_true", help="never fetch a corpus from its site")
    add("--workers", type=int, metavar="N", help="decoding processes; the default is one per CPU")
    add("--json", type=Path, metavar="FILE", help="write everything, each file's facts too, as JSON")
    add("--plot", type=Path, metavar="FILE.png", help="draw classes by speakers, durations and levels")
    return parser


def _list(_: argparse.Namespace) -> int:
    for name in registry.names():
        builder = registry.builder_class(name)
        needs = "Needs nothing: it is synthesised." if not builder.HOMEPAGE else builder.MANUAL_DOWNLOAD_INSTRUCTIONS
        if name == "manifest":
            needs = "Needs --manifest=FILE, CSV or JSON lines."
        homepage = f"\n    {builder.HOMEPAGE}" if builder.HOMEPAGE else ""
        print(f"{name}\n    {(builder.__doc__ or '').strip().splitlines()[0]}\n    {needs}{homepage}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from sercl_jax.corpora import check  # imports TFDS, for which --help does not wait

    if arguments.workers is not None and arguments.workers < 0:
        raise UserError(f"--workers={arguments.workers}: is negative; give the number of processes.")
    survey = check.survey(
        arguments.corpus, cache_dir=resources.cache(arguments.cache_dir), manual_dir=_path(arguments.manual_dir),
        manifest=_path(arguments.manifest), allow_outside=arguments.allow_outside, subset=arguments.subset,
        pattern=arguments.pattern, download=not arguments.no_download, workers=arguments.workers)
    if arguments.json:
        files.write_json(arguments.json, survey.to_json())
    if arguments.plot:
        from sercl_jax.corpora import check_figure

        with files.atomic_path(arguments.plot) as temporary:
            temporary.write_bytes(check_figure.png(survey))
    print(survey.text())
    return 1 if survey.problems else 0


def _path(path: Path | None) -> Path | None:
    return path and path.expanduser()


if __name__ == "__main__":
    sys.exit(commands.flushed(main))
