"""Speech configurations: what is read, what is refused, and how large the named networks are."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercl_jax.errors import UserError
from sercl_jax.models.speech_config import NAMED, SpeechConfig, frames_of
from sercl_jax.models.speech_encoder import SpeechEncoder

# Counted in transformers 5.23, less one weight-norm magnitude per tap of the positional convolution, which is folded.
COUNTS = {"wavlm-base": 94_381_936 - 128, "wavlm-base-plus": 94_381_936 - 128, "wavlm-large": 315_453_120 - 128,
          "hubert-base": 94_371_712 - 128, "hubert-large": 315_438_720 - 128, "wav2vec2-base": 94_371_712 - 128,
          "wav2vec2-large": 315_428_992 - 128, "tiny": 27_656 - 16}


@pytest.mark.parametrize("name", NAMED)
def test_named_networks_have_as_many_parameters_as_in_transformers(name: str) -> None:
    shapes = jax.eval_shape(SpeechEncoder(NAMED[name]).init, jax.random.key(0), jnp.zeros((1, 800)),
                            jnp.ones((1, 800), bool))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == COUNTS[name]


@pytest.mark.parametrize("name", NAMED)
def test_config_json_round_trip(name: str) -> None:
    config = NAMED[name]
    assert SpeechConfig.from_dict(config.to_dict(), {"do_normalize": config.normalise}) == config
    assert SpeechConfig.from_dict(config.to_dict()).normalise
    assert hash(config) == hash(dataclasses.replace(config))


def test_absent_keys_have_the_defaults_of_transformers() -> None:
    config = SpeechConfig.from_dict({"model_type": "hubert", "vocab_size": 32, "hidden_dropout": 0}, None)
    assert config == SpeechConfig(model_type="hubert", hidden_dropout=0.0)
    assert isinstance(config.hidden_dropout, float)


@pytest.mark.parametrize(("change", "told"), [
    ({"model_type": "bert"}, "model_type is 'bert'"),
    ({"add_adapter": True}, "add_adapter is True"),
    ({"adapter_attn_dim": 16}, "adapter_attn_dim is 16"),
    ({"conv_pos_batch_norm": True}, "conv_pos_batch_norm is True"),
    ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'"),
    ({"feat_extract_norm": "batch"}, "feat_extract_norm is 'batch'"),
    ({"hidden_size": "768"}, "hidden_size is '768'"),
    ({"hidden_size": True}, "hidden_size is True"),
    ({"hidden_size": 33}, "hidden_size 33 is not a multiple of num_attention_heads 4"),
    ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
    ({"conv_dim": [16, 0, 16]}, "conv_dim is"),
    ({"conv_dim": [16, 16]}, "have 2, 3 and 3 entries"),
    ({"layerdrop": 1.0}, "layerdrop is 1.0"),
    ({"do_stable_layer_norm": 1}, "do_stable_layer_norm is 1"),
    ({"num_buckets": 2}, "num_buckets 2"),
    ({"max_bucket_distance": 8}, "max_bucket_distance 8"),
    ({"feat_proj_layer_norm": False}, "feat_proj_layer_norm is false"),
])
def test_what_can_not_be_built_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        SpeechConfig.from_dict(NAMED["tiny"].to_dict() | change)


def test_a_config_without_model_type_and_another_sampling_rate_are_refused() -> None:
    with pytest.raises(UserError, match="no model_type"):
        SpeechConfig.from_dict({"hidden_size": 768})
    with pytest.raises(UserError, match="sampling_rate is 8000"):
        SpeechConfig.from_dict({"model_type": "wavlm"}, {"sampling_rate": 8000})
    with pytest.raises(UserError, match="do_normalize is 'no'"):
        SpeechConfig.from_dict({"model_type": "wavlm"}, {"do_normalize": "no"})


@given(st.sampled_from(sorted(NAMED)), st.integers(0, 40_000))
def test_frames_are_the_windows_that_fit(name: str, samples: int) -> None:
    config = NAMED[name]
    frames = samples
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        frames = len(range(0, frames - kernel + 1, stride))
    assert frames_of(config, samples) == frames
    assert np.array_equal(frames_of(config, np.array([samples, 0])), [frames, 0])
