"""Log mel filter bank energies."""

import numpy as np

from sercl_jax.features import frames, mel, spectral

NUM_BANDS = 40
LOW, HIGH = 20.0, 8000.0  # Hz
FLOOR = 1e-10  # power below which a band counts as silent
NAMES = tuple(f"logmel[{i}]" for i in range(NUM_BANDS))


def settings() -> dict[str, object]:
    """What the values depend on, for the cache key; the version changes whenever the values do."""
    return {"version": 1, "bands": NUM_BANDS, "low": LOW, "high": HIGH, "floor": FLOOR}


def describe(signal: np.ndarray) -> np.ndarray:
    """[S] samples in [-1, 1] at 16 kHz -> [T, 40] natural logarithms, T = max(1, 1 + (S - 400) // 160)."""
    num_frames = frames.count(len(signal), frames.SHORT)
    filters = mel.filterbank(NUM_BANDS, spectral.FFT, LOW, HIGH)
    bands = [spectral.power_spectrum(cut * spectral.hamming()) @ filters
             for cut in frames.blocks(signal, frames.SHORT, num_frames)]
    return np.log(np.maximum(np.concatenate(bands), FLOOR))
