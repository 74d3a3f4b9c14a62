"""How alike utterances of equal and of different emotion are in each layer of an encoder (Xiang, Fig. 4)."""

from collections.abc import Sequence

import numpy as np


def by_layer(layers: Sequence[np.ndarray], labels: Sequence[str],
             groups: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Mean cosine, layer by layer, over all pairs of different utterances of one kind.

    The cosines of all pairs inside a set add up to (|S|² - n) / 2, where S is the sum of its n unit vectors: the U²/2
    pairs need not be formed, and a copy of one layer is all the memory it takes.

    Args:
      layers: for each of L + 1 layers [U, D], the average of its frames over each utterance; widths may differ. A
        zero vector has cosine 0 to all.
      labels: [U] emotions.
      groups: [U] names of corpora, to look at pairs across corpora on their own.

    Returns:
      Kind -> L + 1 means. "positive": pairs of equal emotion; "negative": of different ones; with `groups`, also
      "positive_across" and "negative_across": such pairs of different corpora only. A kind without any pair is left
      out.

    Raises:
      ValueError: the shapes don't fit, or an average is not finite.
    """
    for number, means in enumerate(layers):
        if means.ndim != 2 or len(means) != len(labels) or (groups is not None and len(groups) != len(labels)):
            raise ValueError(f"layer {number} {means.shape} must be [U, D], with one of {len(labels)} labels"
                             + ("" if groups is None else f" and one of {len(groups)} groups") + " for each of U.")
        if not np.isfinite(means).all():
            raise ValueError(f"layer {number}: the average of an utterance is not finite.")
    _, emotion = np.unique(np.asarray(labels, np.str_), return_inverse=True)
    every, equal = _Pairs(np.zeros_like(emotion)), _Pairs(emotion)
    kinds = {"positive": ([equal], []), "negative": ([every], [equal])}  # sets of pairs to add and to take away
    if groups is not None:
        _, group = np.unique(np.asarray(groups, np.str_), return_inverse=True)
        inside, equal_inside = _Pairs(group), _Pairs(emotion * (group.max(initial=0) + 1) + group)
        kinds |= {"positive_across": ([equal], [equal_inside]),
                  "negative_across": ([every, equal_inside], [equal, inside])}
    counts = {kind: sum(p.count for p in added) - sum(p.count for p in removed)
              for kind, (added, removed) in kinds.items()}
    found: dict[str, list[float]] = {kind: [] for kind, count in counts.items() if count}
    for means in layers if found else ():
        units = means.astype(np.float64)
        length = np.linalg.norm(units, axis=1, keepdims=True)
        units = np.divide(units, length, out=np.zeros_like(units), where=length > 0)
        for kind, values in found.items():
            added, removed = kinds[kind]
            values.append((sum(p.total(units) for p in added) - sum(p.total(units) for p in removed)) / counts[kind])
    return found


class _Pairs:
    """All pairs of different rows that have the same number in `index`."""

    def __init__(self, index: np.ndarray):
        self._order = np.argsort(index, kind="stable")
        _, self._starts, sizes = np.unique(index[self._order], return_index=True, return_counts=True)
        self.count = int(np.sum(sizes * (sizes - 1) // 2))

    def total(self, units: np.ndarray) -> float:
        """The sum of their dot products."""
        sums = np.add.reduceat(units[self._order], self._starts)
        return float(np.sum(np.square(sums)) - np.sum(np.square(units))) / 2
