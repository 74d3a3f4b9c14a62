"""Fields of many utterances as numbers, so that folds of a million of them take seconds."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sercl_jax.types import Utterance


@dataclass(frozen=True)
class Column:
    """One field of U utterances.

    Attributes:
      names: the different values, in alphabetical order.
      codes: [U] int32 places in `names`.
    """

    names: tuple[str, ...]
    codes: np.ndarray

    @property
    def unknown(self) -> int:
        """The code of "", or -1 if every value is known."""
        return 0 if self.names[:1] == ("",) else -1

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """How many of these rows have each value."""
        return np.bincount(self.codes[rows], minlength=len(self.names))

    def among(self, names: Collection[str]) -> np.ndarray:
        """[U] whether the value is one of these."""
        return np.array([name in names for name in self.names], dtype=bool)[self.codes]

    def shared(self, one: np.ndarray, other: np.ndarray) -> set[str] | None:
        """The values that rows of both parts have; None if some of either are unknown."""
        left, right = self.counts(one) > 0, self.counts(other) > 0
        if self.unknown >= 0 and (left | right)[self.unknown]:
            return None
        return {self.names[code] for code in np.flatnonzero(left & right)}


class Table:
    """Columns of utterances, each made when it is first asked for."""

    def __init__(self, utterances: "Sequence[Utterance]"):
        self.utterances = utterances
        self._columns: dict[str, Column] = {}
        self._ranks: np.ndarray | None = None

    @classmethod
    def of(cls, utterances: "Sequence[Utterance] | Table") -> "Table":
        """A table as it is, or a new one."""
        return utterances if isinstance(utterances, Table) else cls(utterances)

    def __len__(self) -> int:
        return len(self.utterances)

    def column(self, field: str) -> Column:
        """One of the text fields of `Utterance`."""
        if field not in self._columns:
            self._columns[field] = encode([getattr(u, field) for u in self.utterances])
        return self._columns[field]

    @property
    def ranks(self) -> np.ndarray:
        """[U] the place of each utterance in the order of ids."""
        if self._ranks is None:
            order = sorted(range(len(self)), key=[u.id for u in self.utterances].__getitem__)
            self._ranks = np.empty(len(self), dtype=np.int64)
            self._ranks[order] = np.arange(len(self))
        return self._ranks


def encode(values: Sequence[str]) -> Column:
    """Gives each different value a number."""
    names = sorted(set(values))
    code = {name: number for number, name in enumerate(names)}
    return Column(tuple(names), np.fromiter(map(code.__getitem__, values), dtype=np.int32, count=len(values)))


def without(codes: np.ndarray, one: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all others, and of one."""
    return np.flatnonzero(codes != one), np.flatnonzero(codes == one)


def natural(values: Iterable[str]) -> list[str]:
    """The different values, numbers in numeric order ("2" before "10")."""
    return sorted({str(v) for v in values}, key=lambda v: (0, int(v), v) if v.isdecimal() else (1, 0, v))
