"""Pitch, jitter and shimmer against signals whose values are known by construction."""

import numpy as np
import pytest

from sercl_jax import features
from sercl_jax.features import perturbation, pitch

RATE = 16_000


def pulses(periods: np.ndarray, amplitudes: np.ndarray | None = None) -> np.ndarray:
    """Damped 500 Hz resonances that begin at the end of each period, given in (fractional) samples."""
    marks = np.concatenate([[0], np.cumsum(periods)])
    amplitudes = np.ones(len(marks)) if amplitudes is None else amplitudes
    signal = np.zeros(int(marks[-1]) + 401)
    for amplitude, mark in zip(amplitudes, marks, strict=True):
        first = int(np.ceil(mark))
        since = np.arange(400) + first - mark
        signal[first:first + 400] += 0.3 * amplitude * np.exp(-since / 25) * np.sin(2 * np.pi * 500 * since / RATE)
    return signal


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, features.feature_names("is10_librosa").index(name)]


def jitter_and_shimmer(signal: np.ndarray, period: float) -> np.ndarray:
    """[T, 3] where every frame is known to be voiced, without the onset."""
    return perturbation.perturbation(signal, np.full(len(signal) // 160 - 8, RATE / period))[3:]


@pytest.mark.parametrize("hz", [120, 155, 210, 300, 450, 600])
def test_a_pulse_train_has_its_repetition_rate_as_pitch(hz: int):
    values = features.describe(pulses(np.full(hz, RATE / hz)), "is10_librosa")[4:-4]
    np.testing.assert_allclose(column(values, "F0final"), hz, rtol=0.01)
    np.testing.assert_allclose(column(values, "F0finEnv"), hz, rtol=0.01)
    assert (column(values, "voicingFinalUnclipped") > 0.75).all()


def test_a_missing_fundamental_is_heard():
    t = np.arange(RATE) / RATE
    signal = 0.1 * sum(np.cos(2 * np.pi * 200 * k * t) for k in range(2, 12))
    values = features.describe(signal, "is10_librosa")[4:-4]
    np.testing.assert_allclose(column(values, "F0final"), 200, rtol=0.01)


def test_noise_is_unvoiced():
    values = features.describe(np.random.default_rng(0).normal(0, 0.1, RATE), "is10_librosa")
    assert not column(values, "F0final").any()
    assert not column(values, "jitterLocal").any()
    assert column(values, "voicingFinalUnclipped").mean() < 0.6


def test_the_sum_over_harmonics_follows_its_definition():
    rng = np.random.default_rng(0)
    spectrum = rng.random(513)
    octave = np.log2(25) + np.arange(513) * np.log2(320) / 512
    source = np.log2(np.maximum(np.arange(513) * RATE / 1024, 1e-9))
    source[0] = 2 * source[1] - source[2]
    from scipy.interpolate import CubicSpline

    on_octaves = CubicSpline(source, spectrum, bc_type="natural")(octave)
    expected = np.zeros(513)
    for h in range(1, 16):
        shift = int(np.floor(513 / np.log2(320) * np.log2(h)))
        for j in range(513 - shift):
            expected[j] += 0.85 ** (h - 1) * on_octaves[j + shift] / 15
    np.testing.assert_allclose(spectrum @ pitch.summation(), expected, atol=1e-12)


def test_candidates_are_interpolated_and_kept_in_range():
    position = np.arange(513)

    def hill(centre: float, height: float) -> np.ndarray:
        return np.maximum(height - 0.02 * (position - centre) ** 2, 0)

    step = np.log2(320) / 512
    expected = 25 * 2 ** (step * 180.3)
    assert 52 < expected < 620
    spectrum = np.stack([hill(180.3, 1), hill(180.3, 1) + hill(400, 2), hill(400, 2), np.zeros(513)])
    hz, voicing = pitch.best_candidate(spectrum)
    np.testing.assert_allclose(hz, [expected, expected, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(voicing, [1 - spectrum[0].mean(), 1 - spectrum[1].mean(), 0, 0], rtol=1e-6)


@pytest.mark.parametrize(("raw", "mended"), [
    ([0, 0, 100, 0, 0, 0], [0, 0, 0, 0, 0]),  # a lone voiced frame
    ([0, 0, 100, 101, 0, 0], [0, 0, 100, 101, 0]),
    ([0, 100, 100, 200, 101, 100], [0, 100, 100, 101, 101]),  # an octave up and back
    ([0, 100, 100, 50, 101, 100], [0, 100, 100, 101, 101]),
    ([0, 100, 100, 200, 200, 200], [0, 100, 100, 200, 200]),  # a jump that stays
    ([0, 100, 100, 0, 100, 100], [0, 100, 100, 0, 100]),  # a gap stays
    ([100, 100, 0, 0, 0, 0], [0, 0, 0, 0, 0]),  # the first frame counts as unvoiced
])
def test_single_frame_errors_are_mended(raw: list[float], mended: list[float]):
    np.testing.assert_array_equal(pitch.mend(np.array(raw, float)), mended)


def test_envelope_holds_through_unvoiced_frames():
    np.testing.assert_allclose(pitch.envelope(np.array([0.0, 100, 0, 0, 200, 100])), [0, 100, 100, 100, 125, 118.75])


def test_correlations_of_adjacent_stretches():
    signal = np.random.default_rng(0).normal(size=400)
    windows = np.lib.stride_tricks.sliding_window_view(signal, 120)
    found = perturbation.correlations(windows, 30, 60)
    for n in range(30, 61):
        assert found[n - 30] == pytest.approx(np.corrcoef(signal[:n], signal[n:2 * n])[0, 1], abs=1e-12)


def test_steady_pulses_have_neither_jitter_nor_shimmer():
    assert np.abs(jitter_and_shimmer(pulses(np.full(300, 100.0)), 100)).max() < 1e-6


@pytest.mark.parametrize("expected_period", [100, 118])  # periods are sought within a quarter of it
@pytest.mark.parametrize("deviation", [0.5, 1.0])
def test_jitter_of_independent_periods(deviation: float, expected_period: float):
    periods = np.random.default_rng(1).normal(100, deviation, 1500)
    jitter = jitter_and_shimmer(pulses(periods), expected_period)[:, 0].mean()
    # E|a - b| of two normal variables; the worst matches, which are left out, take a little of it away.
    expected = 2 * deviation / np.sqrt(np.pi) / 100
    assert 0.8 * expected < jitter < 1.05 * expected


def test_jitter_grows_in_proportion_to_the_modulation_of_the_period():
    values = [jitter_and_shimmer(pulses(100 + depth * np.sin(2 * np.pi * np.arange(1500) / 37)), 100)[:, 0].mean()
              for depth in (1, 2, 4)]
    assert values[1] / values[0] == pytest.approx(2, rel=0.1)
    assert values[2] / values[0] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("low", [0.9, 0.8, 0.6])
def test_shimmer_of_alternating_amplitudes(low: float):
    signal = pulses(np.full(400, 100.0), np.where(np.arange(401) % 2, 1, low))
    # Each period still rings when the next begins, which takes a few per cent off.
    np.testing.assert_allclose(jitter_and_shimmer(signal, 100)[:, 2], (1 - low) / ((1 + low) / 2), rtol=0.06)


def test_loudness_does_not_change_jitter_and_shimmer():
    signal = pulses(np.random.default_rng(2).normal(110, 1.5, 300))
    np.testing.assert_allclose(jitter_and_shimmer(signal, 110), jitter_and_shimmer(signal / 4, 110), atol=1e-6)
