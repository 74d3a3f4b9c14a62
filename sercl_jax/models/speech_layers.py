"""One Transformer layer of a speech encoder."""

import flax.linen as nn
from jax import Array

from sercl_jax.models.speech_activations import ACTIVATIONS
from sercl_jax.models.speech_attention import DRAWN, Attention
from sercl_jax.models.speech_config import SpeechConfig
from sercl_jax.models.speech_dropout import dropout
from sercl_jax.models.speech_norm import LayerNorm

SITES = 4  # places of dropout in a layer


def row_dropout(x: Array, rate: float, keys: Array | None, site: int) -> Array:
    """`dropout` of [B T, D]."""
    if keys is None:
        return x
    return dropout(x.reshape(keys.shape[0], -1, x.shape[-1]), rate, keys, site).reshape(x.shape)


class FeedForward(nn.Module):
    """Two dense layers around an activation."""

    config: SpeechConfig
    dtype: str

    @nn.compact
    def __call__(self, h: Array, keys: Array | None, site: int) -> Array:
        """[B T, D] -> [B T, D]."""
        c = self.config
        h = nn.Dense(c.intermediate_size, dtype=self.dtype, kernel_init=DRAWN, name="intermediate_dense")(h)
        h = row_dropout(ACTIVATIONS[c.hidden_act](h), c.activation_dropout, keys, site)
        h = nn.Dense(c.hidden_size, dtype=self.dtype, kernel_init=DRAWN, name="output_dense")(h)
        return row_dropout(h, c.hidden_dropout, keys, site + 1)


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each added to its input; normalised after (base models) or before (large ones)."""

    config: SpeechConfig
    number: int
    dtype: str

    def setup(self) -> None:
        c = self.config
        self.attention = Attention(c, self.number == 0, self.dtype)
        self.layer_norm = LayerNorm(c.layer_norm_eps)
        self.feed_forward = FeedForward(c, self.dtype)
        self.final_layer_norm = LayerNorm(c.layer_norm_eps)

    def position_bias(self, length: int) -> Array:
        """[H, T, T] float32, for all layers; of the first one."""
        return self.attention.position_bias(length)

    def __call__(self, h: Array, mask: Array, bias: Array | None, keys: Array | None) -> Array:
        """[B T, D], [B, T] bool, [H, T, T] or None, [B] keys or None -> [B T, D]."""
        site = 2 + SITES * self.number
        stable = self.config.do_stable_layer_norm
        attended = self.attention(self.layer_norm(h) if stable else h, mask, bias, keys, site)
        h = h + row_dropout(attended, self.config.hidden_dropout, keys, site + 1)
        if stable:
            return h + self.feed_forward(self.final_layer_norm(h), keys, site + 2)
        h = self.layer_norm(h)
        return self.final_layer_norm(h + self.feed_forward(h, keys, site + 2))
