"""The loop: one trace, the same on 1, 2 and 4 devices, finished runs, bad losses."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax import data, optim, parallel, train
from sercl_jax.errors import UserError
from sercl_jax.types import Stage

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
TRACES: list[int] = []


def init(key, batch):
    del batch
    return {"params": {"w": jax.random.normal(key, (6, 4))}, "knobs": {"temperature": jnp.float32(0.5)}}


def loss(variables, batch, key):
    """NT-Xent of two noisy views; the noise belongs to the utterance's place in the whole batch."""
    TRACES.append(1)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(batch["index"])
    noise = jax.vmap(lambda k: jax.random.normal(k, (6,)))(keys)
    z = jnp.stack([batch["x"], batch["x"] + 0.3 * noise], 1) @ variables["params"]["w"]
    z = parallel.gather(z / jnp.linalg.norm(z, axis=-1, keepdims=True))
    similarity = z[:, 0] @ z[:, 1].T / variables["knobs"]["temperature"]
    each = jax.nn.logsumexp(similarity, 1) - jnp.diagonal(similarity)
    return each.mean(), {"contrast": (each.sum(), jnp.float32(len(each)))}


def stage(steps=7, learning_rate=0.1, **more):
    order = data.batches(40, 8, 0)

    def batch(step):
        rows, _ = order(step)
        return {"x": X[rows], "index": rows}

    return Stage(name="toy", steps=steps, steps_per_epoch=5, batch=batch, init=init, loss=loss,
                 optimizer=optim.make(name="adam", learning_rate=learning_rate, steps=steps, schedule="cosine"),
                 **more)


def train_toy(workdir, count=1, seed=0, log_every=3, **more):
    return train.run(stage(**more), workdir=workdir, seed=seed, log_every=log_every, checkpoint_every=3,
                     progress=False, devices=jax.devices()[:count])


def test_devices_agree():
    one, two, four = (train_toy(None, count) for count in (1, 2, 4))
    for other in (two, four):
        np.testing.assert_allclose(other.variables["params"]["w"], one.variables["params"]["w"], atol=2e-5)
        np.testing.assert_allclose([x["loss"] for x in other.history], [x["loss"] for x in one.history], rtol=1e-5)
    assert [line["step"] for line in one.history] == [3, 6, 7]
    assert not np.array_equal(one.variables["params"]["w"], init(train.init_key(0), None)["params"]["w"])


def test_one_trace_for_all_stages_of_a_kind():
    train_toy(None)
    before = len(TRACES)
    train_toy(None, steps=9, seed=3)
    assert len(TRACES) == before
    train_toy(None, learning_rate=0.0123)
    assert len(TRACES) == before + 1


def test_finished_run_returns_at_once(tmp_path: Path):
    first = train_toy(tmp_path)
    again = train_toy(tmp_path)
    np.testing.assert_array_equal(again.variables["params"]["w"], first.variables["params"]["w"])
    assert again.history == first.history
    with pytest.raises(UserError, match=r"steps \(7 there, 8 here\)"):
        train_toy(tmp_path, steps=8)


def test_best_is_returned(tmp_path: Path):
    scores = {2: 0.1, 4: 0.9, 6: 0.2, 7: 0.3}
    seen = []

    def validate(variables):
        seen.append(variables)
        return scores[sorted(scores)[len(seen) - 1]]

    result = train_toy(tmp_path, validate=validate, validate_every=2)
    assert result.best_step == 4
    np.testing.assert_array_equal(result.variables["params"]["w"], seen[1]["params"]["w"])


def test_infinite_loss_names_the_step(tmp_path: Path):
    bad = stage(learning_rate=0.02)
    good_batch = bad.batch

    def batch(step):
        return {**good_batch(step), "x": X[:8] * np.float32(np.nan if step == 4 else 1)}

    poisoned = Stage(**{**vars(bad), "batch": batch})
    with pytest.raises(UserError, match="nan at step 5"):
        train.run(poisoned, workdir=tmp_path, seed=0, log_every=3, checkpoint_every=3, progress=False,
                  devices=jax.devices()[:1])
    assert (tmp_path / "toy" / "checkpoints" / "3").is_dir()
