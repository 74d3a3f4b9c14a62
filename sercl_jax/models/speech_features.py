"""The convolutional encoder of a speech encoder: waveform to frames, each utterance as if it were alone."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from sercl_jax.models.speech_activations import ACTIVATIONS
from sercl_jax.models.speech_config import SpeechConfig, frames_after, frames_of
from sercl_jax.models.speech_norm import LayerNorm

EPSILON = 1e-5  # of the norms here; config.layer_norm_eps is that of all others
UNIT_EPSILON = 1e-7


def normalise(waveform: Array, mask: Array) -> Array:
    """Zero mean and unit variance over the valid samples, zeros elsewhere; as transformers' feature extractor."""
    count = jnp.maximum(jnp.sum(mask, -1, keepdims=True), 1)
    centred = jnp.where(mask, waveform - jnp.sum(waveform * mask, -1, keepdims=True) / count, 0)
    return centred * jax.lax.rsqrt(jnp.sum(jnp.square(centred), -1, keepdims=True) / count + UNIT_EPSILON)


def strided_conv(x: Array, kernel: Array, stride: int) -> Array:
    """VALID convolution of any stride as matrix products: [B, T, C] -> [B, (T - width) // stride + 1, D].

    Cut into blocks of `stride` frames, an output needs its block and the beginning of the next ones: each such piece
    is one matrix product. Where blocks are narrow (the waveform), the pieces are put side by side first.

    Args:
      x: [B, T, C] with T >= width.
      kernel: [width, C, D].
    """
    width, channels, features = kernel.shape
    count = (x.shape[1] - width) // stride + 1
    pieces = []
    for first in range(0, width, stride):
        taken = min(stride, width - first)
        blocks = jax.lax.slice_in_dim(x, first, first + (count - 1) * stride + taken, axis=1)
        if taken == stride:
            blocks = blocks.reshape(x.shape[0], count, stride * channels)
        elif taken == 1:
            blocks = blocks[:, ::stride]
        else:
            padded = jnp.pad(blocks, ((0, 0), (0, stride - taken), (0, 0)))
            blocks = padded.reshape(x.shape[0], count, stride, channels)[:, :, :taken].reshape(x.shape[0], count, -1)
        pieces.append((blocks, kernel[first:first + taken].reshape(-1, features)))
    if stride * channels < features:
        pieces = [(jnp.concatenate([blocks for blocks, _ in pieces], -1), kernel.reshape(-1, features))]
    return functools.reduce(jnp.add, (blocks @ part for blocks, part in pieces))


class Conv(nn.Module):
    """A VALID strided convolution, perhaps with bias; drawn for ReLU (He et al. 2015)."""

    features: int
    width: int
    stride: int
    bias: bool
    dtype: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", nn.initializers.he_normal(), (self.width, x.shape[-1], self.features))
        y = strided_conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        if not self.bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.astype(self.dtype)[None, None]


class GroupNorm(nn.Module):
    """Each channel normalised over the valid frames of its utterance, in float32 (one channel per group)."""

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """[B, T, C] and [B, T] bool -> [B, T, C] in the dtype of x."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        wide = x.astype(jnp.float32)
        count = jnp.maximum(jnp.sum(mask, 1), 1)[:, None, None]
        mean = jnp.sum(jnp.where(mask[..., None], wide, 0), 1, keepdims=True) / count
        square = jnp.sum(jnp.where(mask[..., None], jnp.square(wide - mean), 0), 1, keepdims=True) / count
        factor = jax.lax.rsqrt(square + EPSILON) * scale[None, None]
        return ((wide - mean) * factor + bias[None, None]).astype(x.dtype)


class ConvLayer(nn.Module):
    """Convolution, norm, activation."""

    config: SpeechConfig
    number: int
    dtype: str

    @nn.compact
    def __call__(self, x: Array, lengths: Array) -> Array:
        """[B, T, C] and samples [B] of the utterances -> [B, T', D]."""
        config = self.config
        x = Conv(config.conv_dim[self.number], config.conv_kernel[self.number], config.conv_stride[self.number],
                 config.conv_bias, self.dtype, name="conv")(x)
        if config.feat_extract_norm == "layer":
            x = LayerNorm(EPSILON, name="layer_norm")(x)
        elif self.number == 0:
            frames = frames_after(config, lengths, 1)
            x = GroupNorm(name="layer_norm")(x, jnp.arange(x.shape[1])[None] < frames[:, None])
        return ACTIVATIONS[config.feat_extract_activation](x)


class FeatureExtractor(nn.Module):
    """The stack of convolutions. No frame within an utterance sees a sample after its end."""

    config: SpeechConfig
    dtype: str

    @nn.compact
    def __call__(self, waveform: Array, mask: Array) -> tuple[Array, Array]:
        """[B, S] and [B, S] bool, valid samples first -> [B, T, C] in `dtype` and its mask [B, T] bool."""
        config = self.config
        waveform = jnp.where(mask, waveform, 0)
        lengths = jnp.sum(mask, -1)
        x = (normalise(waveform, mask) if config.normalise else waveform)[..., None]
        for number in range(len(config.conv_dim)):
            x = ConvLayer(config, number, self.dtype, name=f"conv_layers_{number}")(x, lengths)
        return x, jnp.arange(x.shape[1])[None] < frames_of(config, lengths)[:, None]


class FeatureProjection(nn.Module):
    """Frames to the width of the Transformer."""

    config: SpeechConfig
    dtype: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[B, T, C] -> [B, T, D]."""
        if self.config.feat_proj_layer_norm:
            x = LayerNorm(self.config.layer_norm_eps, name="layer_norm")(x)
        uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        return nn.Dense(self.config.hidden_size, dtype=self.dtype, kernel_init=uniform, name="projection")(x)
