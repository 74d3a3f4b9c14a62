"""InfoNCE of CPC against loops over predictions and negatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax import parallel
from sercl_jax.graphs import utterance_keys
from sercl_jax.losses import cpc_info_nce
from sercl_jax.models.cpc import CpcSettings, global_loss
from sercl_jax.negatives import draw_candidates

pytestmark = pytest.mark.usefixtures("quick_compilation")
draw_compiled = jax.jit(draw_candidates, static_argnames=("length", "draws", "size"))
info_nce = jax.jit(cpc_info_nce, static_argnames="temperature")


def a_case(frames, *, length=11, ahead=3, width=5, size=4, share=4, seed=0, scale=1.0):
    """Predictions [K, B, T, D], latents [B, T, D], candidates [B, K, G, M] and frames [B]."""
    rng = np.random.default_rng(seed)
    batch, groups = len(frames), -(-length // share)
    predictions = rng.standard_normal((ahead, batch, length, width)).astype(np.float32) * np.float32(scale)
    z = rng.standard_normal((batch, length, width)).astype(np.float32)
    keys = utterance_keys(jax.random.key(seed), np.arange(batch))
    candidates = draw_compiled(keys, np.asarray(frames), length=length, draws=ahead * groups, size=size)
    return predictions, z, np.asarray(candidates).reshape(batch, ahead, groups, size), np.asarray(frames)


def loop(predictions, z, candidates, frames, temperature):
    """Losses, identifications and counts, [3, B, K], one prediction after another, in float64."""
    ahead, batch, length, _ = predictions.shape
    share = -(-length // candidates.shape[2])
    sums = np.zeros((3, batch, ahead))
    for b in range(batch):
        n = min(frames[b], length)
        for k in range(1, ahead + 1):
            for t in range(length - k):
                drawn = [i for i in candidates[b, k - 1, t // share] if i >= 0]
                others = [i for i in drawn if i % n != (t + k) % n]
                if len(others) == candidates.shape[3]:
                    others = others[:-1]
                if not others:
                    continue
                made = predictions[k - 1, b, t].astype(np.float64)
                true = made @ z[b, t + k] / temperature
                rest = [made @ z[b, i] / temperature for i in others]
                total = np.logaddexp.reduce([true, *rest])
                sums[:, b, k - 1] += total - true, true > max(rest), 1
    return sums


@pytest.mark.parametrize(("share", "temperature"), [(1, 1.0), (4, 1.0), (4, 0.3), (11, 1.0)])
def test_info_nce_equals_a_loop_over_predictions(share, temperature):
    case = a_case([11, 6, 4, 3, 1, 30], share=share, seed=share)
    found = info_nce(*case, temperature=temperature)
    expected = loop(*case, temperature)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)
    assert (expected[2, 4] == 0).all()  # a single residue has no negatives
    assert (expected[2, 0] == [10, 9, 8]).all()
    assert 0 < expected[1].sum() < expected[2].sum()


def test_gradients_equal_those_of_a_plain_formula():
    """The same loss from a tensor of all negatives, differentiated automatically."""
    predictions, z, candidates, frames = a_case([11, 6, 3], share=4)
    ahead, batch, length, _ = predictions.shape
    rows = []
    for b in range(batch):
        for k in range(1, ahead + 1):
            for t in range(length - k):
                drawn = candidates[b, k - 1, t // 4]
                keep = (drawn >= 0) & (drawn % frames[b] != (t + k) % frames[b])
                keep[-1] &= keep.sum() < len(drawn)
                rows.append((k - 1, b, t, t + k, drawn, keep))
    ks, bs, ts, later, drawn, keep = (np.array(column) for column in zip(*rows, strict=True))

    def naive(predictions, z):
        made = predictions[ks, bs, ts]
        true = (made * z[bs, later]).sum(-1)
        rest = jnp.einsum("rd,rmd->rm", made, z[bs[:, None], drawn])
        rest = jnp.where(keep, rest, -jnp.inf)
        return (jax.nn.logsumexp(jnp.concatenate([true[:, None], rest], 1), axis=1) - true).sum()

    def ours(predictions, z):
        return cpc_info_nce(predictions, z, candidates, frames, temperature=1.0)[0].sum()

    value, slopes = jax.jit(jax.value_and_grad(ours, (0, 1)))(predictions, z)
    expected, expected_slopes = jax.jit(jax.value_and_grad(naive, (0, 1)))(predictions, z)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for found, wanted in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_only_predictions_of_existing_frames_and_their_negatives_have_a_gradient():
    predictions, z, candidates, frames = a_case([11], share=4)
    slope = jax.jit(jax.grad(lambda p: cpc_info_nce(p, z, candidates, frames, temperature=1.0)[0].sum()))(predictions)
    moved = np.abs(slope[:, 0]).max(-1) > 0
    np.testing.assert_array_equal(moved, np.arange(11)[None] + np.arange(1, 4)[:, None] < 11)


def test_large_and_equal_scores():
    predictions, z, candidates, frames = a_case([11, 2], scale=1e4)
    losses, _, count = info_nce(predictions, z, candidates, frames, temperature=1.0)
    np.testing.assert_allclose(losses, loop(predictions, z, candidates, frames, 1.0)[0], rtol=1e-4)
    losses, identified, count = info_nce(predictions, np.zeros_like(z), candidates, frames, temperature=1.0)
    assert (identified == 0).all()  # as high as its negatives is not found
    np.testing.assert_allclose(losses, count * np.log([[4], [2]]), rtol=1e-6)


def test_a_perfect_prediction_identifies():
    z = np.eye(8, dtype=np.float32)[None] * 10
    predictions = np.stack([np.roll(z, -k, 1) for k in (1, 2)])
    _, _, candidates, frames = a_case([8], length=8, ahead=2, share=8)
    losses, identified, count = info_nce(predictions, z, candidates, frames, temperature=1.0)
    np.testing.assert_array_equal(identified, count)
    np.testing.assert_array_equal(count, [[7, 6]])
    assert (losses < 1e-4).all()


def test_scores_of_bfloat16_are_summed_in_float32():
    predictions, z, candidates, frames = a_case([11, 6])
    halves = predictions.astype(jnp.bfloat16), z.astype(jnp.bfloat16)
    found = info_nce(*halves, candidates, frames, temperature=1.0)
    assert all(x.dtype == jnp.float32 for x in found)
    exact = loop(*(x.astype(np.float64) for x in halves), candidates, frames, 1.0)
    np.testing.assert_allclose(found, exact, rtol=1e-4)


@pytest.mark.parametrize(("over_k", "devices"), [("mean", 1), ("sum", 1), ("mean", 4), ("sum", 4)])
def test_the_loss_of_a_batch_is_over_all_its_valid_predictions(over_k, devices):
    """Sums of 8 utterances, two of them padding, k = 3 without a prediction in some: against loops over k."""
    rng = np.random.default_rng(0)
    count = rng.integers(0, 5, (8, 3)).astype(np.float32)
    losses, identified = count * rng.random((8, 3)).astype(np.float32), np.floor(count / 2)
    valid = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
    settings = CpcSettings(future=3, over_k=over_k)
    chosen = jax.devices()[:devices]
    function = parallel.map_step(lambda batch: global_loss(settings, (batch["l"], batch["i"], batch["n"]),
                                                           batch["v"]), devices=chosen)
    value, metrics = function(parallel.shard({"l": losses, "i": identified, "n": count, "v": valid}, chosen))
    means = [losses[valid, k].sum() / count[valid, k].sum() for k in range(3)]
    expected = sum(means) if over_k == "sum" else losses[valid].sum() / count[valid].sum()
    np.testing.assert_allclose(np.asarray(value), expected, rtol=1e-6)
    assert np.asarray(metrics["identified"][1]).sum() == count[valid].sum()
