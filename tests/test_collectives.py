"""Bundled collectives against one collective for each array."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax import collectives, optim, parallel, train
from sercl_jax.models import serugcl

RNG = np.random.default_rng(0)


def tree(rows):
    """Arrays of several dtypes and shapes, empty and large ones among them; the leading axis is the device's."""
    def normal(*shape):
        return RNG.normal(size=(4, *shape)).astype(np.float32)

    return {"scalar": normal(), "matrix": normal(rows, 3), "half": normal(rows, 2).astype(jnp.bfloat16),
            "counts": RNG.integers(-9, 9, (4, rows)).astype(np.int32), "empty": normal(0, 5),
            "large": normal(collectives.SMALL // 2, 2), "deep": [normal(rows, 2, 2), {"vector": normal(rows)}]}


def mapped(function, given):
    return jax.pmap(function, axis_name=parallel.AXIS, devices=jax.devices()[:4])(given)


def equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert [x.dtype for x in jax.tree.leaves(found)] == [x.dtype for x in jax.tree.leaves(expected)]


@pytest.mark.parametrize(("ours", "theirs"), [(parallel.psum, jax.lax.psum), (parallel.pmean, jax.lax.pmean)])
def test_sums_over_devices_are_those_of_each_array(ours, theirs):
    given = tree(5)
    if ours is parallel.pmean:
        del given["counts"]
    equal(mapped(ours, given), mapped(lambda x: theirs(x, parallel.AXIS), given))


def test_gathered_rows_are_those_of_each_array():
    given = {name: x for name, x in tree(5).items() if name not in ("scalar", "empty")} | {"other": tree(2)["matrix"]}
    found = mapped(parallel.gather, given)
    for i in range(4):
        equal(jax.tree.map(lambda x, i=i: x[i], found),
              jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), given))


def test_gradients_through_gathered_rows_are_those_of_each_array():
    given = {"a": tree(5)["matrix"], "b": tree(5)["deep"][0]}

    def slope(gather):
        def loss(x):
            a, b = gather((x["a"], x["b"]))
            return jnp.sum(jnp.square(a[:, :1] * a)) + jnp.sum(b[:, 0] ** 3 * jnp.sum(a))

        return lambda x: jax.grad(loss)(x)

    found = mapped(slope(parallel.gather), given)
    expected = mapped(slope(lambda x: jax.tree.map(lambda x: jax.lax.all_gather(x, parallel.AXIS, tiled=True), x)),
                      given)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), found, expected)


def test_each_dtype_goes_once_and_the_large_by_themselves():
    given = jax.tree.map(lambda x: x[0], tree(5))
    sent = []

    def collective(x):
        sent.append((x.shape, x.dtype.name))
        return x

    equal(collectives.elementwise(collective, given), given)
    floats = sum(x.size for name in ("scalar", "matrix", "deep") for x in jax.tree.leaves(given[name]))
    assert sorted(sent) == sorted([((floats,), "float32"), ((5, 2), "bfloat16"), ((5,), "int32"), ((0, 5), "float32"),
                                   (given["large"].shape, "float32")])


def test_a_training_step_sends_few_messages():
    settings = serugcl.SerugclSettings(hidden=8, projection=8)
    batch = {"x": RNG.normal(size=(8, 6, 5)).astype(np.float32), "mask": np.ones((8, 6), bool),
             "valid": np.ones(8, bool), "index": np.arange(8, dtype=np.int32), "group": np.zeros(8, np.int32)}
    variables = serugcl.initializer(settings, serugcl.Knobs())(jax.random.key(0), batch)
    optimizer = optim.make(name="adam", learning_rate=1e-3, steps=9)
    counts = {}
    for number in (1, 4):
        devices = tuple(jax.devices()[:number])
        step = train.mapped_step(serugcl.contrastive_loss(settings), optimizer.update, devices)
        text = step.lower(parallel.replicate(train.initial_state(variables, optimizer), devices),
                          parallel.shard(batch, devices), parallel.replicate(np.uint32(0), devices)).as_text()
        counts[number] = {name: len(re.findall(rf"\"stablehlo\.{name}\"", text))
                          for name in ("all_reduce", "all_gather", "reduce_scatter")}
    assert len(jax.tree.leaves(variables["params"])) > 25
    # The gradient and the metrics; "valid", projections for the FGSM view and for the loss; the slopes of these two.
    assert counts == {1: {"all_reduce": 0, "all_gather": 0, "reduce_scatter": 0},
                      4: {"all_reduce": 2, "all_gather": 3, "reduce_scatter": 2}}
