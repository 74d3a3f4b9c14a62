"""The device's IS10 descriptors against the NumPy ones and openSMILE, whatever the padding and the other rows."""

import importlib.util
import io
import zipfile
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from test_features_opensmile import MADE, RATE
from test_features_pitch import pulses

from sercl_jax import features
from sercl_jax.features import frames, jax_frames, jax_is10

needs_opensmile = pytest.mark.skipif(importlib.util.find_spec("opensmile") is None,
                                     reason="openSMILE is not installed: agreement with it was NOT tested")
pytestmark = pytest.mark.usefixtures("quick_compilation")
ROWS, SAMPLES = 8, 24_000  # one shape for all, so that it compiles once


@pytest.fixture(scope="module")
def describe(quick_compilation: None):
    """Describes up to 8 utterances of up to 24,000 samples in one batch: a list of [T, 76]."""
    compiled = jax.jit(jax_is10.describe)

    def run(signals: list[np.ndarray], junk: float = 0) -> list[np.ndarray]:
        waveforms = np.random.default_rng(9).normal(0, junk, (ROWS, SAMPLES)).astype(np.int16)
        lengths = np.full(ROWS, SAMPLES, np.int32)
        for row, signal in enumerate(signals):
            waveforms[row, :len(signal)] = signal
            lengths[row] = len(signal)
        values, valid = (np.asarray(part) for part in compiled(waveforms, lengths))
        assert values.shape == (ROWS, 145, 76)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert not values[~valid].any()
        return [values[row][valid[row]] for row in range(len(signals))]

    return run


def voiced(samples: int, seed: int = 0) -> np.ndarray:
    """Irregular pulses and noise, 16 bit."""
    rng = np.random.default_rng(seed)
    signal = pulses(rng.normal(RATE / rng.uniform(90, 400), 1.5, 600))[:samples]
    return np.round(20_000 * signal + rng.normal(0, 100, samples)).astype(np.int16)


def assert_same(ours: np.ndarray, reference: np.ndarray, tolerance: float = 2e-3) -> None:
    """Equal in units of what each descriptor usually varies by."""
    scale = np.array([1, *[15] * 15, *[4] * 8, *[0.15] * 8, 100, 0.3, 100, 0.02, 0.02, 0.1])
    assert ours.shape == reference.shape
    np.testing.assert_allclose(ours / np.tile(scale, 2), reference / np.tile(scale, 2), atol=tolerance)


def test_made_signals_are_described_as_by_numpy(describe):
    signals = [signal.astype(np.int16) for signal in MADE.values()]
    for kind, signal, ours in zip(MADE, signals, describe(signals), strict=True):
        reference = features.describe(signal, "is10_librosa")
        # Where there is one frequency only, linear prediction is nearly singular.
        assert_same(ours, reference, 0.05 if kind in ("constant", "sine") else 2e-3)


@needs_opensmile
def test_pulses_are_described_as_by_opensmile(describe):
    signals = [voiced(16_000, seed) for seed in range(8)]
    for signal, ours in zip(signals, describe(signals), strict=True):
        reference = features.describe(signal, "is10")
        assert (reference[:, 35:38] > 0).mean() > 0.4  # there is jitter and shimmer to compare
        assert_same(ours, reference)


@needs_opensmile
def test_real_speech_is_described_as_by_opensmile(describe, shared_corpora: Path):
    with zipfile.ZipFile(shared_corpora / "emodb-download.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".wav"))[::535 // ROWS][:ROWS]
        signals = [soundfile.read(io.BytesIO(archive.read(name)), dtype="int16")[0][:SAMPLES] for name in names]
    ours, theirs = (np.concatenate(part) for part in (
        describe(signals), [features.describe(signal, "is10") for signal in signals]))
    for k, name in enumerate(features.feature_names("is10")):
        assert np.corrcoef(ours[:, k], theirs[:, k])[0, 1] > 0.9999, name


@pytest.mark.parametrize("group", [(0, 1, 159, 399, 400, 559, 560, 959), (960, 1119, 1120, 1121, 1280, 4000, 23_999)])
def test_any_length_has_the_frames_that_numpy_finds(describe, group: tuple[int, ...]):
    signals = [voiced(SAMPLES)[:samples] for samples in group]
    for signal, ours in zip(signals, describe(signals, junk=3000), strict=True):
        assert len(ours) == frames.count(len(signal), frames.LONG)
        assert_same(ours, features.describe(signal, "is10_librosa"))


def test_padding_and_neighbours_change_nothing(describe):
    signals = [voiced(samples, seed) for seed, samples in enumerate((2000, 5000, 9999, SAMPLES, 700, 12_345))]
    together = describe(signals, junk=3000)
    for k, signal in enumerate(signals):
        for alone in (describe([signal])[0], describe([signals[-1 - k], MADE["noise"], signal])[2]):
            np.testing.assert_allclose(alone, together[k], rtol=1e-5, atol=1e-5)


def test_silence_is_steady(describe):
    values = describe([np.zeros(16_000, np.int16)])[0]
    assert (values == values[0]).all()
    assert not values[:, 38:].any()


def test_long_rows_are_worked_on_in_blocks(monkeypatch: pytest.MonkeyPatch):
    signal = jax_frames.to_float(jnp.stack([voiced(16_000), voiced(16_000, 1)]))
    whole = jax.jit(lambda s: jax_is10._of_single_frames(s))(signal)
    monkeypatch.setattr(jax_is10, "_BLOCK", 40)
    for one, other in zip(whole, jax.jit(lambda s: jax_is10._of_single_frames(s))(signal), strict=True):
        assert one.shape[:2] == (2, 100)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def test_log_mel_is_numpy_s():
    signals = [voiced(3000), voiced(1000, 1)]
    waveforms = np.zeros((2, 3000), np.int16)
    for row, signal in enumerate(signals):
        waveforms[row, :len(signal)] = signal
    waveforms[1, 1000:] = 12_345
    lengths = jnp.array([3000, 1000])
    values, valid = (np.asarray(part) for part in jax.jit(jax_is10.log_mel)(waveforms, lengths))
    for row, signal in enumerate(signals):
        np.testing.assert_allclose(values[row][valid[row]], features.describe(signal, "logmel"), atol=1e-4)
    assert not values[~valid].any()
    floats = jax.jit(jax_is10.log_mel)((waveforms / 32768).astype(np.float32), lengths)[0]
    np.testing.assert_allclose(floats, values, atol=1e-5)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_have_every_operation(platform: str):
    waveforms, lengths = jax.ShapeDtypeStruct((2, 16_000), jnp.int16), jax.ShapeDtypeStruct((2,), jnp.int32)
    exported = jax.export.export(jax.jit(jax_is10.describe), platforms=[platform])(waveforms, lengths)
    assert exported.out_avals[0].shape == (2, 95, 76)
    assert "f64" not in exported.mlir_module()
