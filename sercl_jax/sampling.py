"""Which utterances of labelled corpora make a batch: emotions in pairs, and whole epochs of similar lengths.

Like `data.batches`, a batch depends on nothing but (seed, step). Rows are positions in the sequences that are given:
another order of the same utterances draws other batches.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sercl_jax.errors import UserError

HALVES = ("corpus", "random")
POOL = 16  # batches that are sorted by length together


@dataclass(frozen=True)
class PairBatch:
    """N utterances, half of them of one emotion.

    Attributes:
      corpus: [N] int32, which corpus.
      row: [N] int32, which of its utterances.
      positive: [N] bool; the first N/2 are of the emotion, the others are not.
      half: [N] int32, the two halves that the cosine margin loss compares: N/4 positives have 0 and N/4 have 1. It
        means nothing, and is 0, for negatives.
      emotion: the one that was drawn.
    """

    corpus: np.ndarray
    row: np.ndarray
    positive: np.ndarray
    half: np.ndarray
    emotion: str


class EmotionPairs:
    """Batches of one emotion against the others (Xiang's cross-corpus SupCon, section 3.1, Fig. 2 and 3).

    Each step draws an emotion, all of them equally likely, N/2 utterances that have it, in equal parts from the
    corpora that have any, and N/2 that don't, in equal parts from the corpora that have any. With two corpora: N/4
    each or, where one lacks the emotion, all N/2 positives from the other. What equal parts leave over goes to
    corpora drawn at random. From one corpus an utterance is drawn again only after all that qualify have been drawn.

    Positives stand in the order of their corpora and negatives in a random one, so that the i-th positive meets a
    negative of any corpus.

    Args:
      labels: for each corpus the emotions of its (training) utterances; the sets may differ.
      batch_size: N over all devices, divisible by 4.
      seed: of all draws.
      halves: "corpus": the first N/4 positives against the last N/4: of two corpora, one against the other; of more,
        the i-th of one half is never from the corpus of the i-th of the other; of one, random halves. "random":
        random halves whatever the corpora; the positives then stand in a random order.

    Attributes:
      emotions: all that are drawn, sorted.

    Raises:
      UserError: the batch size is not divisible by 4, a corpus is empty or has an utterance without a label, or there
        are less than two emotions in all.
    """

    def __init__(self, labels: Sequence[Sequence[str]], batch_size: int, seed: int, *, halves: str = "corpus"):
        if halves not in HALVES:
            raise ValueError(f"halves={halves!r}; known: {', '.join(HALVES)}")
        if batch_size < 4 or batch_size % 4:
            raise UserError(f"batch_size={batch_size}: a batch of pairs is in quarters; give a multiple of 4.")
        columns = [np.asarray(own, np.str_) for own in labels]
        for c, column in enumerate(columns):
            if not len(column):
                raise UserError(f"Corpus {c + 1} of {len(columns)} has no training utterance to draw pairs from.")
            if np.any(column == ""):
                raise UserError(f"Corpus {c + 1} of {len(columns)}: utterance {int(np.argmax(column == ''))} has no "
                                "label; leave unlabelled utterances out.")
        self.emotions: tuple[str, ...] = tuple(sorted({str(e) for column in columns for e in column}))
        if len(self.emotions) < 2:
            raise UserError(f"Emotions to draw pairs from: {', '.join(self.emotions) or 'none'}. Negatives need at "
                            "least two.")
        self._size, self._seed, self._halves = batch_size, seed, halves
        self._positives = {e: [np.flatnonzero(column == e) for column in columns] for e in self.emotions}
        self._negatives = {e: [np.flatnonzero(column != e) for column in columns] for e in self.emotions}

    def __call__(self, step: int) -> PairBatch:
        """The batch of a global step, from 0."""
        rng = np.random.default_rng((self._seed, step))
        emotion = self.emotions[rng.integers(len(self.emotions))]
        quarter = self._size // 4
        positives = _equal_parts(rng, self._positives[emotion], 2 * quarter)
        if self._halves == "random":
            positives = rng.permutation(positives)
        negatives = rng.permutation(_equal_parts(rng, self._negatives[emotion], 2 * quarter))
        corpus, row = np.concatenate([positives, negatives]).astype(np.int32).T
        place = np.arange(self._size)
        positive = place < 2 * quarter
        return PairBatch(corpus, row, positive, (positive & (place >= quarter)).astype(np.int32), emotion)


def _equal_parts(rng: np.random.Generator, pools: Sequence[np.ndarray], size: int) -> np.ndarray:
    """[size, 2] pairs (pool, member): as equal a number from each pool that has any, pool by pool."""
    available = np.array([c for c, pool in enumerate(pools) if len(pool)])
    parts = np.full(len(available), size // len(available))
    parts[rng.permutation(len(available))[:size % len(available)]] += 1
    return np.concatenate([np.stack([np.full(part, c), _draw(rng, pools[c], part)], 1)
                           for c, part in zip(available, parts, strict=True)])


def _draw(rng: np.random.Generator, pool: np.ndarray, size: int) -> np.ndarray:
    """[size] members of a pool in random order, none of them k + 1 times before all of them are there k times."""
    rounds = [rng.permutation(pool) for _ in range(-(-size // len(pool)))]
    return rng.permutation(np.concatenate([pool[:0], *rounds])[:size])


class EpochBatches:
    """Shuffled epochs whose batches hold utterances of similar length, so that little of a batch is padding.

    Nothing is left out: every utterance is once in every epoch. The order of an epoch is cut into pools of 16
    batches; each is sorted by length and cut into batches, and the batches are shuffled.

    Args:
      lengths: [U], of the utterances, in any unit.
      batch_size: B, over all devices.
      seed: draws the orders.

    Raises:
      UserError: there is no utterance, or the batch size is not positive.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int):
        self._lengths = np.asarray(lengths)
        if len(self._lengths) < 1 or batch_size < 1:
            raise UserError(f"Cannot draw batches of {batch_size} from {len(self._lengths)} utterances; both must be "
                            "at least 1.")
        self._size, self._seed = batch_size, seed
        self.steps_per_epoch = -(-len(self._lengths) // batch_size)
        self._epoch = functools.lru_cache(maxsize=2)(self._cut)

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows [B] int32 and valid [B] bool of a global step; where valid is False, a row repeats another."""
        epoch, position = divmod(step, self.steps_per_epoch)
        rows = self._epoch(epoch)[position]
        places = np.arange(self._size)
        return rows[places % len(rows)], places < len(rows)

    def _cut(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(len(self._lengths)).astype(np.int32)
        batches = []
        for start in range(0, len(order), POOL * self._size):
            pool = order[start:start + POOL * self._size]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += [pool[i:i + self._size] for i in range(0, len(pool), self._size)]
        return [batches[i] for i in rng.permutation(len(batches))]
