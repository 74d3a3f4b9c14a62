"""Long recordings as overlapping windows, and what the windows say put together again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE

GRID = 320  # samples: windows begin on multiples of it, so that frames of 10 and 20 ms fall on those of the others
SHORTEST = 0.1  # seconds
MOST_OVERLAP = 0.95
USUAL = 4.0  # seconds, of a model that does not know how long its training utterances were
_LEAST_USUAL, _MOST_USUAL = 2, 15


class Span(NamedTuple):
    """A window of a recording, in samples from its beginning."""

    start: int
    end: int


def usual_seconds(seconds: Sequence[float] | np.ndarray) -> float:
    """How long a window is by default: whole seconds that 95 of 100 utterances do not exceed, from 2 to 15."""
    return float(np.clip(np.ceil(np.percentile(np.asarray(seconds), 95)), _LEAST_USUAL, _MOST_USUAL))


def spans(samples: int, window: float, overlap: float, longest: int | None = None) -> list[Span]:
    """Where the windows of a recording lie: they cover all of it, in order.

    A recording of up to one and a half windows is a single one, if that is not too long. Windows begin on multiples
    of 20 ms; the last one ends where the recording ends and is up to 20 ms longer than the others.

    Args:
      samples: S, at least 1.
      window: seconds.
      overlap: share of a window that the next one repeats, in [0, 0.95].
      longest: the most samples that a window may have.

    Raises:
      UserError: a window or an overlap that is out of range.
    """
    if not window >= SHORTEST:
        raise UserError(f"window={window:g}: at least {SHORTEST:g} s are needed.")
    if not 0 <= overlap <= MOST_OVERLAP:
        raise UserError(f"overlap={overlap:g}: a share of the window, from 0 to {MOST_OVERLAP:g}.")
    length = round(window * SAMPLE_RATE / GRID) * GRID
    if longest is not None:
        if window * SAMPLE_RATE > longest:
            raise UserError(f"window={window:g}: at most {longest / SAMPLE_RATE:g} s for this model.")
        length = min(length, longest // GRID * GRID - GRID) if longest > 2 * GRID else length
    if samples <= min(1.5 * length, samples if longest is None else longest) or samples <= length:
        return [Span(0, samples)]
    hop = max(round(length * (1 - overlap) / GRID), 1) * GRID
    last = (samples - length) // GRID * GRID
    return [*(Span(start, start + length) for start in range(0, last, hop)), Span(last, samples)]


def stitch(parts: Sequence[np.ndarray], windows: Sequence[Span], total: int, hop: int) -> np.ndarray:
    """Frames of overlapping windows as those of the whole recording; where two overlap, each gives its half.

    Args:
      parts: [T, F] frames of each window.
      windows: where they lie; their beginnings are multiples of `hop`.
      total: frames of the whole recording.
      hop: samples between frames.

    Returns:
      [total, F]; where the windows leave a gap, the frame before it is held.
    """
    first = windows[0].start // hop
    begins = np.array([window.start // hop - first for window in windows])
    counts = np.array([len(part) for part in parts])
    ends = begins + counts
    # The first frame that the next window gives: in the middle of what both have, or where it begins.
    bounds = np.maximum(begins[1:], (begins[1:] + ends[:-1]) // 2)
    frame = np.arange(total)
    owner = np.searchsorted(bounds, frame, side="right")
    place = np.minimum(frame - begins[owner], counts[owner] - 1)
    return np.concatenate(parts)[(np.cumsum(counts) - counts)[owner] + place]
