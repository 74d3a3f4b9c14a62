"""Making folds: from a protocol's name to positions of utterances."""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.splits import across, emobox, protocols
from sercl_jax.splits.folds import Fold, Request, has_target
from sercl_jax.splits.published import Published, published
from sercl_jax.splits.table import Column, Table

if TYPE_CHECKING:
    from sercl_jax.corpora import Corpus
    from sercl_jax.corpora.joined import Joined
    from sercl_jax.types import Utterance

_MAKERS: Mapping[str, Callable[[Request], list[Fold]]] = {
    "kfold": protocols.kfold, "graphcl": protocols.kfold, "loso": protocols.leave_one_out("speaker"),
    "speakers": protocols.speakers, "session": protocols.leave_one_out("session"),
    "sentence": protocols.leave_one_out("sentence"), "disjoint": protocols.disjoint, "file": protocols.file,
    "emobox": emobox.folds, "corpus": across.corpora}
PROTOCOLS = tuple(_MAKERS)
SEEDED_PROTOCOLS = ("kfold", "graphcl", "speakers", "disjoint")  # the others give the same folds for every fold_seed
USUAL_FOLDS = 10
MANY = 100  # speakers or sessions: nobody leaves out each of so many


def make_folds(utterances: "Sequence[Utterance]", protocol: str, *, folds: int, fold_seed: int,
               targets: str = "labels", emobox: Published | None = None, tested: str = "") -> tuple[Fold, ...]:
    """Divides the labelled, or the rated, utterances into training and test parts.

    Args:
      utterances: U utterances with unique ids; the folds' numbers are positions in this sequence.
      protocol: one of `PROTOCOLS`.
      folds: the number of folds of `kfold`, `graphcl` and `speakers`, and (nearly) of `disjoint`; the others have as
        many as there are speakers, sessions, sentences, corpora or fold names. 0 is 10 or, of `kfold` and `graphcl`,
        as many as the smallest class has utterances.
      fold_seed: draws the folds of `SEEDED_PROTOCOLS`; apart from the seed of training.
      targets: "labels" divides the utterances with an emotion; "ratings" those with an activation, a valence or a
        dominance.
      emobox: the published folds, for `emobox` only.
      tested: for `corpus` only, names of the corpora to test, joined by "+"; "" tests each in turn.

    Raises:
      UserError: an unknown protocol; no labels or ratings; a class with fewer members than folds; speakers, sessions,
        sentences, corpora or folds that are missing or only one; published folds that do not fit; a test fold with a
        class that its training part lacks; a training part with fewer than two classes or two rated utterances.
    """
    if protocol not in PROTOCOLS:
        near = difflib.get_close_matches(protocol, PROTOCOLS, n=1)
        raise UserError(f"protocol={protocol}: there is no such protocol;"
                        + (f" did you mean {near[0]}?" if near else "") + f" Known: {', '.join(PROTOCOLS)}.")
    _check_ids(utterances)
    order = sorted((u for u in range(len(utterances)) if has_target(utterances[u], targets)),
                   key=lambda u: utterances[u].id)
    if not order:
        raise UserError(f"protocol={protocol}: none of the {len(utterances)} utterances has a {targets[:-1]}; "
                        f"evaluation needs {targets}.")
    folds = folds or usual_folds([utterances[u] for u in order], protocol, targets)
    request = Request(Table([utterances[u] for u in order]), folds, fold_seed, targets, emobox, tested)
    made = _MAKERS[protocol](request)
    if targets == "labels":
        _check_classes(request.rows.column("label"), made, protocol)
    else:
        _check_sizes(made, protocol)
    positions = np.asarray(order, dtype=np.int64)
    return tuple(dataclasses.replace(
        fold, train=positions[fold.train], test=positions[fold.test],
        validation=None if fold.validation is None else positions[fold.validation]) for fold in made)


def folds_of(corpus: "Corpus | Joined", protocol: str, *, folds: int, fold_seed: int, targets: str = "labels",
             emobox_dir: str = "", tested: str = "") -> tuple[Fold, ...]:
    """The same for an opened corpus, with EmoBox's folder as a user gives it.

    Raises:
      UserError: as `make_folds`; no `emobox_dir` for `emobox`.
    """
    given = published(corpus, emobox_dir) if protocol == "emobox" else None
    return make_folds(corpus.utterances, protocol, folds=folds, fold_seed=fold_seed, targets=targets, emobox=given,
                      tested=tested)


def usual_protocol(utterances: "Sequence[Utterance]", protocol: str) -> str:
    """What protocol="auto" stands for.

    The corpora in turn if there are several; otherwise the official partition, sessions or speakers, the first that
    there is; groups of speakers, where there are many. Any other protocol stands for itself.
    """
    if protocol != "auto":
        return protocol
    if len({u.corpus for u in utterances}) > 1:
        return "corpus"
    if any(u.fold for u in utterances) or {"train", "test"} <= {u.split for u in utterances}:
        return "file"
    for name, field in (("session", "session"), ("loso", "speaker")):
        values = {getattr(u, field) for u in utterances}
        if 1 < len(values) <= MANY and "" not in values:
            return name
    speakers = {u.speaker for u in utterances}
    return "kfold" if len(speakers) < 2 or "" in speakers else "speakers"


def usual_folds(utterances: "Sequence[Utterance]", protocol: str, targets: str = "labels") -> int:
    """What folds=0 stands for: 10, or fewer (but two) where random folds of 10 would lack a class."""
    if protocol not in ("kfold", "graphcl") or targets != "labels":
        return USUAL_FOLDS
    members = Counter(u.label for u in utterances if u.label).values()
    return min(USUAL_FOLDS, max(min(members, default=2), 2))


def fewer_folds(folds: Sequence[Fold], asked: int, protocol: str) -> list[str]:
    """What to tell of random folds that folds=0 has made fewer than usual."""
    if asked or protocol not in ("kfold", "graphcl") or len(folds) == USUAL_FOLDS:
        return []
    return [f"{len(folds)} folds in place of {USUAL_FOLDS}: a class has only so many utterances. Small classes make "
            "figures that say little."]


def fold_seeds(protocol: str, first: int, count: int) -> list[int]:
    """So many seeds from the first on; the first alone where the folds don't depend on it."""
    return list(range(first, first + (count if protocol in SEEDED_PROTOCOLS else 1)))


def _check_ids(utterances: "Sequence[Utterance]") -> None:
    seen: set[str] = set()
    twice = dict.fromkeys(u.id for u in utterances if u.id in seen or seen.add(u.id))  # type: ignore[func-returns-value]
    if twice:
        raise UserError(f"{len(twice)} utterance ids occur more than once, such as {next(iter(twice))!r}; make them "
                        "unique.")


def _check_classes(labels: Column, folds: Sequence[Fold], protocol: str) -> None:
    for fold in folds:
        known = labels.counts(fold.train) > 0
        new = np.flatnonzero((labels.counts(fold.test) > 0) & ~known)
        if len(new):
            raise UserError(f"protocol={protocol}: fold {fold.name!r} tests "
                            f"{', '.join(labels.names[code] for code in new)}, which its {len(fold.train)} training "
                            "utterances lack; use other folds or leave the class out.")
        if known.sum() < 2:
            raise UserError(f"protocol={protocol}: the training part of fold {fold.name!r} has the one class "
                            f"{labels.names[known.argmax()]!r}; two are needed.")


def _check_sizes(folds: Sequence[Fold], protocol: str) -> None:
    for fold in folds:
        if len(fold.train) < 2:
            raise UserError(f"protocol={protocol}: the training part of fold {fold.name!r} has too few rated "
                            f"utterances ({len(fold.train)}); two are needed.")
