"""Exported models: a folder with stored programs, weights and facts, opened without any of the training code.

    bundle.json           what is in it: card, inputs, programs, SHA-256 of every file
    weights.safetensors   parameters, feature statistics, classifier, calibration
    programs/             StableHLO, one program for each length of the inputs
    config.json, README.md, perhaps huggingface/

Nothing of a bundle is imported, unpickled or executed but its programs, and those only compute (`programs.check`).
Checksums tell damage from wholeness; they do not tell who made a bundle.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import safetensors
import safetensors.numpy

from sercl_jax import files
from sercl_jax.errors import UserError
from sercl_jax.inference import inputs as kinds_of_inputs
from sercl_jax.inference import programs
from sercl_jax.inference.card import KINDS, Card
from sercl_jax.inference.pipeline import FRAMES, PROBABILITY, RATING, Pipeline
from sercl_jax.types import Batch, Variables

SHEET, WEIGHTS, PROGRAMS = "bundle.json", "weights.safetensors", "programs"
CONFIG, README = "config.json", "README.md"
FORMAT, VERSION = "sercl_jax bundle", 1
RESULTS = "results"  # what the programs that are not for FRAMES are called
_SUM = "sha256"
_AGAIN = "take another copy of the bundle, or export it again"
_LARGEST_SHEET = 64 << 20  # bytes


def open_bundle(path: Path) -> Pipeline:
    """A `Runner` of what `python -m sercl_jax.export` wrote; every file of it is checked first.

    Args:
      path: the bundle's folder.

    Raises:
      UserError: there is no bundle, it is of a later version, or a file of it is missing, truncated, altered or not
        inside it.
    """
    sheet = _sheet(path)
    for name, facts in sheet["files"].items():
        _check_file(path, name, facts)
    try:
        card, inputs = Card.from_json(sheet["card"]), kinds_of_inputs.from_facts(sheet["inputs"])
        batch_size = int(sheet["batch_size"])
        # No file is used whose checksum is not listed.
        stored = {kind: {int(length): _Program(path, facts, sheet["files"]) for length, facts in of_kind.items()}
                  for kind, of_kind in sheet["programs"].items()}
        fits = (set(stored) == ({RESULTS, FRAMES} if card.frames else {RESULTS}) and card.kind in KINDS
                and batch_size > 0 and card.seconds > 0 and WEIGHTS in sheet["files"]
                and all(isinstance(label, str) for label in card.labels)
                and all(program.tells(len(card.labels)) for program in stored[RESULTS].values())
                and all(set(of_kind) == set(inputs.lengths) for of_kind in stored.values()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"its facts cannot be read: {type(error).__name__} {error}") from error
    if not fits:
        raise _damaged(path, "its programs or files are not those of its card and inputs")
    try:
        weights = safetensors.numpy.load_file(path / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path / WEIGHTS}: cannot be read ({error}); {_AGAIN}.") from error
    return Pipeline(card, inputs, partial(_apply, stored[RESULTS]), weights,
                    partial(_frames, stored[FRAMES]) if card.frames else None, batch_size)


class _Program:
    """One stored program; read when it is first needed."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], checked: Mapping[str, Any]):
        self.path, self.sum = folder / facts["file"], checked[facts["file"]][_SUM]
        self.inputs, self.results = (_shapes(facts[name]) for name in ("inputs", "outputs"))

    def takes(self, batch: Batch) -> bool:
        return ({name: (tuple(shape[1:]), dtype) for name, (shape, dtype) in self.inputs.items()}
                == {name: (tuple(x.shape[1:]), x.dtype.name) for name, x in batch.items()})

    def tells(self, labels: int) -> bool:
        return all(self.results[name][0][1:] == (labels,) for name in (PROBABILITY, RATING) if name in self.results)

    def __call__(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        content = _read(self.path)
        if hashlib.sha256(content).hexdigest() != self.sum:
            raise UserError(f"{self.path}: was altered since the bundle was opened; {_AGAIN}.")
        program = programs.read(content, str(self.path), variables, self.inputs, self.results)
        made: dict[str, jax.Array] = program.call(dict(variables), dict(batch))
        return made


def _shapes(facts: Mapping[str, Any]) -> programs.Shapes:
    return {name: (tuple(one["shape"]), str(one["dtype"])) for name, one in facts.items()}


def _apply(stored: Mapping[int, _Program], variables: Variables, batch: Batch) -> dict[str, jax.Array]:
    """Under `jit`, which comes here once for each shape: so each program is read and compiled once."""
    for program in stored.values():
        if program.takes(batch):
            return program(variables, batch)
    raise ValueError(f"no program takes {({name: x.shape for name, x in batch.items()})}.")


def _frames(stored: Mapping[int, _Program], variables: Variables, batch: Batch) -> jax.Array:
    return _apply(stored, variables, batch)[FRAMES]


def signature(sheet: Mapping[str, Any]) -> str:
    """SHA-256 of everything in bundle.json but itself."""
    rest = {name: value for name, value in sheet.items() if name != _SUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def sum_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sheet(path: Path) -> dict[str, Any]:
    """bundle.json, checked by itself."""
    place = path / SHEET
    if not place.is_file():
        raise UserError(f"{path}: is no bundle ({SHEET} is missing); give a folder that `python -m sercl_jax.export` "
                        "wrote.")
    try:
        if place.stat().st_size > _LARGEST_SHEET:
            raise ValueError("it is too large")
        sheet = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{place}: cannot be read ({error}); {_AGAIN}.") from error
    if not isinstance(sheet, dict) or sheet.get("format") != FORMAT:
        raise UserError(f"{place}: is none of a bundle; give a folder that `python -m sercl_jax.export` wrote.")
    version = sheet.get("version")
    if version != VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > VERSION
        raise UserError(f"{place}: the bundle has format version {version!r}, and this sercl_jax reads {VERSION}; "
                        f"{'install a newer sercl_jax' if newer else 'export the run again'}.")
    if sheet.get(_SUM) != signature(sheet):
        raise UserError(f"{place}: was altered (its checksum does not fit); {_AGAIN}.")
    if not isinstance(sheet.get("files"), dict):
        raise _damaged(path, "it lists no files")
    return sheet


def _check_file(folder: Path, name: str, facts: Any) -> None:
    """Raises UserError unless a file is inside the folder and is the one that was written."""
    parts = PurePosixPath(name).parts
    if (not parts or str(PurePosixPath(name)) != name or name.startswith("/") or ".." in parts
            or re.search(r'[\\:*?"<>|\x00-\x1f]', name)):
        raise _damaged(folder, f"it names a file {name!r}, which is not inside the bundle")
    place = folder
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise UserError(f"{place}: is a link, and a bundle's files must be in it: copy it with links followed "
                            "(cp -rL).")
    if not place.is_file():
        raise UserError(f"{place}: is missing; {_AGAIN}.")
    if not isinstance(facts, dict) or set(facts) != {"bytes", _SUM}:
        raise _damaged(folder, f"it has no checksum of {name}")
    try:
        if place.stat().st_size != facts["bytes"]:
            raise UserError(f"{place}: has {place.stat().st_size} bytes, not {facts['bytes']}: it was truncated or "
                            f"altered; {_AGAIN}.")
        if sum_of(place) != facts[_SUM]:
            raise UserError(f"{place}: was altered (its checksum does not fit); {_AGAIN}.")
    except OSError as error:
        raise UserError(f"{place}: cannot be read ({error.strerror}); make it readable, or {_AGAIN}.") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}.") from error


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path / SHEET}: {why}; {_AGAIN}.")


def write_sheet(folder: Path, sheet: Mapping[str, Any]) -> None:
    """Adds format, checksums of all files that are there, and the checksum of it all; writes bundle.json."""
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    whole = {"format": FORMAT, "version": VERSION, **sheet,
             "files": {path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, _SUM: sum_of(path)}
                       for path in there}}
    files.write_json(folder / SHEET, {**whole, _SUM: signature(whole)})
