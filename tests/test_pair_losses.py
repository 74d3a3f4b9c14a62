"""The losses of cross-corpus SupCon against loops over pairs."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sercl_jax import parallel
from sercl_jax.pair_losses import contrastive, cosine_margin
from sercl_jax.sampling import EmotionPairs

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE = 16
POSITIVE = np.arange(SIZE) < SIZE // 2
HALF = np.repeat([0, 1, 0], [SIZE // 4, SIZE // 4, SIZE // 2])
NAMES = ("positive_similarity", "negative_similarity")

lc = jax.jit(contrastive)
lm = jax.jit(cosine_margin, static_argnames="pairing")


def a_batch(seed=0, width=5):
    """Vectors of very different lengths, positives somewhat alike."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((SIZE, width)) + np.where(POSITIVE[:, None], 1.0, -0.3)
    return (x * rng.uniform(0.1, 30, (SIZE, 1))).astype(np.float32)


def shuffled(seed=0):
    """A batch whose positives, halves and negatives stand anywhere."""
    order = np.random.default_rng(seed).permutation(SIZE)
    return a_batch(seed)[order], POSITIVE[order], HALF[order]


def cosine(u, v):
    u, v = u.astype(np.float64), v.astype(np.float64)
    return float(u @ v / math.sqrt((u @ u) * (v @ v)))


def contrastive_loop(x, positive, temperature):
    """Equation 2 with -log and equation 3 as printed: over i < j, l_ij and l_ji, times 4 / (N (N - 2))."""
    ps, ns = x[positive], x[~positive]
    total = 0.0
    for i in range(len(ps)):
        for j in range(i + 1, len(ps)):
            for anchor, other in ((i, j), (j, i)):
                above = math.exp(cosine(ps[anchor], ps[other]) / temperature)
                below = sum(math.exp(cosine(ps[anchor], n) / temperature) for n in ns)
                total += -math.log(above / (above + below))
    return 4 / (len(x) * (len(x) - 2)) * total


def margin_loop(x, positive, half, alpha, margin, pairing):
    p1, p2 = x[positive & (half == 0)], x[positive & (half == 1)]
    p, n = x[positive], x[~positive]

    def pairs(a, b):
        return list(zip(a, b, strict=True)) if pairing == "elementwise" else [(u, v) for u in a for v in b]

    alike = np.mean([1 - cosine(u, v) for u, v in pairs(p1, p2)])
    return alpha * alike + np.mean([max(0.0, cosine(u, v) - margin) for u, v in pairs(p, n)])


def similarity_loop(x, positive):
    p, n = x[positive], x[~positive]
    return (np.mean([cosine(p[i], p[j]) for i in range(len(p)) for j in range(len(p)) if i != j]),
            np.mean([cosine(u, v) for u in p for v in n]))


@jax.jit
def both(x, positive=POSITIVE, half=HALF):
    return contrastive(x, positive)[0] + cosine_margin(x, positive, half)[0]


slope_of_both = jax.jit(jax.value_and_grad(both))
slope_of_contrastive = jax.jit(jax.value_and_grad(lambda x, positive: contrastive(x, positive)[0]))


@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_contrastive_equals_a_loop_over_pairs(seed, temperature):
    x, positive, _ = shuffled(seed)
    loss, told = lc(x, positive, temperature=temperature)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, contrastive_loop(x, positive, temperature), rtol=1e-5)
    assert told.keys() == {"contrastive", *NAMES}
    found = [told[name][0] / told[name][1] for name in NAMES]
    np.testing.assert_allclose(found, similarity_loop(x, positive), rtol=1e-5)
    assert told["contrastive"] == (loss, 1)


@pytest.mark.parametrize("pairing", ["elementwise", "all"])
@pytest.mark.parametrize(("alpha", "margin"), [(0.5, 0.4), (2.0, -0.2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_cosine_margin_equals_a_loop_over_pairs(seed, alpha, margin, pairing):
    x, positive, half = shuffled(seed)
    loss, told = lm(x, positive, half, alpha=alpha, margin=margin, pairing=pairing)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, margin_loop(x, positive, half, alpha, margin, pairing), rtol=1e-5)
    assert told.keys() == {"cosine_margin", *NAMES}
    found = [told[name][0] / told[name][1] for name in NAMES]
    np.testing.assert_allclose(found, similarity_loop(x, positive), rtol=1e-5)
    assert told["cosine_margin"] == (loss, 1)


def test_the_sampler_s_batches_fit():
    pairs = EmotionPairs([["sad", "happy"] * 9, ["sad", "bored"] * 9], SIZE, 0)
    for step in range(4):
        batch, x = pairs(step), a_batch(step)
        np.testing.assert_allclose(lm(x, batch.positive, batch.half)[0],
                                   margin_loop(x, batch.positive, batch.half, 0.5, 0.4, "elementwise"), rtol=1e-5)


def test_all_alike_costs_what_chance_does():
    x = jnp.ones((SIZE, 5))
    loss, slope = slope_of_contrastive(x, POSITIVE)
    margin, _ = lm(x, POSITIVE, HALF)
    np.testing.assert_allclose(loss, np.log(1 + SIZE / 2), rtol=1e-6)
    np.testing.assert_allclose(margin, 0.6, rtol=1e-6)
    assert np.isfinite(slope).all()


def test_the_best_and_the_worst():
    """Emotion against the rest at opposite ends, and negatives nearer to each positive than other positives are."""
    best = np.where(POSITIVE[:, None], 1.0, -1.0).astype(np.float32) * np.eye(5, dtype=np.float32)[:1]
    loss, _ = lc(best, POSITIVE)
    assert 0 <= loss < 1e-10
    assert lm(best, POSITIVE, HALF)[0] == pytest.approx(0, abs=1e-6)
    # Half of the positives beside half of the negatives, where the ratio of equation 2 is small.
    worst = np.eye(5, dtype=np.float32)[[0, 0, 0, 0, 1, 1, 1, 1] + [0, 1] * 4]
    assert lc(worst, POSITIVE)[0] > 8
    assert lm(worst, POSITIVE, HALF)[0] == pytest.approx(0.5 + 0.3, abs=1e-6)


def test_gradients_agree_with_finite_differences():
    x = jnp.asarray(np.random.default_rng(2).standard_normal((SIZE, 5)), jnp.float32)
    check_grads(lambda x: lc(x, POSITIVE, temperature=0.5)[0], (x,), order=1, modes=["rev"], rtol=2e-2,
                atol=2e-3, eps=1e-2)
    for pairing in ("elementwise", "all"):
        # Smooth where no cosine is at the margin.
        check_grads(lambda x, pairing=pairing: lm(x, POSITIVE, HALF, pairing=pairing, margin=-1.0)[0],
                    (x,), order=1, modes=["rev"], rtol=2e-2, atol=2e-3, eps=1e-2)


def test_a_negative_below_the_margin_does_not_pull():
    x = np.zeros((4, 2), np.float32)
    x[0] = x[1] = 1, 0
    x[2] = math.cos(1.3), math.sin(1.3)  # cosine .27
    x[3] = math.cos(1.0), math.sin(1.0)  # .54
    slope = jax.jit(jax.grad(lambda x: lm(x, POSITIVE[6:10], HALF[np.array([0, 4, 8, 9])])[0]))(x)
    np.testing.assert_array_equal(slope[2], 0)
    np.testing.assert_allclose(slope[3], [math.sin(1.0) ** 2 / 2, -math.sin(1.0) * math.cos(1.0) / 2], atol=1e-6)


@pytest.mark.parametrize("zero", [slice(0, 1), slice(12, 14), slice(None)])
def test_zero_vectors_have_finite_gradients(zero):
    x = jnp.asarray(a_batch()).at[zero].set(0.0)
    loss, slope = slope_of_both(x)
    assert np.isfinite(loss)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("fill", [True, False])
def test_without_pairs_nothing_is_compared(fill):
    positive = np.full(SIZE, fill)
    loss, slope = slope_of_contrastive(a_batch(), positive)
    assert loss == 0
    np.testing.assert_array_equal(slope, np.zeros((SIZE, 5)))


def test_the_order_of_positives_and_of_negatives_does_not_matter():
    x = a_batch()
    order = np.concatenate([np.random.default_rng(1).permutation(8), 8 + np.random.default_rng(2).permutation(8)])
    np.testing.assert_allclose(lc(x[order], POSITIVE)[0], lc(x, POSITIVE)[0], rtol=1e-5)
    inside = np.concatenate([[2, 0, 3, 1], [7, 5, 6, 4], order[8:]])  # the halves stay what they are
    np.testing.assert_allclose(lm(x[inside], POSITIVE, HALF, pairing="all")[0],
                               lm(x, POSITIVE, HALF, pairing="all")[0], rtol=1e-5)
    together = np.add.outer([0, 4, 8, 12], [2, 0, 3, 1]).ravel()  # who meets whom stays what it is
    np.testing.assert_allclose(lm(x[together], POSITIVE, HALF)[0], lm(x, POSITIVE, HALF)[0],
                               rtol=1e-5)


def test_lengths_of_vectors_do_not_matter():
    x = a_batch()
    np.testing.assert_allclose(both(x * np.linspace(0.01, 100, SIZE, dtype=np.float32)[:, None]), both(x), rtol=1e-5)


def test_half_precision_is_compared_in_single():
    x = a_batch().astype(jnp.bfloat16)
    assert both(x).dtype == jnp.float32
    np.testing.assert_allclose(both(x), both(x.astype(np.float32)), rtol=1e-6)


def test_1_2_and_4_devices_give_one_loss_and_one_gradient():
    x, positive, half = shuffled(3)
    weight = np.eye(5, dtype=np.float32) + 0.1

    def mapped(w, batch):
        def loss(w):
            z, positive, half = parallel.gather((batch["x"] @ w, batch["positive"], batch["half"]))
            (first, told), (second, more) = contrastive(z, positive), cosine_margin(z, positive, half)
            return first + second, told | more

        (value, told), slope = jax.value_and_grad(loss, has_aux=True)(w)
        sums = parallel.psum(told)
        return value, {name: total / count for name, (total, count) in sums.items()}, parallel.pmean(slope)

    value, slope = jax.jit(jax.value_and_grad(lambda w: both(x @ w, positive, half)))(weight)
    for count in (1, 2, 4):
        devices = parallel.all_devices()[:count]
        batch = parallel.shard({"x": x, "positive": positive, "half": half}, devices)
        found = parallel.unreplicate(parallel.map_step(mapped, devices=devices)(
            parallel.replicate(weight, devices), batch))
        np.testing.assert_allclose(found[0], value, rtol=1e-5)
        np.testing.assert_allclose(found[1]["contrastive"] + found[1]["cosine_margin"], value, rtol=1e-5)
        np.testing.assert_allclose([found[1][name] for name in NAMES], similarity_loop(x @ weight, positive),
                                   rtol=1e-4)
        np.testing.assert_allclose(found[2], slope, rtol=1e-4, atol=1e-6)


def test_descent_draws_the_emotion_together_and_apart_from_the_rest():
    x = np.random.default_rng(5).standard_normal((SIZE, 5)).astype(np.float32)
    start = similarity_loop(x, POSITIVE)
    first = slope_of_both(x)[0]
    for _ in range(100):
        loss, slope = slope_of_both(x)
        x = x - np.asarray(slope)
    assert loss < first / 10
    alike, apart = similarity_loop(x, POSITIVE)
    assert alike > 0.7 > 0.4 > apart
    assert start[0] < 0.3


def test_wrong_arguments_are_refused():
    x = a_batch()
    with pytest.raises(ValueError, match=r"x \(16, 5\) must be \[N, D\] and positive \(8,\)"):
        contrastive(x, POSITIVE[:8])
    with pytest.raises(ValueError, match=r"x \(16,\)"):
        contrastive(x[:, 0], POSITIVE)
    with pytest.raises(ValueError, match=r"half \(8,\)"):
        cosine_margin(x, POSITIVE, HALF[:8])
    with pytest.raises(ValueError, match="N divisible by 4"):
        cosine_margin(x[:6], POSITIVE[:6], HALF[:6])
    with pytest.raises(ValueError, match="elementwise, all"):
        cosine_margin(x, POSITIVE, HALF, pairing="some")
