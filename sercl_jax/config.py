"""Config files: how their comma-separated choices are read, and how unknown names are answered."""

import difflib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_collections

from sercl_jax import resources
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


def split_choices(argument: str | None, own: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Takes a table's own choices out of the argument; the rest is for the config it is built on."""
    items = [item for item in (argument or "").split(",") if item]
    mine = [item for item in items if item.partition("=")[0].strip() in own]
    return choices(",".join(mine), own), ",".join(item for item in items if item not in mine)


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


def sections(corpora: Mapping[str, Mapping[str, Any]], labels: str) -> ml_collections.ConfigDict:
    """`config.corpora`: a section for each of several corpora; what it leaves empty is as in `config.data`.

    Args:
      corpora: name of the section -> what it sets, its "corpus" in any case.
      labels: of all that set none.
    """
    return ml_collections.ConfigDict({name: {
        "corpus": "",
        "manual_dir": "",  # folder with the corpus' archive, the archive, or the unpacked tree
        "manifest": "",  # CSV or JSON lines, for corpus=manifest
        "pattern": "",  # what names of files say, for corpus=folder, such as {speaker}_{label}_*.wav
        "subset": "",  # part of a distribution that has parts
        "labels": labels,  # classes, such as angry,happy+excited,sad; all; usual: customary for the corpus
        "where": "",  # field=pattern, such as sentence=impro*
        **changes} for name, changes in corpora.items()})


def set_by(section: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """What one of `sections` sets in place of `config.data`: all that it does not leave empty, or has alone."""
    return {key: value for key, value in section.items() if value or key not in data}


def named(corpora: str) -> dict[str, dict[str, Any]]:
    """Sections for "emodb+ravdess"; a second manifest is called manifest_2."""
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(corpora.split("+"), 1):
        found[name if name not in found else f"{name}_{number}"] = {"corpus": name}
    return found


def usual_protocol(corpora: str, alone: str) -> str:
    """Of several corpora, joined by +, each is left out; whose names are found out, as they allow; else `alone`."""
    return "corpus" if "+" in corpora else "auto" if corpora == "folder" else alone


def usual_folds(corpora: str, usual: int) -> int:
    """The usual number, or 0 for recordings of one's own: they may be few, and their smallest class then decides."""
    return 0 if corpora == "folder" else usual


def base(name: str, argument: str | None) -> ml_collections.ConfigDict:
    """The config that `configs/NAME.py` returns for these choices, unlocked, to build another config on."""
    return of_file(str(resources.folder("configs") / f"{name}.py"), argument).unlock()


def of_file(path: str, argument: str | None) -> ml_collections.ConfigDict:
    """The config that any file returns for these choices."""
    spec = importlib.util.spec_from_file_location(f"sercl_jax_config_{Path(path).stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(argument)


@dataclass(frozen=True)
class Variant:
    """One row of a table: what it changes in the config, and what it stands beside.

    Attributes:
      name: as the paper calls it, where it does.
      changes: dotted knob -> value.
      paper: the row's name among the published numbers of the table, or "".
      x: its place in a sweep.
      series: which line of a sweep, or which block of a grid, it belongs to.
      against: names of rows of the same series whose paired difference is wanted.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    paper: str = ""
    x: float | None = None
    series: str = ""
    against: tuple[str, ...] = ()


def table(config: ml_collections.ConfigDict, *, title: str, rows: Iterable[Variant], published: str = "",
          x_label: str = "", note: str = "", complete: bool = False) -> ml_collections.ConfigDict:
    """Makes a config of one run into one of a table: the same knobs, and a row for each variant of them.

    Args:
      config: unlocked; what all rows have in common.
      title: of the table.
      rows: in the order to run and to print them.
      published: attribute of `sercl_jax.published` with the paper's numbers, such as "TABLE5".
      x_label: axis of a sweep; "" for a table of names.
      note: key of `published.NOTES`, printed under the table.
      complete: whether every row is a whole run, with its report and a model to use; otherwise only figures count.
    """
    config.table = ml_collections.ConfigDict(
        {"title": title, "published": published, "x_label": x_label, "note": note, "complete": complete})
    config.rows = ml_collections.ConfigDict()
    for number, row in enumerate(rows):
        change: dict[str, Any] = {}
        for knob, value in row.changes.items():
            *sections, last = knob.split(".")
            place = change
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
        config.rows[f"row{number:03d}"] = ml_collections.ConfigDict({
            "name": row.name, "paper": row.paper, "x": "" if row.x is None else str(row.x), "series": row.series,
            "against": row.against, "change": change})
    return config.lock()
