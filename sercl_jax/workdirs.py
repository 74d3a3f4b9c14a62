"""Whose a workdir is: the config that made it, and the corpora it was made of."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sercl_jax import files
from sercl_jax.errors import UserError

CONFIG = "config.json"
CORPORA = "corpora.json"
# What may differ between two runs of one workdir: where things lie, how fast and how chattily they are done.
_PLACES = ("cache_dir", "manual_dir", "manifest", "pattern", "download", "workers")
_MANNERS = (("train", "log_every"), ("train", "resident"), ("train", "steps_per_dispatch"), ("eval", "report"))


def identity(config: ConfigDict) -> dict[str, Any]:
    """The part of a config that decides the result."""
    plain = json.loads(config.to_json_best_effort())
    sections = [plain.get("data", {}), plain.get("pretrain_data", {}), *plain.get("corpora", {}).values()]
    for section in sections:
        for key in _PLACES:
            section.pop(key, None)
    plain.get("encoder", {}).pop("path", None)  # its weights are claimed with the corpora
    plain.pop("method_file", None)  # so is what it says
    for name, key in _MANNERS:
        plain.get(name, {}).pop(key, None)
    return plain


def claim(config: ConfigDict, workdir: Path) -> None:
    """Writes the config into a new workdir; refuses one that holds another config.

    Raises:
      UserError: the folder belongs to another config, or is not empty and holds no run.
    """
    path = workdir / CONFIG
    mine = identity(config)
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        if mine.get("init_from") and theirs.get("init_from"):  # a place; what it holds is claimed with the corpora
            mine["init_from"] = theirs["init_from"]
        differing = sorted(_differences(mine, theirs))
        if differing:
            raise UserError(f"{workdir}: this folder belongs to a run with another config; it differs in "
                            f"{', '.join(differing)}. Choose another --workdir, or remove this one.")
        return
    if workdir.is_dir() and any(p.name != "run.lock" for p in workdir.iterdir()):
        raise UserError(f"{workdir}: the folder is not empty and holds no run; choose another --workdir.")
    files.write_json(path, mine)


def claim_corpora(workdir: Path, keys: Mapping[str, str]) -> None:
    """Writes the corpora's keys into a new workdir; refuses one that was made of others (an edited manifest, say).

    Raises:
      UserError: a corpus has changed since.
    """
    path = workdir / CORPORA
    if not path.exists():
        files.write_json(path, dict(keys))
        return
    theirs = json.loads(path.read_text(encoding="utf-8"))
    changed = sorted(name for name in keys if keys[name] != theirs.get(name))
    if changed:
        raise UserError(f"{workdir}: this run was started on other data: {', '.join(changed)} has changed since "
                        "(audio, labels, utterances, parameters, or the text of a method). Choose another --workdir, "
                        "or remove this one.")


def _differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        return [name for key in a.keys() | b.keys()
                for name in _differences(a.get(key), b.get(key), f"{prefix}.{key}".lstrip("."))]
    return [] if a == b else [prefix]
