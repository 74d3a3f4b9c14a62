"""Training on some corpora, testing on another."""

import numpy as np

from sercl_jax import config as config_lib
from sercl_jax.errors import UserError
from sercl_jax.splits.folds import Fold, Request
from sercl_jax.splits.table import Column, natural, without


def corpora(request: Request) -> list[Fold]:
    """Leaves one corpus out: each is tested once by what was trained on all others.

    Corpora differ in their emotions. A fold keeps those that both its parts have: what else is in the tested corpus
    cannot be recognised, and what else is in the others would only be mistaken for it. The fold's notes say how many
    utterances of which emotions were left out. Ratings are taken as they are.

    Raises:
      UserError: there is one corpus only, or no such one; the parts of a fold have fewer than two emotions in common.
    """
    column = request.rows.column("corpus")
    names = [name for name in natural(column.names) if name]
    if len(names) < 2 or column.unknown >= 0:
        raise UserError("protocol=corpus: trains on some corpora and tests another, so there must be two or more, as "
                        "in corpus=emodb+ravdess.")
    tested = [name.strip() for name in request.tested.split("+")] if request.tested else names
    for name in tested:
        config_lib.one_of("config.eval.tested", name, names)
    return [_fold(request, column, name) for name in dict.fromkeys(tested)]


def _fold(request: Request, column: Column, name: str) -> Fold:
    train, test = without(column.codes, column.names.index(name))
    if request.targets == "ratings":
        return Fold(f"corpus {name}", train, test)
    labels = request.rows.column("label")
    trained, wanted = labels.counts(train), labels.counts(test)
    common = (trained > 0) & (wanted > 0)
    if common.sum() < 2:
        raise UserError(f"protocol=corpus: {name} has {_words(labels, wanted)}, and the other corpora have "
                        f"{_words(labels, trained)}: fewer than two emotions in common. Merge classes with "
                        "config.data.labels, or test another corpus.")
    notes = []
    for counts, part, reason in ((wanted, "tested", "no other corpus has them"),
                                 (trained, "training", f"{name} has none of them")):
        counts = np.where(common, 0, counts)
        if counts.any():
            notes.append(f"{counts.sum()} {part} utterances are left out, because {reason}: "
                         f"{_words(labels, counts)}.")
    return Fold(f"corpus {name}", train[common[labels.codes[train]]], test[common[labels.codes[test]]],
                notes=tuple(notes))


def _words(labels: Column, counts: np.ndarray) -> str:
    return ", ".join(f"{name} {count}" for name, count in zip(labels.names, counts, strict=True) if count)
