"""Strided convolutions over time whose kernels are twice their stride, as matrix products."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


def strided_conv(x: Array, kernel: Array) -> Array:
    """VALID convolution (correlation, as in every network), stride `width / 2`: [B, n stride, C] -> [B, n - 1, D].

    Cut into n blocks of `stride` frames, output t needs blocks t and t + 1 only. Where a block is wide, all blocks
    are multiplied by both halves of the kernel at once, and the two results are added one block apart. Where it is
    narrow (the waveform), neighbouring blocks are put side by side first. Either way the layer is one matrix product,
    and the smaller of its sides is what is stored twice.

    Args:
      x: [B, n stride, C] with n >= 2.
      kernel: [width, C, D], width = 2 stride.
    """
    width, channels, features = kernel.shape
    stride = width // 2
    blocks = x.reshape(x.shape[0], -1, stride * channels)
    if stride * channels < features:
        return jnp.concatenate([blocks[:, :-1], blocks[:, 1:]], -1) @ kernel.reshape(-1, features)
    halves = jnp.concatenate([kernel[:stride].reshape(-1, features), kernel[stride:].reshape(-1, features)], 1)
    products = blocks @ halves
    return products[:, :-1, :features] + products[:, 1:, features:]


class StridedConv(nn.Module):
    """VALID convolution, kernel twice the stride, perhaps LayerNorm over the channels, then ReLU.

    Kernels are drawn for ReLU (He et al. 2015: variance 2 / (width C)), biases are 0.

    Attributes:
      stride: frames of input per frame of output.
      features: D.
      norm: "none", or "channel": each frame normalised over its channels, with scale and bias.
      dtype: of the computation.
    """

    stride: int
    features: int
    norm: str
    dtype: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[B, n stride, C] -> [B, n - 1, D]."""
        kernel = self.param("kernel", nn.initializers.he_normal(), (2 * self.stride, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = strided_conv(x.astype(self.dtype), kernel.astype(self.dtype)) + bias.astype(self.dtype)[None, None]
        if self.norm == "channel":
            y = nn.LayerNorm(dtype=self.dtype)(y)
        return jax.nn.relu(y)
