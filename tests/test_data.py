"""Batches as a function of the global step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercl_jax import data
from sercl_jax.errors import UserError

SIZES = {"num": st.integers(1, 60), "batch_size": st.integers(1, 80), "seed": st.integers(0, 2**31)}


@given(**SIZES)
def test_an_epoch_covers_without_repeats(num, batch_size, seed):
    batch, per_epoch = data.batches(num, batch_size, seed), data.steps_per_epoch(num, batch_size)
    for epoch in range(2):
        drawn = []
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            rows, valid = batch(step)
            assert rows.shape == valid.shape == (batch_size,)
            assert rows.dtype == np.int32
            assert valid.dtype == bool
            assert ((rows >= 0) & (rows < num)).all()
            assert valid.sum() == min(num, batch_size)
            drawn += rows[valid].tolist()
        assert len(set(drawn)) == len(drawn) == per_epoch * min(num, batch_size)
        assert num - len(drawn) < batch_size


@given(**SIZES, steps=st.lists(st.integers(0, 500), min_size=1, max_size=8))
def test_a_batch_depends_on_seed_and_step_only(num, batch_size, seed, steps):
    batch, other = data.batches(num, batch_size, seed), data.batches(num, batch_size, seed)
    forwards = {step: other(step) for step in sorted(steps)}
    for step in steps:  # in any order, as often as wanted
        for one, two in zip(batch(step), forwards[step], strict=True):
            np.testing.assert_array_equal(one, two)


def test_epochs_and_seeds_differ():
    orders = [np.concatenate([batch(step)[0] for step in range(4 * epoch, 4 * epoch + 4)])
              for batch in (data.batches(32, 8, 0), data.batches(32, 8, 1)) for epoch in range(3)]
    assert len({tuple(order.tolist()) for order in orders}) == 6
    left_out = [set(range(10)) - set(data.batches(10, 8, 0)(step)[0].tolist()) for step in range(60)]
    assert set.union(*left_out) == set(range(10)), "every utterance has its turn to be left out, and others theirs"


def test_fewer_utterances_than_a_batch_holds():
    rows, valid = data.batches(3, 8, 0)(5)
    assert sorted(rows[valid].tolist()) == [0, 1, 2]
    np.testing.assert_array_equal(rows, rows[np.arange(8) % 3])


@pytest.mark.parametrize(("num", "size"), [(0, 4), (4, 0), (-1, 4)])
def test_nothing_to_draw(num, size):
    with pytest.raises(UserError, match=f"batches of {size} from {num}"):
        data.batches(num, size, 0)


def test_prefetch_keeps_order_and_stays_ahead_a_little():
    made = []
    batches = data.prefetch(lambda step: made.append(step) or step, 3, 40, ahead=2)
    assert made == []
    assert next(batches) == 3
    assert len(made) <= 6
    assert list(batches) == list(range(4, 40))
    assert made == list(range(3, 40))
    assert list(data.prefetch(lambda step: step, 4, 4)) == []


def test_prefetch_tells_errors():
    def batch(step):
        if step == 5:
            raise UserError("utterance u5: NaN")
        return step

    batches = data.prefetch(batch, 0, 10)
    assert [next(batches) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"^utterance u5: NaN$"):
        next(batches)
