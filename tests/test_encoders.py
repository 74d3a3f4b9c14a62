"""Encoders in two parts: together they are the whole network, and padding does not reach what counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax import checkpoint, encoders, pretrained
from sercl_jax.encoders import CpcEncoder, TransformerEncoder
from sercl_jax.errors import UserError
from sercl_jax.models import cpc
from sercl_jax.models.speech_config import NAMED
from sercl_jax.models.speech_encoder import SpeechEncoder

pytestmark = pytest.mark.usefixtures("quick_compilation")
SETTINGS = cpc.CpcSettings(channels=6, context=5, future=2, negatives=3)
COUNTS = np.array([4000, 2700, 3333], np.int32)


@pytest.fixture(scope="module")
def waveform():
    """[3, 4000], with garbage after the valid samples."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (3, 4000)).astype(np.float32)


def _both_parts(encoder, params, waveform, counts):
    frozen, trained = encoder.split(params)
    assert encoder.join(frozen, trained).keys() <= params.keys()
    x = encoder.features(frozen, jnp.asarray(waveform), jnp.asarray(counts))
    frames = np.array([encoder.frames(int(n)) for n in counts])
    mask = np.arange(x.shape[1])[None] < frames[:, None]
    return [np.asarray(layer) for layer in encoder.layers(trained, x, jnp.asarray(mask))], frames


def test_cpc_in_two_parts_is_the_network_on_each_utterance_alone(waveform):
    params = cpc.initializer(SETTINGS)(jax.random.key(0), {})["params"]
    (z, c), frames = _both_parts(CpcEncoder(SETTINGS), params, waveform, COUNTS)
    assert frames.tolist() == [25, 16, 20]
    for row, count in enumerate(COUNTS):
        alone = cpc.Cpc(SETTINGS).apply({"params": params}, waveform[row:row + 1, :count])
        for found, expected in zip((z, c), alone, strict=True):
            np.testing.assert_allclose(found[row, :frames[row]], expected[0], atol=1e-5)


def test_a_transformer_in_two_parts_is_the_network_on_each_utterance_alone(waveform):
    module, variables = pretrained.random_encoder(NAMED["tiny"], 0)
    layers, frames = _both_parts(TransformerEncoder(NAMED["tiny"]), variables["params"], waveform, COUNTS)
    assert len(layers) == NAMED["tiny"].num_hidden_layers + 1
    for row, count in enumerate(COUNTS):
        alone = module.apply(variables, waveform[row:row + 1, :count], np.ones((1, count), bool))
        assert frames[row] == alone.mask.sum()
        for found, expected in zip(layers, alone.hidden_states, strict=True):
            np.testing.assert_allclose(found[row, :frames[row]], expected[0], atol=1e-4)


def test_what_is_shorter_than_a_frame_has_one():
    encoder, params = encoders.load("tiny", "", 0)
    assert encoder.frames(1) == 1
    frozen, _ = encoder.split(params)
    x = encoder.features(frozen, jnp.zeros((1, 1000)).at[0, 0].set(0.5), jnp.array([1]))
    assert np.isfinite(x[0, 0]).all()


def test_the_hop_is_that_of_the_frames():
    assert TransformerEncoder(NAMED["wavlm-base"]).hop == pytest.approx(0.02)
    assert CpcEncoder(SETTINGS).hop == pytest.approx(0.01)


def test_published_weights_are_found_by_kind_in_a_folder(tmp_path, monkeypatch):
    small = NAMED["tiny"]
    monkeypatch.setattr(encoders, "NAMED", {**NAMED, "wavlm-base-plus": small})
    _, variables = pretrained.random_encoder(small, 3)
    pretrained.save_encoder(tmp_path / "wavlm-base-plus", small, variables)
    for path in (tmp_path, tmp_path / "wavlm-base-plus"):
        encoder, params = encoders.load("wavlm-base-plus", str(path), 0, dtype="bfloat16")
        assert encoder == TransformerEncoder(encoder.config, "bfloat16")
        jax.tree.map(np.testing.assert_array_equal, params, variables["params"])
    assert encoders.key("wavlm-base-plus", str(tmp_path)) == encoders.key("wavlm-base-plus", str(path))


def test_another_network_than_its_kind_says_is_refused(tmp_path):
    pretrained.save_encoder(tmp_path / "x", NAMED["tiny"], pretrained.random_encoder(NAMED["tiny"], 0)[1])
    with pytest.raises(UserError, match="hidden_size=32; encoder=wavlm-base-plus has 768"):
        encoders.load("wavlm-base-plus", str(tmp_path / "x"), 0)


@pytest.mark.parametrize(("kind", "words"), [("wavlm-bass", "Did you mean 'wavlm-base'"),
                                             ("cpc", "encoder=cpc needs --config.encoder.path")])
def test_what_cannot_be_loaded_is_named(kind, words):
    with pytest.raises(UserError, match=words):
        encoders.load(kind, "", 0)


def test_a_pre_trained_cpc_is_taken_from_its_workdir(tmp_path):
    params = cpc.initializer(SETTINGS)(jax.random.key(0), {})["params"]
    checkpoint.save_model(tmp_path / "models" / "seed0", {"params": params}, {}, {
        "settings": {"channels": 6, "context": 5, "future": 2, "negatives": 3}, "corpus": "x", "corpus_key": "y"})
    encoder, found = encoders.load("cpc", str(tmp_path), 0)
    assert encoder == CpcEncoder(SETTINGS)
    jax.tree.map(np.testing.assert_array_equal, found, params)


def test_settings_that_differ_in_computation_do_not_share_a_step():
    base = TransformerEncoder(NAMED["tiny"])
    others = TransformerEncoder(NAMED["tiny"], "bfloat16"), TransformerEncoder(NAMED["tiny"], remat=True)
    assert len({base, *others}) == 3
    assert SpeechEncoder(base.config) == SpeechEncoder(base.config)
