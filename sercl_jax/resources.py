"""Where things are: the folders beside the package, in a checkout or inside it once installed; the cache."""

import importlib.util
import os
from pathlib import Path

from sercl_jax.errors import UserError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `configs`, `data_builders` or `benchmarks`, wherever the package runs from.

    Raises:
      UserError: it is in neither place, so the installation is broken.
    """
    for place in (_PACKAGE / name, _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise UserError(f"{_PACKAGE}: the folder {name!r} is missing; install the package again.")


def config_file(argument: str) -> str:
    """`FILE[:CHOICES]` with FILE as it is or, if there is none, the one of that name that came with the package.

    Raises:
      UserError: there is neither.
    """
    name, colon, choices = argument.partition(":")
    path = Path(name)
    if not path.is_file() and path.parts[:1] == ("configs",):
        path = folder("configs") / path.relative_to("configs")
    if not path.is_file():
        known = [f"configs/{p.relative_to(folder('configs')).as_posix()}" for p in folder("configs").rglob("*.py")]
        raise UserError(f"--config={name}: there is no such file. Known: {', '.join(sorted(known))}.")
    return f"{path}{colon}{choices}"


def cache(folder: str | Path | None = None) -> Path:
    """Where records, features and compiled programs lie: the folder given, $SERCL_CACHE, or the user's cache."""
    return Path(folder or os.environ.get("SERCL_CACHE") or "~/.cache/sercl_jax").expanduser().absolute()


def installed(module: str) -> bool:
    """Whether an optional package can be imported; does not import it."""
    return importlib.util.find_spec(module) is not None
