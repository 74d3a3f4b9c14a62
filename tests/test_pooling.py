"""Weighted pooling against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax.models.pooling import POOLINGS, weighted_pool

pytestmark = pytest.mark.usefixtures("quick_compilation")


def pool_loop(h, mask, weights):
    out = np.zeros((h.shape[0], h.shape[2]))
    for b in range(h.shape[0]):
        for d in range(h.shape[2]):
            values = [float(h[b, n, d]) for n in range(h.shape[1]) if mask[b, n]]
            if values:
                e = np.exp(np.array(values) - max(values))
                kinds = (max(values), np.mean(values), float(e @ values / e.sum()), sum(values))
                out[b, d] = sum(w * k for w, k in zip(weights, kinds, strict=True))
    return out


@pytest.mark.parametrize("name", sorted(POOLINGS))
def test_pooling_equals_a_loop(name):
    rng = np.random.default_rng(0)
    h = rng.standard_normal((3, 5, 4)).astype(np.float32) * 4
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    np.testing.assert_allclose(weighted_pool(h, mask, jnp.array(POOLINGS[name])),
                               pool_loop(h, mask, POOLINGS[name]), rtol=1e-5, atol=1e-6)


def test_the_sets_are_those_of_the_paper():
    assert [POOLINGS[name][:3] for name in "ABCDEFG"] == [
        (.5, .25, .25), (.25, .5, .25), (.25, .25, .5), (.6, .2, .2), (.2, .6, .2), (.2, .2, .6), (.3, .3, .3)]


def test_gradients_are_finite_and_stay_out_of_padding():
    rng = np.random.default_rng(1)
    h = jnp.array(rng.standard_normal((2, 4, 3)), jnp.float32) * 100
    mask = jnp.array([[True, True, False, False], [False] * 4])
    slope = jax.jit(jax.grad(lambda h: jnp.sum(weighted_pool(h, mask, jnp.full(4, 0.25)) ** 2)))(h)
    assert np.isfinite(slope).all()
    assert np.abs(slope[0, :2]).min() > 0
    np.testing.assert_array_equal(slope[0, 2:], 0)
    np.testing.assert_array_equal(slope[1], 0)
