"""What a fold is, and what is asked of the makers of folds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.splits.table import Column, Table, natural

if TYPE_CHECKING:
    from sercl_jax.splits.published import Published
    from sercl_jax.types import Utterance

TARGETS = ("labels", "ratings")
HELD_OUT = ("validation", "valid", "val", "dev", "development")  # names of a split that validates
# Positions in all training parts together, 8 bytes each; who has more wants groups, not each one left out.
MOST_POSITIONS = 100_000_000


@dataclass(frozen=True)
class Fold:
    """One division into training and test part.

    Attributes:
      name: what is tested, such as "3" or "speaker 08".
      train, test: int64 positions in the sequence of utterances the folds were made from, in the order of ids.
      validation: the same of an official validation part, which is in neither; None where there is none.
      notes: what a reader of the protocol sheet should know, such as how many utterances were left out and why.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    validation: np.ndarray | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What a maker of folds is given; its folds hold positions in `rows`.

    Attributes:
      rows: R utterances that have a target, in the order of ids.
      folds, fold_seed, targets, published, tested: as in `make_folds`.
    """

    rows: Table
    folds: int
    fold_seed: int
    targets: str
    published: "Published | None"
    tested: str

    @property
    def word(self) -> str:
        return "labelled" if self.targets == "labels" else "rated"

    def known(self, field: str) -> Column:
        """The speakers, sessions or sentences, none of them empty."""
        column = self.rows.column(field)
        missing = np.flatnonzero(column.codes == column.unknown)
        if len(missing):
            raise UserError(f"{len(missing)} of {len(self.rows)} {self.word} utterances have no {field}, such as "
                            f"{self.rows.utterances[missing[0]].id!r}; this protocol needs it: add it, or choose "
                            "protocol=kfold.")
        return column

    def several(self, column: Column, field: str) -> list[str]:
        """The names of a column in natural order, two at least."""
        names = natural(column.names)
        if len(names) < 2:
            raise UserError(f"There is only one {field}, {names[0]!r}; this protocol needs two or more: "
                            "choose protocol=kfold.")
        return names

    def bear(self, folds: int, field: str) -> None:
        """Refuses so many folds of so many utterances that they would fill the memory; no one would train them."""
        if folds * len(self.rows) > MOST_POSITIONS:
            raise UserError(f"Leaving out each {field} in turn makes {folds} folds of {len(self.rows)} utterances; "
                            "choose protocol=speakers, disjoint or kfold, which test groups.")


def has_target(utterance: "Utterance", targets: str) -> bool:
    """Whether an utterance has a label or, for `targets="ratings"`, at least one rating."""
    if targets not in TARGETS:
        raise ValueError(f"targets={targets!r}; known: {', '.join(TARGETS)}")
    if targets == "labels":
        return bool(utterance.label)
    return any(map(math.isfinite, (utterance.activation, utterance.valence, utterance.dominance)))


def is_speaker_disjoint(utterances: "Sequence[Utterance] | Table", folds: Sequence[Fold]) -> bool:
    """Whether every speaker is known and none is in both parts of a fold."""
    table = Table.of(utterances)
    return all(table.column("speaker").shared(fold.train, fold.test) == set() for fold in folds)
