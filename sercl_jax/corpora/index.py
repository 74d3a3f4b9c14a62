"""`utterances.json` beside the records: everything but the samples, so that opening a corpus takes no time.

It is derived from the records, and trusted only while its own digest and the sizes of the shards agree.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import audio, files
from sercl_jax.corpora import copies
from sercl_jax.types import Utterance
from sercl_jax.workers import parallel_map

FILE = "utterances.json"
SKIPPED = "skipped.json"  # what `on_error="skip"` left out, and why
SPLIT = "train"  # the one TFDS split; partitions of the corpus are in `Utterance.split`
_TEXTS = ("id", "label", "speaker", "session", "sentence", "gender", "split", "fold")
_RATINGS = ("activation", "valence", "dominance")
_AT_ONCE = 2048  # records that a process reads back at a time


@dataclass(frozen=True)
class Index:
    """Utterances sorted by id, the row of each in the records, and the name of it all.

    `silence` has the numbers of samples at the beginning and at the end of each that are 0; () if the index was
    written before they were counted. `copies` has the ids of utterances with the same samples, group by group.
    """

    utterances: tuple[Utterance, ...]
    positions: tuple[int, ...]
    key: str
    silence: tuple[tuple[int, int], ...] = ()
    copies: tuple[tuple[str, ...], ...] = ()


def open_records(directory: Path) -> Any:
    """The records as a random-access sequence of examples (dicts); imports TFDS, never TensorFlow."""
    import tensorflow_datasets as tfds  # a second, which the parent process need not spend twice

    return tfds.builder_from_directory(str(directory)).as_data_source(split=SPLIT)


def write(directory: Path, name: str, version: str, *, workers: int | None = 0, progress: bool = False) -> int:
    """Reads all records back, which also proves that they can be read, and writes the index.

    Args:
      directory: of the records.
      name, version: of the builder.
      workers: processes that read; None takes one per CPU, 0 or 1 none. Few records are read in this one.
      progress: whether to show a progress bar.

    Returns:
      The number of utterances.
    """
    count = len(open_records(directory))
    ranges = [range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]
    parts = parallel_map(partial(_rows, directory), ranges, workers=workers, description=f"index of {name}",
                         unit=f" x {_AT_ONCE} utterances", progress=progress and len(ranges) > 1)
    rows = sorted((row for part in parts for row in part), key=lambda row: row["id"])
    content = {"name": name, "version": version,
               "content": files.digest([_content(row) for row in rows])}
    value = {"key": files.digest(content), "shards": _shards(directory), "digest": files.digest(rows),
             "utterances": rows}
    files.write_json(directory / FILE, value)
    return len(rows)


def read(directory: Path) -> Index | None:
    """The index; None if the records or the index are missing, incomplete or do not belong together."""
    try:
        value = json.loads((directory / FILE).read_text(encoding="utf-8"))
        rows = value["utterances"]
        if value["shards"] != _shards(directory) or value["digest"] != files.digest(rows):
            return None
        return Index(utterances=tuple(_utterance(row) for row in rows),
                     positions=tuple(row["position"] for row in rows), key=value["key"],
                     silence=tuple((row["silence"][0], row["silence"][1]) for row in rows if "silence" in row),
                     copies=copies.groups((row["id"] for row in rows), (row["sha256"] for row in rows)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _shards(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(directory.iterdir())
            if path.name not in (FILE, SKIPPED)}


def _rows(directory: Path, positions: range) -> list[dict[str, Any]]:
    records = open_records(directory)
    return [_row(records[position], position) for position in positions]


def _row(example: Any, position: int) -> dict[str, Any]:
    waveform = np.ascontiguousarray(example["waveform"])
    row: dict[str, Any] = {name: example[name].decode() for name in _TEXTS}
    # JSON has no NaN.
    row |= {name: None if math.isnan(example[name]) else float(example[name]) for name in _RATINGS}
    return row | {"num_samples": len(waveform), "sha256": hashlib.sha256(waveform.tobytes()).hexdigest()[:16],
                  "silence": list(audio.silence(waveform)), "position": position}


def _content(row: dict[str, Any]) -> dict[str, Any]:
    """What names the corpus: not the order of the records, nor what follows from the samples."""
    return {**{name: value for name, value in row.items() if name != "silence"}, "position": 0}


def _utterance(row: dict[str, Any]) -> Utterance:
    values: dict[str, Any] = {name: math.nan if row[name] is None else row[name]
                              for name in ("num_samples", *_TEXTS, *_RATINGS)}
    return Utterance(**values)
