"""Frames of many utterances as arrays of one shape."""

import numpy as np
import pytest

from sercl_jax.padded import PaddedFrames, Rows
from sercl_jax.types import Frames

COUNTS = (3, 40, 17, 1)


@pytest.fixture
def frames():
    values = np.random.default_rng(0).normal(2, 3, (sum(COUNTS), 4)).astype(np.float32)
    return Frames(values=values, offsets=np.cumsum([0, *COUNTS]), names=("a", "b", "c", "d"), hop=0.01, key="k")


@pytest.mark.parametrize(("seconds", "length"), [(10.0, 50), (0.4, 40), (0.39, 39), (0.1, 10)])
def test_every_row_is_the_utterance_and_nothing_else(frames, seconds, length):
    padded = PaddedFrames(frames, seconds)
    assert padded.length == length
    rows = np.array([2, 0, 1, 2])
    batch = padded.batch(rows)
    for x, mask, u in zip(batch["x"], batch["mask"], rows, strict=True):
        count = min(COUNTS[u], length)
        assert mask.tolist() == [t < count for t in range(length)]
        assert np.array_equal(x[:count], frames[u][:count])
        assert not x[count:].any()


def test_columns_give_the_rows_that_are_asked_for(frames):
    padded = PaddedFrames(frames, 0.2)
    rows = np.array([3, 1, 0])
    columns = padded.columns(rows)
    for name, column in columns.items():
        assert len(column) == 3
        assert np.array_equal(column[np.array([2, 1])], padded.batch(rows[[2, 1]])[name])


def test_statistics_are_those_of_the_frames_that_count(frames):
    mean, scale = PaddedFrames(frames, 0.2).statistics(np.array([1, 3]))
    used = np.concatenate([frames[1][:20], frames[3]])
    np.testing.assert_allclose(mean, used.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale, used.std(0), rtol=1e-5)


def test_a_constant_column_is_not_divided_by_zero(frames):
    frames.values[:, 1] = 1e4
    _, scale = PaddedFrames(frames, 0.2).statistics(np.arange(4))
    assert scale[1] == 1.0


def test_rows_are_made_when_they_are_asked_for():
    asked = []

    def make(rows):
        asked.append(rows.tolist())
        return rows * 2

    rows = Rows(5, make)
    assert asked == []
    assert rows[np.array([4, 1])].tolist() == [8, 2]
    assert asked == [[4, 1]]
