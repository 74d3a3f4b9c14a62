"""The protocols that divide one corpus by what is known of its utterances."""

import heapq
import math
from collections.abc import Callable

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from sercl_jax.errors import UserError
from sercl_jax.splits.folds import HELD_OUT, Fold, Request
from sercl_jax.splits.table import Column, natural, without

_TRAIN, _TEST = ("train",), ("test",)


def kfold(request: Request) -> list[Fold]:
    """Random folds with about equal shares of each class."""
    rows, folds = request.rows, request.folds
    if folds < 2:
        raise UserError(f"folds={folds}: at least 2 are needed.")
    nothing = np.zeros(len(rows))
    if request.targets == "ratings":
        if len(rows) < folds:
            raise UserError(f"folds={folds}: there are fewer rated utterances ({len(rows)}) than folds.")
        plain = KFold(folds, shuffle=True, random_state=request.fold_seed)
        return [Fold(str(k), train, test) for k, (train, test) in enumerate(plain.split(nothing))]
    labels = rows.column("label")
    counts = np.bincount(labels.codes)
    label, count = labels.names[counts.argmin()], counts.min()
    if count < folds:
        remedy = f"use folds={count} at most, or leave the class out" if count > 1 else "leave the class out"
        raise UserError(f"folds={folds}: the class {label!r} has fewer utterances ({count}) than there are folds; "
                        f"{remedy}.")
    splitter = StratifiedKFold(folds, shuffle=True, random_state=request.fold_seed)
    return [Fold(str(k), train, test) for k, (train, test) in enumerate(splitter.split(nothing, labels.codes))]


def leave_one_out(field: str) -> Callable[[Request], list[Fold]]:
    """Each speaker, session or sentence in turn."""
    def make(request: Request) -> list[Fold]:
        column = request.known(field)
        names = request.several(column, field)
        request.bear(len(names), field)
        return [Fold(f"{field} {name}", *without(column.codes, column.names.index(name))) for name in names]
    return make


def speakers(request: Request) -> list[Fold]:
    """Groups of speakers of about equal size, each in turn."""
    column = request.known("speaker")
    if request.folds < 2:
        raise UserError(f"folds={request.folds}: at least 2 are needed.")
    folds = min(request.folds, len(request.several(column, "speaker")))
    group = _deal(column, folds, np.random.default_rng(request.fold_seed))
    return [Fold(f"speakers {k}", *without(group, k)) for k in range(folds)]


def disjoint(request: Request) -> list[Fold]:
    """A grid of speaker groups by sentence groups; each cell is a test fold.

    Speakers and sentences are dealt, in an order drawn from `fold_seed`, to the group that has the fewest
    utterances so far. The test fold of a cell holds the utterances of its speakers that speak its sentences;
    the training part those of all other speakers that speak other sentences; what shares only one of the two is
    left out of that fold. So every utterance is tested exactly once. The grid is as square as can be with about
    `folds` cells, with more groups of speakers than of sentences: 10 folds are 5 x 2, 25 are 5 x 5, 100 are
    10 x 10. A coarse grid leaves little to train on: 40 % of the utterances at 5 x 2, 64 % at 5 x 5, 81 % at
    10 x 10 (on EMO-DB, IS10 functionals and a linear SVM reach UA .70, .73 and .73).
    """
    speaker, sentence = request.known("speaker"), request.known("sentence")
    wide = len(request.several(speaker, "speaker"))
    high = len(request.several(sentence, "sentence"))
    if request.folds < 4:
        raise UserError(f"folds={request.folds}: protocol=disjoint needs at least 4: 2 groups of speakers by 2 of "
                        "sentences.")
    across, down = _grid(request.folds, wide, high)
    rng = np.random.default_rng(request.fold_seed)
    by_speaker, by_sentence = _deal(speaker, across, rng), _deal(sentence, down, rng)
    made = []
    for i in range(across):
        for j in range(down):
            test = (by_speaker == i) & (by_sentence == j)
            train = (by_speaker != i) & (by_sentence != j)
            if test.any():
                made.append(Fold(f"speakers {i} sentences {j}", np.flatnonzero(train), np.flatnonzero(test)))
    return made


def file(request: Request) -> list[Fold]:
    """Folds as the corpus or its user gives them.

    If any utterance names a `fold`, each name is tested once and trained on all others; an utterance without a
    fold must be marked `split=train` and is then in every training part. Otherwise `split` decides: "train"
    trains, every split whose name begins with "test" is a fold of its own, and validation splits take no part but
    in validation.
    """
    rows, fold = request.rows, request.rows.column("fold")
    split = rows.column("split")
    if fold.names != ("",):
        lost = np.flatnonzero((fold.codes == fold.unknown) & ~split.among(_TRAIN))
        if len(lost):
            raise UserError(f"protocol=file: {len(lost)} {request.word} utterances have no fold, such as "
                            f"{rows.utterances[lost[0]].id!r}; give each a fold, or split=train to those that are "
                            "never tested.")
        if len(fold.names) == 1:
            raise UserError(f"protocol=file: all utterances are in the one fold {fold.names[0]!r}; two are needed.")
        return [Fold(name, *without(fold.codes, fold.names.index(name))) for name in natural(fold.names) if name]
    tests = [name for name in natural(split.names) if name.startswith(_TEST)]
    for name in split.names:
        if name not in _TRAIN + HELD_OUT and name not in tests:
            lost = np.flatnonzero(split.among((name,)))
            raise UserError(f"protocol=file: utterance {rows.utterances[lost[0]].id!r} has fold='' and "
                            f"split={name!r}; give folds, or the splits train, validation and test.")
    train = np.flatnonzero(split.among(_TRAIN))
    if not len(train) or not tests:
        raise UserError("protocol=file: there is no " + ("split=test" if len(train) else "split=train")
                        + f" among the {request.word} utterances; both are needed.")
    validation = np.flatnonzero(split.among(HELD_OUT))
    return [Fold(name, train, np.flatnonzero(split.among((name,))), validation if len(validation) else None)
            for name in tests]


def _grid(folds: int, wide: int, high: int) -> tuple[int, int]:
    down = max(d for d in range(1, math.isqrt(folds) + 1) if folds % d == 0)
    down = min(max(down, 2), high)
    return min(max(folds // down, 2), wide), down


def _deal(column: Column, groups: int, rng: np.random.Generator) -> np.ndarray:
    """[R] group numbers of about equal numbers of utterances; a name is in one group only."""
    counts = np.bincount(column.codes, minlength=len(column.names)).tolist()
    emptiest = [(0, group) for group in range(groups)]  # a heap of how full each is
    group_of = np.zeros(len(column.names), dtype=np.int64)
    for name in rng.permutation(len(column.names)):
        filled, group = emptiest[0]
        group_of[name] = group
        heapq.heapreplace(emptiest, (filled + counts[name], group))
    return group_of[column.codes]
