"""Spectral descriptors on the device: `sercl_jax.features.spectral` and `logmel` as batched, jitted JAX.

Everything is single precision, products of matrices included (`Precision.HIGHEST`: the bfloat16 or TF32 passes
that accelerators take by default would cost the cepstrum three digits).
"""

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax.features import jax_frames, jax_lsp, logmel, mel, spectral
from sercl_jax.features.frames import HOP, SHORT
from sercl_jax.features.jax_frames import dot


def emphasis() -> np.ndarray:
    """[2, SHORT] weights of a sample and of the one before it: `spectral.emphasised` as a weighted difference."""
    own, before = spectral.hamming().copy(), -0.97 * spectral.hamming()
    own[0] += before[0]
    before[0] = 0
    return np.stack([own, before])


def power(spectrum: jax.Array) -> jax.Array:
    return spectrum.real**2 + spectrum.imag**2


def mfcc(powers: jax.Array) -> jax.Array:
    """`spectral.mfcc` of [B, T, 257] powers: [B, T, 15]."""
    bands = dot(powers, mel.filterbank(26, spectral.FFT, 20.0, 8000.0))
    return dot(jnp.log(jnp.maximum(bands, 1e-8)), spectral.cepstrum(np.eye(26)))


def descriptors(signal: jax.Array) -> jax.Array:
    """The 32 spectral descriptors, unsmoothed.

    Args:
      signal: [B, S] float32 samples in [-1, 1] at 16 kHz, S a multiple of HOP.

    Returns:
      [B, S / HOP, 32] in the order of `spectral.NAMES`; samples beyond the end count as 0.
    """
    cut = jax_frames.cut(signal, SHORT)
    own, before = (jnp.asarray(w, jnp.float32)[None, None] for w in emphasis())
    windowed = own * cut + before * jnp.pad(cut, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
    spectrum = jnp.fft.rfft(windowed, spectral.FFT)
    powers = power(spectrum)
    hamming = spectral.hamming()
    loudness = (signal[:, ::HOP, None] ** 2 * float(hamming[0] / hamming.sum() / 1e-6)) ** 0.3
    bands = jnp.log(jnp.maximum(dot(powers, mel.filterbank(8, spectral.FFT, 20.0, 6500.0)), 1e-12))
    return jnp.concatenate([loudness, mfcc(powers), bands, jax_lsp.line_spectral_frequencies(spectrum)], 2)


def log_mel(signal: jax.Array) -> jax.Array:
    """`logmel.describe` of [B, S] float32 samples in [-1, 1], S a multiple of HOP: [B, S / HOP, 40]."""
    cut = jax_frames.cut(signal, SHORT) * jnp.asarray(spectral.hamming(), jnp.float32)[None, None]
    filters = mel.filterbank(logmel.NUM_BANDS, spectral.FFT, logmel.LOW, logmel.HIGH)
    return jnp.log(jnp.maximum(dot(power(jnp.fft.rfft(cut, spectral.FFT)), filters), logmel.FLOOR))
