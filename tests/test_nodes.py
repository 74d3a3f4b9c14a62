"""Frames to nodes: averaging, padding and standardising, against loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercl_jax import nodes
from sercl_jax.types import Frames


def _frames(*utterances, names=("a", "F0final")):
    offsets = np.cumsum([0, *(len(u) for u in utterances)])
    return Frames(np.concatenate(utterances).astype(np.float32), offsets, names, 0.01, "key")


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 10**6))
def test_averages_are_those_of_a_loop_over_groups(count, limit, seed):
    rng = np.random.default_rng(seed)
    frames = rng.normal(size=(count, 2)).astype(np.float32)
    frames[rng.random(count) < 0.4, 1] = 0  # unvoiced
    found = nodes.average_frames(frames, limit, voiced_only=(1,))
    assert len(found) == min(count, limit)
    edges = [(i * count) // len(found) for i in range(len(found) + 1)]
    for i, row in enumerate(found):
        group = frames[edges[i]:edges[i + 1]].astype(np.float64)
        assert row[0] == pytest.approx(group[:, 0].mean(), rel=1e-5, abs=1e-6)
        voiced = group[group[:, 1] != 0, 1]
        assert row[1] == pytest.approx(voiced.mean() if len(voiced) else 0, rel=1e-4, abs=1e-5)


@given(st.integers(2, 500), st.integers(1, 40))
def test_groups_differ_in_length_by_one_frame_at_most(count, limit):
    averaged = nodes.average_frames(np.arange(count, dtype=np.float64)[:, None], limit)[:, 0]
    # The mean of consecutive integers a..b is (a + b) / 2, so differences tell the lengths.
    lengths = np.diff(np.append((np.arange(len(averaged)) * count) // len(averaged), count))
    assert lengths.max() - lengths.min() <= 1
    assert averaged @ lengths == pytest.approx(count * (count - 1) / 2)


def test_padding_follows_real_nodes_and_stays_zero_when_standardised():
    built = nodes.build(_frames(np.full((2, 2), 3.0), np.random.default_rng(0).normal(size=(9, 2))), nodes=5)
    assert built.mask.tolist() == [[True, True, False, False, False], [True] * 5]
    assert (built.x[~built.mask] == 0).all()
    x = nodes.standardise(built, np.array([0, 1]))
    assert (x[~built.mask] == 0).all()
    np.testing.assert_allclose(x[built.mask].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(x[built.mask].std(0), 1, atol=1e-5)


def test_only_training_utterances_decide_the_global_statistics():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    x = nodes.standardise(nodes.build(_frames(first, second), 6), np.array([0]))
    moved = nodes.standardise(nodes.build(_frames(first, second * 9 + 4), 6), np.array([0]))
    np.testing.assert_array_equal(x[0], moved[0])
    assert not np.allclose(x[1], moved[1])


def test_each_speaker_is_standardised_alone():
    rng = np.random.default_rng(2)
    utterances = [rng.normal(size=(6, 2)) * (1 + u) + u for u in range(4)]
    speakers = np.array(["x", "y", "x", "y"])
    x = nodes.standardise(nodes.build(_frames(*utterances), 6), np.array([0, 1, 2, 3]), speakers)
    for speaker in "xy":
        own = x[speakers == speaker].reshape(-1, 2)
        np.testing.assert_allclose(own.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(own.std(0), 1, atol=1e-5)


def test_a_constant_feature_becomes_zero_and_not_noise():
    frames = np.stack([np.full(8, 1e6) + 1e-4 * np.arange(8), np.arange(8.0)], 1)
    x = nodes.standardise(nodes.build(_frames(frames), 8), np.array([0]))
    assert np.abs(x[0, :, 0]).max() < 1


def test_mean_and_deviation_ignore_padding():
    rng = np.random.default_rng(3)
    short = rng.normal(size=(3, 2)).astype(np.float32)
    found = nodes.mean_and_deviation(nodes.build(_frames(short, rng.normal(size=(7, 2))), 7))
    np.testing.assert_allclose(found[0], np.concatenate([short.mean(0), short.std(0)]), rtol=1e-4, atol=1e-5)
