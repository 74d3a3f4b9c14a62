"""MSP-Podcast's lists: labels in CSV or JSON, and the partitions."""

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sercl_jax.corpora.archives import Entry
from sercl_jax.errors import UserError

EMOTIONS = {"A": "angry", "H": "happy", "S": "sad", "N": "neutral", "U": "surprised", "F": "fearful",
            "D": "disgusted", "C": "contempt", "O": "other", "X": ""}  # X: no agreement
SPLITS = {"train": "train", "validation": "validation", "development": "validation", "test": "test", "test1": "test",
          "test2": "test2", "test3": "test3"}
_RATINGS = {"emoact": "activation", "emoval": "valence", "emodom": "dominance"}
_LOWEST, _HIGHEST = 1.0, 7.0
_GENDERS = {"female": "female", "male": "male"}


@dataclass(frozen=True)
class Labels:
    """What one line of the label file says of one audio file."""

    label: str
    speaker: str
    gender: str
    split: str  # "" if the label file has no partitions
    ratings: dict[str, float]
    place: str  # "labels_consensus.csv, line 3"
    empty: tuple[str, ...]  # which labels it does not give


def read_labels(entry: Entry) -> dict[str, Labels]:
    """File name -> labels; raises `UserError` with the line or key of whatever is not understood."""
    labels: dict[str, Labels] = {}
    for place, name, cells in _rows(entry):
        if name in labels:
            raise UserError(f"{place}: {name} is listed twice; download the label file again.")
        labels[name] = _labels(place, cells)
    if not labels:
        raise UserError(f"{entry}: lists no file; download it again.")
    return labels


def read_partitions(entry: Entry) -> dict[str, str]:
    """File name -> partition, from lines such as `Train; MSP-PODCAST_0023_0048.wav`."""
    splits: dict[str, str] = {}
    for number, line in enumerate(_text(entry).splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{entry}, line {number}"
        split, semicolon, name = (part.strip() for part in line.partition(";"))
        if not semicolon or not name:
            raise UserError(f"{place}: {line.strip()!r} is not PARTITION; FILE.")
        if name in splits:
            raise UserError(f"{place}: {name} is listed twice; download the file again.")
        splits[name] = _split(place, split)
    return splits


def _text(entry: Entry) -> str:
    try:
        return entry.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{entry}: is not UTF-8 text; download it again.") from error


def _rows(entry: Entry) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Place, file name, and cells by lower-case column."""
    if entry.relative.suffix.lower() == ".json":
        yield from _json_rows(entry)
        return
    reader = csv.DictReader(io.StringIO(_text(entry), newline=""), skipinitialspace=True)
    try:
        columns = [(column or "").strip().lower() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        for column in ("filename", "emoclass", *_RATINGS):
            if column not in columns:
                raise UserError(f"{entry}, line 1: the column {column!r} is missing (found {', '.join(columns)}); "
                                "download the label file again.")
        for row in reader:
            place = f"{entry}, line {reader.line_num}"
            if None in row or None in row.values():
                raise UserError(f"{place}: has not as many cells as the header; download the label file again.")
            cells = {column: cell.strip() for column, cell in row.items()}
            yield place, cells["filename"], cells
    except csv.Error as error:
        raise UserError(f"{entry}, line {reader.line_num}: is not CSV ({error}); download the label file again."
                        ) from error


def _json_rows(entry: Entry) -> Iterator[tuple[str, str, dict[str, str]]]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise UserError(f"{entry}, key {name}: {name} is listed twice; download the label file again.")
            found[name] = value
        return found

    try:
        content = json.loads(_text(entry), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{entry}: is not JSON ({error}); download it again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{entry}: is not a JSON object keyed by file name; download it again.")
    for name, value in content.items():
        place = f"{entry}, key {name}"
        if not isinstance(value, dict):
            raise UserError(f"{place}: is not an object with EmoClass, EmoAct and so on; download the file again.")
        yield place, name, {key.lower(): "" if cell is None else str(cell).strip() for key, cell in value.items()}


def _labels(place: str, cells: dict[str, str]) -> Labels:
    letter, split = cells.get("emoclass", ""), cells.get("split_set", "")
    if letter and letter not in EMOTIONS:
        raise UserError(f"{place}: the emotion code {letter!r} is unknown; MSP-Podcast has {', '.join(EMOTIONS)}.")
    speaker = cells.get("spkrid", "")
    return Labels(
        label=EMOTIONS[letter] if letter else "", speaker="" if speaker.lower() == "unknown" else speaker,
        gender=_GENDERS.get(cells.get("gender", "").lower(), ""), split=_split(place, split) if split else "",
        ratings={name: _rating(place, column, cells.get(column, "")) for column, name in _RATINGS.items()},
        place=place, empty=tuple(column for column in ("emoclass", *_RATINGS) if not cells.get(column)))


def _rating(place: str, column: str, cell: str) -> float:
    if not cell:
        return math.nan
    value = float(cell) if re.fullmatch(r"\d+([.]\d*)?", cell) else math.nan
    if not _LOWEST <= value <= _HIGHEST:
        raise UserError(f"{place}: {column} is {cell!r}, not a number from {_LOWEST:g} to {_HIGHEST:g}; download the "
                        "label file again.")
    return value


def _split(place: str, split: str) -> str:
    if split.lower() not in SPLITS:
        raise UserError(f"{place}: the partition {split!r} is unknown; MSP-Podcast has Train, Validation (or "
                        "Development), Test (or Test1), Test2 and Test3.")
    return SPLITS[split.lower()]
