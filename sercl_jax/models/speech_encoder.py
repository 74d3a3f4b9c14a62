"""WavLM, HuBERT and wav2vec 2.0: waveform to the hidden states of all layers.

Each utterance of a padded batch gives what transformers' models give for it alone, in eval mode; training draws
dropout, SpecAugment and layer drop from explicit keys. Parameters have the names of transformers' state dicts
(`pretrained`).
"""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from sercl_jax.models.positional import PositionalConv
from sercl_jax.models.speech_config import SpeechConfig
from sercl_jax.models.speech_dropout import draw_spans, dropout
from sercl_jax.models.speech_features import FeatureExtractor, FeatureProjection
from sercl_jax.models.speech_layers import EncoderLayer
from sercl_jax.models.speech_norm import LayerNorm

# Sites of the draws that belong to an utterance; the layers use those from 2 on.
PROJECTION, INPUT, TIME, FEATURE = 0, 1, 2 ** 31 - 1, 2 ** 31 - 2


@flax.struct.dataclass
class SpeechOutput:
    """What a speech encoder gives. What stands at padding is finite and means nothing.

    Attributes:
      last_hidden_state: [B, T, D]; normalised once more where config.do_stable_layer_norm.
      hidden_states: L + 1 times [B, T, D]: the input of the first layer, then the output of each.
      mask: [B, T] bool.
    """

    last_hidden_state: Array
    hidden_states: tuple[Array, ...]
    mask: Array


class Encoder(nn.Module):
    """Positional convolution and Transformer layers."""

    config: SpeechConfig
    dtype: str
    remat: bool

    def setup(self) -> None:
        c = self.config
        layer = nn.remat(EncoderLayer) if self.remat else EncoderLayer
        self.pos_conv_embed = PositionalConv(c.num_conv_pos_embeddings, c.num_conv_pos_embedding_groups,
                                             c.feat_extract_activation)
        self.layer_norm = LayerNorm(c.layer_norm_eps)
        self.layers = [layer(c, number, self.dtype) for number in range(c.num_hidden_layers)]

    def __call__(self, hidden: Array, mask: Array, keys: Array | None, step_key: Array | None) -> SpeechOutput:
        """[B, T, D] after projection and masking, [B, T] bool -> all hidden states."""
        c = self.config
        h = jnp.where(mask[..., None], hidden, 0).astype(self.dtype)
        h = h + self.pos_conv_embed(h)
        if not c.do_stable_layer_norm:
            h = self.layer_norm(h)
        h = dropout(h, c.hidden_dropout, keys, INPUT)
        bias = self.layers[0].position_bias(mask.shape[1]) if c.model_type == "wavlm" else None
        h = h.reshape(-1, c.hidden_size)
        states = [h]
        for number, layer in enumerate(self.layers):
            # WavLM never skips the first layer.
            if step_key is None or c.layerdrop == 0 or (number == 0 and c.model_type == "wavlm"):
                h = layer(h, mask, bias, keys)
            else:
                kept = jax.random.uniform(jax.random.fold_in(step_key, number)) >= c.layerdrop
                h = nn.cond(kept, _run, _skip, layer, h, mask, bias, keys)
            states.append(h)
        last = self.layer_norm(h) if c.do_stable_layer_norm else h
        shaped = tuple(state.reshape(*mask.shape, -1) for state in states)
        return SpeechOutput(last.reshape(*mask.shape, -1), shaped, mask)


def _run(layer: EncoderLayer, h: Array, mask: Array, bias: Array | None, keys: Array | None) -> Array:
    return layer(h, mask, bias, keys)


def _skip(layer: EncoderLayer, h: Array, mask: Array, bias: Array | None, keys: Array | None) -> Array:
    del layer, mask, bias, keys
    return h


class SpeechEncoder(nn.Module):
    """A WavLM, HuBERT or wav2vec 2.0 encoder.

    Attributes:
      config: the network.
      dtype: of the computation, "float32" or "bfloat16"; parameters, norms and softmax are float32.
      remat: computes each Transformer layer once more in the backward pass instead of keeping what is in it.
    """

    config: SpeechConfig
    dtype: str = "float32"
    remat: bool = False

    def setup(self) -> None:
        self.feature_extractor = FeatureExtractor(self.config, self.dtype)
        self.feature_projection = FeatureProjection(self.config, self.dtype)
        self.encoder = Encoder(self.config, self.dtype, self.remat)
        # `features` must do with its own parameters alone.
        if self.config.masks and (self.is_initializing() or self.has_variable("params", "masked_spec_embed")):
            self.masked_spec_embed = self.param("masked_spec_embed", nn.initializers.uniform(1.0),
                                                (self.config.hidden_size,))

    def __call__(self, waveform: Array, mask: Array, *, keys: Array | None = None,
                 step_key: Array | None = None) -> SpeechOutput:
        """`contextualise` of `features`.

        Args:
          waveform: [B, S] float32 in -1..1, 16 kHz; what stands at padding is not looked at.
          mask: [B, S] bool, an utterance's samples before its padding. S must make at least one frame.
          keys: [B] typed keys, one per utterance, for dropout and SpecAugment; None: neither.
          step_key: a typed key, the same on all devices, for layer drop; None: none.
        """
        return self.contextualise(*self.features(waveform, mask), keys=keys, step_key=step_key)

    def features(self, waveform: Array, mask: Array) -> tuple[Array, Array]:
        """Normalised waveform, convolutions, projection: hidden [B, T, D] and its mask [B, T] bool."""
        x, frame_mask = self.feature_extractor(waveform, mask)
        return self.feature_projection(x), frame_mask

    def contextualise(self, hidden: Array, mask: Array, *, keys: Array | None = None,
                      step_key: Array | None = None) -> SpeechOutput:
        """Masks, in training, and runs the Transformer over what `features` gives."""
        if keys is not None:
            hidden = self.augment(dropout(hidden, self.config.feat_proj_dropout, keys, PROJECTION), mask, keys)
        return self.encoder(hidden, mask, keys, step_key)

    def augment(self, hidden: Array, mask: Array, keys: Array) -> Array:
        """SpecAugment: spans of frames become `masked_spec_embed`, spans of features 0; drawn for each utterance."""
        c = self.config
        if not c.apply_spec_augment:
            return hidden
        if c.mask_time_prob > 0:
            spans = draw_spans(_folded(keys, TIME), jnp.sum(mask, -1), hidden.shape[1],
                               probability=c.mask_time_prob, span=c.mask_time_length, least=c.mask_time_min_masks)
            hidden = jnp.where(spans[..., None], self.masked_spec_embed.astype(hidden.dtype)[None, None], hidden)
        if c.mask_feature_prob > 0:
            whole = jnp.full(keys.shape, c.hidden_size)
            spans = draw_spans(_folded(keys, FEATURE), whole, c.hidden_size, probability=c.mask_feature_prob,
                               span=c.mask_feature_length, least=c.mask_feature_min_masks)
            hidden = jnp.where(spans[:, None], 0, hidden)
        return hidden


def _folded(keys: Array, site: int) -> Array:
    return jax.vmap(lambda key: jax.random.fold_in(key, site))(keys)
