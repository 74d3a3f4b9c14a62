"""The 38 low-level descriptors of the INTERSPEECH 2010 paralinguistic challenge, and their deltas.

Schuller et al., "The INTERSPEECH 2010 Paralinguistic Challenge". Computed with NumPy and SciPy, frame by frame in
step with openSMILE's IS10 set. Pearson's r over all frames of 60 EMO-DB files, by `python -m benchmarks.features`:
at least 0.99999 for each of the 76.
"""

import numpy as np

from sercl_jax.features import frames, perturbation, pitch, spectral

LLD_NAMES = (*spectral.NAMES, *pitch.NAMES, *perturbation.NAMES)
NAMES = (*LLD_NAMES, *(f"{name}_de" for name in LLD_NAMES))


def settings() -> dict[str, object]:
    """What the values depend on, for the cache key; the version changes whenever the values do."""
    return {"version": 1, "lowest": pitch.LOWEST, "highest": pitch.HIGHEST, "voiced": pitch.VOICED}


def describe(signal: np.ndarray) -> np.ndarray:
    """[S] samples in [-1, 1] at 16 kHz -> [T, 76], T = max(1, 1 + (S - 960) // 160), in the order of NAMES."""
    num_frames = frames.count(len(signal), frames.LONG)
    f0, voicing = pitch.track(signal, num_frames)
    contour = pitch.mend(np.where(voicing > pitch.VOICED, f0, 0))
    tracked = np.zeros((num_frames, 6))
    if num_frames > 1:
        # Frame 0 counts as unvoiced, and the contour ends one frame early: its last value is held.
        voicing[0] = 0
        tracked[:-1] = np.column_stack([pitch.envelope(contour), voicing[:-1], contour,
                                        perturbation.perturbation(signal, contour)])
        tracked[-1] = tracked[-2]
    # Short frames go on for longer than pitch frames, so that the last one's successor is known.
    known = min(num_frames + 1, frames.count(len(signal), frames.SHORT))
    spectra = frames.smooth(spectral.descriptors(signal, known))[:num_frames]
    values = np.concatenate([spectra, frames.smooth(tracked)], 1)
    return np.concatenate([values, frames.delta(values)], 1)
