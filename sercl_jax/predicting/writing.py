"""Predictions as text, one after another as they come: a table for people; JSON, JSON lines and CSV for programs."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from sercl_jax.inference import card
from sercl_jax.inference.prediction import Prediction
from sercl_jax.predicting import answers
from sercl_jax.predicting.table import Table
from sercl_jax.predicting.writer import Shape, Writer

TABLE, JSON, JSONL, CSV = FORMATS = ("table", "json", "jsonl", "csv")


class _JsonLines(Writer):
    """One object in each line."""

    def result(self, prediction: Prediction) -> None:
        self._object(answers.plain(prediction, self._shape.top))

    def failure(self, name: str, reason: str) -> None:
        self._object({"path": name, "error": reason})

    def _object(self, value: Mapping[str, Any]) -> None:
        self._write(f"{_encoded(value)}\n")


class _Json(_JsonLines):
    """One array of objects. It is closed at the end only: what was interrupted is no JSON."""

    _separator = "\n"

    def begin(self) -> None:
        self._write("[")

    def end(self) -> None:
        self._write("\n]\n")

    def _object(self, value: Mapping[str, Any]) -> None:
        self._write(self._separator + _encoded(value))
        self._separator = ",\n"


class _Csv(Writer):
    """A row for each recording or each window."""

    def begin(self) -> None:
        first = ["start", "end"] if self._shape.windows else ["seconds"]
        classes = ["label", "probability"] * (self._shape.kind == card.CLASSES)
        self._rows([["path", *first, *classes, *self._shape.labels]])

    def result(self, prediction: Prediction) -> None:
        told = answers.plain(prediction, self._shape.top)
        if self._shape.windows:
            self._rows([told["path"], window["start"], window["end"], *self._values(window)]
                       for window in told["windows"])
        else:
            self._rows([[told["path"], told["seconds"], *self._values(told)]])

    def _values(self, told: Mapping[str, Any]) -> list[Any]:
        """Cells of classes beyond --top stay empty."""
        if self._shape.kind != card.CLASSES:
            return [told["ratings"][label] for label in self._shape.labels]
        known = told["probabilities"]
        return [told["label"], told["probability"], *(known.get(label, "") for label in self._shape.labels)]

    def _rows(self, rows: Iterable[Sequence[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._write(text.getvalue())


_WRITERS = {TABLE: Table, JSON: _Json, JSONL: _JsonLines, CSV: _Csv}


def writer(form: str, file: TextIO, shape: Shape) -> Writer:
    """The writer of one of `FORMATS`."""
    return _WRITERS[form](file, shape)


def _encoded(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is not text; json.loads gives it back as os.fsdecode does
        return json.dumps(value, allow_nan=False)
    return text
