"""Mel filter banks as HTK defines them: triangles that are linear in mel."""

from functools import lru_cache

import numpy as np

from sercl_jax.features.frames import RATE


def hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    """The HTK book's mel scale, equation 5.13 with the natural logarithm."""
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


@lru_cache(maxsize=8)
def filterbank(num_bands: int, fft: int, low: float, high: float) -> np.ndarray:
    """Triangular filters over the power spectrum.

    Args:
      num_bands: number of filters M.
      fft: FFT length in samples.
      low, high: edges of the first and last filter in Hz; bins at or beyond them are left out.

    Returns:
      [fft // 2 + 1, M] float64 weights, each filter 1 at its centre.
    """
    bins = np.arange(fft // 2 + 1)
    edges = np.linspace(hz_to_mel(low), hz_to_mel(high), num_bands + 2)
    mel = hz_to_mel(bins * (RATE / fft))[:, None]
    rising = (mel - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - mel) / np.diff(edges)[1:]
    weights = np.clip(np.minimum(rising, falling), 0, None)
    inside = (bins > round(low * fft / RATE)) & (bins < round(high * fft / RATE))
    return weights * inside[:, None]
