"""Frames of many utterances as arrays of one shape, made for the rows that are asked for.

A corpus' frames stay on the disk: only the rows of a batch are ever in memory.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sercl_jax.types import Frames

ROUND = 25  # frames; lengths are rounded up to it, so that corpora of similar length share a compiled step


class Rows:
    """An array [U, ...] whose rows are made when they are asked for."""

    def __init__(self, count: int, make: Callable[[np.ndarray], np.ndarray]):
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self._make(np.asarray(rows))


class PaddedFrames:
    """Frames cut or padded to one length.

    Args:
      frames: of a whole corpus.
      seconds: what is longer is cut; the length is that, or less if no utterance is so long.
    """

    def __init__(self, frames: Frames, seconds: float):
        self.frames = frames
        most = round(seconds / frames.hop)
        longest = int(np.diff(frames.offsets).max(initial=1))
        self.length = most if longest >= most else min(math.ceil(longest / ROUND) * ROUND, most)
        self.width = frames.values.shape[1]

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """"x" [B, T, F] float32, 0 in the padding, and "mask" [B, T] bool."""
        return {"x": self._values(rows), "mask": self.mask(rows)}

    def columns(self, rows: np.ndarray) -> dict[str, Any]:
        """The same for many rows, as arrays that are made when they are indexed."""
        return {"x": Rows(len(rows), lambda chosen: self._values(rows[chosen])),
                "mask": Rows(len(rows), lambda chosen: self.mask(rows[chosen]))}

    def _values(self, rows: np.ndarray) -> np.ndarray:
        x = np.zeros((len(rows), self.length, self.width), np.float32)
        for b, u in enumerate(rows):
            own = self.frames[int(u)][:self.length]
            x[b, :len(own)] = own
        return x

    def mask(self, rows: np.ndarray) -> np.ndarray:
        """[B, T] bool: which frames are theirs."""
        counts = self.frames.offsets[rows + 1] - self.frames.offsets[rows]
        return np.arange(self.length)[None, :] < counts[:, None]

    def statistics(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [F] over the (cut) frames of these utterances; a constant column has 1."""
        mean, squares, count = np.zeros(self.width), np.zeros(self.width), 0
        for u in rows:  # once, as these may be gigabytes: each around its own mean, then joined (Chan et al. 1979)
            own = np.asarray(self.frames[int(u)][:self.length], np.float64)
            centre, total = own.mean(0), count + len(own)
            squares += np.square(own - centre).sum(0) + np.square(centre - mean) * (count * len(own) / total)
            mean += (centre - mean) * (len(own) / total)
            count = total
        deviation = np.sqrt(squares / max(count, 1))
        return mean, np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1.0)
