"""The recognizer of activation, valence and dominance: attention, statistics over time, two dense layers."""

import math
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

_EPSILON = 1e-6  # variance; a square root has no finite slope at 0: one valid frame, or a constant input
_HIDDEN_KEY = -1e30  # score of a padding frame; its exponential is exactly 0 beside any valid frame's


@dataclass(frozen=True)
class RecognizerSettings:
    """What a compiled step depends on.

    Attributes:
      heads: of the self-attention.
      head_dim: width of a head; the paper's "512 dimensional hidden states" are 8 x 64, or 8 x 512 if read per head.
      hidden: width of the two dense layers.
      dropout: share of their outputs that is dropped in training.
      outputs: A, the number of dimensions.
      projection: width of a linear map of the input that comes first (a control: it gives log filterbank energies the
        width of CPC's contexts); 0: none.
      dtype: of the attention; statistics and dense layers are float32, as are all parameters.
    """

    heads: int = 8
    head_dim: int = 64
    hidden: int = 128
    dropout: float = 0.2
    outputs: int = 3
    projection: int = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype={self.dtype!r}; known: float32, bfloat16")
        if min(self.heads, self.head_dim, self.hidden, self.outputs) < 1 or self.projection < 0:
            raise ValueError("heads, head_dim, hidden and outputs must be at least 1, projection at least 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout}; it must be in [0, 1)")


class Recognizer(nn.Module):
    """Frames to ratings (Li et al. 2021, section 4.1, equations 3 to 6).

    Self-attention with an output as wide as its input, no residual, no LayerNorm, no positions and no biases; mean
    and deviation over the valid frames, side by side; two dense layers with ReLU, dropout after each; a linear layer.
    Without positions the order of the frames does not matter to it.
    """

    settings: RecognizerSettings

    @nn.compact
    def __call__(self, x: Array, mask: Array, keys: Array | None = None) -> Array:
        """Predicts the ratings of B utterances.

        Args:
          x: [B, T, F] frames; what stands at padding does not matter.
          mask: [B, T] bool, the valid frames. An utterance without any gets a finite output and no gradient in `x`.
          keys: [B] typed PRNG keys, one for each utterance, so that its dropout is the same on any number of devices.
            None: no dropout.

        Returns:
          [B, A] float32.
        """
        s = self.settings
        batch, frames, _ = x.shape
        x = jnp.where(mask[..., None], x, 0).astype(s.dtype).reshape(batch * frames, -1)
        if s.projection:
            x = nn.Dense(s.projection, use_bias=False, dtype=s.dtype, name="projection")(x)
        heads = [nn.Dense(s.heads * s.head_dim, use_bias=False, dtype=s.dtype, name=name)(x)
                 .reshape(batch, frames, s.heads, s.head_dim) for name in ("query", "key", "value")]
        h = attention(heads[0], heads[1], heads[2], mask).reshape(batch * frames, -1)
        u = nn.Dense(x.shape[-1], use_bias=False, dtype=s.dtype, name="output")(h)
        y = mean_and_deviation(u.astype(jnp.float32).reshape(batch, frames, -1), mask)
        layer_keys = [None, None] if keys is None else jax.vmap(jax.random.split, out_axes=1)(keys)
        for name, layer_key in zip(("dense_1", "dense_2"), layer_keys, strict=True):
            y = nn.relu(nn.Dense(s.hidden, name=name)(y))
            if layer_key is not None:
                y = dropout(y, s.dropout, layer_key)
        return nn.Dense(s.outputs, name="ratings")(y)


def attention(query: Array, key: Array, value: Array, mask: Array) -> Array:
    """softmax(Q K' / sqrt(D)) V for each utterance and head, over its valid frames (equation 4).

    The scores of all B x H pairs of utterance and head, 4 B H T² bytes, never exist at once: 2.0 GB for 64 utterances
    of 1000 frames and 8 heads, and several times that with the softmax and its gradient. Pairs are taken in groups of
    at most `score_bytes` (at least one pair), one group after another, and the backward pass computes a group's
    scores anew: 7 matrix products in place of 6. On a CPU it is twice as fast as all at once (forward and backward,
    4 x 1000 frames; temporary memory 49 in place of 504 MB): a group stays in the cache, and the softmax's
    denominator divides the [T, D] result and not the [T, T] scores.

    Args:
      query, key, value: [B, T, H, D]; `value` must be finite at padding.
      mask: [B, T] bool. What comes out at padding means nothing.

    Returns:
      [B, T, H, D] of the arguments' type; sums and softmax are float32.
    """
    batch, frames, heads, width = query.shape
    # Exported for any batch, its size is a symbol: groups are then of one utterance's heads.
    group = _group(batch * heads if isinstance(batch, int) else heads, 4 * frames * frames)

    def grouped(z: Array) -> Array:
        return z.transpose(0, 2, 1, 3).reshape(-1, group, frames, width)

    hidden = jnp.repeat(jnp.where(mask, jnp.float32(0), _HIDDEN_KEY), heads, axis=0).reshape(-1, group, 1, frames)
    scaled = (query / math.sqrt(width)).astype(query.dtype)

    @jax.checkpoint
    def attend(parts: tuple[Array, Array, Array, Array]) -> Array:
        q, k, v, bias = parts
        scores = jnp.einsum("gtd,gsd->gts", q, k, preferred_element_type=jnp.float32) + bias
        share = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, -1, keepdims=True)))
        total = jnp.sum(share, -1, keepdims=True)
        mixed = jnp.einsum("gts,gsd->gtd", share.astype(v.dtype), v, preferred_element_type=jnp.float32)
        return (mixed / total).astype(v.dtype)

    mixed = jax.lax.map(attend, (grouped(scaled), grouped(key), grouped(value), hidden))
    return mixed.reshape(batch, heads, frames, width).transpose(0, 2, 1, 3)


def score_bytes() -> int:
    """How much of the attention scores exists at once: what a CPU caches; elsewhere, what keeps a large chip busy."""
    return (8 if jax.default_backend() == "cpu" else 256) << 20


def _group(pairs: int, size: int) -> int:
    """The largest divisor of `pairs` that keeps a group of that many within `score_bytes`."""
    most = max(score_bytes() // size, 1)
    return max(n for n in range(1, min(most, pairs) + 1) if pairs % n == 0)


def mean_and_deviation(u: Array, mask: Array, epsilon: float = _EPSILON) -> Array:
    """Mean and standard deviation over valid frames, side by side (equation 6).

    Args:
      u: [B, T, F] float32.
      mask: [B, T] bool; an utterance without valid frames has mean 0.
      epsilon: what keeps the deviation's gradient finite where nothing varies.

    Returns:
      [B, 2 F]; the deviation is the population's, sqrt(variance + epsilon).
    """
    there = mask[..., None]
    count = jnp.maximum(jnp.sum(mask, 1), 1)[:, None].astype(u.dtype)
    mean = jnp.sum(jnp.where(there, u, 0), 1) / count
    variance = jnp.sum(jnp.where(there, jnp.square(u - mean[:, None]), 0), 1) / count
    return jnp.concatenate([mean, jnp.sqrt(variance + epsilon)], -1)


def dropout(y: Array, rate: float, keys: Array) -> Array:
    """Sets a share `rate` of each row of [B, D] to 0 and scales the rest by 1 / (1 - rate); one key a row."""
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, y.shape[1:]))(keys)
    return jnp.where(kept, y / (1 - rate), 0)
