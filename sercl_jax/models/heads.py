"""Heads on top of an encoder."""

import flax.linen as nn
from jax import Array


class ProjectionHead(nn.Module):
    """Two-layer perceptron from embeddings [B, D] to the space of the contrastive loss, [B, width] float32."""

    width: int

    @nn.compact
    def __call__(self, g: Array) -> Array:
        g = nn.relu(nn.Dense(self.width)(g))
        return nn.Dense(self.width)(g)
