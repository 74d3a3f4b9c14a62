"""What decides a WavLM, HuBERT or wav2vec 2.0 encoder, as HuggingFace's config.json says it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from sercl_jax.errors import UserError

ARCHITECTURES = {"wavlm": "WavLMModel", "hubert": "HubertModel", "wav2vec2": "Wav2Vec2Model"}
# Options of transformers that change the network and are not built here, with the values that leave them off.
OFF: Mapping[str, tuple[Any, ...]] = {"add_adapter": (False,), "adapter_attn_dim": (None,),
                                      "conv_pos_batch_norm": (False,)}
RATES = ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop",
         "mask_time_prob", "mask_feature_prob")

Count = TypeVar("Count", int, np.ndarray, Any)


@dataclass(frozen=True)
class SpeechConfig:
    """Names, meanings and defaults are those of transformers' WavLMConfig, HubertConfig and Wav2Vec2Config.

    Attributes:
      model_type: "wavlm" has the gated relative position bias; "hubert" and "wav2vec2" are one network.
      feat_extract_norm: "group", each channel normalised over time after the first convolution; "layer", each frame
        over its channels after every convolution.
      feat_proj_layer_norm: LayerNorm before the feature projection; only "hubert" can be without.
      do_stable_layer_norm: LayerNorm before attention and feed-forward (large models), not after.
      num_buckets, max_bucket_distance: of "wavlm" only.
      normalise: the waveform is brought to zero mean and unit variance first ("do_normalize" of
        preprocessor_config.json).
    """

    model_type: str = "wavlm"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_bias: bool = False
    feat_extract_norm: str = "group"
    feat_extract_activation: str = "gelu"
    feat_proj_layer_norm: bool = True
    do_stable_layer_norm: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    num_buckets: int = 320
    max_bucket_distance: int = 800
    layer_norm_eps: float = 1e-5
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    feat_proj_dropout: float = 0.0
    layerdrop: float = 0.1
    apply_spec_augment: bool = True
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0
    normalise: bool = True

    def __post_init__(self) -> None:
        for name, known in (("model_type", tuple(ARCHITECTURES)), ("feat_extract_norm", ("group", "layer")),
                            ("hidden_act", ("gelu", "relu")), ("feat_extract_activation", ("gelu", "relu"))):
            if getattr(self, name) not in known:
                raise UserError(f"speech encoder: {name} is {getattr(self, name)!r}; known: {', '.join(known)}")
        for name in RATES:
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"speech encoder: {name} is {getattr(self, name)!r}; must be at least 0 and below 1")
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                     "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "mask_time_length",
                     "mask_feature_length"):
            if not getattr(self, name) >= 1:
                raise UserError(f"speech encoder: {name} is {getattr(self, name)!r}; must be at least 1")
        if not len(self.conv_dim) == len(self.conv_stride) == len(self.conv_kernel) > 0:
            raise UserError(f"speech encoder: conv_dim, conv_stride and conv_kernel have {len(self.conv_dim)}, "
                            f"{len(self.conv_stride)} and {len(self.conv_kernel)} entries; must be equally many")
        for name in ("num_attention_heads", "num_conv_pos_embedding_groups"):
            if self.hidden_size % getattr(self, name):
                raise UserError(f"speech encoder: hidden_size {self.hidden_size} is not a multiple of {name} "
                                f"{getattr(self, name)}")
        if not self.feat_proj_layer_norm and self.model_type != "hubert":
            raise UserError(f"speech encoder: feat_proj_layer_norm is false, which {self.model_type} can't be")
        if self.model_type == "wavlm" and not (self.num_buckets >= 4 and
                                               self.max_bucket_distance > self.num_buckets // 4):
            raise UserError(f"speech encoder: num_buckets {self.num_buckets}, max_bucket_distance "
                            f"{self.max_bucket_distance}; must be at least 4, and above a fourth of num_buckets")

    @property
    def masks(self) -> bool:
        """Whether there is a masked_spec_embed."""
        return self.mask_time_prob > 0 or self.mask_feature_prob > 0

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None = None) -> "SpeechConfig":
        """Reads config.json and, where there is one, preprocessor_config.json; without, the waveform is normalised.

        Keys that don't decide the network (of heads, of pre-training losses) are passed over; absent ones have
        transformers' defaults.

        Raises:
          UserError: for another model_type, a value of the wrong type, or an option that is not built here.
        """
        if "model_type" not in config:
            raise UserError("config.json: no model_type; a WavLM, HuBERT or wav2vec 2.0 model from transformers "
                            "is needed")
        for key, values in OFF.items():
            if key in config and config[key] not in values:
                raise UserError(f"config.json: {key} is {config[key]!r}, which is not supported; use a model "
                                f"with {key} {values[0]!r}")
        taken = {field.name: _typed(field.name, config[field.name], field.default)
                 for field in dataclasses.fields(cls) if field.name in config and field.name != "normalise"}
        if preprocessor is not None and "do_normalize" in preprocessor:
            taken["normalise"] = _typed("do_normalize", preprocessor["do_normalize"], True)
        if preprocessor is not None and "sampling_rate" in preprocessor and preprocessor["sampling_rate"] != 16000:
            raise UserError(f"preprocessor_config.json: sampling_rate is {preprocessor['sampling_rate']!r}; "
                            "must be 16000")
        return cls(**taken)

    def to_dict(self) -> dict[str, Any]:
        """A config.json that transformers loads; `normalise` belongs into preprocessor_config.json."""
        fields = dataclasses.asdict(self)
        del fields["normalise"]
        if self.model_type != "wavlm":
            del fields["num_buckets"], fields["max_bucket_distance"]
        if self.model_type != "hubert":
            del fields["feat_proj_layer_norm"]
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
        return plain | {"architectures": [ARCHITECTURES[self.model_type]],
                        "num_feat_extract_layers": len(self.conv_dim)}


def _typed(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`, or UserError; JSON's lists become tuples, its integers floats."""
    if isinstance(default, tuple):
        if isinstance(value, (list, tuple)) and all(type(x) is int and x > 0 for x in value):
            return tuple(value)
    elif isinstance(default, float):
        if type(value) in (int, float):
            return float(value)
    elif type(value) is type(default):
        return value
    wanted = "list of positive integers" if isinstance(default, tuple) else type(default).__name__
    raise UserError(f"config.json: {name} is {value!r}; must be a {wanted}")


def frames_of(config: SpeechConfig, samples: Count) -> Count:
    """Frames that the convolutions make of this many samples (an integer or an array of them); at least 0."""
    return frames_after(config, samples, len(config.conv_dim))


def frames_after(config: SpeechConfig, samples: Count, layers: int) -> Count:
    """Frames after the first `layers` convolutions; at least 0."""
    frames = samples
    for kernel, stride in zip(config.conv_kernel[:layers], config.conv_stride[:layers], strict=True):
        frames = (frames - kernel) // stride + 1
        frames = frames * (frames > 0)
    return frames


_BASE = SpeechConfig(activation_dropout=0.0, feat_proj_dropout=0.1, layerdrop=0.05, normalise=False)
_LARGE: dict[str, Any] = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
                          "intermediate_size": 4096}
_STABLE: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "normalise": True}
_HUBERT = SpeechConfig(model_type="hubert", feat_proj_dropout=0.1)
_WAV2VEC2 = SpeechConfig(model_type="wav2vec2", activation_dropout=0.0, feat_proj_dropout=0.1, layerdrop=0.0)

# The published networks by name, for random weights and for counting; a loaded model follows its own config.json.
NAMED: Mapping[str, SpeechConfig] = MappingProxyType({
    "wavlm-base": _BASE,
    "wavlm-base-plus": _BASE,
    "wavlm-large": dataclasses.replace(_BASE, **_LARGE, **_STABLE),
    "hubert-base": _HUBERT,
    "hubert-large": dataclasses.replace(_HUBERT, **_LARGE, **_STABLE, conv_bias=True),
    "wav2vec2-base": _WAV2VEC2,
    "wav2vec2-large": dataclasses.replace(_WAV2VEC2, **_LARGE),
    "tiny": SpeechConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                         conv_dim=(16, 16, 16), conv_stride=(10, 8, 4), conv_kernel=(20, 16, 4),
                         num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, num_buckets=32,
                         max_bucket_distance=100),
})
