"""Self-attention of speech encoders: plain, or with WavLM's gated relative position bias."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from sercl_jax.models.positional import relative_bias
from sercl_jax.models.speech_config import SpeechConfig
from sercl_jax.models.speech_dropout import dropout

FAR_BELOW = -1e9  # exp of it is 0 in float32; an infinity would make NaN where all keys are padding

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
        dense = {"dtype": self.dtype, "kernel_init": DRAWN}
        self.q_proj = nn.Dense(c.hidden_size, **dense)
        self.k_proj = nn.Dense(c.hidden_size, **dense)
        self.v_proj = nn.Dense(c.hidden_size, **dense)
        self.out_proj = nn.Dense(c.hidden_size, **dense)
        if c.model_type == "wavlm":
            self.gru_rel_pos_linear = nn.Dense(8, **dense)
            self.gru_rel_pos_const = self.param("gru_rel_pos_const", nn.initializers.ones,
                                                (1, c.num_attention_heads, 1, 1))
            if self.first:
                self.rel_attn_embed = Embedding(c.num_buckets, c.num_attention_heads)

    def position_bias(self, length: int) -> Array:
        """[H, T, T] float32; of the first layer."""
        return relative_bias(self.rel_attn_embed(), length, self.config.max_bucket_distance)

    def gates(self, h: Array) -> Array:
        """[B, T, H, d] -> [B, H, T, 1] float32."""
        raw = self.gru_rel_pos_linear(h).astype(jnp.float32)
        sums = jnp.sum(raw.reshape(*raw.shape[:-1], 2, 4), -1)
        update, reset = jnp.moveaxis(nn.sigmoid(sums), 1, 2)[..., None, :].transpose(4, 0, 1, 2, 3)
        return update * (reset * self.gru_rel_pos_const - 1) + 2

    def __call__(self, h: Array, mask: Array, bias: Array | None, keys: Array | None, site: int) -> Array:
        """[B T, D], [B, T] bool, [H, T, T] or None, keys of dropout -> [B T, D]."""
        c = self.config
        batch, length = mask.shape
        width = c.hidden_size // c.num_attention_heads

        def split(x: Array) -> Array:
            return x.reshape(batch, length, c.num_attention_heads, width)

        scores = jnp.einsum("bqhd,bkhd->bhqk", split(self.q_proj(h) * width ** -0.5), split(self.k_proj(h)),
                            preferred_element_type=jnp.float32)
        if bias is not None:
            scores = scores + self.gates(split(h)) * bias[None]
        scores = jnp.where(mask[:, None, None], scores, FAR_BELOW)
        weights = jax.nn.softmax(scores).astype(self.dtype)
        weights = dropout(weights, c.attention_dropout, keys, site)
        values = jnp.einsum("bhqk,bkhd->bqhd", weights, split(self.v_proj(h)))
        return self.out_proj(values.reshape(h.shape))
