"""Contrastive losses against loops over pairs."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax.losses import masked_info_nce, nt_xent

pytestmark = pytest.mark.usefixtures("quick_compilation")


def info_nce_loop(sim, positives, candidates):
    total, anchors = 0.0, 0
    for i in range(sim.shape[0]):
        ps = [j for j in range(sim.shape[1]) if positives[i, j]]
        cs = [j for j in range(sim.shape[1]) if candidates[i, j]]
        if not ps or not cs:
            continue
        below = sum(math.exp(sim[i, c]) for c in cs)
        total += sum(-math.log(math.exp(sim[i, p]) / below) for p in ps) / len(ps)
        anchors += 1
    return total / max(anchors, 1)


def nt_xent_loop(views, valid, temperature, group, form):
    """Returns loss, mean positive cosine, mean negative cosine."""
    losses, positive, negative = [], [], []
    rows = [i for i in range(len(valid)) if valid[i]]

    def cosine(u, v):
        return float(u @ v / np.sqrt((u @ u) * (v @ v)))

    for a, b in itertools.combinations(range(len(views)), 2):
        for first, second in ((a, b), (b, a)) if form == "symmetric" else ((a, b),):
            per_anchor = []
            for i in rows:
                above = math.exp(cosine(views[first][i], views[second][i]) / temperature)
                others = [j for j in rows if j != i and (group is None or group[i] == group[j])]
                below = sum(math.exp(cosine(views[first][i], views[second][j]) / temperature) for j in others)
                below += above if form == "symmetric" else 0
                if below:
                    per_anchor.append(-math.log(above / below))
                if first < second:
                    positive.append(cosine(views[first][i], views[second][i]))
                    negative += [cosine(views[first][i], views[second][j]) for j in others]
            losses.append(np.mean(per_anchor))
    return np.mean(losses), np.mean(positive), np.mean(negative)


def test_info_nce_equals_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    sim = rng.standard_normal((7, 5)).astype(np.float32) * 3
    positives = rng.random((7, 5)) < 0.4
    candidates = positives | (rng.random((7, 5)) < 0.5)
    positives[2] = False
    candidates[4] = positives[4] = False
    expected = info_nce_loop(sim.astype(np.float64), positives, candidates)
    np.testing.assert_allclose(masked_info_nce(sim, positives, candidates), expected, rtol=1e-5)


def test_info_nce_survives_large_logits():
    sim = jnp.array([[1e4, 9.99e3], [-1e4, 0.0]])
    positives = jnp.eye(2, dtype=bool)
    loss = masked_info_nce(sim, positives, jnp.ones((2, 2), bool))
    np.testing.assert_allclose(loss, np.log1p(np.exp(-10.0)) / 2, atol=2e-3)  # float32 at 1e4


@pytest.mark.parametrize("masked", ["positives", "candidates"])
def test_nothing_to_compare_costs_nothing(masked):
    sim, nothing, all_pairs = jnp.ones((3, 3)), jnp.zeros((3, 3), bool), jnp.ones((3, 3), bool)
    masks = (nothing, all_pairs) if masked == "positives" else (all_pairs, nothing)
    loss, slope = jax.value_and_grad(masked_info_nce)(sim, *masks)
    assert loss == 0
    np.testing.assert_array_equal(slope, np.zeros((3, 3)))


@pytest.mark.parametrize("form", ["symmetric", "graphcl"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_nt_xent_equals_a_loop_over_pairs(form, grouped, count):
    rng = np.random.default_rng(count)
    views = [rng.standard_normal((6, 4)).astype(np.float32) for _ in range(count)]
    valid = np.array([True, True, False, True, True, True])
    group = np.array([0, 1, 0, 0, 1, 0]) if grouped else None
    loss, metrics = nt_xent(views, valid, temperature=0.3, group=group, form=form)
    expected = nt_xent_loop([v.astype(np.float64) for v in views], valid, 0.3, group, form)
    found = [loss] + [metrics[name][0] / metrics[name][1] for name in ("positive_similarity", "negative_similarity")]
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_invalid_rows_change_nothing():
    rng = np.random.default_rng(1)
    views = [rng.standard_normal((4, 3)).astype(np.float32) for _ in range(2)]
    padded = [np.concatenate([v, np.full((2, 3), 9, np.float32)]) for v in views]
    valid = np.arange(6) < 4
    np.testing.assert_allclose(nt_xent(padded, valid, temperature=0.2)[0],
                               nt_xent(views, valid[:4], temperature=0.2)[0], rtol=1e-6)


@pytest.mark.parametrize("form", ["symmetric", "graphcl"])
@pytest.mark.parametrize("valid", [[False, False, False], [True, False, False], [True, True, True]])
def test_gradients_are_finite(form, valid):
    zero_row = jnp.ones((3, 2)).at[0].set(0.0)

    def loss(z):
        return nt_xent([z, 2 * zero_row], jnp.array(valid), temperature=0.1, form=form)[0]

    value, slope = jax.jit(jax.value_and_grad(loss))(zero_row)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    if sum(valid) < 2:
        assert value == 0


def test_the_loss_pulls_positives_together():
    views = [jnp.array([[1.0, 0.2], [0.1, 1.0]]), jnp.array([[1.0, -0.3], [0.4, 1.0]])]
    valid = jnp.ones(2, bool)
    loss = jax.jit(jax.value_and_grad(lambda z: nt_xent([z, views[1]], valid, temperature=0.5), has_aux=True))
    (_, metrics), slope = loss(views[0])
    (_, moved), _ = loss(views[0] - 0.1 * slope)
    before, after = (m["positive_similarity"][0] for m in (metrics, moved))
    assert after > before


def test_wrong_arguments_are_refused():
    z, valid = jnp.ones((2, 2)), jnp.ones(2, bool)
    with pytest.raises(ValueError, match="at least 2"):
        nt_xent([z], valid, temperature=1.0)
    with pytest.raises(ValueError, match="graphcl"):
        nt_xent([z, z], valid, temperature=1.0, form="simclr")
