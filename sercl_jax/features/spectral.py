"""The spectral low-level descriptors of the IS10 set: loudness, MFCC, log mel bands, line spectral frequencies."""

from functools import lru_cache

import numpy as np
from scipy import fft

from sercl_jax.features import frames, mel
from sercl_jax.features.lsp import line_spectral_frequencies

NAMES = ("pcm_loudness", *(f"mfcc[{i}]" for i in range(15)), *(f"logMelFreqBand[{i}]" for i in range(8)),
         *(f"lspFreq[{i}]" for i in range(8)))
FFT = 512
_LIFTER = 22
_NUM_MFCC = 15


@lru_cache(maxsize=1)
def hamming() -> np.ndarray:
    """[SHORT] symmetric Hamming window."""
    return np.hamming(frames.SHORT)


def power_spectrum(windowed: np.ndarray) -> np.ndarray:
    """[T, SHORT] windowed frames -> [T, 257] power."""
    spectrum = fft.rfft(windowed, FFT, axis=1)
    return spectrum.real**2 + spectrum.imag**2


def emphasised(cut: np.ndarray) -> np.ndarray:
    """Pre-emphasis by .97 within each frame (its first sample stands in for the one before), then Hamming."""
    before = np.concatenate([cut[:, :1], cut[:, :-1]], 1)
    return (cut - 0.97 * before) * hamming()


def mfcc(power: np.ndarray) -> np.ndarray:
    """[T, 257] power -> [T, 15] liftered cepstrum of 26 mel bands, 20-8000 Hz (the HTK book, section 5.6)."""
    return cepstrum(np.log(np.maximum(power @ mel.filterbank(26, FFT, 20.0, 8000.0), 1e-8)))


def cepstrum(logs: np.ndarray) -> np.ndarray:
    """[T, 26] logarithms of mel bands -> [T, 15] liftered cosine transform."""
    cosines = fft.dct(logs, type=2, axis=1)[:, :_NUM_MFCC] * np.sqrt(0.5 / 26)
    return cosines * (1 + _LIFTER / 2 * np.sin(np.pi * np.arange(_NUM_MFCC) / _LIFTER))


def descriptors(signal: np.ndarray, num_frames: int) -> np.ndarray:
    """The 32 spectral descriptors, unsmoothed.

    Args:
      signal: [S] samples in [-1, 1] at 16 kHz.

    Returns:
      [T, 32] in the order of NAMES. Frequencies are in radians of an 11 kHz rate.
    """
    return np.concatenate([_of_frames(cut) for cut in frames.blocks(signal, frames.SHORT, num_frames)])


def _of_frames(cut: np.ndarray) -> np.ndarray:
    windowed = emphasised(cut)
    power = power_spectrum(windowed)
    # openSMILE's IS10 weighs only the first sample of the frame, and a descriptor should mean the same here.
    intensity = hamming()[0] * cut[:, :1] ** 2 / hamming().sum()
    loudness = (intensity / 1e-6) ** 0.3
    bands = np.log(np.maximum(power @ mel.filterbank(8, FFT, 20.0, 6500.0), 1e-12))
    return np.concatenate([loudness, mfcc(power), bands, line_spectral_frequencies(windowed)], 1)
