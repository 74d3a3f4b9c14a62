"""Hidden states equal those of transformers' models of the same weights (made by make_speech_references.py)."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest
from drawn_weights import LAYOUTS, relative_differences, waveform
from small_encoder import torch_weights, write_checkpoint

from sercl_jax.models.speech_config import SpeechConfig
from sercl_jax.models.speech_encoder import SpeechEncoder
from sercl_jax.pretrained import load_encoder, parameter_shapes
from sercl_jax.weight_names import from_torch

TINY = [name for name in LAYOUTS if name.endswith("-tiny")]
BASE = [name for name in LAYOUTS if name not in TINY]
TOLERANCE = 1e-4
NOISE = 3.0  # what stands where the mask is False


def config_of(name):
    config, normalise, _, _ = LAYOUTS[name]
    return SpeechConfig.from_dict(config, {"do_normalize": normalise})


@functools.cache
def reference(name):
    with np.load(Path(__file__).parent / "testdata" / f"speech_{name}.npz") as file:
        return dict(file)


def batch_of(lengths):
    waveforms = np.full((len(lengths), max(lengths)), NOISE, np.float32)
    for row, samples in zip(waveforms, lengths, strict=True):
        row[:samples] = waveform(samples)
    return waveforms, np.arange(max(lengths)) < np.array(lengths)[:, None]


def check(module, variables, name, lengths):
    _, _, _, every = LAYOUTS[name]
    out = jax.jit(module.apply)(variables, *batch_of(lengths))
    states = np.stack([*out.hidden_states, out.last_hidden_state], 1)  # [B, L + 2, T, D]
    for row, frames, samples in zip(states, np.asarray(out.mask).sum(1), lengths, strict=True):
        expected = reference(name)[f"states_{samples}"]
        assert frames == expected.shape[1]
        worst = relative_differences(row[:, :frames, ::every], expected)
        assert worst.max() < TOLERANCE, np.array_str(worst, precision=2)
        np.testing.assert_allclose(np.linalg.norm(row[:, :frames].astype(np.float64), axis=(1, 2)),
                                   reference(name)[f"norms_{samples}"], rtol=TOLERANCE)


@pytest.fixture(scope="module")
def tiny_encoders(tmp_path_factory):
    """Name -> module and variables, loaded from a folder."""
    encoders = {}
    for name in TINY:
        config, normalise, _, _ = LAYOUTS[name]
        folder = write_checkpoint(tmp_path_factory.mktemp(name), config, normalise, torch_weights(config_of(name)))
        encoders[name] = load_encoder(str(folder))
    return encoders


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("name", TINY)
def test_an_utterance_alone(name, tiny_encoders):
    check(*tiny_encoders[name], name, LAYOUTS[name][2][-2:-1])


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("name", TINY)
def test_each_utterance_of_a_padded_batch(name, tiny_encoders):
    check(*tiny_encoders[name], name, LAYOUTS[name][2])


@pytest.mark.parametrize("name", BASE)
def test_base_size_in_a_padded_batch(name):
    config = config_of(name)
    params = from_torch(torch_weights(config), parameter_shapes(config), name)
    check(SpeechEncoder(config), {"params": params}, name, LAYOUTS[name][2])
