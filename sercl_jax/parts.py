"""The corpora of a run on several: their folds side by side, and the division of a training part."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sercl_jax import splits
from sercl_jax.corpora import Corpus
from sercl_jax.splits import Fold
from sercl_jax.types import Utterance

INNER_FOLDS = 5  # of a training part, one of which chooses the learning rate


@dataclass(frozen=True)
class Part:
    """One corpus of a run: its utterances with a label, and their folds for every fold seed."""

    corpus: Corpus
    folds: dict[int, tuple[Fold, ...]]

    @property
    def labels(self) -> np.ndarray:
        """[U] emotions, "" for the unlabelled."""
        return np.array([u.label for u in self.corpus.utterances])

    def fold(self, fold_seed: int, number: int) -> Fold:
        """The fold that goes with that of another corpus, which may have more."""
        folds = self.folds.get(fold_seed) or next(iter(self.folds.values()))
        return folds[number % len(folds)]


def usable(corpus: Corpus, protocol: str) -> str:
    """The protocol for a corpus beside the target: the same, by its speakers, or at random, the first that can be."""
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
    fold = splits.make_folds(some, kind, folds=INNER_FOLDS, fold_seed=fold_seed)[0]
    return rows[fold.train], rows[fold.test]
