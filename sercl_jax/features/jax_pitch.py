"""Pitch and voicing on the device: `sercl_jax.features.pitch` as batched, jitted JAX.

One matrix takes 513 magnitudes to the sub-harmonic sum (526 kFLOP per frame, half of the whole set's), the last
three record peaks are three maxima, and the envelope is a linear recurrence, done as a prefix scan.
"""

import jax
import jax.numpy as jnp

from sercl_jax.features import jax_frames, pitch
from sercl_jax.features.frames import LONG
from sercl_jax.features.jax_frames import Layout, dot, shifted
from sercl_jax.features.jax_spectral import power


def subharmonic_sum(signal: jax.Array) -> jax.Array:
    """`pitch.subharmonic_sum` of every frame of [B, S] samples: [B, S / HOP, 513]."""
    cut = jax_frames.cut(signal, LONG) * jnp.asarray(pitch.window(), jnp.float32)[None, None]
    magnitude = jnp.sqrt(power(jnp.fft.rfft(cut, pitch.FFT)))
    return jnp.maximum(dot(magnitude, pitch.summation()), 0)


def best_candidate(spectrum: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`pitch.best_candidate` of [B, T, 513] sums: [B, T] Hz and [B, T] voicing, both 0 without a candidate.

    The last peak that exceeds every peak before it is the highest of all; the one before, the highest to its left.
    """
    bottom, step = pitch.octaves()
    inner = spectrum[..., 1:-1]
    peak = (spectrum[..., :-2] < inner) & (inner > spectrum[..., 2:])
    height = jnp.where(peak, inner, 0)
    mean = spectrum.mean(-1)
    place = jnp.arange(height.shape[-1], dtype=jnp.int32)[None, None]
    f0, voicing, best = (jnp.zeros_like(mean) for _ in range(3))
    end = jnp.full(mean.shape, height.shape[-1], jnp.int32)
    for _ in range(pitch.CANDIDATES):
        ahead = jnp.where(place < end[..., None], height, 0)
        middle = ahead.max(-1)
        end = jnp.where(ahead == middle[..., None], place, height.shape[-1]).min(-1)
        around = end[..., None] + jnp.asarray([0, 2], jnp.int32)[None, None]
        left, right = jnp.moveaxis(jnp.take_along_axis(spectrum, around, -1), -1, 0)
        found = middle > 0
        curvature = jnp.where(found, left - 2 * middle + right, -1)
        shift = 0.5 * (left - right) / curvature
        score = middle - 0.25 * (left - right) * shift
        hz = jnp.exp2(bottom + step * (end + 1 + shift))
        better = found & (hz >= pitch.LOWEST) & (hz <= pitch.HIGHEST) & (score > best)
        f0 = jnp.where(better, hz, f0)
        voicing = jnp.where(better, jnp.where(score > mean, 1 - mean / jnp.where(better, score, 1), 0), voicing)
        best = jnp.where(better, score, best)
    return f0, voicing


def mend(f0: jax.Array, layout: Layout) -> jax.Array:
    """`pitch.mend` of each utterance: [B, T] Hz -> [B, T] Hz, 0 from its last frame on."""
    f0 = jnp.where(layout.valid & (layout.position > 0), f0, 0)
    before = jnp.where(layout.position > 0, shifted(f0, -1), 0)
    after = shifted(f0, 1)
    taken_back = _jump(before, f0) * _jump(f0, after) == -1
    lone = (before == 0) & (after == 0)
    mended = jnp.where(taken_back, after, jnp.where(lone, 0, f0))
    return jnp.where(layout.position < layout.total - 1, mended, 0)


def _jump(now: jax.Array, after: jax.Array) -> jax.Array:
    rise, fall = now < 0.8 * after, now > 1.2 * after
    return jnp.where((now > 0) & (after > 0), rise.astype(jnp.int32) - fall.astype(jnp.int32), 0)


def envelope(f0: jax.Array, layout: Layout) -> jax.Array:
    """`pitch.envelope` of each utterance, [B, T] Hz -> [B, T] Hz. Frame 0 of an utterance must be unvoiced."""
    voiced = f0 > 0
    so_far = jnp.cumsum(voiced, 1, dtype=jnp.int32)
    starts = jnp.arange(f0.shape[1], dtype=jnp.int32)[None] - layout.position
    first = voiced & (so_far == 1 + jnp.take_along_axis(so_far, jnp.maximum(starts, 0), 1))
    keep = jnp.where(first | (layout.position == 0), 0, jnp.where(voiced, 0.75, 1))
    gain = jnp.where(first, f0, jnp.where(voiced, 0.25 * f0, 0))

    # keep and gain of 2, 4, 8, ... frames up to each one: a prefix scan that compiles in no time.
    frames = f0.shape[1]

    def double(power: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        def earlier(values: jax.Array, neutral: float) -> jax.Array:
            padded = jnp.pad(values, ((0, 0), (frames, 0)), constant_values=neutral)
            return jax.lax.dynamic_slice_in_dim(padded, frames - (1 << power), frames, 1)

        keep, gain = state
        return keep * earlier(keep, 1), gain + keep * earlier(gain, 0)

    return jax.lax.fori_loop(0, (frames - 1).bit_length(), double, (keep, gain))[1]
