"""Functionals: what summarises the low-level descriptor (LLD) tracks of an utterance, however long, in one row.

The statistics of the INTERSPEECH 2010 paralinguistic challenge (Schuller et al. 2010, Table 2), applied to the frames
themselves rather than to the nodes of a graph, plus a few of its kin. NumPy on the host, once per utterance.
"""

from collections.abc import Sequence

import numpy as np

from sercl_jax.errors import UserError

# Tracks that exist where there is a voice only, by the start of their names (deltas included); 0 elsewhere.
VOICED_ONLY = ("F0final", "jitter", "shimmer")
PITCH = "F0final"

PERCENTILES = (1, 25, 50, 75, 99)
UP_LEVELS = (25, 50, 75, 90)
STATISTICS = ("mean", "std", "skewness", "kurtosis",
              *(f"percentile{p}" for p in PERCENTILES), "iqr12", "iqr23", "iqr13", "range",
              "maxpos", "minpos", "slope", "offset", "linear_error",
              *(f"uplevel{level}" for level in UP_LEVELS))
UTTERANCE = ("log_frames", "voiced_segments", "voiced_ratio", "mean_voiced_segment")

# Deviations below this share of a track's largest value are rounding, not shape.
_FLAT = 1e-5


def functional_names(names: Sequence[str]) -> list[str]:
    """Names of the values of `functionals`: "statistic(track)", track by track, then those of the utterance."""
    tail = UTTERANCE if PITCH in names else UTTERANCE[:1]
    return [f"{statistic}({name})" for name in names for statistic in STATISTICS] + list(tail)


def functionals(frames: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """One row for one utterance.

    Of every track: mean, standard deviation, skewness and kurtosis (4th standardised moment; both 0 for a flat
    track); percentiles, the inter-quartile ranges, and the range between the outermost percentiles; positions of the
    first maximum and minimum, 0 at the start and 1 at the end; slope (per length of the track), offset at the start
    and mean absolute error of a fitted line; shares of frames above 25, 50, 75 and 90 % of the range. Voice-only
    tracks use their voiced frames alone, as if these were adjacent, and are all 0 if there are none.

    Of the utterance: log of the number of frames; if there is a pitch track, also the number of voiced segments, the
    share of voiced frames and the mean length of a segment in frames.

    Args:
      frames: [T, F] LLDs as extracted, not standardised: zeros of the pitch track tell that there is no voice.
      names: F feature names.

    Returns:
      [D] float32, D = len(functional_names(names)); finite for finite frames, also for a single one.

    Raises:
      UserError: no frames.
      ValueError: `frames` is not [T, F].
    """
    frames = np.asarray(frames, dtype=np.float64)
    if frames.ndim != 2 or frames.shape[1] != len(names):
        raise ValueError(f"frames {frames.shape} must be [T, {len(names)}].")
    if not len(frames):
        raise UserError("an utterance without frames has no functionals; remove it from the corpus.")
    tail = [np.log(len(frames))]
    voiced = np.ones(len(frames), bool)
    if PITCH in names:
        voiced = frames[:, list(names).index(PITCH)] != 0
        segments = np.count_nonzero(np.diff(voiced.astype(np.int8), prepend=0) == 1)
        tail += [segments, voiced.mean(), voiced.sum() / max(segments, 1)]
    table = np.zeros((len(names), len(STATISTICS)))
    voice_only = np.array([name.startswith(VOICED_ONLY) for name in names], dtype=bool)
    for columns, rows in ((~voice_only, frames), (voice_only, frames[voiced])):
        if columns.any() and len(rows):
            table[columns] = _statistics(rows[:, columns])
    return np.concatenate([table.ravel(), tail]).astype(np.float32)


def _statistics(x: np.ndarray) -> np.ndarray:
    """[T, F] -> [F, S], S = len(STATISTICS)."""
    count = len(x)
    mean = x.mean(0)
    centred = x - mean
    std = np.sqrt((centred**2).mean(0))
    flat = std <= _FLAT * np.abs(x).max(0)
    scaled = np.where(flat, 0, centred / np.where(flat, 1, std))
    percentiles = np.percentile(x, PERCENTILES, axis=0)
    low, first, median, third, high = percentiles
    time = np.linspace(0, 1, count)[:, None] - 0.5 if count > 1 else np.zeros((1, 1))
    slope = (time * centred).sum(0) / max((time**2).sum(), 1e-12)
    error = np.abs(centred - slope * time).mean(0)
    least, most = x.min(0), x.max(0)
    above = [(x > least + level / 100 * (most - least)).mean(0) for level in UP_LEVELS]
    last = max(count - 1, 1)
    return np.stack([
        mean, std, (scaled**3).mean(0), (scaled**4).mean(0), *percentiles,
        median - first, third - median, third - first, high - low,
        x.argmax(0) / last, x.argmin(0) / last, slope, mean - 0.5 * slope, error, *above], axis=1)
