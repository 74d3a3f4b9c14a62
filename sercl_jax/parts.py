"""The corpora of a run on several: who trains and who is tested in every fold, and how a training part is divided."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sercl_jax import splits
from sercl_jax.corpora import Corpus, joined
from sercl_jax.errors import UserError
from sercl_jax.protocol_sheet import protocol_sheet
from sercl_jax.splits import Fold
from sercl_jax.types import Utterance

INNER_FOLDS = 5  # of a training part, one of which chooses the learning rate
ACROSS = "corpus"  # the protocol that trains on all corpora but the one that it tests


@dataclass(frozen=True)
class Round:
    """A fold of every corpus, side by side.

    Attributes:
      name: of the target's fold.
      train, test: for each corpus, positions in it; empty where it takes no part.
    """

    name: str
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Ground:
    """What a run on several corpora stands on.

    Attributes:
      corpora: C, in an order that does not depend on which is the target.
      place: which of them is the target, the one that is tested.
      protocol: how it is divided.
      labels: the K classes that are told apart.
      classifies: the corpora that the classifier learns from: the target, or all others.
      rounds: by fold seed.
      everything: for each corpus, what a model to keep is trained on.
      sheet: the protocol sheet of the first rounds.
    """

    corpora: tuple[Corpus, ...]
    place: int
    protocol: str
    labels: tuple[str, ...]
    classifies: tuple[int, ...]
    rounds: Mapping[int, Sequence[Round]]
    everything: tuple[np.ndarray, ...]
    sheet: Mapping[str, Any]

    @property
    def target(self) -> Corpus:
        return self.corpora[self.place]

    @property
    def used(self) -> tuple[int, ...]:
        """The corpora whose last layer a classifier sees, to learn from or to be tested."""
        return tuple(sorted({*self.classifies, self.place}))

    def emotions(self, c: int) -> np.ndarray:
        """[U] emotions of the c-th corpus, "" for the unlabelled."""
        return np.array([u.label for u in self.corpora[c].utterances])

    def classes(self, c: int) -> np.ndarray:
        """[U] number of the class of each utterance of the c-th corpus, -1 for none that is told apart."""
        number = {label: k for k, label in enumerate(self.labels)}
        return np.array([number.get(u.label, -1) for u in self.corpora[c].utterances], np.int64)


def within(target: Corpus, partners: Mapping[str, Corpus], protocol: str, *, folds: int, fold_seed: int,
           fold_seeds: int, emobox_dir: str = "") -> Ground:
    """The target is divided by the protocol, and learns from itself and from parts of its partners."""
    protocol = splits.usual_protocol(target.utterances, protocol)
    seeds = splits.fold_seeds(protocol, fold_seed, fold_seeds)
    corpora = _ordered([target, *partners.values()])
    divided = [{seed: splits.folds_of(corpus, protocol if corpus is target else usable(corpus, protocol), folds=folds,
                                      fold_seed=seed, emobox_dir=emobox_dir) for seed in seeds} for corpus in corpora]
    place = _place(corpora, target)
    rounds = {}
    for seed in seeds:
        own = divided[place][seed]
        each = [[some[seed][number % len(some[seed])] for some in divided] for number in range(len(own))]
        rounds[seed] = tuple(Round(fold.name, tuple(one.train for one in every), tuple(one.test for one in every))
                             for fold, every in zip(own, each, strict=True))
    return Ground(corpora=corpora, place=place, protocol=protocol, labels=target.labels, classifies=(place,),
                  rounds=rounds, everything=tuple(_labelled(corpus) for corpus in corpora),
                  sheet=protocol_sheet(target.utterances, divided[place][seeds[0]]))


def across(name: str, target: Corpus, partners: Mapping[str, Corpus], *, fold_seed: int) -> Ground:
    """The target is tested whole, by what is learned from its partners alone, on the emotions that both have.

    Args:
      name: of the target among the corpora.

    Raises:
      UserError: it has no partners, or shares less than two emotions with them.
    """
    if not partners:
        raise UserError(f"protocol={ACROSS}: {name} is the only corpus to learn from; name others, as in "
                        "corpora=emodb+ravdess, with config.learn_from=all.")
    names = {id(corpus): key for key, corpus in {name: target, **partners}.items()}
    corpora = _ordered([target, *partners.values()])
    together = joined.join({names[id(corpus)]: corpus for corpus in corpora})
    [fold] = splits.make_folds(together.utterances, ACROSS, folds=1, fold_seed=fold_seed, tested=name)
    first = np.cumsum([0, *map(len, corpora)])
    train, test = ([rows[(rows >= start) & (rows < end)] - start for start, end in itertools.pairwise(first)]
                   for rows in (fold.train, fold.test))
    place = _place(corpora, target)
    return Ground(corpora=corpora, place=place, protocol=ACROSS,
                  labels=tuple(sorted({together.utterances[u].label for u in fold.train})),
                  classifies=tuple(c for c in range(len(corpora)) if len(train[c])),
                  rounds={fold_seed: (Round(fold.name, tuple(train), tuple(test)),)}, everything=tuple(train),
                  sheet=protocol_sheet(together.utterances, [fold]))


def _ordered(corpora: Sequence[Corpus]) -> tuple[Corpus, ...]:
    # In one order whoever is the target: the first stage is then the same for all of them.
    return tuple(sorted(corpora, key=lambda corpus: (corpus.name, corpus.key)))


def _place(corpora: Sequence[Corpus], target: Corpus) -> int:
    return next(c for c, corpus in enumerate(corpora) if corpus is target)


def _labelled(corpus: Corpus) -> np.ndarray:
    return np.flatnonzero([u.label != "" for u in corpus.utterances])


def usable(corpus: Corpus, protocol: str) -> str:
    """The protocol for a corpus beside the target: the same, by its speakers, or at random, the first that can be."""
    if protocol == "emobox":
        return protocol
    if protocol == "file":
        return splits.usual_protocol(corpus.utterances, "auto")
    fields = {"loso": "speaker", "speakers": "speaker", "session": "session", "sentence": "sentence"}
    if protocol in (*fields, "disjoint"):
        for name in (protocol, "speakers"):
            values = {getattr(u, fields[name]) for u in corpus.utterances} if name in fields else set()
            if len(values) > 1 and "" not in values:
                return name
    return "kfold"


def inner(utterances: Sequence[Utterance], rows: np.ndarray, protocol: str,
          fold_seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides a training part as the protocol divides the corpus: what is trained on, and what chooses."""
    some = [replace(utterances[u], fold="", split="") for u in rows]
    speakers = {u.speaker for u in some}
    kind = "kfold" if protocol in ("kfold", "graphcl") or len(speakers) < 2 or "" in speakers else "speakers"
    fold: Fold = splits.make_folds(some, kind, folds=INNER_FOLDS, fold_seed=fold_seed)[0]
    return rows[fold.train], rows[fold.test]
