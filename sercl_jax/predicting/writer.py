"""What writes results to a text file as they come."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from sercl_jax.errors import UserError
from sercl_jax.inference.prediction import Prediction


@dataclass(frozen=True)
class Shape:
    """What a writer must know beforehand.

    Attributes:
      labels: that are told, of classes or ratings.
      kind: "classes" or "ratings".
      names: of all recordings, for the width of their column.
      top: how many classes are told; 0 means all.
      windows: whether windows are told one by one; None means that a table tells those of recordings that have
        several. JSON always has them.
    """

    labels: Sequence[str]
    kind: str
    names: Sequence[str]
    top: int = 0
    windows: bool | None = None


class Writer:
    """Writes results to a text file as they come: `begin`, `result` or `failure` of each recording, `end`."""

    def __init__(self, file: TextIO, shape: Shape):
        self._file, self._shape = file, shape

    def begin(self) -> None:
        """What stands before all results."""

    def result(self, prediction: Prediction) -> None:
        raise NotImplementedError

    def failure(self, name: str, reason: str) -> None:
        """A recording that could not be used; the table and CSV leave it out."""

    def end(self) -> None:
        """What stands after all results."""

    def _write(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()  # whoever reads need not wait for the next
        except BrokenPipeError:  # nobody reads any more
            raise
        except OSError as error:
            name = "standard output" if self._file is sys.stdout else self._file.name
            raise UserError(f"{name}: cannot be written ({error.strerror}); free some space.") from error
