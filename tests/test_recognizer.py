"""The recognizer against loops, and what must not change its outputs."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax import parallel
from sercl_jax.losses import ccc_loss
from sercl_jax.models import recognizer
from sercl_jax.models.recognizer import Recognizer, RecognizerSettings, attention, dropout, mean_and_deviation

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = RecognizerSettings(heads=2, head_dim=3, hidden=6)


def a_batch(b=8, t=6, f=4, seed=0):
    """Frames with a mask that has holes, one full row, one valid frame, and a row of padding only."""
    rng = np.random.default_rng(seed)
    mask = rng.random((b, t)) < 0.7
    mask[0], mask[1] = True, np.arange(t) == 2
    mask[2] = False
    return rng.standard_normal((b, t, f)).astype(np.float32), mask


@functools.cache
def variables_of(settings, f=4):
    x, mask = a_batch(f=f)
    variables = jax.jit(Recognizer(settings).init)(jax.random.key(0), x, mask)
    # Away from the initial zeros, so that biases matter.
    leaves, tree = jax.tree.flatten(variables)
    rng = np.random.default_rng(1)
    return jax.tree.unflatten(tree, [np.asarray(x) + 0.3 * rng.standard_normal(x.shape).astype(np.float32)
                                     for x in leaves])


@functools.cache
def applied(settings):
    return jax.jit(Recognizer(settings).apply)


def attention_loop(q, k, v, mask):
    """[T, H, D] each; over lists of valid frames."""
    frames, heads, width = q.shape
    out = np.zeros(q.shape)
    there = [s for s in range(frames) if mask[s]]
    for h in range(heads):
        for t in there:
            scores = [sum(q[t, h, d] * k[s, h, d] for d in range(width)) / math.sqrt(width) for s in there]
            weights = [math.exp(score - max(scores)) for score in scores]
            for d in range(width):
                out[t, h, d] = sum(w * v[s, h, d] for w, s in zip(weights, there, strict=True)) / sum(weights)
    return out


def by_loops(params, settings, x, mask):
    """One utterance without dropout, in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    frames = x.astype(np.float64)
    if settings.projection:
        frames = frames @ p["projection"]["kernel"]
    heads = [(frames @ p[name]["kernel"]).reshape(len(frames), settings.heads, settings.head_dim)
             for name in ("query", "key", "value")]
    u = attention_loop(*heads, mask).reshape(len(frames), -1) @ p["output"]["kernel"]
    statistics = []
    for column in u.T:
        values = [value for value, valid in zip(column, mask, strict=True) if valid]
        mean = sum(values) / max(len(values), 1)
        statistics.append((mean, math.sqrt(sum((v - mean) ** 2 for v in values) / max(len(values), 1) + 1e-6)))
    y = np.array([mean for mean, _ in statistics] + [deviation for _, deviation in statistics])
    for name in ("dense_1", "dense_2"):
        y = np.maximum(y @ p[name]["kernel"] + p[name]["bias"], 0)
    return y @ p["ratings"]["kernel"] + p["ratings"]["bias"]


@pytest.mark.parametrize("settings", [SMALL, RecognizerSettings(heads=1, head_dim=5, hidden=6, projection=7)])
def test_it_is_the_papers_equations_in_loops(settings):
    x, mask = a_batch()
    variables = variables_of(settings)
    found = applied(settings)(variables, x, mask)
    assert found.dtype == jnp.float32
    expected = [by_loops(variables, settings, *one) for one in zip(x, mask, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_only_the_dense_layers_after_pooling_have_biases():
    shapes = {name: {kind: leaf.shape for kind, leaf in layer.items()}
              for name, layer in variables_of(RecognizerSettings(projection=10), f=5)["params"].items()}
    assert shapes == {
        "projection": {"kernel": (5, 10)}, "query": {"kernel": (10, 512)}, "key": {"kernel": (10, 512)},
        "value": {"kernel": (10, 512)}, "output": {"kernel": (512, 10)},
        "dense_1": {"kernel": (20, 128), "bias": (128,)}, "dense_2": {"kernel": (128, 128), "bias": (128,)},
        "ratings": {"kernel": (128, 3), "bias": (3,)}}


@pytest.mark.parametrize("pairs", [1, 3, 16])
def test_attention_is_a_loop_however_it_is_grouped(pairs, monkeypatch):
    monkeypatch.setattr(recognizer, "score_bytes", lambda: 4 * 5 * 5 * pairs)
    rng = np.random.default_rng(0)
    q, k, v, slope = (rng.standard_normal((4, 5, 2, 3)).astype(np.float32) * 2 for _ in range(4))
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 1, 0, 0], [1, 1, 0, 0, 0]], bool)
    expected = np.stack([attention_loop(*one) for one in zip(q, k, v, mask, strict=True)])
    found = jax.jit(lambda *heads: attention(*heads, mask))(q, k, v)
    np.testing.assert_allclose(np.where(mask[..., None, None], found, 0), expected, atol=1e-5)

    def whole(q, k, v):
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / math.sqrt(3) + jnp.where(mask, 0.0, -1e9)[:, None, None]
        return jnp.sum(slope * mask[..., None, None] * jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v))

    def grouped(q, k, v):
        return jnp.sum(slope * mask[..., None, None] * attention(q, k, v, mask))

    slopes = jax.jit(lambda *args: (jax.grad(grouped, (0, 1, 2))(*args), jax.grad(whole, (0, 1, 2))(*args)))(q, k, v)
    for one, other in zip(*slopes, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_scores_never_exist_all_at_once():
    """The largest array in the whole program is a group's scores, also in the backward pass."""
    q = jnp.zeros((4, 64, 8, 2))
    size = recognizer.score_bytes()
    assert recognizer._group(64 * 8, 4 * 1000 * 1000) == 2
    assert recognizer._group(30, size // 4) == 3  # a divisor
    assert recognizer._group(7, 2 * size) == 1
    assert recognizer._group(7, size // 100) == 7

    def largest(pairs):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recognizer, "score_bytes", lambda: pairs * 4 * 64 * 64)
            program = jax.make_jaxpr(jax.grad(lambda q: attention(q, q, q, jnp.ones((4, 64), bool)).sum()))(q)
        return max(math.prod(v.aval.shape) for v in variables_in(program.jaxpr))

    assert largest(32) == 32 * 64 * 64
    assert largest(2) == 2 * 64 * 64


def variables_in(jaxpr):
    for equation in jaxpr.eqns:
        yield from equation.outvars
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else [value]:
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    yield from variables_in(inner)


def test_padding_changes_nothing():
    x, mask = a_batch()
    variables = variables_of(SMALL)
    rng = np.random.default_rng(3)
    longer = np.concatenate([np.where(mask[..., None], x, np.nan), np.full((8, 3, 4), np.inf, np.float32)], 1)
    wider = np.concatenate([mask, np.zeros((8, 3), bool)], 1)
    keys = jax.random.split(jax.random.key(2), 8)
    weight = rng.standard_normal((8, 3)).astype(np.float32)

    @jax.jit
    def run(variables, x, mask):
        def loss(variables, x):
            predicted = Recognizer(SMALL).apply(variables, x, mask, keys)
            return jnp.sum(weight * predicted), predicted

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(variables, x)

    (_, one), (slopes, slope) = run(variables, x, mask)
    (_, other), (longer_slopes, longer_slope) = run(variables, longer, wider)
    np.testing.assert_allclose(one, other, atol=1e-5)
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-3, atol=1e-4), slopes, longer_slopes)
    np.testing.assert_allclose(longer_slope[:, :6], slope, rtol=1e-3, atol=1e-4)
    assert (np.asarray(slope)[~mask] == 0).all()
    assert (np.asarray(longer_slope)[:, 6:] == 0).all()
    assert np.abs(np.asarray(slope)[mask]).min() > 0


def test_one_frame_no_frame_and_constant_frames_have_finite_gradients():
    x, mask = a_batch()
    x[0] = x[0, :1]

    def loss(x):
        return jnp.sum(jnp.square(applied(SMALL)(variables_of(SMALL), x, mask)))

    slope = np.asarray(jax.grad(loss)(x))
    assert np.isfinite(slope).all()
    assert (slope[2] == 0).all()
    assert np.abs(slope[0]).max() > 0
    assert np.isfinite(applied(SMALL)(variables_of(SMALL), x, mask)).all()


def test_the_order_of_frames_does_not_matter():
    x, mask = a_batch()
    order = np.random.default_rng(4).permutation(6)
    run, variables = applied(SMALL), variables_of(SMALL)
    np.testing.assert_allclose(run(variables, x[:, order], mask[:, order]), run(variables, x, mask), atol=1e-5)
    moved = np.where(np.arange(6)[:, None] == 0, 2 * x, x)
    assert np.abs(run(variables, moved, mask) - run(variables, x, mask))[0].max() > 1e-3


def test_statistics_are_those_of_valid_frames():
    x, mask = a_batch()
    found = mean_and_deviation(jnp.asarray(x + 100), mask)
    for row, one, valid in zip(np.asarray(found), x.astype(np.float64), mask, strict=True):
        mean = one[valid].mean(0) + 100 if valid.any() else np.zeros(4)
        deviation = one[valid].std(0) if valid.any() else np.zeros(4)
        np.testing.assert_allclose(row, [*mean, *np.sqrt(deviation**2 + 1e-6)], rtol=1e-4)


def test_bfloat16_computes_the_attention_and_stays_close():
    x, mask = a_batch()
    variables = variables_of(SMALL)
    half = RecognizerSettings(heads=2, head_dim=3, hidden=6, dtype="bfloat16")
    found, expected = applied(half)(variables, x, mask), applied(SMALL)(variables, x, mask)
    assert found.dtype == jnp.float32
    assert 1e-6 < np.abs(found - expected).max() < 0.1
    shapes = jax.eval_shape(Recognizer(half).init, jax.random.key(0), x, mask)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float32")}


def test_dropout_drops_and_scales_by_each_utterances_own_key():
    y = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (40, 500)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 40)
    dropped = np.asarray(dropout(y, 0.2, keys))
    gone = dropped == 0
    np.testing.assert_allclose(dropped[~gone], np.asarray(y)[~gone] / 0.8, rtol=1e-6)
    assert gone.mean() == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / gone.size))
    assert (gone.mean(0) < 0.6).all()  # rows are dropped apart
    np.testing.assert_array_equal(dropout(y[5:7], 0.2, keys[5:7]), dropped[5:7])
    np.testing.assert_array_equal(dropout(y, 0.0, keys), y)


def test_dropout_follows_both_dense_layers_and_only_with_keys():
    x, mask = a_batch()
    settings = RecognizerSettings(heads=1, head_dim=2, hidden=200, dropout=0.5)
    variables = variables_of(settings)
    keys = jax.random.split(jax.random.key(1), 8)
    run = applied(settings)
    _, state = jax.jit(functools.partial(Recognizer(settings).apply, capture_intermediates=True))(
        variables, x, mask, keys)
    layers = state["intermediates"]
    first, second = (np.maximum(layers[name]["__call__"][0], 0) for name in ("dense_1", "dense_2"))
    pairs = jax.vmap(jax.random.split)(keys)
    p = variables["params"]
    given, then = (np.asarray(dropout(jnp.asarray(y), 0.5, pairs[:, n])) for n, y in enumerate((first, second)))
    again = np.maximum(given @ p["dense_2"]["kernel"] + p["dense_2"]["bias"], 0)
    np.testing.assert_allclose(again, second, atol=1e-4)
    last = then @ p["ratings"]["kernel"] + p["ratings"]["bias"]
    np.testing.assert_allclose(run(variables, x, mask, keys), last, atol=1e-3)
    assert ((first > 0) & (given == 0)).any()
    assert np.abs(run(variables, x, mask, keys) - run(variables, x, mask)).max() > 0.01


def test_1_2_and_4_devices_give_one_loss_and_one_gradient():
    x, mask = a_batch()
    rng = np.random.default_rng(5)
    batch = {"x": x, "mask": mask, "index": np.arange(8, dtype=np.int32) + 30, "rated": rng.random((8, 3)) < 0.8,
             "target": rng.standard_normal((8, 3)).astype(np.float32)}

    def step(variables, batch, key):
        keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(batch["index"])

        def loss(variables):
            predicted = Recognizer(SMALL).apply(variables, batch["x"], batch["mask"], keys)
            return ccc_loss(*parallel.gather((predicted, batch["target"], batch["rated"])))[0]

        value, slope = jax.value_and_grad(loss)(variables)
        return value, parallel.pmean(slope)

    def run(count):
        devices = parallel.all_devices()[:count]
        key = parallel.replicate(jax.random.key_data(jax.random.key(7)), devices)
        mapped = parallel.map_step(lambda v, b, k: step(v, b, jax.random.wrap_key_data(k)), devices=devices)
        return parallel.unreplicate(mapped(parallel.replicate(variables_of(SMALL), devices),
                                           parallel.shard(batch, devices), key))

    one = run(1)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(one[1])) > 1e-3
    for count in (2, 4):
        jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-3, atol=1e-5), run(count), one)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"dtype": "float16"}, "known: float32, bfloat16"), ({"heads": 0}, "at least 1"),
    ({"projection": -1}, "projection at least 0"), ({"dropout": 1.0}, r"dropout=1.0; it must be in \[0, 1\)"),
])
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RecognizerSettings(**wrong)
