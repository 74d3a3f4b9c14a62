"""Line spectral frequencies of 8th order linear prediction at 11 kHz."""

from functools import lru_cache

import numpy as np

from sercl_jax.features.frames import RATE, SHORT

ORDER = 8
_FFT = 512  # length of the spectrum that is resampled
_TARGET_RATE = 11_000  # Hz


@lru_cache(maxsize=1)
def resampler() -> np.ndarray:
    """[SHORT, samples at 11 kHz]: inverse Fourier sum of the spectrum at the new sample times, as one matrix.

    openSMILE sums half as many bins as it computes output samples (275 for 25 ms), which ends at 4.25 kHz
    rather than at 5.5 kHz, and does not halve the constant term. The last three frequencies are decided by that
    empty band: with the whole band they agree with openSMILE's to r = .37 to .77 only.
    """
    length = round(SHORT * _TARGET_RATE / RATE)
    old = np.arange(SHORT)[:, None] / _FFT
    new = np.arange(length)[None, :] / (_FFT * _TARGET_RATE / RATE)
    matrix = np.ones((SHORT, length))
    for k in range(1, length // 2):
        matrix += np.cos(2 * np.pi * k * (old - new))
    return matrix / (_FFT // 2)


@lru_cache(maxsize=1)
def synthesis() -> tuple[np.ndarray, np.ndarray]:
    """The second half of `resampler`, for who has the 512-point spectrum X of the frame already.

    Returns:
      C and S, each [137, samples at 11 kHz]: the frame at 11 kHz is Re(X[:137]) C - Im(X[:137]) S.
    """
    length = round(SHORT * _TARGET_RATE / RATE)
    angle = 2 * np.pi * np.outer(np.arange(length // 2), np.arange(length)) / (_FFT * _TARGET_RATE / RATE)
    return np.cos(angle) / (_FFT // 2), np.sin(angle) / (_FFT // 2)


def linear_prediction(signal: np.ndarray, order: int) -> np.ndarray:
    """Prediction polynomials by the autocorrelation method (Levinson-Durbin recursion).

    Args:
      signal: [T, N] windowed frames.

    Returns:
      [T, order + 1] coefficients of A(z), the first 1; [1, 0, ..., 0] for a silent frame.
    """
    n = signal.shape[1]
    r = np.stack([np.einsum("tn,tn->t", signal[:, lag:], signal[:, :n - lag]) for lag in range(order + 1)], 1)
    a = np.zeros((len(signal), order + 1))
    a[:, 0] = 1
    error = r[:, 0].copy()
    for m in range(1, order + 1):
        correlation = np.einsum("ti,ti->t", a[:, :m], r[:, m:0:-1])
        reflection = -np.divide(correlation, error, out=np.zeros_like(error), where=error > 0)
        a[:, 1:m + 1] += reflection[:, None] * a[:, m - 1::-1][:, :m]
        error *= 1 - reflection**2
    return a


def from_polynomial(a: np.ndarray) -> np.ndarray:
    """Line spectral frequencies of prediction polynomials of even order.

    The symmetric and antisymmetric sums A(z) +- z^-(p+1) A(1/z), freed of their roots at -1 and 1, are Chebyshev
    series in cos(w) (Kabal and Ramachandran 1986); their roots are eigenvalues of companion matrices.

    Args:
      a: [T, p + 1] coefficients of A(z), the first 1, minimum phase.

    Returns:
      [T, p] radians in [0, pi], ascending.
    """
    order = a.shape[1] - 1
    half = order // 2
    mirrored = a[:, :0:-1]
    roots = []
    for sign in (1, -1):
        full = np.concatenate([a[:, :1], a[:, 1:] + sign * mirrored], 1)[:, :half + 1]
        alternating = float(-sign) ** np.subtract.outer(np.arange(half + 1), np.arange(half + 1))
        divided = full @ np.tril(alternating).T
        # e^{iwp/2} P(e^{iw}) = 2 d_0 cos(pw/2) + ... + 2 d_{h-1} cos(w) + d_h: coefficients of T_h ... T_0.
        series = divided[:, ::-1] * np.where(np.arange(half + 1) == 0, 1, 2)
        roots.append(np.arccos(np.clip(_chebyshev_roots(series), -1, 1)))
    return np.sort(np.concatenate(roots, 1), 1)


def _chebyshev_roots(series: np.ndarray) -> np.ndarray:
    """[T, n] real roots of [T, n + 1] Chebyshev series, ascending, by balanced colleague matrices."""
    n = series.shape[1] - 1
    colleague = np.zeros((len(series), n, n))
    scale = np.full(n, np.sqrt(0.5))
    scale[0] = 1
    off = np.full(n - 1, 0.5)
    off[0] = np.sqrt(0.5)
    index = np.arange(n - 1)
    colleague[:, index, index + 1] = colleague[:, index + 1, index] = off
    colleague[:, :, -1] -= series[:, :-1] / series[:, -1:] * (scale / scale[-1]) * 0.5
    return np.sort(np.linalg.eigvals(colleague).real, 1)


def line_spectral_frequencies(windowed: np.ndarray) -> np.ndarray:
    """Line spectral frequencies of windowed frames.

    Args:
      windowed: [T, SHORT] pre-emphasised and windowed frames at 16 kHz.

    Returns:
      [T, 8] radians of the 11 kHz rate, ascending. A silent frame has the eight of a flat spectrum.
    """
    return from_polynomial(linear_prediction(windowed @ resampler(), ORDER))
