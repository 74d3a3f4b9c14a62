"""Waveform matching on the device: the best period at one place of the signal, for many places at once.

Coarse correlations in single precision find the peak; its three points are then computed again, exactly.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax.features import jax_double as double
from sercl_jax.features.jax_double import Double
from sercl_jax.features.jax_exact import exact
from sercl_jax.features.jax_frames import dot

_BLOCK = 16  # terms of a sum that are unrolled


class Match(NamedTuple):
    """[L] each: the best period from `begin` on.

    Attributes:
      found: whether the correlation has an inner peak; the rest means nothing otherwise.
      length: samples of the peak.
      period: samples, by the parabola through the peak.
      score: height of the parabola, as single plus the rest.
      amplitudes: peak-to-peak amplitude of this period and of the next, in 16 bit steps.
    """

    found: jax.Array
    length: jax.Array
    period: jax.Array
    score: Double
    amplitudes: tuple[jax.Array, jax.Array]


def slices(signal: jax.Array, starts: jax.Array, length: int) -> jax.Array:
    """[S] and [L] -> [L, length]."""
    return jax.vmap(lambda start: jax.lax.dynamic_slice(signal, (start,), (length,)))(starts)


def _running(values: jax.Array) -> jax.Array:
    """[L, M] -> [L, M] sums of the values before each, by blocks: M is a multiple of _BLOCK."""
    blocks = values.reshape(values.shape[0], -1, _BLOCK)
    outer = dot(blocks.sum(2), np.tri(blocks.shape[1], k=-1).T)
    return (dot(blocks, np.tri(_BLOCK, k=-1).T) + outer[..., None]).reshape(values.shape)


def correlations(signal: jax.Array, begin: jax.Array, shortest: jax.Array, terms: int, lags: int) -> jax.Array:
    """`perturbation.correlations` at many places.

    Args:
      signal: [S].
      begin, shortest: [L] int32.
      terms: an upper bound of shortest.
      lags: how many, M.

    Returns:
      [L, M], lag shortest + m in column m; NaN where a stretch is constant.
    """
    x = jnp.where(jnp.arange(terms)[None] < shortest[:, None], slices(signal, begin, terms), 0)
    y = slices(signal, begin + shortest, terms + lags)
    z = slices(signal, begin + 2 * shortest, 2 * lags)
    # The sum over i < shortest + m, split: the first part has the same terms for every lag.
    def first(block: int, total: jax.Array) -> jax.Array:
        own = jax.lax.dynamic_slice_in_dim(x, block * _BLOCK, _BLOCK, 1)
        late = jax.lax.dynamic_slice_in_dim(y, block * _BLOCK, _BLOCK + lags, 1)
        for i in range(_BLOCK):
            total = total + own[:, i:i + 1] * late[:, i:i + lags]
        return total

    def second(block: int, total: jax.Array) -> jax.Array:
        own = jax.lax.dynamic_slice_in_dim(y, block * _BLOCK, _BLOCK, 1)
        late = jax.lax.dynamic_slice_in_dim(z, block * _BLOCK, _BLOCK + lags, 1)
        for i in range(_BLOCK):
            counts = jnp.arange(lags)[None] > block * _BLOCK + i
            total = total + jnp.where(counts, own[:, i:i + 1] * late[:, i:i + lags], 0)
        return total

    xy = jax.lax.fori_loop(0, terms // _BLOCK, first, jnp.zeros((begin.shape[0], lags)))
    xy = jax.lax.fori_loop(0, lags // _BLOCK, second, xy)
    n = (shortest[:, None] + jnp.arange(lags)[None]).astype(jnp.float32)
    early = jnp.arange(terms)[None] < shortest[:, None]

    def stretches(values: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        a, b, c = values
        inside = a.sum(1, keepdims=True) + _running(b[:, :lags])
        both = (a + jnp.where(early, b[:, :terms], 0)).sum(1, keepdims=True) + _running(c[:, ::2] + c[:, 1::2])
        return inside, both - inside

    sx, sy = stretches((x, y, z))
    xx, yy = stretches((x * x, y * y, z * z))
    vx, vy = xx - sx * sx / n, yy - sy * sy / n
    varied = (vx > 1e-6 * xx) & (vy > 1e-6 * yy)
    return jnp.where(varied, (xy - sx * sy / n) / jnp.sqrt(jnp.where(varied, vx * vy, 1)), jnp.nan)


def best_match(signal: jax.Array, off: jax.Array, begin: jax.Array, shortest: jax.Array, longest: jax.Array, *,
               limit: int) -> Match:
    """The highest inner peak of the correlations from `shortest` to `longest`, at many places.

    Args:
      signal: [S] samples as whole numbers, 16 bit.
      off: [S] `rounding` of the signal.
      begin, shortest, longest: [L] int32; shortest about 3/4 and longest about 5/4 of the expected period.
      limit: no longest exceeds it; what is computed grows with its square.
    """
    terms, lags = (-(-int(part * limit + 3) // _BLOCK) * _BLOCK for part in (0.6, 0.4))
    coarse = correlations(signal, begin, shortest, terms, lags)
    middle = coarse[:, 1:-1]
    inner = jnp.arange(1, lags - 1)[None] < (longest - shortest - 1)[:, None]
    peak = (middle > coarse[:, :-2]) & (middle > coarse[:, 2:]) & inner
    height = jnp.where(peak, middle, -2)
    highest = height == height.max(1, keepdims=True)
    length = shortest + jnp.where(highest, jnp.arange(1, lags - 1)[None], lags).min(1)
    x = slices(signal, begin, limit)
    y = slices(signal, begin + length - 1, limit + 3)
    points = exact(x, y, slices(off, begin, limit), slices(off, begin + length - 1, limit + 3), length)
    centre = Double(points.high[:, 1], points.low[:, 1])
    left, right = (double.add(Double(points.high[:, k], points.low[:, k]), double.negative(centre)) for k in (0, 2))
    slope, bend = double.add(left, double.negative(right)), double.add(left, right)
    bend = jax.tree.map(lambda part, safe: jnp.where(bend.high < 0, part, safe), bend, double.single(-jnp.ones(1)))
    ratio = double.divide(slope, bend)  # twice the shift of the peak
    score = double.add(centre, double.multiply(double.multiply(slope, ratio), double.single(jnp.full(1, -0.125))))
    shift = 0.5 * ratio.high
    inside = (jnp.arange(limit)[None] >= 1) & (jnp.arange(limit)[None] < length[:, None] - 1)
    amplitudes = tuple(jnp.where(inside, part, -jnp.inf).max(1) - jnp.where(inside, part, jnp.inf).min(1)
                       for part in (x, y[:, 1:limit + 1]))
    return Match(peak.any(1), length, length.astype(jnp.float32) + shift, score, (amplitudes[0], amplitudes[1]))
