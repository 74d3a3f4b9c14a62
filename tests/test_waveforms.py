"""Waveforms of one length, cut or repeated, as a function of the step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercl_jax import waveforms
from sercl_jax.errors import UserError


class _Corpus:
    """Waveforms whose samples tell their utterance (thousands) and place."""

    def __init__(self, lengths):
        self.made = [(1000 * (u + 1) + np.arange(n) % 1000).astype(np.int16) for u, n in enumerate(lengths)]

    def waveform(self, u):
        return self.made[u]


@given(length=st.integers(1, 4000), hops=st.integers(1, 20))
def test_what_is_shorter_repeats_itself_on_the_grid_of_frames(length, hops):
    """Sample by sample: frame t is frame t modulo the number of whole frames."""
    waveform = np.random.default_rng(length).integers(-9, 9, length).astype(np.int16)
    made, frames = waveforms.fit(waveform, 160 * hops)
    assert made.shape == (160 * hops,)
    assert made.dtype == np.int16
    assert frames == (hops if length >= 160 * hops else max(length // 160, 1))
    source = np.concatenate([waveform, np.zeros(160, np.int16)])
    for t in range(hops):
        first = 160 * (t % frames)
        assert np.array_equal(made[160 * t:160 * t + 160], source[first:first + 160]), t


@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (1.0, 1000 - 320), (0.5, 340)])
def test_what_is_longer_is_cut(start, first):
    made, frames = waveforms.fit(np.arange(1000, dtype=np.int16), 320, start)
    assert frames == 2
    assert np.array_equal(made, np.arange(first, first + 320))


def test_a_batch_is_a_function_of_seed_and_step():
    corpus = _Corpus([500, 800, 3000, 5000, 700, 900])
    settings = {"batch_size": 2, "seconds": 0.1, "crop": "random"}
    one, other, third = (waveforms.batches(corpus, [0, 2, 3, 5], seed=seed, **settings) for seed in (0, 0, 1))
    for step in (7, 0, 3):
        mine = one(step)
        assert mine["waveform"].shape == (2, 1600)
        assert set(mine["index"]) <= {0, 2, 3, 5}
        for name, values in other(step).items():
            assert np.array_equal(mine[name], values), name
        for waveform, frames, index in zip(mine["waveform"], mine["frames"], mine["index"], strict=True):
            assert set(waveform // 1000) == {index + 1}
            assert frames == min(len(corpus.made[index]) // 160, 10)
    assert any(not np.array_equal(one(step)["waveform"], third(step)["waveform"]) for step in range(3))


def test_random_crops_move_and_crops_at_the_start_do_not():
    corpus = _Corpus([16000])
    for crop, places in (("start", 1), ("random", 8)):
        draw = waveforms.batches(corpus, [0], batch_size=1, seconds=0.1, crop=crop, seed=0)
        assert len({draw(step)["waveform"][0, 0] for step in range(8)}) == places


def test_columns_are_the_beginnings():
    corpus = _Corpus([500, 5000])
    made = waveforms.columns(corpus, np.array([1, 0, 1]), 0.1)
    assert len(made["waveform"]) == 3
    assert made["waveform"][np.array([0, 2])][:, 0].tolist() == [2000, 2000]
    assert made["frames"][np.array([1, 0])].tolist() == [3, 10]


def test_columns_read_a_waveform_once_for_both():
    corpus = _Corpus([500, 5000])
    read = []
    waveform = corpus.waveform
    corpus.waveform = lambda u: read.append(u) or waveform(u)
    made = waveforms.columns(corpus, np.array([0, 1]), 0.1)
    rows = np.array([0, 1])
    assert made["waveform"][rows].shape == (2, 1600)
    assert made["frames"][rows].tolist() == [3, 10]
    assert read == [0, 1]


@pytest.mark.parametrize(("seconds", "crop"), [(0.0, "start"), (-1.0, "start"), (0.0105, "start"), (1.0, "middle")])
def test_bad_knobs_are_named(seconds, crop):
    with pytest.raises(UserError, match=r"seconds=|crop="):
        waveforms.batches(_Corpus([500]), [0], batch_size=1, seconds=seconds, crop=crop, seed=0)
