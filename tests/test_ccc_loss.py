"""The CCC loss against a loop over utterances, finite differences and one device."""

import functools
import math

import jax
import numpy as np
import pytest

from sercl_jax import metrics, parallel
from sercl_jax.losses import ccc_loss

pytestmark = pytest.mark.usefixtures("quick_compilation")
NAMES = ("ccc_act", "ccc_val", "ccc_dom")


def ccc_loop(x, y):
    """Equation 7 with its correlation spelt out, over lists."""
    n = len(x)
    if not n:
        return 0.0
    mean_x, mean_y = sum(x) / n, sum(y) / n
    sigma_x = math.sqrt(sum((v - mean_x) ** 2 for v in x) / n)
    sigma_y = math.sqrt(sum((v - mean_y) ** 2 for v in y) / n)
    if sigma_x < 1e-12 or sigma_y < 1e-12:
        return 0.0
    rho = sum((u - mean_x) * (v - mean_y) for u, v in zip(x, y, strict=True)) / n / (sigma_x * sigma_y)
    return rho * 2 * sigma_x * sigma_y / (sigma_x**2 + sigma_y**2 + (mean_x - mean_y) ** 2)


def loss_loop(predicted, target, rated, weights):
    columns = [[u for u in range(len(rated)) if rated[u, a]] for a in range(3)]
    each = [ccc_loop([float(predicted[u, a]) for u in rows], [float(target[u, a]) for u in rows])
            for a, rows in enumerate(columns)]
    counting = [a for a in range(3) if columns[a]]
    scale = sum(weights) / sum(weights[a] for a in counting)
    return 1 - sum(scale * weights[a] * each[a] for a in counting), each


def a_batch(b=8, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.uniform(1, 5, (b, 3)).astype(np.float32)
    predicted = (0.5 * target + 1 + rng.normal(size=(b, 3))).astype(np.float32)
    return predicted, target, rng.random((b, 3)) < 0.7


@functools.partial(jax.jit, static_argnums=3)
def both(predicted, target, rated, weights=None):
    """((loss, metrics), gradient)."""
    return jax.value_and_grad(ccc_loss, has_aux=True)(predicted, target, rated, weights)


def gradient(*batch):
    return np.asarray(both(*batch)[1])


@pytest.mark.parametrize("weights", [None, (0.5, 0.3, 0.4)])
@pytest.mark.parametrize("case", ["all", "some", "no_valence"])
def test_it_is_a_loop_over_the_rated_utterances(weights, case):
    predicted, target, rated = a_batch()
    rated = {"all": np.ones_like(rated), "some": rated, "no_valence": rated & [True, False, True]}[case]
    value, each = loss_loop(predicted, target, rated, weights or (1 / 3,) * 3)
    (loss, told), _ = both(predicted, target, rated, weights)
    assert float(loss) == pytest.approx(value, abs=1e-5)
    assert set(told) == set(NAMES)
    for a, name in enumerate(NAMES):
        assert float(told[name][0]) == pytest.approx(each[a], abs=1e-5)
        assert told[name][1] == rated[:, a].any()
        if rated[:, a].any():
            truth = np.where(rated, target, np.nan)[:, a]
            assert float(told[name][0]) == pytest.approx(metrics.ccc(truth, predicted[:, a]), abs=1e-5)


def test_its_gradient_is_the_finite_difference_of_the_loop():
    predicted, target, rated = a_batch()
    slope = gradient(predicted, target, rated)
    for u in range(len(predicted)):
        for a in range(3):
            step = np.zeros(predicted.shape)
            step[u, a] = 1e-5
            high, low = (loss_loop(predicted + sign * step, target, rated, (1 / 3,) * 3)[0] for sign in (1, -1))
            assert slope[u, a] == pytest.approx((high - low) / 2e-5, abs=2e-4)
    assert (slope[~rated] == 0).all()
    assert (slope[rated] != 0).all()


def test_perfect_and_opposite_predictions():
    _, target, _ = a_batch()
    everywhere = np.ones(target.shape, bool)
    assert float(both(target, target, everywhere)[0][0]) == pytest.approx(0, abs=1e-6)
    centred = target - target.mean(0)
    assert float(both(-centred, centred, everywhere)[0][0]) == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("what", ["prediction", "target", "both", "both_equal", "one_utterance", "one_right"])
def test_constants_and_single_utterances_score_0_with_a_finite_gradient(what):
    predicted, target, _ = a_batch()
    rated = np.ones(target.shape, bool)
    if what in ("prediction", "both"):
        predicted = np.full_like(predicted, 0.3)
    if what in ("target", "both"):
        target = np.full_like(target, 3.7)
    if what == "both_equal":
        predicted = target = np.full_like(target, 3.7)
    if what in ("one_utterance", "one_right"):
        rated = np.arange(len(target))[:, None] == np.array([2, 2, 2])
        predicted = target if what == "one_right" else predicted
    (loss, told), slope = both(predicted, target, rated)
    slope = np.asarray(slope)
    assert float(loss) == pytest.approx(1, abs=1e-6)
    assert [float(told[name][0]) for name in NAMES] == pytest.approx([0, 0, 0], abs=1e-6)
    assert np.isfinite(slope).all()
    # Constant predictions can be improved; the others can't, or not by one utterance.
    assert (np.abs(slope).max() > 1e-3) == (what == "prediction")


def test_nobody_rated_is_a_loss_of_1_without_gradient():
    predicted, target, rated = a_batch()
    (loss, told), slope = both(predicted, target, np.zeros_like(rated))
    assert loss == 1
    assert [count for _, count in told.values()] == [0, 0, 0]
    assert (np.asarray(slope) == 0).all()


def test_what_stands_at_unrated_places_does_not_matter():
    predicted, target, rated = a_batch()
    (loss, _), slope = both(predicted, target, rated)
    broken, missing = np.where(rated, predicted, np.inf), np.where(rated, target, np.nan)
    assert both(broken, missing, rated)[0][0] == loss
    np.testing.assert_array_equal(gradient(broken, missing, rated), slope)
    # Padded rows, anywhere in the batch.
    order = np.random.default_rng(1).permutation(13)
    padded = [np.concatenate([x, np.full((5, 3), fill, x.dtype)])[order]
              for x, fill in ((predicted, 9), (target, np.nan), (rated, False))]
    (again, _), padded_slope = both(*padded)
    assert float(again) == pytest.approx(float(loss), abs=1e-6)
    np.testing.assert_allclose(np.asarray(padded_slope)[np.argsort(order)][:8], slope, atol=1e-6)


def test_1_2_and_4_devices_give_one_loss_and_one_gradient():
    predicted, target, rated = a_batch()
    weight = np.eye(3, dtype=np.float32)

    def mapped(w, batch):
        def loss(w):
            return ccc_loss(*parallel.gather((batch["x"] @ w, batch["target"], batch["rated"])))

        (value, told), slope = jax.value_and_grad(loss, has_aux=True)(w)
        sums = parallel.psum(told)
        return value, {name: total / count for name, (total, count) in sums.items()}, parallel.pmean(slope)

    (value, told), slope = both(predicted, target, rated)
    slope = predicted.T @ np.asarray(slope)
    for count in (1, 2, 4):
        devices = parallel.all_devices()[:count]
        batch = parallel.shard({"x": predicted, "target": target, "rated": rated}, devices)
        found = parallel.unreplicate(parallel.map_step(mapped, devices=devices)(
            parallel.replicate(weight, devices), batch))
        np.testing.assert_allclose(found[0], value, rtol=1e-5)
        np.testing.assert_allclose([found[1][name] for name in NAMES], [told[name][0] for name in NAMES], rtol=1e-5)
        np.testing.assert_allclose(found[2], slope, rtol=1e-4, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused():
    predicted, target, rated = a_batch()
    with pytest.raises(ValueError, match=r"predicted \(8, 2\), target \(8, 3\)"):
        ccc_loss(predicted[:, :2], target, rated)
    with pytest.raises(ValueError, match=r"must all be \[B, 3\], one column each for act, val, dom"):
        ccc_loss(predicted[:, :2], target[:, :2], rated[:, :2])
    loss, told = ccc_loss(predicted[:, :1], target[:, :1], rated[:, :1], names=["val"])
    assert 1 - float(told["ccc_val"][0]) == pytest.approx(float(loss))
