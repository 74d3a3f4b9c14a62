"""The validation part of a fold: what chooses the best epoch, and is neither trained on nor tested."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.splits import HELD_OUT, has_target, natural

if TYPE_CHECKING:
    from sercl_jax.types import Utterance

SHARE = 0.2  # of the training speakers, or of the training utterances


def carve(utterances: "Sequence[Utterance]", train: np.ndarray, test: np.ndarray, *, seed: int,
          targets: str = "ratings") -> tuple[np.ndarray, np.ndarray, str]:
    """Divides the training part of a fold into what is trained on and what validates. The first of these that can be:

    1. the official validation split, where the protocol uses none of it for training or testing;
    2. where the test part is a whole session: the next session, in numeric order, and the first after the last;
    3. where all training speakers are known: about a fifth of them, at least one;
    4. a random fifth of the utterances.

    Nothing of the test part is used but its session. Equal seeds give equal parts, whatever order the utterances are
    in.

    Args:
      utterances: U, with unique ids.
      train, test: positions in `utterances`, see `splits.Fold`.
      seed: draws speakers or utterances.
      targets: which of an official validation split count, see `splits.has_target`.

    Returns:
      Positions to train on and positions to validate on, in the order of ids, and words for the protocol sheet.

    Raises:
      UserError: the training part is a single utterance.
    """
    if len(train) < 2:
        raise UserError(f"A training part of {len(train)} utterances cannot be divided for validation; "
                        "use other folds.")
    train = _by_id(utterances, train)
    official = [u for u, utterance in enumerate(utterances) if utterance.split in HELD_OUT]
    usable = [u for u in official if has_target(utterances[u], targets)]
    if usable and not set(official) & {*train.tolist(), *test.tolist()}:
        return train, _by_id(utterances, np.array(usable)), "the official validation split"
    session = _next_session(utterances, train, test)
    if session:
        chosen = np.array([utterances[u].session == session for u in train])
        return train[~chosen], train[chosen], f"session {session}"
    rng = np.random.default_rng(seed)
    speakers = np.array([utterances[u].speaker for u in train])
    names = natural(speakers)
    if "" not in names and len(names) > 1:
        drawn = rng.permutation(names)[:max(round(SHARE * len(names)), 1)]
        chosen = np.isin(speakers, drawn)
        return train[~chosen], train[chosen], f"{len(drawn)} of {len(names)} training speakers"
    chosen = np.zeros(len(train), bool)
    chosen[rng.permutation(len(train))[:max(round(SHARE * len(train)), 1)]] = True
    return train[~chosen], train[chosen], "a random fifth of the training utterances, speakers shared"


def _next_session(utterances: "Sequence[Utterance]", train: np.ndarray, test: np.ndarray) -> str:
    """The session that validates; "" if the test part is not a whole session, or only one session is left."""
    tested = {utterances[u].session for u in test}
    trained = {utterances[u].session for u in train}
    if len(tested) != 1 or len(trained) < 2 or "" in tested | trained or tested & trained:
        return ""
    order = natural(tested | trained)
    return order[(order.index(tested.pop()) + 1) % len(order)]


def _by_id(utterances: "Sequence[Utterance]", positions: np.ndarray) -> np.ndarray:
    return np.array(sorted(positions.tolist(), key=lambda u: utterances[u].id), dtype=np.int64)
