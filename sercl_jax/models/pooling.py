"""Weighted pooling of nodes into one embedding per graph (METHODS.md 1.6)."""

import jax
import jax.numpy as jnp
from jax import Array

# (max, mean, soft, sum). A to G: Table 7 of the paper, G as printed (it sums to .90); then Table 5's single ones.
POOLINGS: dict[str, tuple[float, float, float, float]] = {
    "A": (.50, .25, .25, 0),
    "B": (.25, .50, .25, 0),
    "C": (.25, .25, .50, 0),
    "D": (.60, .20, .20, 0),
    "E": (.20, .60, .20, 0),
    "F": (.20, .20, .60, 0),
    "G": (.30, .30, .30, 0),
    "max": (1, 0, 0, 0),
    "mean": (0, 1, 0, 0),
    "soft": (0, 0, 1, 0),
    "sum": (0, 0, 0, 1),
}


def statistics_pool(h: Array, mask: Array) -> Array:
    """Mean, standard deviation and maximum over existing nodes, side by side.

    Args:
      h: [B, N, D] node outputs.
      mask: [B, N] bool; a graph without nodes pools to 0, but for the deviation's small floor.

    Returns:
      [B, 3 D].
    """
    there = mask[..., None]
    count = jnp.maximum(jnp.sum(mask, -1), 1)[:, None].astype(h.dtype)
    mean = jnp.sum(jnp.where(there, h, 0), 1) / count
    variance = jnp.sum(jnp.where(there, jnp.square(h - mean[:, None]), 0), 1) / count
    highest = jnp.max(jnp.where(there, h, -jnp.inf), 1)
    highest = jnp.where(jnp.any(there, 1), highest, 0)
    # The square root has no finite slope at 0: a channel that is the same in all nodes.
    return jnp.concatenate([mean, jnp.sqrt(variance + 1e-6), highest], -1)


def weighted_pool(h: Array, mask: Array, weights: Array) -> Array:
    """g = w_max max + w_mean mean + w_soft soft + w_sum sum, over existing nodes.

    Soft pooling is, for each channel, the softmax over nodes times the values.

    Args:
      h: [B, N, D] node outputs.
      mask: [B, N] bool; a graph without nodes pools to 0.
      weights: [4] for (max, mean, soft, sum); may be traced.

    Returns:
      [B, D].
    """
    there = mask[..., None]
    count = jnp.maximum(jnp.sum(mask, -1), 1)[:, None].astype(h.dtype)
    total = jnp.sum(jnp.where(there, h, 0), 1)
    highest = jnp.max(jnp.where(there, h, -jnp.inf), 1)
    highest = jnp.where(jnp.any(there, 1), highest, 0)
    shift = jax.lax.stop_gradient(highest)[:, None]
    share = jnp.where(there, jnp.exp(jnp.where(there, h - shift, 0)), 0)
    soft = jnp.sum(share * jnp.where(there, h, 0), 1) / jnp.maximum(jnp.sum(share, 1), 1)
    return weights[0] * highest + weights[1] * total / count + weights[2] * soft + weights[3] * total
