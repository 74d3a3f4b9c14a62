"""What training draws at random: dropout and SpecAugment, utterance by utterance."""

import jax
import jax.numpy as jnp
from jax import Array

LEVELS = 2 ** 16  # a draw is one of so many: half the random bits of a float, rates true to 1e-5


def dropout(x: Array, rate: float, keys: Array | None, site: int) -> Array:
    """Zeroes entries with probability `rate` and scales the others by 1 / (1 - rate); `keys` None: x itself.

    Args:
      x: [B, ...].
      rate: 0 to below 1.
      keys: [B] typed keys, of the utterances: an utterance's draws don't depend on its batch.
      site: number of the place; each draws anew.
    """
    kept = round((1 - rate) * LEVELS)
    if keys is None or kept == LEVELS:
        return x
    bits = jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, site), x.shape[1:], "uint16"))(keys)
    return jnp.where(bits < kept, x * (LEVELS / kept), 0).astype(x.dtype)


def draw_spans(keys: Array, lengths: Array, size: int, *, probability: float, span: int, least: int) -> Array:
    """Spans of consecutive places to mask, as transformers draws them for each row alone: [B, size] bool.

    A row of n places has floor(probability n / span + u) spans, u uniform in 0..1, but at least `least` and never
    more than fit beside each other or have different starts. The starts are drawn without replacement, so that spans
    may overlap (Park et al. 2019; Baevski et al. 2020).

    Args:
      keys: [B] typed keys.
      lengths: [B] int, n of each row.
    """
    def one(key: Array, length: Array) -> Array:
        rounding, order = jax.random.split(key)
        wanted = jnp.floor(probability * length / span + jax.random.uniform(rounding)).astype(jnp.int32)
        starts = jnp.maximum(length - span + 1, 0)
        count = jnp.minimum(jnp.minimum(jnp.maximum(wanted, least), length // span), starts)
        draws = jnp.where(jnp.arange(size) < starts, jax.random.uniform(order, (size,)), 2.0)
        start = jnp.argsort(jnp.argsort(draws)) < count
        begun = jnp.cumsum(start)
        return begun > jnp.concatenate([jnp.zeros(min(span, size), begun.dtype), begun[:-span]])

    return jax.vmap(one)(keys, lengths)
