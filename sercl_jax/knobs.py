"""The knobs of a config: their names, what their source says of them, and which one a wrong name may have meant."""

import ast
import difflib
import io
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sercl_jax import resources
from sercl_jax.errors import UserError

_CLOSE = 0.7
_SHOWN = 3  # knobs that a message names
_TRUE_OR_FALSE = ("true", "false", "t", "f", "1", "0", "yes", "no", "y", "n", "")
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", tuple: "numbers in brackets",
          str: "a text"}


def leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted names and values, in order, without the rows of a table."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            if prefix or name not in ("rows", "table"):
                found |= leaves(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def check(arguments: Iterable[str], config: ConfigDict) -> None:
    """Looks for what is wrong with `--config.NAME=VALUE` among command-line arguments.

    Raises:
      UserError: there is no such knob (what may have been meant is named), or it takes no such value.
    """
    known = leaves(config)
    for argument in arguments:
        flag, equals, text = argument.partition("=")
        name = flag.lstrip("-").removeprefix("config.")
        if not flag.lstrip("-").startswith("config.") or not flag.startswith("-"):
            continue
        if name not in known:
            raise UserError(f"config.{name}{_unknown(name, known)}")
        if equals and not _takes(known[name], text):
            kind = next(words for kind, words in _KINDS.items() if isinstance(known[name], kind))
            raise UserError(f"config.{name}={text}: expected {kind}; its value is {known[name]!r}.")


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    inside = [knob for knob in known if knob.startswith(f"{name}.")]
    if inside:
        return f" is a section; its knobs are {', '.join(inside)}."
    if near := nearest(name, known):
        return f": unknown; did you mean {' or '.join(f'config.{knob}' for knob in near)}?"
    sections = list(dict.fromkeys(knob.partition(".")[0] for knob in known))
    return (f": unknown, and no knob is called like it; known are {', '.join(sections)} and what is in them; see "
            "--help.")


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Known knobs that a wrong name may have meant, the likeliest first.

    Those of that very last name in another section; or of a similar whole name; or of a similar last name or one
    that it abbreviates ("lr" is learning_rate), in the same section first.
    """
    knobs = list(known)
    section, _, leaf = name.rpartition(".")
    order = sorted(knobs, key=lambda knob: knob.rpartition(".")[0] != section)  # stable
    if same := [knob for knob in order if _leaf(knob) == leaf]:
        return same[:_SHOWN]
    similar = difflib.get_close_matches(leaf, [_leaf(knob) for knob in order if knob.rpartition(".")[0] == section],
                                        n=1, cutoff=_CLOSE)
    if similar:
        return [f"{section}.{similar[0]}".lstrip(".")]
    short = {knob: "".join(word[0] for word in _leaf(knob).split("_")) for knob in order if "_" in _leaf(knob)}
    words = [*map(_leaf, order), *short.values()]
    for word in difflib.get_close_matches(leaf, list(dict.fromkeys(words)), n=1, cutoff=_CLOSE):
        return [knob for knob in order if word in (_leaf(knob), short.get(knob))][:_SHOWN]
    return difflib.get_close_matches(name, knobs, n=1, cutoff=_CLOSE)


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _takes(value: Any, text: str) -> bool:
    """Whether a knob of this value can be set to this text."""
    if isinstance(value, bool):
        return text.lower() in _TRUE_OR_FALSE
    if isinstance(value, tuple):
        try:
            given = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return False
        return all(isinstance(one, int | float) for one in (given if isinstance(given, tuple | list) else [given]))
    try:
        type(value)(text)
    except ValueError:
        return False
    return True


def comments(files: Iterable[Path]) -> dict[str, str]:
    """What config files say of their knobs: "graph.k", or only "k" where the section is not to be seen -> comment.

    The files are read, not run; of several comments on a knob the first counts.
    """
    found: dict[str, str] = {}
    for file in files:
        text = file.read_text(encoding="utf-8")
        by_line = {token.start[0]: token.string.lstrip("# ") for token in tokenize.generate_tokens(
            io.StringIO(text).readline) if token.type == tokenize.COMMENT}
        for node in ast.walk(ast.parse(text)):
            for name, line in _named(node):
                if line in by_line:
                    found.setdefault(name, by_line[line])
    return found


def _named(node: ast.AST) -> Iterable[tuple[str, int]]:
    """The knobs that a statement or a dict sets, with the line of their comment."""
    if isinstance(node, ast.Assign) and node.end_lineno is not None:
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                _, _, name = ast.unparse(target).partition(".")
                yield name, node.end_lineno
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and value.end_lineno is not None:
                yield key.value, value.end_lineno


def sources(config: ConfigDict, file: Path) -> list[Path]:
    """The files that may tell of a config's knobs: its own first."""
    folder, package = resources.folder("configs"), Path(__file__).resolve().parent
    others = [folder / f"{config.method}.py", package / "methods" / "own.py", folder / "serugcl.py"] \
        if "method_file" in config else [folder / f"{config.method}.py"]
    return [path for path in dict.fromkeys([file, *others, package / "config.py"]) if path.is_file()]
