"""CPC and recognizer end to end: one loss of both, whatever the number of devices, and no repeat is recognized."""

import jax
import numpy as np
import pytest
from mapped import step

from sercl_jax import parallel
from sercl_jax.methods import cpc
from sercl_jax.models.cpc import CpcSettings, cpc_loss, initializer
from sercl_jax.models.recognizer import Recognizer, RecognizerSettings

pytestmark = pytest.mark.usefixtures("quick_compilation")
NETWORK = CpcSettings(channels=6, context=5, future=2, negatives=3, share=4)
RECOGNIZER = RecognizerSettings(heads=2, head_dim=3, hidden=7)
FRAMES, WEIGHT = 8, 0.5


@pytest.fixture(scope="module")
def params():
    c, mask = np.zeros((1, 1, 5), np.float32), np.ones((1, 1), bool)
    return {"cpc": initializer(NETWORK)(jax.random.key(0), {})["params"],
            "recognizer": jax.jit(Recognizer(RECOGNIZER).init)(jax.random.key(1), c, mask, None)["params"]}


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {"waveform": rng.integers(-9000, 9000, (8, FRAMES * 160)).astype(np.int16),
            "frames": np.array([8, 8, 5, 3, 8, 7, 8, 8], np.int32), "index": np.arange(40, 48, dtype=np.int32),
            "valid": np.arange(8) != 6, "target": rng.standard_normal((8, 3)).astype(np.float32),
            "rated": rng.random((8, 3)) < 0.8}


def test_the_loss_is_the_sum_of_both_on_any_number_of_devices(params, batch):
    one, four = (step(cpc.joint_loss(NETWORK, RECOGNIZER, WEIGHT), params, batch, n) for n in (1, 4))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(one[2]))
    # A metric that every device has whole counts once for each of them.
    assert {name: np.divide(*x) for name, x in one[1].items()} == pytest.approx(
        {name: np.divide(*x) for name, x in four[1].items()}, abs=1e-5)
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-3, atol=1e-5), (four[0], four[2]),
                 (one[0], one[2]))
    contrastive = step(cpc_loss(NETWORK), params["cpc"], batch, 1)
    agreement = np.mean([np.divide(*one[1][f"ccc_{name}"]) for name in ("act", "val", "dom")])
    assert one[0] == pytest.approx(1 - agreement + WEIGHT * contrastive[0], abs=1e-5)
    np.testing.assert_array_equal(one[1]["identified"], contrastive[1]["identified"])


def test_what_repeats_an_utterance_is_not_recognized(params, batch):
    arrays = {name: batch[name] for name in ("waveform", "frames")}
    other = batch["waveform"].copy()
    for row, frames in enumerate(batch["frames"]):
        other[row, frames * 160:] = 0
    found, expected = (parallel.apply_in_batches(
        cpc.joint_predictor(NETWORK, RECOGNIZER), {"params": params}, arrays | {"waveform": waveform}, 8)
        for waveform in (batch["waveform"], other))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    whole = parallel.apply_in_batches(cpc.joint_predictor(NETWORK, RECOGNIZER), {"params": params},
                                      arrays | {"frames": np.full(8, FRAMES)}, 8)
    assert (np.abs(whole - expected).max(1) > 1e-5).tolist() == (batch["frames"] < FRAMES).tolist()
