"""Manifests: CSV or JSON-lines files that list utterances.

Columns (CSV) or keys (JSON lines): `path, label, speaker`, and optionally `id, session, split, fold, text, gender,
activation, valence, dominance, start, end`. `path` is relative to the manifest; `start` and `end` are seconds.
Empty cells (JSON: null) mean unknown.

A manifest may list millions: it is read as a stream, a line costs one look at its file, and words that repeat are
kept once.
"""

import csv
import difflib
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from sys import intern

from sercl_jax.corpora.labels import canonical
from sercl_jax.corpora.places import Places
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


class _Row:
    """Cells of one line, by column; what is absent is empty."""

    __slots__ = ("cells", "place")

    def __init__(self, cells: dict[str, str], place: str):
        self.cells = cells
        self.place = place  # "my.csv, line 3"

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def number(self, column: str) -> float | None:
        cell = self.cells.get(column)
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

    def rating(self, column: str) -> float:
        value = self.number(column)
        return math.nan if value is None else value


def read(manifest: Path, *, allow_outside: bool = False) -> list[Source]:
    """Everything a manifest lists, in its order; every audio file is there, nothing is decoded yet.

    Args:
      manifest: a CSV file (comma, semicolon or tab; UTF-8) or a JSON-lines file.
      allow_outside: whether audio may lie outside the manifest's folder, be it by its path or through links.

    Raises:
      UserError: names file, line and column of whatever cannot be used.
    """
    places = Places(manifest.resolve().parent, allow_outside)
    seen: dict[str, str] = {}
    sources = []
    for row in _rows(manifest):
        source = _source(row, places)
        known = source.utterance.id
        if known in seen:
            raise UserError(f"{row.place}, column id: {known!r} is already the id of {seen[known]}; ids must differ "
                            "(without an id column the path, and start and end if given, are the id).")
        seen[known] = row.place
        sources.append(source)
    if not sources:
        raise UserError(f"{manifest}: lists no utterances; add lines with {', '.join(REQUIRED)}.")
    return sources


def _rows(manifest: Path) -> Iterator[_Row]:
    first = next((line for line in _lines(manifest, "") if line.strip()), "")
    if first.lstrip()[:1] in ("{", "["):
        return _json_rows(manifest, _lines(manifest, "\n"))
    return _csv_rows(manifest, _lines(manifest, ""), first)


def _lines(manifest: Path, newline: str) -> Iterator[str]:
    """The lines with their ends; `newline` is `open`'s."""
    try:
        with manifest.open(encoding="utf-8-sig", newline=newline) as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise UserError(f"{manifest}, line {number}: has a NUL character; save the manifest as UTF-8 "
                                    "text.")
                yield line
    except UnicodeDecodeError as error:
        raise UserError(f"{manifest}, line {_undecodable(manifest)}: is not UTF-8 text; save the manifest as "
                        "UTF-8.") from error
    except OSError as error:
        raise UserError(f"{manifest}: the manifest cannot be read ({error.strerror}); check its path.") from error


def _undecodable(manifest: Path) -> int:
    """The first line that is not UTF-8. No other character has the byte of a line's end within it."""
    with manifest.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _csv_rows(manifest: Path, lines: Iterable[str], first: str) -> Iterator[_Row]:
    # The delimiter is the one that yields the most columns we know.
    delimiter = max(_DELIMITERS, key=lambda d: sum(cell.strip(' "').lower() in COLUMNS
                                                   for cell in first.strip("\r\n").split(d)))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    decimals: list[str] = []
    try:
        for cells in reader:
            place = f"{manifest}, line {reader.line_num}"
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if header is None:
                header = [cell.lower() for cell in cells]
                _check_columns(header, place)
                if delimiter != ",":  # a spreadsheet with decimal commas
                    decimals = [name for name in (*RATINGS, *TIMES) if name in header]
                continue
            if len(cells) != len(header):
                raise UserError(f"{place}: has {len(cells)} cells where the header has {len(header)} columns; "
                                f"quote cells that contain {delimiter!r}.")
            row = dict(zip(header, cells, strict=True))
            for name in decimals:
                row[name] = row[name].replace(",", ".")
            yield _Row(row, place)
    except csv.Error as error:
        raise UserError(f"{manifest}, line {reader.line_num}: is not CSV ({error}); check its quotes.") from error


def _json_rows(manifest: Path, lines: Iterable[str]) -> Iterator[_Row]:
    checked: set[tuple[str, ...]] = set()  # most lines have the same keys
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{manifest}, line {number}"
        try:
            value = json.loads(line)
            if "\\u" in line:
                json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no character
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: is not JSON ({error}); write one object per line.") from error
        if not isinstance(value, dict):
            raise UserError(f"{place}: is not a JSON object; write one object per line: "
                            '{"path": "a.wav", "label": "angry", "speaker": "1"}')
        if (keys := tuple(value)) not in checked:
            _check_columns([key.lower() for key in keys], place)
            checked.add(keys)
        for key, cell in value.items():
            if not isinstance(cell, str) and key.lower() in COLUMNS and (
                    isinstance(cell, bool) or not isinstance(cell, int | float | None)):
                raise UserError(f"{place}, column {key}: {json.dumps(cell)} is neither text, a number nor null.")
        yield _Row({key.lower(): "" if cell is None else str(cell).strip() for key, cell in value.items()}, place)


def _check_columns(found: list[str], place: str) -> None:
    for column in REQUIRED:
        if column not in found:
            raise UserError(f"{place}: the column {column!r} is missing; found {', '.join(found)}. Leave its cells "
                            "empty if it is unknown.")
    for column in found:
        if column in COLUMNS:
            if found.count(column) > 1:
                raise UserError(f"{place}: the column {column!r} is there twice; remove one.")
        elif near := difflib.get_close_matches(column, set(COLUMNS) - set(found), n=1, cutoff=0.8):
            raise UserError(f"{place}: the column {column!r} is unknown; did you mean {near[0]!r}? Rename it so, or "
                            "otherwise.")


def _source(row: _Row, places: Places) -> Source:
    given = row.text("path")
    file = places.find(given, row.place)
    start, end = row.number("start"), row.number("end")
    if start is not None and start < 0:
        raise UserError(f"{row.place}, column start: {start:g} s is negative; seconds count from "
                        "the file's beginning.")
    if end is not None and end <= (start or 0.0):
        raise UserError(f"{row.place}, column end: {end:g} s is not after the start ({start or 0.0:g} s); correct "
                        "start and end.")
    segment = "" if start is None and end is None else f"#{start or 0.0:g}-{'' if end is None else f'{end:g}'}"
    return Source(Utterance(
        row.text("id") or given + segment, 0, intern(canonical(row.text("label"))), intern(row.text("speaker")),
        intern(row.text("session")), intern(row.text("text")), _GENDERS.get(row.text("gender").lower(), ""),
        intern(row.text("split")), intern(row.text("fold")),
        row.rating("activation"), row.rating("valence"), row.rating("dominance")),
        file=file, start=start, end=end, origin=row.place)
