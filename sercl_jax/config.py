"""Config files: how their comma-separated choices are read, and how unknown names are answered."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from sercl_jax.errors import UserError


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest known name, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return f"{guess} Known: {', '.join(names)}."


def choices(argument: str | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Reads `corpus=emodb,folds=10,tiny` against a table of defaults, whose types the values take.

    A name alone sets a boolean choice.

    Raises:
      UserError: an unknown name (the nearest known one is named) or a value of the wrong type.
    """
    values = dict(defaults)
    for item in filter(None, (argument or "").split(",")):
        name, equals, text = item.partition("=")
        name = name.strip()
        if name not in defaults:
            raise UserError(f"config choice {name!r} is unknown.{nearest(name, defaults)}")
        values[name] = _cast(name, text.strip() if equals else None, defaults[name])
    return values


def _cast(name: str, text: str | None, default: Any) -> Any:
    if isinstance(default, bool):
        if text is None or text.lower() in ("true", "1", "yes"):
            return True
        if text.lower() in ("false", "0", "no"):
            return False
        raise UserError(f"config choice {name}={text}: expected true or false.")
    if text is None or not text:
        raise UserError(f"config choice {name!r} needs a value, as in {name}={default}.")
    try:
        return type(default)(text)
    except ValueError as error:
        raise UserError(f"config choice {name}={text}: expected a value like {default!r}.") from error


def one_of(key: str, value: str, known: Iterable[str]) -> str:
    """Returns `value` if it is known, else raises a `UserError` that names the key and the nearest known value."""
    known = list(known)
    if value not in known:
        raise UserError(f"{key}={value}: unknown.{nearest(value, known)}")
    return value
