"""Where the builders are and how to import one, in a checkout and in an installed wheel alike."""

import difflib
import importlib
import sys
import types
from pathlib import Path
from typing import Any

from sercl_jax.errors import UserError

_PACKAGE = "sercl_jax.data_builders"


def _directory() -> Path:
    package = Path(__file__).resolve().parents[1]
    inside = package / "data_builders"  # a wheel carries it here, a checkout beside the package
    return inside if inside.is_dir() else package.parent / "data_builders"


def names() -> tuple[str, ...]:
    """Names of all corpora: every `data_builders/<name>/<name>_dataset_builder.py` is one."""
    return tuple(sorted(path.parent.name for path in _directory().glob("*/*_dataset_builder.py")
                        if path.name == f"{path.parent.name}_dataset_builder.py"))


def is_synthetic(name: str) -> bool:
    """Whether a corpus, or one of several joined by "+", is synthetic speech."""
    return any(part.startswith("demo") for part in name.split("+"))


def builder_class(name: str) -> Any:
    """The builder class of a corpus, a subclass of `base.CorpusBuilder`.

    Raises:
      UserError: there is no such corpus.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"corpus {name!r} is unknown; {hint}Known corpora: {', '.join(names())}.")
    return module(name, f"{name}_dataset_builder").Builder


def module(corpus: str, name: str) -> types.ModuleType:
    """A module of a corpus' folder, however its builder was imported: what two corpora share."""
    if _PACKAGE not in sys.modules:
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [str(_directory())]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{corpus}.{name}")
