"""Softmax attention with a gated bias, written out in both directions."""

import jax
import jax.numpy as jnp
from jax import Array

FAR_BELOW = -1e9  # exp of it is 0 in float32; an infinity would make NaN where all keys are padding

Kept = tuple[Array, Array, Array, Array | None, Array | None, Array | None, Array, Array, Array]


def _by_query(rows: Array) -> Array:
    """[B, H, T] -> [B, T, H, 1]."""
    return jnp.moveaxis(rows, 1, 2)[..., None]


def _forward(q: Array, k: Array, v: Array, gate: Array | None, bias: Array | None, mask: Array,
             factor: Array | None) -> tuple[Array, Kept]:
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=jnp.float32)
    if gate is not None and bias is not None:
        scores = scores + gate[..., None] * bias[None]
    scores = jnp.where(mask[:, None, None], scores, FAR_BELOW)
    powers = jnp.exp(scores - jnp.max(scores, -1, keepdims=True))
    total = jnp.sum(powers, -1)
    powers = powers.astype(v.dtype)
    weights = powers if factor is None else powers * factor
    values = jnp.einsum("bhqk,bkhd->bqhd", weights, v, preferred_element_type=jnp.float32) / _by_query(total)
    values = values.astype(v.dtype)
    return values, (q, k, v, gate, bias, factor, values, powers, total)


@jax.custom_vjp
def attend(q: Array, k: Array, v: Array, gate: Array | None, bias: Array | None, mask: Array,
           factor: Array | None) -> Array:
    """softmax(q k' + gate bias) v over the valid keys, for each head.

    Scores and softmax are float32. Its denominators divide the result, not the weights, and the gradient keeps one
    array of [B, H, T, T].

    Args:
      q, k, v: [B, T, H, d], q scaled already.
      gate: [B, H, T] float32 of each query, and bias: [H, T, T] float32; or both None.
      mask: [B, T] bool of the keys.
      factor: [B, H, T, T] that the weights are multiplied with (dropout), or None; it gets no gradient.

    Returns:
      [B, T, H, d]; finite without a valid key, too.
    """
    return _forward(q, k, v, gate, bias, mask, factor)[0]


def _backward(kept: Kept, slope: Array) -> tuple[Array | None, ...]:
    q, k, v, gate, bias, factor, values, powers, total = kept
    slope = slope.astype(jnp.float32) / _by_query(total)
    shared = jnp.moveaxis(jnp.sum(slope * values, -1), 1, 2)[..., None]
    slope = slope.astype(v.dtype)
    weights = powers if factor is None else powers * factor
    to_v = jnp.einsum("bhqk,bqhd->bkhd", weights, slope)
    to_weights = jnp.einsum("bqhd,bkhd->bhqk", slope, v, preferred_element_type=jnp.float32)
    if factor is not None:
        to_weights = to_weights * factor
    to_scores = powers * (to_weights - shared)
    to_gate = to_bias = None
    if gate is not None and bias is not None:
        to_gate = jnp.sum(to_scores * bias[None], -1)
        to_bias = jnp.einsum("bhqk,bhq->hqk", to_scores, gate)
    to_scores = to_scores.astype(v.dtype)
    return (jnp.einsum("bhqk,bkhd->bqhd", to_scores, k), jnp.einsum("bhqk,bqhd->bkhd", to_scores, q), to_v,
            to_gate, to_bias, None, None)


attend.defvjp(_forward, _backward)
