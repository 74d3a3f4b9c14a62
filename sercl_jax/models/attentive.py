"""Pooling of a speech encoder's frames by attention, and the classifier on top (Xiang's cross-corpus SupCon, 3.1)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


class AttentivePooling(nn.Module):
    """C = softmax(W_c H') H over the valid frames (equation 1): one trained vector W_c, no bias."""

    @nn.compact
    def __call__(self, h: Array, mask: Array) -> Array:
        """Pools frames to one vector an utterance, in float32.

        Args:
          h: [B, T, D] frames of any float type; what stands at padding does not matter.
          mask: [B, T] bool, the valid frames. An utterance without any pools to 0, with gradient 0.

        Returns:
          [B, D] float32.
        """
        width = h.shape[-1]
        vector = self.param("vector", nn.initializers.normal(width ** -0.5), (width,))
        h = jnp.where(mask[..., None], h.astype(jnp.float32), 0.0)
        scores = jnp.where(mask, h @ vector, -jnp.inf)
        shift = jnp.where(jnp.any(mask, 1), jnp.max(scores, 1), 0.0)
        share = jnp.exp(scores - jax.lax.stop_gradient(shift)[:, None])
        total = jnp.sum(share, 1, keepdims=True)
        return jnp.einsum("bt,btd->bd", share, h) / jnp.where(total > 0, total, 1.0)


class Classifier(nn.Module):
    """Two dense layers with ReLU between them: pooled vectors [B, D] -> logits [B, classes] float32."""

    classes: int
    hidden: int = 256

    @nn.compact
    def __call__(self, pooled: Array) -> Array:
        hidden = nn.relu(nn.Dense(self.hidden, name="dense")(pooled.astype(jnp.float32)))
        return nn.Dense(self.classes, name="logits")(hidden)
