"""The classifier on the device decides as the one that was fitted."""

import jax
import numpy as np
import pytest

from sercl_jax import classify
from sercl_jax.inference import svm


def _problem(classes, width, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(40 * classes) % classes)
    x = rng.normal(size=(len(y), width)) + 1.2 * rng.normal(size=(classes, width))[y]
    # Columns of very different scale, one that varies little about a large mean, and a constant one.
    x = x * np.logspace(-3, 3, width) + np.linspace(0, 50, width)
    x[:, 0] = 1000 + 0.01 * x[:, 1]
    x[:, 2] = 7
    return x.astype(np.float32), y


@pytest.mark.parametrize("classes", [2, 3, 5, 8])
@pytest.mark.parametrize(("grid", "clip", "blocks"), [
    ({"linear": (0.05,)}, 0.0, ()), ({"rbf": (5.0,)}, 0.0, ()), ({"linear": (0.05,)}, 1.5, (4, 8)),
    ({"rbf": (5.0,)}, 1.5, (4, 8))])
def test_decisions_are_those_of_the_fitted_machine(classes, grid, clip, blocks):
    x, y = _problem(classes, 12)
    machine = classify.fit_svm(x[::2], y[::2], None, classify.SvmSettings(grid=grid, clip=clip, blocks=blocks))
    stored = svm.variables(machine.to_arrays())
    assert ("vectors" in stored) == (machine.kernel == "rbf")
    assert all(value.dtype == np.float32 for value in stored.values())
    rows = np.concatenate([x, 30 * x[:8]])  # some far off
    clear = np.abs(machine.pairs(rows)).min(1) > 1e-3  # of others the sign of a pair is a matter of rounding
    assert clear.mean() > 0.9
    decided = np.asarray(jax.jit(svm.decision)(stored, rows))
    np.testing.assert_allclose(decided[clear], machine.decision(rows)[clear], atol=1e-3)


def test_an_undecided_pair_is_the_first_classs():
    """As in NumPy: a decision of exactly 0 is a vote for the first of the two."""
    width = 3
    machine = classify.FittedSvm(np.zeros(width), np.ones(width), np.eye(width), np.zeros((width, 3)), np.zeros(3),
                                 np.arange(3), np.ones(width), 0.0, 0.0, 1.0, np.nan)
    found = svm.decision(svm.variables(machine.to_arrays()), np.ones((1, width), np.float32))
    np.testing.assert_array_equal(found, machine.decision(np.ones((1, width))))
    np.testing.assert_array_equal(found, [[2, 1, 0]])
