"""Manifests: CSV or JSON-lines files that list utterances.

Columns (CSV) or keys (JSON lines): `path, label, speaker`, and optionally `id, session, split, fold, text, gender,
activation, valence, dominance, start, end`. `path` is relative to the manifest; `start` and `end` are seconds.
Empty cells (JSON: null) mean unknown.
"""

import csv
import difflib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sercl_jax.corpora.labels import canonical
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

REQUIRED = ("path", "label", "speaker")
TEXTS = ("id", "session", "split", "fold", "text", "gender")
RATINGS = ("activation", "valence", "dominance")
TIMES = ("start", "end")
COLUMNS = (*REQUIRED, *TEXTS, *RATINGS, *TIMES)
_DELIMITERS = ",;\t"
_GENDERS = {"f": "female", "female": "female", "w": "female", "woman": "female",
            "m": "male", "male": "male", "man": "male"}


@dataclass(frozen=True)
class _Row:
    """Cells of one line, by column; what is absent is empty."""

    cells: dict[str, str]
    place: str  # "my.csv, line 3"

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def number(self, column: str) -> float | None:
        cell = self.text(column)
        if not cell:
            return None
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{self.place}, column {column}: {cell!r} is not a finite number; correct it, or "
                            "leave it empty if it is unknown.")
        return value


def read(manifest: Path, *, allow_outside: bool = False) -> list[Source]:
    """Everything a manifest lists, in its order; every audio file is there, nothing is decoded yet.

    Args:
      manifest: a CSV file (comma, semicolon or tab; UTF-8) or a JSON-lines file.
      allow_outside: whether audio may lie outside the manifest's folder.

    Raises:
      UserError: names file, line and column of whatever cannot be used.
    """
    rows = list(_rows(manifest, _content(manifest)))
    if not rows:
        raise UserError(f"{manifest}: lists no utterances; add lines with {', '.join(REQUIRED)}.")
    folder = manifest.resolve().parent
    seen: dict[str, str] = {}
    sources = []
    for row in rows:
        source = _source(row, folder, allow_outside)
        known = source.utterance.id
        if known in seen:
            raise UserError(f"{row.place}, column id: {known!r} is already the id of {seen[known]}; ids must differ "
                            "(without an id column the path, and start and end if given, are the id).")
        seen[known] = row.place
        sources.append(source)
    return sources


def _content(manifest: Path) -> str:
    try:
        data = manifest.read_bytes()
    except OSError as error:
        raise UserError(f"{manifest}: the manifest cannot be read ({error.strerror}); check its path.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise UserError(f"{manifest}, line {line}: is not UTF-8 text; save the manifest as UTF-8.") from error
    if "\0" in text:
        raise UserError(f"{manifest}, line {text[:text.index(chr(0))].count(chr(10)) + 1}: has a NUL character; save "
                        "the manifest as UTF-8 text.")
    return text


def _rows(manifest: Path, text: str) -> Iterator[_Row]:
    return _json_rows(manifest, text) if text.lstrip()[:1] in ("{", "[") else _csv_rows(manifest, text)


def _csv_rows(manifest: Path, text: str) -> Iterator[_Row]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    # The delimiter is the one that yields the most columns we know.
    delimiter = max(_DELIMITERS, key=lambda d: sum(cell.strip(' "').lower() in COLUMNS for cell in first.split(d)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            place = f"{manifest}, line {reader.line_num}"
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if header is None:
                header = [cell.lower() for cell in cells]
                _check_columns(header, place)
                continue
            if len(cells) != len(header):
                raise UserError(f"{place}: has {len(cells)} cells where the header has {len(header)} columns; "
                                f"quote cells that contain {delimiter!r}.")
            row = dict(zip(header, cells, strict=True))
            if delimiter != ",":  # a spreadsheet with decimal commas
                row |= {name: row[name].replace(",", ".") for name in (*RATINGS, *TIMES) if name in row}
            yield _Row(row, place)
    except csv.Error as error:
        raise UserError(f"{manifest}, line {reader.line_num}: is not CSV ({error}); check its quotes.") from error


def _json_rows(manifest: Path, text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{manifest}, line {number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UserError(f"{place}: is not JSON ({error}); write one object per line.") from error
        if not isinstance(value, dict):
            raise UserError(f"{place}: is not a JSON object; write one object per line: "
                            '{"path": "a.wav", "label": "angry", "speaker": "1"}')
        _check_columns([key.lower() for key in value], place)
        for key, cell in value.items():
            if key.lower() in COLUMNS and (isinstance(cell, bool) or not isinstance(cell, str | int | float | None)):
                raise UserError(f"{place}, column {key}: {json.dumps(cell)} is neither text, a number nor null.")
        yield _Row({key.lower(): "" if cell is None else str(cell).strip() for key, cell in value.items()}, place)


def _check_columns(found: list[str], place: str) -> None:
    for column in REQUIRED:
        if column not in found:
            raise UserError(f"{place}: the column {column!r} is missing; found {', '.join(found)}. Leave its cells "
                            "empty if it is unknown.")
    for column in found:
        if found.count(column) > 1 and column in COLUMNS:
            raise UserError(f"{place}: the column {column!r} is there twice; remove one.")
        near = difflib.get_close_matches(column, set(COLUMNS) - set(found), n=1, cutoff=0.8)
        if column not in COLUMNS and near:
            raise UserError(f"{place}: the column {column!r} is unknown; did you mean {near[0]!r}? Rename it so, or "
                            "otherwise.")


def _source(row: _Row, folder: Path, allow_outside: bool) -> Source:
    path = _audio_path(row, folder, allow_outside)
    start, end = row.number("start"), row.number("end")
    if start is not None and start < 0:
        raise UserError(f"{row.place}, column start: {start:g} s is negative; seconds count from "
                        "the file's beginning.")
    if end is not None and end <= (start or 0.0):
        raise UserError(f"{row.place}, column end: {end:g} s is not after the start ({start or 0.0:g} s); correct "
                        "start and end.")
    segment = "" if start is None and end is None else f"#{start or 0.0:g}-{'' if end is None else f'{end:g}'}"
    ratings = {name: row.number(name) for name in RATINGS}
    utterance = Utterance(
        id=row.text("id") or row.text("path") + segment, num_samples=0, label=canonical(row.text("label")),
        speaker=row.text("speaker"), session=row.text("session"), sentence=row.text("text"),
        gender=_gender(row), split=row.text("split"), fold=row.text("fold"),
        **{name: math.nan if value is None else value for name, value in ratings.items()})
    return Source(utterance, path=path, start=start, end=end, origin=row.place)


def _audio_path(row: _Row, folder: Path, allow_outside: bool) -> Path:
    given = row.text("path")
    if not given:
        raise UserError(f"{row.place}, column path: is empty; give the audio file.")
    path = (folder / given).resolve()
    if not allow_outside and not path.is_relative_to(folder):
        raise UserError(f"{row.place}, column path: {given!r} leads outside the manifest's folder; move the audio "
                        "there, or allow it with --config.data.allow_outside=True.")
    if not path.is_file():
        raise UserError(f"{row.place}, column path: there is no audio file {path}; paths are "
                        "relative to the manifest.")
    return path


def _gender(row: _Row) -> str:
    return _GENDERS.get(row.text("gender").lower(), "")
