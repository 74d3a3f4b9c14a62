"""Averaging frames on the device against the averaging on the host."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax.inference import jax_nodes
from sercl_jax.nodes import average_frames


def made(x, counts, nodes, voiced_only=()):
    found = jax.jit(lambda x, counts: jax_nodes.average(x, counts, nodes, voiced_only))(x, counts)
    return tuple(np.asarray(values) for values in found)


def agrees(x, counts, nodes, voiced_only=()):
    y, mask = made(x, counts, nodes, voiced_only)
    for b, count in enumerate(counts):
        expected = average_frames(x[b, :count], nodes, voiced_only)
        assert mask[b].tolist() == [n < len(expected) for n in range(nodes)]
        # Of the frames, not of the averages: where signs cancel, what remains is smaller than the rounding.
        scale = np.abs(x[b, :count]).max(0)
        assert (np.abs(y[b, :len(expected)] - expected) <= 1e-6 * scale).all()
        assert not y[b, len(expected):].any()


def test_half_a_minute_of_frames_of_unequal_size_is_averaged_to_single_precision():
    rng = np.random.default_rng(0)
    counts = np.array([1, 119, 120, 121, 240, 999, 2999, 3000], np.int32)
    x = (rng.normal(size=(8, 3000, 6)) * [1, 1e-4, 1e5, 1, 1, 1] + [0, 0, 1e6, 3, 0, 0]).astype(np.float32)
    x[..., 4] *= rng.random(x.shape[:2]) < 0.3  # a fundamental frequency
    for b, count in enumerate(counts):
        x[b, count:] = np.nan
    agrees(x, counts, 120, (4,))


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_any_counts_make_the_same_groups(data):
    nodes = data.draw(st.sampled_from([1, 3, 7]))
    counts = np.array(data.draw(st.lists(st.integers(1, 29), min_size=4, max_size=4)), np.int32)
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(4, 29, 2)).astype(np.float32)
    x[..., 1] *= x[..., 0] > 0
    agrees(x, counts, nodes, (1,))


def test_it_is_exported_for_any_batch_and_gives_the_same():
    batch, = jax.export.symbolic_shape("b")
    shapes = jax.ShapeDtypeStruct((batch, 40, 3), np.float32), jax.ShapeDtypeStruct((batch,), np.int32)
    program = jax.export.export(jax.jit(lambda x, counts: jax_nodes.average(x, counts, 8, (1,))))(*shapes)
    x, counts = np.random.default_rng(1).normal(size=(5, 40, 3)).astype(np.float32), np.array([3, 8, 9, 39, 40])
    for ours, theirs in zip(program.call(x, counts.astype(np.int32)), made(x, counts, 8, (1,)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_products_that_an_integer_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="2\\^31"):
        jax.eval_shape(lambda x, counts: jax_nodes.average(x, counts, 2 ** 16),
                       jax.ShapeDtypeStruct((1, 2 ** 15, 1), np.float32), jax.ShapeDtypeStruct((1,), np.int32))
