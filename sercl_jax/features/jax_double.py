"""Numbers as unevaluated sums of two singles, about 48 bits, where no double precision is to be had.

Dekker, "A floating-point technique for extending the available precision", Numer. Math. 18, 1971. Factors are split
by masking bits, so that every partial product is exact and a compiler may fuse it with an addition or not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Double(NamedTuple):
    """high + low, where high is the single nearest to the sum."""

    high: jax.Array
    low: jax.Array


def of(a: jax.Array, b: jax.Array) -> Double:
    """The exact sum of two singles (Knuth's TwoSum)."""
    total = a + b
    part = total - a
    return Double(total, (a - (total - part)) + (b - part))


def add(a: Double, b: Double) -> Double:
    """Sum, to about 46 bits of the larger one."""
    total = of(a.high, b.high)
    return of(total.high, total.low + (a.low + b.low))


def single(a: jax.Array) -> Double:
    return Double(a, jnp.zeros_like(a))


def negative(a: Double) -> Double:
    return Double(-a.high, -a.low)


def _halves(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    bits = jax.lax.bitcast_convert_type(a, jnp.int32) & jnp.int32(-4096)
    upper = jax.lax.bitcast_convert_type(bits, jnp.float32)
    return upper, a - upper


def product(a: jax.Array, b: jax.Array) -> Double:
    """The product of two singles, exact but for its last bit or two."""
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    upper = of(a1 * b1, a1 * b2)
    lower = of(a2 * b1, a2 * b2)
    return add(upper, lower)


def multiply(a: Double, b: Double) -> Double:
    """Product, to about 46 bits."""
    main = product(a.high, b.high)
    return of(main.high, main.low + (a.high * b.low + a.low * b.high))


def divide(a: Double, b: Double) -> Double:
    """Quotient, to about 45 bits; b must not be 0."""
    near = a.high / b.high
    rest = add(a, negative(multiply(b, single(near))))
    return of(near, rest.high / b.high)
