"""Attentive pooling against loops, and the classifier against its matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax.models.attentive import AttentivePooling, Classifier

pytestmark = pytest.mark.usefixtures("quick_compilation")

RNG = np.random.default_rng(0)
H = RNG.standard_normal((3, 5, 4)).astype(np.float32) * 3
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
VARIABLES = {"params": {"vector": RNG.standard_normal(4).astype(np.float32)}}


def pool(h, mask, variables=VARIABLES):
    return AttentivePooling().apply(variables, h, mask)


def pool_loop(h, mask, vector):
    out = np.zeros((h.shape[0], h.shape[2]))
    for b in range(h.shape[0]):
        frames = [h[b, t].astype(np.float64) for t in range(h.shape[1]) if mask[b, t]]
        if frames:
            weights = np.exp([vector @ frame for frame in frames])
            out[b] = sum(w * frame for w, frame in zip(weights / weights.sum(), frames, strict=True))
    return out


def test_pooling_equals_a_loop():
    found = pool(H, MASK)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, pool_loop(H, MASK, VARIABLES["params"]["vector"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[2], 0)


def test_one_vector_and_no_bias():
    variables = AttentivePooling().init(jax.random.key(0), H, MASK)
    assert jax.tree.map(jnp.shape, variables) == {"params": {"vector": (4,)}}
    assert np.abs(variables["params"]["vector"]).min() > 0
    zero = {"params": {"vector": jnp.zeros(4)}}
    np.testing.assert_allclose(pool(H, MASK, zero)[1], H[1][MASK[1]].mean(0), rtol=1e-5)


@pytest.mark.parametrize("fill", [0.0, 1e30, np.nan, np.inf])
def test_padding_changes_nothing(fill):
    longer = np.full((3, 9, 4), fill, np.float32)
    longer[:, :5] = np.where(MASK[..., None], H, fill)
    mask = np.pad(MASK, ((0, 0), (0, 4)))

    def total(variables, h, mask):
        return jnp.sum(pool(h, mask, variables) ** 3)

    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))
    np.testing.assert_allclose(pool(longer, mask), pool(H, MASK), rtol=1e-6)
    (w, h), (longer_w, longer_h) = slopes(VARIABLES, H, MASK), slopes(VARIABLES, longer, mask)
    np.testing.assert_allclose(longer_w["params"]["vector"], w["params"]["vector"], rtol=1e-4)
    np.testing.assert_allclose(longer_h[:, :5], h, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(longer_h[~mask], 0)
    assert np.abs(h[MASK]).min() > 0


def test_large_scores_survive():
    h = H * 1e4
    value, slope = jax.value_and_grad(lambda v: jnp.sum(pool(h, MASK, {"params": {"vector": v}})))(
        VARIABLES["params"]["vector"])
    winner = h[0][np.argmax(h[0] @ VARIABLES["params"]["vector"])]
    np.testing.assert_allclose(pool(h, MASK)[0], winner, rtol=1e-5)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_half_precision_is_pooled_in_single():
    h = jnp.asarray(H, jnp.bfloat16)
    found = pool(h, MASK)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, pool(h.astype(jnp.float32), MASK), rtol=1e-6)


def test_classifier_is_two_dense_layers():
    """The paper's: 768 to 256 to the emotions."""
    model = Classifier(classes=6)
    variables = model.init(jax.random.key(1), jnp.zeros((1, 768)))
    assert jax.tree.map(jnp.shape, variables)["params"] == {
        "dense": {"kernel": (768, 256), "bias": (256,)}, "logits": {"kernel": (256, 6), "bias": (6,)}}
    x = RNG.standard_normal((5, 768)).astype(np.float32)
    variables = jax.tree.map(lambda p: np.asarray(p, np.float32) + 0.1, variables)
    dense, logits = (variables["params"][name] for name in ("dense", "logits"))
    hidden = np.maximum(x @ dense["kernel"] + dense["bias"], 0)
    np.testing.assert_allclose(model.apply(variables, x), hidden @ logits["kernel"] + logits["bias"], rtol=1e-4,
                               atol=1e-4)
    assert model.apply(variables, jnp.asarray(x, jnp.bfloat16)).dtype == jnp.float32
