"""Grouped convolution over time with a wide kernel, by its discrete Fourier transform, and relative positions."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sercl_jax.models.speech_activations import ACTIVATIONS

PRECISION = jax.lax.Precision.HIGHEST


def transform_size(length: int, width: int) -> int:
    """The shortest convenient period in which a centred kernel of `width` does not meet `length` frames twice."""
    wanted = length + width // 2
    sizes = (2 ** a * 3 ** b * 5 ** c for a in range(1, 20) for b in range(12) for c in range(8))
    return min(size for size in sizes if size >= wanted)


def grouped_conv(x: Array, kernel: Array) -> Array:
    """Correlation over time, zeros outside: y[t] = sum_k x[t + k - width // 2] kernel[k], group by group.

    As wide as the kernel is, frequencies are far cheaper than frames: for each, one small matrix product per group.

    Args:
      x: [B, T, D] float32.
      kernel: [width, D / groups, D], the outputs of group g at columns g D / groups on.

    Returns:
      [B, T, D].
    """
    batch, length, channels = x.shape
    width, inside, _ = kernel.shape
    groups = channels // inside
    size = transform_size(length, width)
    spectrum = jnp.fft.rfft(x.reshape(batch, length, groups, inside), size, axis=1)
    weights = jnp.conj(jnp.fft.rfft(kernel.reshape(width, inside, groups, inside), size, axis=0))
    product = jnp.einsum("bfgi,figo->bfgo", spectrum, weights, precision=PRECISION)
    y = jnp.fft.irfft(product, size, axis=1)
    return jnp.roll(y, width // 2, 1)[:, :length].reshape(x.shape)


class PositionalConv(nn.Module):
    """Activation of a grouped convolution over time, centred, zeros outside (Baevski et al. 2020, section 2).

    The kernel is what weight normalisation makes of its two parameters.
    """

    width: int
    groups: int
    activation: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[B, T, D], 0 at padding -> [B, T, D] in the dtype of x; computed in float32."""
        y = _Conv(self.width, self.groups, name="conv")(x.astype(jnp.float32))
        return ACTIVATIONS[self.activation](y).astype(x.dtype)


class _Conv(nn.Module):
    width: int
    groups: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        deviation = 2 * (self.width * channels) ** -0.5
        kernel = self.param("kernel", nn.initializers.normal(deviation),
                            (self.width, channels // self.groups, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        return grouped_conv(x, kernel) + bias[None, None]


def distance_buckets(length: int, buckets: int, furthest: int) -> np.ndarray:
    """Bucket of each key - query from -(length - 1) to length - 1: [2 length - 1] int32.

    Half of the buckets are for keys after the query. Of each half, half again are single distances, the others grow
    with the logarithm up to `furthest` (Raffel et al. 2020, section 2.1; Chi et al. 2022).
    """
    distance = np.arange(1 - length, length)
    half = buckets // 2
    exact = half // 2
    far = np.abs(distance).clip(exact).astype(np.float32)
    grown = np.log(far / np.float32(exact)) / np.float32(np.log(furthest / exact)) * np.float32(half - exact)
    far_bucket = np.minimum(exact + grown.astype(np.int32), half - 1)
    return np.where(distance > 0, half, 0) + np.where(np.abs(distance) < exact, np.abs(distance), far_bucket)


def relative_bias(embedding: Array, length: int, furthest: int) -> Array:
    """[buckets, H] -> bias [H, length, length] of each query (rows) towards each key (columns)."""
    of_distance = embedding[distance_buckets(length, embedding.shape[0], furthest)].T
    return of_distance[:, _distance_index(length)]


@functools.lru_cache(8)
def _distance_index(length: int) -> np.ndarray:
    positions = np.arange(length)
    return positions[None] - positions[:, None] + length - 1
