"""Self-attention of speech encoders: plain, or with WavLM's gated relative position bias."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from sercl_jax.models.positional import relative_bias
from sercl_jax.models.speech_attend import attend
from sercl_jax.models.speech_config import SpeechConfig
from sercl_jax.models.speech_dropout import dropout

DRAWN = nn.initializers.normal(0.02)


class Embedding(nn.Module):
    """A table of [buckets, H]."""

    buckets: int
    heads: int

    @nn.compact
    def __call__(self) -> Array:
        return self.param("embedding", DRAWN, (self.buckets, self.heads))


class Attention(nn.Module):
    """softmax(Q K' / sqrt(d) + gate * bias) V over the valid frames.

    WavLM's bias of a query towards a key depends on their distance and is shared by all layers; each layer gates it
    by the query's frame (Chen et al. 2022, equations 2 to 4).

    Attributes:
      first: of the first layer, which holds the embedding of distances.
    """

    config: SpeechConfig
    first: bool
    dtype: str

    def setup(self) -> None:
        c = self.config
        dense = functools.partial(nn.Dense, dtype=self.dtype, kernel_init=DRAWN)
        self.q_proj = dense(c.hidden_size)
        self.k_proj = dense(c.hidden_size)
        self.v_proj = dense(c.hidden_size)
        self.out_proj = dense(c.hidden_size)
        if c.model_type == "wavlm":
            self.gru_rel_pos_linear = dense(8)
            self.gru_rel_pos_const = self.param("gru_rel_pos_const", nn.initializers.ones,
                                                (1, c.num_attention_heads, 1, 1))
            if self.first:
                self.rel_attn_embed = Embedding(c.num_buckets, c.num_attention_heads)

    def position_bias(self, length: int) -> Array:
        """[H, T, T] float32; of the first layer."""
        return relative_bias(self.rel_attn_embed(), length, self.config.max_bucket_distance)

    def gates(self, h: Array) -> Array:
        """[B, T, H, d] -> [B, H, T] float32."""
        raw = self.gru_rel_pos_linear(h).astype(jnp.float32)
        sums = jnp.sum(raw.reshape(*raw.shape[:-1], 2, 4), -1)
        update, reset = nn.sigmoid(sums).transpose(3, 0, 2, 1)
        return update * (reset * self.gru_rel_pos_const[..., 0] - 1) + 2

    def __call__(self, h: Array, mask: Array, bias: Array | None, keys: Array | None, site: int) -> Array:
        """[B T, D], [B, T] bool, [H, T, T] or None, keys of dropout -> [B T, D]."""
        c = self.config
        batch, length = mask.shape
        width = c.hidden_size // c.num_attention_heads

        def split(x: Array) -> Array:
            return x.reshape(batch, length, c.num_attention_heads, width)

        gate = None if bias is None else self.gates(split(h))
        factor = None
        if keys is not None and c.attention_dropout > 0:
            ones = jnp.ones((batch, c.num_attention_heads, length, length), self.dtype)
            factor = dropout(ones, c.attention_dropout, keys, site)
        q, k, v = self.q_proj(h) * width ** -0.5, self.k_proj(h), self.v_proj(h)
        return self.out_proj(attend(split(q), split(k), split(v), gate, bias, mask, factor).reshape(h.shape))
