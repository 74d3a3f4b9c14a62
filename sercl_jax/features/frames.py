"""Cutting a waveform into frames, and the contours over frames that every descriptor shares."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sercl_jax.errors import UserError

RATE = 16_000  # Hz
HOP = 160  # samples between frames, 10 ms
SHORT = 400  # samples of a spectral frame, 25 ms
LONG = 960  # samples of a pitch frame, 60 ms
BLOCK = 2000  # frames worked on at once


def to_float(waveform: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as float64.

    Args:
      waveform: [S] int16, or floats in [-1, 1].

    Raises:
      UserError: not one channel, not int16 or floating point, or a sample is NaN or infinite.
    """
    if waveform.ndim != 1:
        raise UserError(f"The waveform has shape {waveform.shape}; features need one channel, [samples].")
    if waveform.dtype == np.int16:
        return waveform / 32767.0
    if not np.issubdtype(waveform.dtype, np.floating):
        raise UserError(f"The waveform holds {waveform.dtype}; features need int16, or floats in [-1, 1].")
    bad = int(np.count_nonzero(~np.isfinite(waveform)))
    if bad:
        raise UserError(f"{bad} of the waveform's {len(waveform)} samples are NaN or infinite; mend the recording.")
    return waveform.astype(np.float64) * (32768.0 / 32767.0)  # the scale that the same samples have as int16


def count(num_samples: int, length: int) -> int:
    """The number of whole frames of `length` samples, and 1 for what is shorter than one."""
    return max(1, 1 + (num_samples - length) // HOP)


def blocks(signal: np.ndarray, length: int, num_frames: int) -> Iterator[np.ndarray]:
    """Frames of `length` samples, left-aligned and HOP apart, with zeros after the end.

    Yields:
      [<= BLOCK, length] read-only views, so that an hour of audio takes no more memory than 20 seconds.
    """
    need = (num_frames - 1) * HOP + length
    if len(signal) < need:
        signal = np.pad(signal, (0, need - len(signal)))
    cut = sliding_window_view(signal, length)[::HOP][:num_frames]
    for start in range(0, num_frames, BLOCK):
        yield cut[start:start + BLOCK]


def smooth(values: np.ndarray) -> np.ndarray:
    """Moving average over three frames, [T, F]; the first and last frame stand in for those beyond the ends."""
    padded = np.pad(values, ((1, 1), (0, 0)), mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def delta(values: np.ndarray) -> np.ndarray:
    """Regression slope over two frames on either side, [T, F] (the HTK book, equation 5.16), ends repeated."""
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    return (padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])) / 10
