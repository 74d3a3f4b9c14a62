"""The validation part of a fold: what chooses the best epoch, and is neither trained on nor tested."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.splits import HELD_OUT, Fold, Table, has_target, natural

if TYPE_CHECKING:
    from sercl_jax.types import Utterance

SHARE = 0.2  # of the training speakers, or of the training utterances


class Carved(NamedTuple):
    """Positions to train on and positions to validate on, in the order of ids, and words for the protocol sheet."""

    train: np.ndarray
    validation: np.ndarray
    words: str


def carve(utterances: "Sequence[Utterance] | Table", train: np.ndarray, test: np.ndarray, *, seed: int,
          targets: str = "ratings", official: np.ndarray | None = None) -> Carved:
    """Divides the training part of a fold into what is trained on and what validates. The first of these that can be:

    1. the official validation split, where the protocol uses none of it for training or testing;
    2. where the test part is a whole session: the next session, in numeric order, and the first after the last,
       unless its speakers are in other training sessions, too;
    3. where all training speakers are known: about a fifth of them, at least one;
    4. a random fifth of the utterances.

    Nothing of the test part is used but its session. Equal seeds give equal parts, whatever order the utterances are
    in.

    Args:
      utterances: U, with unique ids; a `Table` of them where many folds are carved.
      train, test: positions in `utterances`, see `splits.Fold`.
      seed: draws speakers or utterances.
      targets: which of an official validation split count, see `splits.has_target`.
      official: the fold's own validation part, if it has one.

    Raises:
      UserError: the training part is a single utterance.
    """
    if len(train) < 2:
        raise UserError(f"A training part of {len(train)} utterances cannot be divided for validation; "
                        "use other folds.")
    table = Table.of(utterances)
    train = _by_id(table, train)
    if official is None:
        official = _official(table, train, test, targets)
    if len(official):
        return Carved(train, _by_id(table, official), "the official validation split")
    speakers = table.column("speaker")
    known = np.arange(len(speakers.names)) != speakers.unknown
    session = _next_session(table, train, test)
    if session:
        column = table.column("session")
        chosen = column.codes[train] == column.names.index(session)
        if not ((speakers.counts(train[chosen]) > 0) & (speakers.counts(train[~chosen]) > 0) & known).any():
            return Carved(train[~chosen], train[chosen], f"session {session}")
    rng = np.random.default_rng(seed)
    names = natural(speakers.names[code] for code in np.flatnonzero(speakers.counts(train)))
    if "" not in names and len(names) > 1:
        drawn = rng.permutation(names)[:max(round(SHARE * len(names)), 1)]
        codes = [code for code, name in enumerate(speakers.names) if name in set(drawn)]
        chosen = np.isin(speakers.codes[train], codes)
        return Carved(train[~chosen], train[chosen], f"{len(drawn)} of {len(names)} training speakers")
    chosen = np.zeros(len(train), bool)
    chosen[rng.permutation(len(train))[:max(round(SHARE * len(train)), 1)]] = True
    return Carved(train[~chosen], train[chosen], "a random fifth of the training utterances, speakers shared")


def carve_fold(utterances: "Sequence[Utterance] | Table", fold: Fold, *, seed: int,
               targets: str = "ratings") -> Carved:
    """The same for a fold, with its own validation part if it has one."""
    return carve(utterances, fold.train, fold.test, seed=seed, targets=targets, official=fold.validation)


def _official(table: Table, train: np.ndarray, test: np.ndarray, targets: str) -> np.ndarray:
    """Positions of the utterances of an official validation split that have a target; none if any of it is in use."""
    held_out = table.column("split").among(HELD_OUT)
    if not held_out.any() or held_out[train].any() or held_out[test].any():
        return np.arange(0)
    return np.array([u for u in np.flatnonzero(held_out).tolist() if has_target(table.utterances[u], targets)],
                    dtype=np.int64)


def _next_session(table: Table, train: np.ndarray, test: np.ndarray) -> str:
    """The session that validates; "" if the test part is not a whole session, or only one session is left."""
    column = table.column("session")
    tested, trained = ({column.names[code] for code in np.flatnonzero(column.counts(part))} for part in (test, train))
    if len(tested) != 1 or len(trained) < 2 or "" in tested | trained or tested & trained:
        return ""
    order = natural(tested | trained)
    return order[(order.index(tested.pop()) + 1) % len(order)]


def _by_id(table: Table, positions: np.ndarray) -> np.ndarray:
    return positions[np.argsort(table.ranks[positions])].astype(np.int64)
