"""Spectral descriptors, log mel and shared contours against direct formulas, and what `describe` accepts."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercl_jax import features
from sercl_jax.errors import UserError
from sercl_jax.features import frames, lsp, mel, spectral

RATE = 16_000


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples)


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, features.feature_names("is10_librosa").index(name)]


def direct_power(frame: np.ndarray) -> np.ndarray:
    n = np.arange(len(frame))
    return np.array([abs(np.sum(frame * np.exp(-2j * np.pi * k * n / 512))) ** 2 for k in range(257)])


def direct_bands(power: np.ndarray, count: int, low: float, high: float) -> np.ndarray:
    def to_mel(hz: float) -> float:
        return 1127 * np.log(1 + hz / 700)

    edges = [to_mel(low) + i * (to_mel(high) - to_mel(low)) / (count + 1) for i in range(count + 2)]
    bands = np.zeros(count)
    for k in range(257):
        if not round(low / 31.25) < k < round(high / 31.25):
            continue
        m = to_mel(k * 31.25)
        for b in range(count):
            if edges[b] <= m <= edges[b + 1]:
                bands[b] += power[k] * (m - edges[b]) / (edges[b + 1] - edges[b])
            elif edges[b + 1] < m <= edges[b + 2]:
                bands[b] += power[k] * (edges[b + 2] - m) / (edges[b + 2] - edges[b + 1])
    return bands


def test_mfcc_loudness_and_mel_bands_follow_their_formulas():
    signal = noise(1200)
    rows = spectral.descriptors(signal, 3)
    window = [0.54 - 0.46 * np.cos(2 * np.pi * n / 399) for n in range(400)]
    for t in range(3):
        cut = signal[160 * t:160 * t + 400]
        emphasised = [cut[n] - 0.97 * cut[max(n - 1, 0)] for n in range(400)]
        power = direct_power(np.multiply(emphasised, window))
        logs = np.log(direct_bands(power, 26, 20, 8000))
        for i in range(15):
            value = np.sqrt(2 / 26) * sum(logs[m] * np.cos(np.pi * i / 26 * (m + 0.5)) for m in range(26))
            assert rows[t, 1 + i] == pytest.approx(value * (1 + 11 * np.sin(np.pi * i / 22)), rel=1e-8, abs=1e-8)
        np.testing.assert_allclose(rows[t, 16:24], np.log(direct_bands(power, 8, 20, 6500)), rtol=1e-9)
        loudness = (window[0] * cut[0] ** 2 / sum(window) / 1e-6) ** 0.3
        assert rows[t, 0] == pytest.approx(loudness, rel=1e-12)


def test_logmel_follows_its_formula():
    signal = noise(800, seed=1)
    rows = features.describe(signal * 32767 / 32768, "logmel")
    assert rows.shape == (3, 40)
    for t in range(3):
        power = direct_power(signal[160 * t:160 * t + 400] * np.hamming(400))
        np.testing.assert_allclose(rows[t], np.log(direct_bands(power, 40, 20, 8000)), rtol=1e-5, atol=1e-5)


def test_filters_of_neighbouring_bands_add_up_to_one():
    weights = mel.filterbank(26, 512, 20.0, 8000.0)
    peaks = weights.argmax(0)
    np.testing.assert_allclose(weights[peaks[0]:peaks[-1]].sum(1), 1)
    assert (weights >= 0).all()


@given(st.lists(st.floats(-0.95, 0.95), min_size=8, max_size=8))
def test_line_spectral_frequencies_are_the_unit_circle_roots(reflections: list[float]):
    a = np.ones(1)
    for k in reflections:  # step-up recursion: any |k| < 1 gives a minimum phase polynomial
        a = np.append(a, 0) + k * np.append(0, a[::-1])
    found = lsp.from_polynomial(a[None])[0]
    assert (np.diff(found) > -1e-9).all()
    padded = np.append(a, 0)
    for sign, own in ((1, found[0::2]), (-1, found[1::2])):  # the two polynomials' roots interlace
        polynomial = padded + sign * padded[::-1]
        values = np.polyval(polynomial, np.exp(1j * own))
        assert np.abs(values).max() < 1e-6 * np.abs(polynomial).sum()


def test_line_spectral_frequencies_of_a_known_filter_and_of_silence():
    flat = np.pi * np.arange(1, 9) / 9
    np.testing.assert_allclose(lsp.from_polynomial(np.eye(1, 9)), flat[None], atol=1e-12)
    np.testing.assert_allclose(lsp.line_spectral_frequencies(np.zeros((2, 400))), [flat, flat], atol=1e-12)
    # A sharp resonance pulls two neighbours close around its frequency.
    resonance = np.convolve([1, -2 * 0.98 * np.cos(1.1), 0.98**2], np.eye(1, 7)[0])
    found = lsp.from_polynomial(resonance[None])[0]
    nearest = np.sort(np.abs(found - 1.1))
    assert nearest[1] < 0.1 < nearest[2]


def test_linear_prediction_solves_the_normal_equations():
    signal = np.convolve(noise(600), [1, 0.5, -0.3, 0.2])[None]
    a = lsp.linear_prediction(signal, 8)[0]
    r = np.array([np.sum(signal[0, lag:] * signal[0, :signal.shape[1] - lag]) for lag in range(9)])
    toeplitz = np.array([[r[abs(i - j)] for j in range(8)] for i in range(8)])
    np.testing.assert_allclose(a[1:], np.linalg.solve(toeplitz, -r[1:]), rtol=1e-8)


def test_low_frequencies_resample_to_11_khz():
    # Below the 4.25 kHz limit the resampled frame is the same tone at 11 kHz.
    n = np.arange(400)
    window = np.hanning(400)
    tone = window * np.cos(2 * np.pi * 1000 * n / RATE)
    m = np.arange(275) * RATE / 11_000
    expected = np.interp(m, n, window) * np.cos(2 * np.pi * 1000 * m / RATE)
    np.testing.assert_allclose((tone[None] @ lsp.resampler())[0], expected, atol=2e-3)


def test_deltas_and_smoothing_follow_their_formulas():
    values = noise(90).reshape(30, 3)
    smooth, delta = frames.smooth(values), frames.delta(values)
    for t in range(30):
        def at(k: int, t: int = t) -> np.ndarray:
            return values[min(max(t + k, 0), 29)]

        np.testing.assert_allclose(smooth[t], (at(-1) + at(0) + at(1)) / 3)
        np.testing.assert_allclose(delta[t], (at(1) - at(-1) + 2 * (at(2) - at(-2))) / 10, atol=1e-15)


def test_deltas_are_those_of_the_descriptors():
    values = features.describe(noise(RATE), "is10_librosa")
    np.testing.assert_allclose(values[:, 38:], frames.delta(values[:, :38]), atol=1e-4)


def test_names():
    names = features.feature_names("is10_librosa")
    assert names == features.feature_names("is10")
    assert len(names) == len(set(names)) == 76
    assert names[0] == "pcm_loudness"
    assert names[34] == "F0final"
    assert names[38:] == tuple(f"{name}_de" for name in names[:38])
    assert len(features.feature_names("logmel")) == 40
    with pytest.raises(UserError, match=r"mfcc.*is10_librosa, is10_jax, is10, logmel"):
        features.feature_names("mfcc")


@pytest.mark.parametrize("name", ["is10_librosa", "logmel"])
@pytest.mark.parametrize("samples", [0, 1, 159, 399, 400, 559, 560, 959, 960, 1119, 1120, 1280, 4000])
def test_any_length_gives_finite_frames(name: str, samples: int):
    length = 400 if name == "logmel" else 960
    for signal in (noise(samples), np.zeros(samples), np.full(samples, 1.0)):
        values = features.describe(signal, name)
        assert values.dtype == np.float32
        assert values.shape == (max(1, 1 + (samples - length) // 160), len(features.feature_names(name)))
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", ["is10_librosa", "logmel"])
def test_integers_and_floats_of_the_same_samples_agree(name: str):
    integers = (noise(8000) * 20_000).astype(np.int16)
    np.testing.assert_allclose(features.describe(integers, name),
                               features.describe((integers / 32768).astype(np.float32), name), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["is10_librosa", "logmel"])
def test_long_recordings_are_worked_on_in_blocks(name: str, monkeypatch: pytest.MonkeyPatch):
    signal = noise(20_000) + 0.2 * np.sin(np.arange(20_000) * 0.08)
    whole = features.describe(signal, name)
    monkeypatch.setattr(frames, "BLOCK", 7)
    np.testing.assert_allclose(features.describe(signal, name), whole, rtol=1e-5, atol=1e-5)


def test_silence_is_unvoiced_and_steady():
    values = features.describe(np.zeros(RATE, np.int16), "is10_librosa")
    assert (values == values[0]).all()
    assert not column(values, "F0final").any()
    assert not values[:, 38:].any()


@pytest.mark.parametrize(("signal", "message"), [
    (np.array([0.1, np.nan, np.inf, 0.2]), "2 of the waveform's 4 samples are NaN"),
    (np.zeros((2, 100)), "shape \\(2, 100\\)"),
    (np.zeros(100, np.int32), "int32"),
])
def test_unusable_waveforms_are_refused(signal: np.ndarray, message: str):
    with pytest.raises(UserError, match=message):
        features.describe(signal, "logmel")


def test_workers_need_neither_jax_nor_librosa():
    code = ("import sys; from sercl_jax import features; import numpy as np; features.describe(np.ones(2000), "
            "'is10_librosa'); print(sorted({'jax', 'librosa', 'numba', 'opensmile', 'pandas'} & set(sys.modules)))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
