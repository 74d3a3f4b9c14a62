"""Functionals of frames against loops and scipy, and at the edges: one frame, no voice, flat tracks."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax.errors import UserError
from sercl_jax.functionals import STATISTICS, functional_names, functionals

TRACKS = ("pcm_loudness", "F0final", "jitterLocal", "mfcc[0]_de", "F0final_de")
VOICE_ONLY = ("F0final", "jitterLocal", "F0final_de")


def _frames(count, seed):
    """Tracks of unlike scales and shapes, with about a third of the frames unvoiced."""
    rng = np.random.default_rng(seed)
    frames = rng.gamma(2.0, size=(count, len(TRACKS))) * [1, 100, 0.01, 1, 5] + [0, 50, 0, -3, -10]
    frames[rng.random(count) < 0.35, 1] = 0
    return frames


def _named(frames, names=TRACKS):
    return dict(zip(functional_names(names), functionals(frames, names), strict=True))


def _expected(track):
    """Every statistic of one track, one at a time."""
    count = len(track)
    time = np.arange(count) / max(count - 1, 1)
    ordered = np.sort(track)

    def percentile(p):
        place = p / 100 * (count - 1)
        below = int(place)
        return ordered[below] + (place - below) * (ordered[min(below + 1, count - 1)] - ordered[below])

    slope, offset = scipy.stats.linregress(time, track)[:2] if count > 1 else (0.0, track[0])
    low, high = track.min(), track.max()
    expected = {
        "mean": sum(track) / count,
        "std": (sum((v - sum(track) / count) ** 2 for v in track) / count) ** 0.5,
        "skewness": scipy.stats.skew(track) if count > 1 else 0.0,
        "kurtosis": scipy.stats.kurtosis(track, fisher=False) if count > 1 else 0.0,
        "iqr12": percentile(50) - percentile(25),
        "iqr23": percentile(75) - percentile(50),
        "iqr13": percentile(75) - percentile(25),
        "range": percentile(99) - percentile(1),
        "maxpos": time[list(track).index(high)],
        "minpos": time[list(track).index(low)],
        "slope": slope,
        "offset": offset,
        "linear_error": sum(abs(v - offset - slope * t) for v, t in zip(track, time, strict=True)) / count,
    }
    expected |= {f"percentile{p}": percentile(p) for p in (1, 25, 50, 75, 99)}
    return expected | {f"uplevel{p}": sum(v > low + p / 100 * (high - low) for v in track) / count
                       for p in (25, 50, 75, 90)}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(0, 10**6))
def test_every_statistic_is_that_of_a_loop_over_the_track(count, seed):
    frames = _frames(count, seed)
    found = _named(frames)
    for column, name in enumerate(TRACKS):
        track = frames[frames[:, 1] != 0, column] if name in VOICE_ONLY else frames[:, column]
        expected = _expected(track) if len(track) else dict.fromkeys(STATISTICS, 0.0)
        assert sorted(expected) == sorted(STATISTICS)
        scale = max(np.abs(track).max(), 1e-9) if len(track) else 1
        for statistic, value in expected.items():
            # Lengths are of the track's own size; moments, positions and shares are of size 1.
            size = 1 if statistic in ("skewness", "kurtosis") or "pos" in statistic or "up" in statistic else scale
            assert found[f"{statistic}({name})"] == pytest.approx(value, rel=1e-4, abs=1e-5 * size), (statistic, name)


def test_the_utterance_is_described_by_its_voiced_segments():
    frames = np.ones((9, 2))
    frames[:, 1] = [0, 120, 130, 0, 0, 110, 0, 90, 95]
    found = _named(frames, ("pcm_loudness", "F0final"))
    assert found["log_frames"] == pytest.approx(np.log(9))
    assert found["voiced_segments"] == 3
    assert found["voiced_ratio"] == pytest.approx(5 / 9)
    assert found["mean_voiced_segment"] == pytest.approx(5 / 3)
    assert found["mean(F0final)"] == pytest.approx(np.mean([120, 130, 110, 90, 95]))


def test_without_a_pitch_track_every_frame_counts_and_only_the_length_is_added():
    frames = np.zeros((4, 1))
    frames[1:, 0] = [1, 2, 3]
    names = ("jitterLocal",)
    assert functional_names(names)[-1] == "log_frames"
    assert _named(frames, names)["mean(jitterLocal)"] == pytest.approx(1.5)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_scale_and_level_change_sizes_but_not_shapes(scale, level):
    """A standardised classifier is thus told the same by frames as extracted and by standardised ones."""
    frames = _frames(60, 3)[:, [0, 3]]
    names = ("a", "b")
    before, after = _named(frames, names), _named(frames * scale + level, names)
    for name, value in before.items():
        statistic = name.split("(")[0]
        if statistic in ("mean", "offset") or statistic.startswith("percentile"):
            value = value * scale + level
        elif statistic in ("std", "range", "slope", "linear_error") or statistic.startswith("iqr"):
            value *= scale
        assert after[name] == pytest.approx(value, rel=1e-3, abs=1e-3 * max(scale, 1)), name


@pytest.mark.parametrize("frames", [
    np.full((1, len(TRACKS)), 3.0),
    np.full((1, len(TRACKS)), 1e8),
    np.zeros((1, len(TRACKS))),
    np.zeros((50, len(TRACKS))),
    np.full((50, len(TRACKS)), 0.1),
    np.full((2, len(TRACKS)), -7.0),
], ids=["one frame", "one loud frame", "one silent frame", "silence", "flat", "two equal frames"])
def test_degenerate_utterances_are_finite_and_without_shape(frames):
    found = _named(frames)
    assert np.isfinite(list(found.values())).all()
    for name, value in found.items():
        if name.startswith(("std", "skewness", "kurtosis", "iqr", "range", "slope", "linear_error", "uplevel")):
            assert abs(value) <= 1e-9, name


def test_an_unvoiced_utterance_has_zeros_for_its_pitch():
    frames = _frames(30, 1)
    frames[:, 1] = 0
    found = _named(frames)
    assert not any(value for name, value in found.items() if any(f"({v})" in name for v in VOICE_ONLY))
    assert found["mean(pcm_loudness)"] > 0
    assert found["voiced_segments"] == found["mean_voiced_segment"] == 0


def test_rows_of_all_lengths_are_alike_in_shape():
    names = functional_names(TRACKS)
    assert len(set(names)) == len(names)
    for count in (1, 2, 500):
        row = functionals(_frames(count, count).astype(np.float32), TRACKS)
        assert row.shape == (len(names),)
        assert row.dtype == np.float32


def test_wrong_input_is_told():
    with pytest.raises(UserError, match="without frames"):
        functionals(np.zeros((0, len(TRACKS))), TRACKS)
    with pytest.raises(ValueError, match=r"\[T, 5\]"):
        functionals(np.zeros((3, 4)), TRACKS)
