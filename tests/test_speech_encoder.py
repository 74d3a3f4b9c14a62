"""The speech encoder: utterances alone and padded, gradients, and what training draws.

Agreement with transformers is tested on committed references, elsewhere.
"""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax.models.speech_activations import gelu
from sercl_jax.models.speech_attend import FAR_BELOW, attend
from sercl_jax.models.speech_config import NAMED, SpeechConfig, frames_of
from sercl_jax.models.speech_dropout import draw_spans, dropout
from sercl_jax.models.speech_encoder import SpeechEncoder, SpeechOutput
from sercl_jax.models.speech_features import normalise, strided_conv
from sercl_jax.models.speech_norm import layer_norm
from sercl_jax.types import Variables

pytestmark = pytest.mark.usefixtures("quick_compilation")

LENGTHS = (5000, 3300, 800, 0)
STILL: dict[str, Any] = {"hidden_dropout": 0.0, "activation_dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0,
                         "apply_spec_augment": False}
BASE = NAMED["tiny"]
LARGE = dataclasses.replace(BASE, model_type="hubert", feat_extract_norm="layer", do_stable_layer_norm=True,
                            conv_bias=True, num_conv_pos_embeddings=15)


@functools.cache
def drawn(config: SpeechConfig) -> Variables:
    """Parameters, none at the value that hides mistakes (biases 0, scales 1)."""
    shapes = jax.eval_shape(SpeechEncoder(config).init, jax.random.key(0), jnp.zeros((1, 800)),
                            jnp.ones((1, 800), bool))
    rng = np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        noise = rng.normal(size=leaf.shape)
        if path[-1].key == "kernel":
            noise *= np.prod(leaf.shape[:-1]) ** -0.5
        elif path[-1].key != "embedding":
            noise = 0.1 * noise + (path[-1].key in ("scale", "gru_rel_pos_const"))
        return jnp.asarray(noise, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def compiled(config: SpeechConfig, dtype: str) -> Any:
    return jax.jit(SpeechEncoder(config, dtype).apply)


def speech() -> tuple[jax.Array, jax.Array]:
    """Noise with an offset, and its mask; NaN at padding."""
    rng = np.random.default_rng(1)
    waveform = np.full((len(LENGTHS), LENGTHS[0]), np.nan, np.float32)
    for row, length in enumerate(LENGTHS):
        waveform[row, :length] = 0.1 * rng.normal(size=length) + 0.05
    return jnp.asarray(waveform), jnp.arange(LENGTHS[0])[None] < jnp.asarray(LENGTHS)[:, None]


def encode(config: SpeechConfig, waveform: jax.Array, mask: jax.Array, *, dtype: str = "float32",
           **keys: jax.Array | None) -> SpeechOutput:
    output: SpeechOutput = compiled(config, dtype)(drawn(config), waveform, mask, **keys)
    return output


@pytest.mark.parametrize("config", [BASE, LARGE])
def test_each_utterance_of_a_padded_batch_is_encoded_as_if_alone(config: SpeechConfig) -> None:
    waveform, mask = speech()
    output = encode(config, waveform, mask)
    frames = [frames_of(config, length) for length in LENGTHS]
    assert output.mask.sum(1).tolist() == frames
    assert len(output.hidden_states) == config.num_hidden_layers + 1
    states = [*output.hidden_states, output.last_hidden_state]
    assert all(state.shape == (4, frames[0], 32) and bool(jnp.isfinite(state).all()) for state in states)
    for row, length in enumerate(LENGTHS[1:3], 1):
        alone = encode(config, waveform[row:row + 1, :length], mask[row:row + 1, :length])
        for ours, one in zip(states, [*alone.hidden_states, alone.last_hidden_state], strict=True):
            np.testing.assert_allclose(ours[row, :frames[row]], one[0], atol=2e-5)


def test_last_state_is_the_last_layer_or_that_normalised() -> None:
    waveform, mask = speech()
    base = encode(BASE, waveform, mask)
    np.testing.assert_array_equal(base.last_hidden_state, base.hidden_states[-1])
    large = encode(LARGE, waveform, mask)
    norm = drawn(LARGE)["params"]["encoder"]["layer_norm"]
    np.testing.assert_allclose(large.last_hidden_state,
                               layer_norm(large.hidden_states[-1], norm["scale"], norm["bias"], 1e-5), atol=1e-5)


def test_features_need_no_other_parameters_and_feed_the_rest() -> None:
    waveform, mask = speech()
    params = drawn(BASE)["params"]
    frozen = {name: params[name] for name in ("feature_extractor", "feature_projection")}
    rest = {name: params[name] for name in params if name not in frozen}
    encoder = SpeechEncoder(BASE)
    features: Any = jax.jit(functools.partial(encoder.apply, method="features"))({"params": frozen}, waveform, mask)
    output: Any = jax.jit(functools.partial(encoder.apply, method="contextualise"))({"params": rest}, *features)
    np.testing.assert_allclose(output.last_hidden_state, encode(BASE, waveform, mask).last_hidden_state, atol=1e-5)


def test_normalised_waveform_has_zero_mean_and_unit_variance() -> None:
    waveform, mask = speech()
    unit = normalise(jnp.where(mask, waveform, 7.0), mask)
    for row, length in enumerate(LENGTHS):
        valid = np.asarray(waveform[row, :length], np.float64)
        if length:
            np.testing.assert_allclose(unit[row, :length], (valid - valid.mean()) / np.sqrt(valid.var() + 1e-7),
                                       atol=1e-5)
        assert not unit[row, length:].any()


@pytest.mark.parametrize(("width", "stride", "channels", "features"), [(10, 5, 1, 8), (3, 2, 8, 8), (2, 2, 8, 4),
                                                                       (7, 3, 2, 5), (5, 3, 6, 5), (1, 2, 3, 3)])
def test_strided_convolution_is_the_plain_one(width: int, stride: int, channels: int, features: int) -> None:
    rng = np.random.default_rng(width)
    kernel = jnp.asarray(rng.normal(size=(width, channels, features)), jnp.float32)
    for length in range(width, width + 2 * stride + 1):
        x = jnp.asarray(rng.normal(size=(2, length, channels)), jnp.float32)
        plain = jax.lax.conv_general_dilated(x, kernel, (stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))
        np.testing.assert_allclose(strided_conv(x, kernel, stride), plain, atol=1e-5)


def plain_attention(q: jax.Array, k: jax.Array, v: jax.Array, gate: jax.Array | None, bias: jax.Array | None,
                    mask: jax.Array, factor: jax.Array | None) -> jax.Array:
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k)
    if gate is not None and bias is not None:
        scores = scores + gate[..., None] * bias[None]
    weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores, FAR_BELOW))
    return jnp.einsum("bhqk,bkhd->bqhd", weights if factor is None else weights * factor, v)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("dropped", [True, False])
def test_attention_and_its_gradient_are_the_derived_ones(biased: bool, dropped: bool) -> None:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    q, k, v, slope = (draw(3, 7, 2, 4) for _ in range(4))
    gate, bias = (draw(3, 2, 7), draw(2, 7, 7)) if biased else (None, None)
    factor = jnp.abs(draw(3, 2, 7, 7)) if dropped else None
    mask = jnp.arange(7)[None] < jnp.array([7, 4, 0])[:, None]
    y, back = jax.vjp(lambda *x: attend(*x, mask, factor), q, k, v, gate, bias)
    wanted, wanted_back = jax.vjp(functools.partial(plain_attention, mask=mask, factor=factor), q, k, v, gate, bias)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    # Where every key is padding the scores are a constant; what flows to the bias from there differs, and is unused.
    slope = slope.at[2].set(0)
    for ours, theirs in zip(jax.tree.leaves(back(slope)), jax.tree.leaves(wanted_back(slope)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_gelu_and_layer_norm_have_the_derived_gradients() -> None:
    rng = np.random.default_rng(0)
    x, slope, scale, bias = (jnp.asarray(rng.normal(size=shape) * 2, jnp.float32)
                             for shape in ((5, 6, 8), (5, 6, 8), (8,), (8,)))

    def plain_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
        unit = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3)
        return unit * scale[None, None] + bias[None, None]

    for ours, theirs, args in ((gelu, lambda x: jax.nn.gelu(x, approximate=False), (x,)),
                               (lambda *a: layer_norm(*a, 1e-3), plain_norm, (x, scale, bias))):
        y, back = jax.vjp(ours, *args)
        wanted, wanted_back = jax.vjp(theirs, *args)
        np.testing.assert_allclose(y, wanted, atol=1e-5)
        for one, other in zip(back(slope), wanted_back(slope), strict=True):
            np.testing.assert_allclose(one, other, atol=3e-5)


@pytest.mark.parametrize(("config", "remats"), [(BASE, (False, True)), (LARGE, (True,))])
def test_gradients_are_finite_with_empty_utterances_and_the_same_recomputed(config: SpeechConfig,
                                                                            remats: tuple[bool, ...]) -> None:
    waveform, mask = speech()
    config = dataclasses.replace(config, layerdrop=0.5)
    keys = jax.random.split(jax.random.key(3), 4)
    gradients = []
    for remat in remats:
        encoder = SpeechEncoder(config, remat=remat)

        def loss(variables: Variables, encoder: SpeechEncoder = encoder) -> jax.Array:
            output: Any = encoder.apply(variables, waveform, mask, keys=keys, step_key=jax.random.key(4))
            return jnp.sum(jnp.where(output.mask[..., None], output.last_hidden_state, 0) ** 3)

        gradients.append(jax.jit(jax.grad(loss))(drawn(config)))
    for one, other in zip(jax.tree.leaves(gradients[0]), jax.tree.leaves(gradients[-1]), strict=True):
        assert jnp.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * float(jnp.abs(one).max()) + 1e-6)


@pytest.mark.parametrize("config", [BASE, LARGE])
def test_bfloat16_is_near_float32(config: SpeechConfig) -> None:
    waveform, mask = speech()
    exact = encode(config, waveform, mask)
    near = encode(config, waveform, mask, dtype="bfloat16")
    assert near.last_hidden_state.dtype == jnp.bfloat16
    for ours, wanted in zip(near.hidden_states, exact.hidden_states, strict=True):
        off = jnp.where(exact.mask[..., None], ours.astype(jnp.float32) - wanted, 0)
        assert jnp.linalg.norm(off) < 0.03 * jnp.linalg.norm(jnp.where(exact.mask[..., None], wanted, 0))


def test_dropout_rate_scale_and_keys() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    ones = jnp.ones((3, 400, 100))
    dropped = dropout(ones, 0.1, keys, 5)
    np.testing.assert_allclose((dropped == 0).mean((1, 2)), 0.1, atol=0.006)
    np.testing.assert_allclose(dropped[dropped > 0], 1 / 0.9, rtol=1e-4)
    np.testing.assert_array_equal(dropout(ones[1:], 0.1, keys[1:], 5), dropped[1:])
    assert (dropout(ones, 0.1, keys, 6) != dropped).mean() > 0.15
    assert (dropped[0] != dropped[1]).mean() > 0.15
    assert dropout(ones, 0.1, None, 5) is ones
    assert dropout(ones, 0.0, keys, 5) is ones


def test_spans_number_place_and_rounding() -> None:
    keys = jax.random.split(jax.random.key(0), 2000)
    lengths = jnp.full(2000, 50)
    # 0.33 x 50 / 3 = 5.5: five or six starts, half of the time each; disjoint ones cover 15 or 18 frames.
    spans = draw_spans(keys, lengths, 60, probability=0.33, span=3, least=1)
    assert not spans[:, 50:].any()
    assert spans.sum(1).max() == 18
    assert spans[:, 0].any()
    assert spans[:, 49].any()
    single = draw_spans(keys, lengths, 60, probability=0.11, span=1, least=0).sum(1)
    assert set(np.unique(single).tolist()) == {5, 6}
    np.testing.assert_allclose(single.mean(), 5.5, atol=0.04)
    starts = draw_spans(keys, lengths, 60, probability=0.11, span=1, least=0).mean(0)
    np.testing.assert_allclose(starts[:50], 0.11, atol=0.03)


@pytest.mark.parametrize(("length", "span", "least", "count"), [(20, 1, 7, 7), (9, 10, 2, 0), (0, 10, 2, 0),
                                                                (10, 10, 2, 10), (11, 10, 2, 10), (4, 1, 9, 4)])
def test_spans_at_least_and_never_more_than_fit(length: int, span: int, least: int, count: int) -> None:
    keys = jax.random.split(jax.random.key(1), 50)
    spans = draw_spans(keys, jnp.full(50, length), 20, probability=0.01, span=span, least=least)
    assert (spans.sum(1) == count).all()
    assert not spans[:, length:].any()


def test_masked_spans_hold_the_embedding_and_masked_features_zero() -> None:
    config = dataclasses.replace(BASE, **STILL | {"apply_spec_augment": True}, mask_time_prob=0.3, mask_time_length=2,
                                 mask_feature_prob=0.2, mask_feature_length=3)
    keys = jax.random.split(jax.random.key(0), 3)
    hidden = jax.random.normal(jax.random.key(1), (3, 30, 32)) + 10
    mask = jnp.arange(30)[None] < jnp.array([30, 20, 1])[:, None]
    masked: Any = SpeechEncoder(config).apply(drawn(config), hidden, mask, keys, method="augment")
    embedding = drawn(config)["params"]["masked_spec_embed"]
    zeroed = (masked == 0).all(1)
    assert zeroed.sum(1).tolist() != [0, 0, 0]
    time = ((masked == embedding[None, None]) | zeroed[:, None]).all(-1)
    assert time.any(1).tolist() == [True, True, False]
    assert not (time & ~mask).any()
    assert jnp.all(time[..., None] | zeroed[:, None] | (masked == hidden))
    alone: Any = SpeechEncoder(config).apply(drawn(config), hidden[1:2], mask[1:2], keys[1:2], method="augment")
    np.testing.assert_array_equal(alone[0], masked[1])


def test_draws_follow_the_keys_of_the_utterances() -> None:
    waveform, mask = speech()
    keys = jax.random.split(jax.random.key(0), 4)
    first = encode(BASE, waveform, mask, keys=keys)
    flipped = encode(BASE, waveform[::-1], mask[::-1], keys=keys[::-1])
    valid = first.mask[..., None]
    np.testing.assert_allclose(jnp.where(valid, flipped.last_hidden_state[::-1], 0),
                               jnp.where(valid, first.last_hidden_state, 0), atol=2e-5)
    again = encode(BASE, waveform, mask, keys=jax.random.split(jax.random.key(1), 4))
    assert jnp.abs(again.last_hidden_state - first.last_hidden_state)[0].mean() > 0.1
    without = encode(dataclasses.replace(BASE, **STILL), waveform, mask, keys=keys)
    np.testing.assert_allclose(without.last_hidden_state, encode(BASE, waveform, mask).last_hidden_state, atol=1e-5)


@pytest.mark.parametrize("model_type", ["wavlm", "hubert"])
def test_layer_drop_skips_whole_layers_at_its_rate(model_type: str) -> None:
    config = dataclasses.replace(BASE, **STILL | {"layerdrop": 0.4}, model_type=model_type, num_hidden_layers=3)
    hidden = jax.random.normal(jax.random.key(1), (2, 6, 32))
    mask = jnp.ones((2, 6), bool)
    encoder = SpeechEncoder(config)

    @jax.jit
    def skipped(key: jax.Array) -> jax.Array:
        output: Any = encoder.apply(drawn(config), hidden, mask, step_key=key, method="contextualise")
        states = output.hidden_states
        return jnp.stack([jnp.allclose(a, b, atol=1e-6) for a, b in itertools.pairwise(states)])

    counts = np.mean([skipped(key) for key in jax.random.split(jax.random.key(2), 200)], 0)
    wanted = [0.0 if model_type == "wavlm" else 0.4, 0.4, 0.4]
    np.testing.assert_allclose(counts, wanted, atol=0.12)
    np.testing.assert_array_equal(skipped(jax.random.key(9)), skipped(jax.random.key(9)))
