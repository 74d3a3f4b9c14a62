"""Folds: which utterances train and which are tested, under every protocol.

All of them take only labelled utterances (or, for `targets="ratings"`, only rated ones), test each at most once and
are a function of the utterances' ids and fields and of `fold_seed`, never of the order in which the utterances come.

    kfold     StratifiedKFold(folds, shuffle=True, random_state=fold_seed) over utterances in sorted id order; ratings
              have no classes: KFold with the same arguments
    graphcl   the same folds; named apart because the encoder trains on all utterances (GraphCL's protocol)
    loso      leave one speaker out
    speakers  the speakers dealt into `folds` groups of about equal size (or one each), each left out once
    session   leave one session out
    sentence  leave one sentence (text) out
    disjoint  training shares neither speakers nor sentences with the test fold (see `_disjoint`)
    file      the utterances' own `fold` fields or, where they have none, their `split` fields (see `_file`)
"""

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from sercl_jax.errors import UserError

if TYPE_CHECKING:
    from sercl_jax.types import Utterance

PROTOCOLS = ("kfold", "graphcl", "loso", "speakers", "session", "sentence", "disjoint", "file")
SEEDED_PROTOCOLS = ("kfold", "graphcl", "speakers", "disjoint")  # the others give the same folds for every fold_seed
TARGETS = ("labels", "ratings")
HELD_OUT = ("validation", "valid", "val", "dev", "development")  # names of a split that validates
_TRAIN, _TEST = ("train",), ("test",)


@dataclass(frozen=True)
class Fold:
    """One division into training and test part.

    Attributes:
      name: what is tested, such as "3" or "speaker 08".
      train, test: int64 positions in the sequence of utterances the folds were made from, in the order of ids.
    """

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class _Request:
    rows: "list[Utterance]"  # in the order of ids
    folds: int
    fold_seed: int
    targets: str

    @property
    def word(self) -> str:
        return "labelled" if self.targets == "labels" else "rated"


def make_folds(utterances: "Sequence[Utterance]", protocol: str, *, folds: int, fold_seed: int,
               targets: str = "labels") -> tuple[Fold, ...]:
    """Divides the labelled, or the rated, utterances into training and test parts.

    Args:
      utterances: U utterances with unique ids; the folds' numbers are positions in this sequence.
      protocol: one of `PROTOCOLS`.
      folds: the number of folds of `kfold`, `graphcl` and `speakers`, and (nearly) of `disjoint`; the others have as
        many as there are speakers, sessions, sentences or fold names.
      fold_seed: draws the folds of `SEEDED_PROTOCOLS`; apart from the seed of training.
      targets: "labels" divides the utterances with an emotion; "ratings" those with an activation, a valence or a
        dominance.

    Raises:
      UserError: an unknown protocol; no labels or ratings; a class with fewer members than folds; speakers, sessions,
        sentences or folds that are missing or only one; a test fold with a class that its training part lacks; a
        training part with fewer than two classes or two rated utterances.
    """
    if protocol not in PROTOCOLS:
        near = difflib.get_close_matches(protocol, PROTOCOLS, n=1)
        raise UserError(f"protocol={protocol}: there is no such protocol;"
                        + (f" did you mean {near[0]}?" if near else "") + f" Known: {', '.join(PROTOCOLS)}.")
    twice = [name for name, count in Counter(u.id for u in utterances).items() if count > 1]
    if twice:
        raise UserError(f"{len(twice)} utterance ids occur more than once, such as {twice[0]!r}; make them unique.")
    order = sorted((u for u in range(len(utterances)) if has_target(utterances[u], targets)),
                   key=lambda u: utterances[u].id)
    if not order:
        raise UserError(f"protocol={protocol}: none of the {len(utterances)} utterances has a {targets[:-1]}; "
                        f"evaluation needs {targets}.")
    made = _MAKERS[protocol](_Request([utterances[u] for u in order], folds, fold_seed, targets))
    positions = np.asarray(order, dtype=np.int64)
    result = tuple(Fold(fold.name, positions[fold.train], positions[fold.test]) for fold in made)
    if targets == "labels":
        _check_classes(utterances, result, protocol)
    else:
        _check_sizes(result, protocol)
    return result


def has_target(utterance: "Utterance", targets: str) -> bool:
    """Whether an utterance has a label or, for `targets="ratings"`, at least one rating."""
    if targets not in TARGETS:
        raise ValueError(f"targets={targets!r}; known: {', '.join(TARGETS)}")
    if targets == "labels":
        return bool(utterance.label)
    return any(map(math.isfinite, (utterance.activation, utterance.valence, utterance.dominance)))


def _kfold(request: _Request) -> list[Fold]:
    rows, folds = request.rows, request.folds
    if folds < 2:
        raise UserError(f"folds={folds}: at least 2 are needed.")
    if request.targets == "ratings":
        if len(rows) < folds:
            raise UserError(f"folds={folds}: there are fewer rated utterances ({len(rows)}) than folds.")
        plain = KFold(folds, shuffle=True, random_state=request.fold_seed)
        return [Fold(str(k), train, test) for k, (train, test) in enumerate(plain.split(rows))]
    label, count = min(Counter(u.label for u in rows).items(), key=lambda item: (item[1], item[0]))
    if count < folds:
        remedy = f"use folds={count} at most, or leave the class out" if count > 1 else "leave the class out"
        raise UserError(f"folds={folds}: the class {label!r} has fewer utterances ({count}) than there are folds; "
                        f"{remedy}.")
    splitter = StratifiedKFold(folds, shuffle=True, random_state=request.fold_seed)
    return [Fold(str(k), train, test)
            for k, (train, test) in enumerate(splitter.split(np.zeros(len(rows)), [u.label for u in rows]))]


def _leave_one_out(field: str) -> Callable[[_Request], list[Fold]]:
    def make(request: _Request) -> list[Fold]:
        values = _values(request, field)
        return [Fold(f"{field} {name}", np.flatnonzero(values != name), np.flatnonzero(values == name))
                for name in _several(values, field)]
    return make


def _speakers(request: _Request) -> list[Fold]:
    speakers = _values(request, "speaker")
    if request.folds < 2:
        raise UserError(f"folds={request.folds}: at least 2 are needed.")
    folds = min(request.folds, len(_several(speakers, "speaker")))
    group = _deal(speakers, folds, np.random.default_rng(request.fold_seed))
    return [Fold(f"speakers {k}", np.flatnonzero(group != k), np.flatnonzero(group == k))
            for k in range(folds)]


def _disjoint(request: _Request) -> list[Fold]:
    """A grid of speaker groups by sentence groups; each cell is a test fold.

    Speakers and sentences are dealt, in an order drawn from `fold_seed`, to the group that has the fewest
    utterances so far. The test fold of a cell holds the utterances of its speakers that speak its sentences;
    the training part those of all other speakers that speak other sentences; what shares only one of the two is
    left out of that fold. So every utterance is tested exactly once. The grid is as square as can be with about
    `folds` cells, with more groups of speakers than of sentences: 10 folds are 5 x 2, 25 are 5 x 5, 100 are
    10 x 10. A coarse grid leaves little to train on: 40 % of the utterances at 5 x 2, 64 % at 5 x 5, 81 % at
    10 x 10 (on EMO-DB, IS10 functionals and a linear SVM reach UA .70, .73 and .73).
    """
    speakers, sentences = _values(request, "speaker"), _values(request, "sentence")
    wide = len(_several(speakers, "speaker"))
    high = len(_several(sentences, "sentence"))
    if request.folds < 4:
        raise UserError(f"folds={request.folds}: protocol=disjoint needs at least 4: 2 groups of speakers by 2 of "
                        "sentences.")
    across, down = _grid(request.folds, wide, high)
    rng = np.random.default_rng(request.fold_seed)
    by_speaker, by_sentence = _deal(speakers, across, rng), _deal(sentences, down, rng)
    made = []
    for i in range(across):
        for j in range(down):
            test = (by_speaker == i) & (by_sentence == j)
            train = (by_speaker != i) & (by_sentence != j)
            if test.any():
                made.append(Fold(f"speakers {i} sentences {j}", np.flatnonzero(train), np.flatnonzero(test)))
    return made


def _grid(folds: int, wide: int, high: int) -> tuple[int, int]:
    down = max(d for d in range(1, math.isqrt(folds) + 1) if folds % d == 0)
    down = min(max(down, 2), high)
    return min(max(folds // down, 2), wide), down


def _deal(values: np.ndarray, groups: int, rng: np.random.Generator) -> np.ndarray:
    """[U] names -> [U] group numbers of about equal numbers of utterances; a name is in one group only."""
    names, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    filled = np.zeros(groups, dtype=np.int64)
    group = np.zeros(len(names), dtype=np.int64)
    for name in rng.permutation(len(names)):
        group[name] = np.argmin(filled)
        filled[group[name]] += counts[name]
    return group[inverse]


def _file(request: _Request) -> list[Fold]:
    """Folds as the corpus or its user gives them.

    If any utterance names a `fold`, each name is tested once and trained on all others; an utterance without a
    fold must be marked `split=train` and is then in every training part. Otherwise `split` decides: "train"
    trains, every split whose name begins with "test" is a fold of its own, and validation splits take no part.
    """
    rows = request.rows
    if any(u.fold for u in rows):
        lost = [u.id for u in rows if not u.fold and u.split not in _TRAIN]
        if lost:
            raise UserError(f"protocol=file: {len(lost)} {request.word} utterances have no fold, such as "
                            f"{lost[0]!r}; give each a fold, or split=train to those that are never tested.")
        values = np.array([u.fold for u in rows])
        names = [name for name in natural(values) if name]
        if len(names) == 1 and all(values == names[0]):
            raise UserError(f"protocol=file: all utterances are in the one fold {names[0]!r}; two are needed.")
        return [Fold(name, np.flatnonzero(values != name), np.flatnonzero(values == name)) for name in names]
    splits = np.array([u.split for u in rows])
    for u in rows:
        if not (u.split in _TRAIN + HELD_OUT or u.split.startswith(_TEST)):
            raise UserError(f"protocol=file: utterance {u.id!r} has fold='' and split={u.split!r}; give folds, or "
                            "the splits train, validation and test.")
    train = np.flatnonzero(np.isin(splits, _TRAIN))
    tests = [name for name in natural(splits) if name.startswith(_TEST)]
    if not len(train) or not tests:
        raise UserError("protocol=file: there is no " + ("split=test" if len(train) else "split=train")
                        + f" among the {request.word} utterances; both are needed.")
    return [Fold(name, train, np.flatnonzero(splits == name)) for name in tests]


_MAKERS: Mapping[str, Callable[[_Request], list[Fold]]] = {
    "kfold": _kfold, "graphcl": _kfold, "loso": _leave_one_out("speaker"), "speakers": _speakers,
    "session": _leave_one_out("session"), "sentence": _leave_one_out("sentence"), "disjoint": _disjoint,
    "file": _file}


def _values(request: _Request, field: str) -> np.ndarray:
    """[U] the speakers, sessions or sentences, none of them empty."""
    rows = request.rows
    values = np.array([getattr(u, field) for u in rows])
    missing = np.flatnonzero(values == "")
    if len(missing):
        raise UserError(f"{len(missing)} of {len(rows)} {request.word} utterances have no {field}, such as "
                        f"{rows[missing[0]].id!r}; this protocol needs it: add it, or choose protocol=kfold.")
    return values


def _several(values: np.ndarray, field: str) -> list[str]:
    names = natural(values)
    if len(names) < 2:
        raise UserError(f"There is only one {field}, {names[0]!r}; this protocol needs two or more: "
                        "choose protocol=kfold.")
    return names


def natural(values: Iterable[str]) -> list[str]:
    """The different values, numbers in numeric order ("2" before "10")."""
    return sorted({str(v) for v in values}, key=lambda v: (0, int(v), v) if v.isdecimal() else (1, 0, v))


def _check_classes(utterances: "Sequence[Utterance]", folds: tuple[Fold, ...], protocol: str) -> None:
    for fold in folds:
        known = {utterances[u].label for u in fold.train}
        new = sorted({utterances[u].label for u in fold.test} - known)
        if new:
            raise UserError(f"protocol={protocol}: fold {fold.name!r} tests {', '.join(new)}, which its "
                            f"{len(fold.train)} training utterances lack; use other folds or leave the class out.")
        if len(known) < 2:
            raise UserError(f"protocol={protocol}: the training part of fold {fold.name!r} has the one class "
                            f"{known.pop()!r}; two are needed.")


def _check_sizes(folds: tuple[Fold, ...], protocol: str) -> None:
    for fold in folds:
        if len(fold.train) < 2:
            raise UserError(f"protocol={protocol}: the training part of fold {fold.name!r} has too few rated "
                            f"utterances ({len(fold.train)}); two are needed.")


def usual_protocol(utterances: "Sequence[Utterance]", protocol: str) -> str:
    """What protocol="auto" stands for: the official partition, sessions or speakers, the first that there is.

    Any other protocol stands for itself.
    """
    if protocol != "auto":
        return protocol
    if any(u.fold for u in utterances) or {"train", "test"} <= {u.split for u in utterances}:
        return "file"
    for name, field in (("session", "session"), ("loso", "speaker")):
        values = {getattr(u, field) for u in utterances}
        if len(values) > 1 and "" not in values:
            return name
    return "kfold"


def fold_seeds(protocol: str, first: int, count: int) -> list[int]:
    """So many seeds from the first on; the first alone where the folds don't depend on it."""
    return list(range(first, first + (count if protocol in SEEDED_PROTOCOLS else 1)))


def is_speaker_disjoint(utterances: "Sequence[Utterance]", folds: Sequence[Fold]) -> bool:
    """Whether every speaker is known and none is in both parts of a fold."""
    return all(shared(utterances, fold, "speaker") == set() for fold in folds)


def shared(utterances: "Sequence[Utterance]", fold: Fold, field: str) -> set[str] | None:
    """The values that both parts have; None if some are unknown."""
    train = {getattr(utterances[u], field) for u in fold.train}
    test = {getattr(utterances[u], field) for u in fold.test}
    return None if "" in train | test else train & test
