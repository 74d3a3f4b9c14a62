"""What commands that put recordings through a model are told alike."""

import argparse
from pathlib import Path


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """The recordings, and the model: a workdir or a bundle."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="recordings in any format that libsndfile "
                        "reads, folders with all that is below them, patterns such as 'calls/**/*.wav', or - for a "
                        "recording on standard input")
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--workdir", type=Path, metavar="RUN", help="a finished run of sercl_jax.main")
    model.add_argument("--bundle", type=Path, metavar="DIR", help="what sercl_jax.export has made of one")


def add_window(parser: argparse.ArgumentParser) -> None:
    """How long the windows of long recordings are."""
    parser.add_argument("--window", type=float, metavar="SECONDS", help="length of the windows of long recordings "
                        "(default: as long as most utterances that the model was trained on)")
