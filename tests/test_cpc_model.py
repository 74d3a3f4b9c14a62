"""CPC's network: lengths, causality, streaming, its GRU and convolutions, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax import parallel
from sercl_jax.models.cpc import (
    HOP,
    LEFT,
    RECEPTIVE_FIELD,
    STRIDES,
    Cpc,
    CpcSettings,
    cpc_loss,
    embedder,
    identifier,
    initializer,
)
from sercl_jax.models.gru import Gru, recurrence
from sercl_jax.models.strided import strided_conv

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = {"channels": 6, "context": 5, "future": 3, "negatives": 4, "share": 4}


@functools.cache
def variables_of(settings):
    variables = initializer(settings)(jax.random.key(0), {})
    # Biases away from 0, so that tests see them.
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape)
        if "bias" in path[-1].key else leaf, variables)


@functools.cache
def applied(settings, method):
    return jax.jit(functools.partial(Cpc(settings).apply, method=method))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def a_batch(b=8, hops=9):
    rng = np.random.default_rng(0)
    return {"waveform": rng.integers(-20000, 20000, (b, hops * HOP)).astype(np.int16),
            "frames": np.array([9, 4, 7, 9, 2, 9, 1, 5], np.int32)[:b], "index": np.arange(b, dtype=np.int32) + 7,
            "valid": np.arange(b) != 3}


@pytest.mark.parametrize(("stride", "channels", "features"), [(5, 1, 6), (4, 6, 6), (2, 6, 6), (4, 3, 16)])
def test_strided_convolution_equals_lax(stride, channels, features):
    x, kernel = noise(2, 7 * stride, channels), noise(2 * stride, channels, features, seed=1)

    def reference(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))

    weights = noise(2, 6, features, seed=2)

    def slopes(convolve):
        return jax.jit(jax.grad(lambda x, k: (convolve(x, k) * weights).sum(), (0, 1)))(x, kernel)

    np.testing.assert_allclose(strided_conv(x, kernel), reference(x, kernel), atol=1e-5)
    for found, expected in zip(slopes(strided_conv), slopes(reference), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_gru_equals_a_loop_over_frames():
    x, state = noise(2, 7, 4), noise(2, 3, seed=1)
    gru = Gru(3, "float32")
    shapes = jax.eval_shape(gru.init, jax.random.key(0), x, state)["params"]
    params = {name: noise(*leaf.shape, seed=i) for i, (name, leaf) in enumerate(sorted(shapes.items()))}
    states, last = jax.jit(gru.apply)({"params": params}, x, state)
    h = state.astype(np.float64)
    for t in range(7):
        a = x[:, t] @ np.asarray(params["input_kernel"], np.float64) + params["input_bias"]
        u = h @ np.asarray(params["recurrent_kernel"], np.float64) + params["recurrent_bias"]
        r, z = sigmoid(a[:, :3] + u[:, :3]), sigmoid(a[:, 3:6] + u[:, 3:6])
        n = np.tanh(a[:, 6:] + r * u[:, 6:])
        h = (1 - z) * n + z * h
        np.testing.assert_allclose(states[:, t], h, atol=1e-5)
    np.testing.assert_allclose(last, h, atol=1e-5)


def test_gradient_of_the_gru_equals_automatic_differentiation():
    gates, kernel, bias, state = noise(9, 2, 12), noise(4, 12, seed=1), noise(12, seed=2), noise(2, 4, seed=3)
    weights = noise(9, 2, 4, seed=4)

    def plain(gates, kernel, bias, state):
        states = []
        for a in gates:
            u = state @ kernel + bias[None]
            r, z = jax.nn.sigmoid(a[:, :4] + u[:, :4]), jax.nn.sigmoid(a[:, 4:8] + u[:, 4:8])
            n = jnp.tanh(a[:, 8:] + r * u[:, 8:])
            state = (1 - z) * n + z * state
            states.append(state)
        return jnp.stack(states)

    def slopes(function):
        return jax.jit(jax.grad(lambda *a: (function(*a) * weights).sum(), (0, 1, 2, 3)))(gates, kernel, bias, state)

    for found, expected in zip(slopes(recurrence), slopes(plain), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(160, 1), (319, 1), (320, 2), (1700, 10)])
def test_one_latent_for_each_whole_hop(samples, frames):
    settings = CpcSettings(**SMALL)
    z, c = applied(settings, "__call__")(variables_of(settings), noise(1, samples))
    assert z.shape == (1, frames, 6)
    assert c.shape == (1, frames, 5)


def test_ten_seconds_give_1000_latents_of_the_published_widths():
    settings = CpcSettings()
    shapes = jax.eval_shape(initializer(settings), jax.random.key(0), {})
    z, c = jax.eval_shape(Cpc(settings).apply, shapes, jax.ShapeDtypeStruct((8, 160_000), jnp.float32))
    assert z.shape == (8, 1000, 128)
    assert c.shape == (8, 1000, 256)
    assert jax.eval_shape(functools.partial(Cpc(settings).apply, method="predict"), shapes, c).shape == (
        8, 1000, 12, 128)
    kernels = [shapes["params"][f"convolutions_{i}"]["kernel"].shape for i in range(4)]
    assert kernels == [(10, 1, 128), (8, 128, 128), (8, 128, 128), (4, 128, 128)]
    assert [kernel[0] // 2 for kernel in kernels] == list(STRIDES)
    assert np.prod(STRIDES) == HOP


def test_the_encoder_is_four_valid_convolutions_of_the_padded_waveform():
    settings = CpcSettings(**SMALL)
    variables, waveform = variables_of(settings), noise(2, 5 * HOP)
    x = np.pad(waveform, ((0, 0), (LEFT, 0)))[..., None]
    for i, stride in enumerate(STRIDES):
        layer = variables["params"][f"convolutions_{i}"]
        x = jax.lax.conv_general_dilated(x, layer["kernel"], (stride,), "VALID",
                                         dimension_numbers=("NWC", "WIO", "NWC"))
        x = np.maximum(x + layer["bias"][None, None], 0)
    np.testing.assert_allclose(applied(settings, "__call__")(variables, waveform)[0], x, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "channel"])
def test_causality_through_gradients(norm):
    """z_t sees the 425 samples to the end of its hop, c_t all samples to there: none after."""
    settings = CpcSettings(**{**SMALL, "channels": 16}, norm=norm)
    variables, waveform, t = variables_of(settings), noise(1, 8 * HOP), 5

    @jax.jit
    def slopes(waveform):
        _, pull = jax.vjp(lambda w: [x[0, t] for x in Cpc(settings).apply(variables, w)], waveform)
        # Uneven weights, as LayerNorm fixes plain sums.
        return [pull([noise(16), np.zeros(5, np.float32)]), pull([np.zeros(16, np.float32), noise(5)])]

    (of_z,), (of_c,) = slopes(waveform)
    end = HOP * (t + 1)
    seen = np.flatnonzero(of_z[0])
    assert seen.min() == end - RECEPTIVE_FIELD == HOP * t - LEFT
    assert seen.max() == end - 1
    seen = np.flatnonzero(of_c[0])
    assert seen.min() == 0
    assert seen.max() == end - 1


@pytest.mark.parametrize(("sizes", "norm"), [((1, 1, 1, 1, 1, 1), "none"), ((4, 2), "none"), ((2, 2, 2), "channel")])
def test_chunks_give_what_the_whole_gives(sizes, norm):
    settings = CpcSettings(**SMALL, norm=norm)
    variables, waveform = variables_of(settings), noise(2, 6 * HOP)
    whole = applied(settings, "__call__")(variables, waveform)
    carry, parts, start = Cpc(settings).initial_carry(2), [], 0
    for size in sizes:
        carry, part = applied(settings, "stream")(variables, carry, waveform[:, start:start + size * HOP])
        parts.append(part)
        start += size * HOP
    for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_allclose(np.concatenate(found, 1), expected, atol=1e-6)


def test_predictions_are_k_linear_maps():
    settings = CpcSettings(**SMALL)
    variables, c = variables_of(settings), noise(2, 4, 5)
    found = applied(settings, "predict")(variables, c)
    for k in range(3):
        np.testing.assert_allclose(found[:, :, k], c @ np.asarray(variables["params"]["predictors"])[k], atol=1e-5)


def test_channel_norm_touches_neither_other_frames_nor_loudness():
    settings = CpcSettings(**SMALL, norm="channel")
    variables = initializer(settings)(jax.random.key(0), {})  # biases 0, so that loudness cancels
    z, _ = applied(settings, "__call__")(variables, noise(1, 4 * HOP))
    louder, _ = applied(settings, "__call__")(variables, 100 * noise(1, 4 * HOP))
    np.testing.assert_allclose(z, louder, atol=2e-3)
    assert np.abs(z).max() > 0.1


@functools.cache
def step_of(settings, devices):
    """Loss, metrics and gradients as the training step makes them."""
    loss = cpc_loss(settings)

    def step(variables, batch, seed):
        def of(params):
            return loss({"params": params}, batch, jax.random.key(seed))

        (value, metrics), slope = jax.value_and_grad(of, has_aux=True)(variables["params"])
        return value, parallel.psum(metrics), parallel.pmean(slope)

    return parallel.map_step(step, devices=devices)


def run(settings, variables, batch, devices=1, seed=7):
    chosen = parallel.all_devices()[:devices]
    return parallel.unreplicate(step_of(settings, chosen)(
        parallel.replicate(variables, chosen), parallel.shard(batch, chosen), parallel.replicate(np.uint32(seed),
                                                                                                 chosen)))


def close(found, expected, tolerance=1e-4):
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=tolerance, atol=tolerance), found, expected)


def test_1_2_and_4_devices_give_one_loss_and_one_gradient():
    settings, batch = CpcSettings(**SMALL), a_batch()
    variables = variables_of(settings)
    one = run(settings, variables, batch)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(one[2]))
    for devices in (2, 4):
        close(run(settings, variables, batch, devices), one, 1e-5)


def test_padding_rows_change_nothing():
    settings, batch = CpcSettings(**SMALL), a_batch()
    variables = variables_of(settings)
    expected = run(settings, variables, batch)
    changed = {**batch, "waveform": batch["waveform"].copy()}
    changed["waveform"][3] = 5  # the row that isn't valid
    close(run(settings, variables, changed), expected, 0)
    value, metrics, slope = run(settings, variables, {**batch, "valid": np.zeros(8, bool)})
    assert value == metrics["identified"][1] == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope))


def test_loss_and_metrics_count_every_prediction_once():
    settings, batch = CpcSettings(**SMALL), a_batch()
    variables = variables_of(settings)
    value, metrics, _ = run(settings, variables, batch)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(7), i))(batch["index"])
    losses, identified, count = applied(settings, "compare")(variables, batch["waveform"] / np.float32(32768),
                                                             batch["frames"], keys)
    assert count.sum() == 7 * (8 + 7 + 6)  # of 8 utterances, one has a single residue
    losses, identified, count = (x[batch["valid"]] for x in (losses, identified, count))
    np.testing.assert_allclose(value, losses.sum() / count.sum(), rtol=1e-5)
    np.testing.assert_allclose(metrics["identified"], [identified.sum(), count.sum()])
    np.testing.assert_allclose(metrics["identified_1"], [identified[:, 0].sum(), 6 * 8])
    assert abs(run(settings, variables, batch, seed=8)[0] - value) > 1e-6  # other draws


def test_identifier_has_fixed_draws():
    settings, batch = CpcSettings(**SMALL), a_batch()
    variables = variables_of(settings)
    identify = jax.jit(identifier(settings))
    found = np.asarray(identify(variables, batch))
    assert found.shape == (8, 3)
    np.testing.assert_array_equal(np.isnan(found).all(1), batch["frames"] == 1)
    real = batch["frames"] > 1
    assert ((found[real] >= 0) & (found[real] <= 1)).all()
    turned = {name: x[::-1] for name, x in batch.items()}
    np.testing.assert_array_equal(identify(variables, turned)[::-1], found)
    predictions = parallel.apply_in_batches(identifier(settings), variables, batch, 4)
    np.testing.assert_allclose(predictions, found)


def test_embedder_is_the_context_of_the_scaled_waveform():
    settings, batch = CpcSettings(**SMALL), a_batch(b=2)
    variables = variables_of(settings)
    _, c = applied(settings, "__call__")(variables, batch["waveform"].astype(np.float32) / 32768)
    np.testing.assert_allclose(jax.jit(embedder(settings))(variables, batch), c, atol=1e-6)


def test_bfloat16_stays_near_float32_and_keeps_float32_parameters():
    half, full, batch = CpcSettings(**SMALL, dtype="bfloat16"), CpcSettings(**SMALL), a_batch()
    variables = variables_of(full)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables_of(half)))
    found, expected = (jax.jit(embedder(s))(variables, batch) for s in (half, full))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert (found != expected).any()
    value, _, slope = run(half, variables, batch)
    np.testing.assert_allclose(value, run(full, variables, batch)[0], rtol=0.02)
    assert all(leaf.dtype == np.float32 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_the_loss_falls_by_what_its_gradient_says():
    settings, batch = CpcSettings(**SMALL), a_batch()
    variables = variables_of(settings)
    first, _, slope = run(settings, variables, batch)
    moved = jax.tree.map(lambda p, g: p - 0.01 * g, variables["params"], slope)
    gain = 0.01 * sum(np.sum(g ** 2) for g in jax.tree.leaves(slope))
    np.testing.assert_allclose(first - run(settings, {"params": moved}, batch)[0], gain, rtol=0.2)


def test_equal_settings_share_functions():
    one, two = CpcSettings(**SMALL), CpcSettings(**SMALL)
    for make in (cpc_loss, embedder, identifier, initializer):
        assert make(one) is make(two)


def test_wrong_settings_are_refused():
    for wrong in ({"norm": "batch"}, {"dtype": "float16"}, {"channels": 0}, {"future": 0}, {"negatives": 0},
                  {"share": 0}, {"context": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CpcSettings(**wrong)
