"""Frames on the device: which frame of the batch belongs to which utterance, and contours that end where it ends.

A batch is [B, S] samples, S a multiple of HOP. A row may hold one utterance and padding, or many utterances one
after another, each beginning on a multiple of HOP: a `Layout` says what every frame is, and every function that
looks at a neighbouring frame asks it first.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax.features.frames import HOP, LONG, SHORT

SHORTEST = LONG  # samples that an utterance takes up at least, zeros included


class Layout(NamedTuple):
    """What each of the S / HOP frames of a row is. All int32 of shape [B, S / HOP].

    Attributes:
      position: the frame's number in its utterance, from 0.
      total: frames of LONG samples in that utterance; 0 in padding. A frame counts if position < total.
      known: frames of SHORT samples that its spectra are smoothed over, total or total + 1.
    """

    position: jax.Array
    total: jax.Array
    known: jax.Array

    @property
    def valid(self) -> jax.Array:
        """[B, S / HOP] bool: frames that count."""
        return self.position < self.total


def dot(x: jax.Array, matrix: np.ndarray) -> jax.Array:
    """[..., N] and a constant [N, M] -> [..., M] in full single precision."""
    return jnp.matmul(x, jnp.asarray(matrix, jnp.float32), precision=jax.lax.Precision.HIGHEST)


def num_frames(lengths: jax.Array, samples: int) -> jax.Array:
    """`frames.count` of int32 lengths."""
    return jnp.maximum(1, 1 + (lengths - samples) // HOP)


def alone(lengths: jax.Array, hops: int) -> Layout:
    """The layout of one utterance per row, from the start of the row.

    Args:
      lengths: [B] int32 samples.
      hops: S / HOP.
    """
    shape = (lengths.shape[0], hops)
    count = num_frames(lengths, LONG)
    known = jnp.minimum(count + 1, num_frames(lengths, SHORT))
    return Layout(jnp.broadcast_to(jnp.arange(hops, dtype=jnp.int32)[None], shape),
                  jnp.broadcast_to(count[:, None], shape), jnp.broadcast_to(known[:, None], shape))


def to_float(waveforms: jax.Array) -> jax.Array:
    """int16, or floats in [-1, 1] -> float32 of the scale that openSMILE works on (32767 is 1)."""
    scale = 1 if waveforms.dtype == jnp.int16 else 32768
    return waveforms.astype(jnp.float32) * jnp.float32(scale / 32767)


def cut(signal: jax.Array, length: int) -> jax.Array:
    """[B, S] -> [B, S / HOP, length] frames, left-aligned and HOP apart, with zeros after the end.

    Frames overlap in whole hops, so that they are slices side by side; nothing is gathered.
    """
    batch, samples = signal.shape
    hops, parts = samples // HOP, -(-length // HOP)
    blocks = jnp.pad(signal.reshape(batch, hops, HOP), ((0, 0), (0, parts - 1), (0, 0)))
    return jnp.concatenate([blocks[:, k:k + hops] for k in range(parts)], 2)[:, :, :length]


def shifted(values: jax.Array, by: int) -> jax.Array:
    """[B, T, ...] -> the values `by` frames later (earlier if negative), zeros beyond the row's ends."""
    rest = ((0, 0),) * (values.ndim - 2)
    if by >= 0:
        return jnp.pad(values, ((0, 0), (0, by), *rest))[:, by:]
    return jnp.pad(values, ((0, 0), (-by, 0), *rest))[:, :by]


def smooth(values: jax.Array, position: jax.Array, count: jax.Array) -> jax.Array:
    """`frames.smooth` of [B, T, F] within each utterance's `count` frames."""
    before = jnp.where((position == 0)[..., None], values, shifted(values, -1))
    after = jnp.where((position >= count - 1)[..., None], values, shifted(values, 1))
    return (before + values + after) / 3


def delta(values: jax.Array, position: jax.Array, count: jax.Array) -> jax.Array:
    """`frames.delta` of [B, T, F] within each utterance's `count` frames."""
    left = (count - 1 - position)[..., None]  # frames to come
    passed = position[..., None]
    before = jnp.where(passed == 0, values, shifted(values, -1))
    earlier = jnp.where(passed <= 1, before, shifted(values, -2))
    after = jnp.where(left <= 0, values, shifted(values, 1))
    later = jnp.where(left <= 1, after, shifted(values, 2))
    return (after - before + 2 * (later - earlier)) / 10
