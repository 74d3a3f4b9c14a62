"""Predictions as a table for people."""

import unicodedata
from collections.abc import Mapping
from typing import TextIO

from sercl_jax.inference import card
from sercl_jax.inference.prediction import Prediction
from sercl_jax.predicting import answers
from sercl_jax.predicting.writer import Shape, Writer

_WIDEST = 60  # columns of a terminal that names are filled up to; longer ones stand out


class Table(Writer):
    """Aligned columns; windows indented below their recording."""

    def __init__(self, file: TextIO, shape: Shape):
        super().__init__(file, shape)
        self._classes = shape.kind == card.CLASSES
        widths = [min(_width(_visible(name)), _WIDEST) for name in shape.names]
        self._name = max([*widths, len("  0:00:00.0 - 0:00:00.0") if shape.windows is not False else 4])
        self._label = max([len("label"), *map(_width, shape.labels)])
        self._begun = False

    def result(self, prediction: Prediction) -> None:
        lines = [self._line(_visible(prediction.source), f"{prediction.seconds:.2f}", prediction.values)]
        if not self._begun:
            self._begun = True
            heads = ([f"{_filled('label', self._label)}  probability"] if self._classes else
                     [f"{label:>{_column(label)}}" for label in self._shape.labels])
            lines.insert(0, "  ".join([_filled("file", self._name), f"{'seconds':>8}", *heads]))
        if self._shape.windows or (self._shape.windows is None and len(prediction.windows) > 1):
            lines += [self._line(f"  {clock(window.start)} - {clock(window.end)}", "", window.values)
                      for window in prediction.windows]
        self._write("".join(f"{line.rstrip()}\n" for line in lines))

    def _line(self, name: str, seconds: str, values: Mapping[str, float]) -> str:
        return "  ".join([_filled(name, self._name), f"{seconds:>8}", *self._cells(values)])

    def _cells(self, values: Mapping[str, float]) -> list[str]:
        if not self._classes:
            return [f"{values[label]:{_column(label)}.2f}" for label in self._shape.labels]
        (label, probability), *others = answers.ranked(values, self._shape.top)
        return [_filled(label, self._label), f"{_percent(probability):>11}",
                ", ".join(f"{name} {_percent(value)}" for name, value in others)]


def clock(seconds: float) -> str:
    """A time as h:mm:ss.s, without hours if there are none."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02}.{rest % 10}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _column(label: str) -> int:
    return max(len(label), 6)


def _visible(name: str) -> str:
    """A file name without what would move a terminal's cursor, or is not text."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def _width(text: str) -> int:
    """Columns that it takes in a terminal."""
    return sum(0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
               for letter in text)


def _filled(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
