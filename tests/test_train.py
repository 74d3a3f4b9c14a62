"""The loop: one trace, the same on 1, 2 and 4 devices, finished runs, best steps, bad losses."""

import resource

import jax
import numpy as np
import pytest
import toy

from sercl_jax import data, train
from sercl_jax.errors import UserError
from sercl_jax.types import Input


def test_devices_agree():
    one, two, four = (toy.run(None, count) for count in (1, 2, 4))
    for other in (two, four):
        np.testing.assert_allclose(other.variables["params"]["w"], one.variables["params"]["w"], atol=2e-5)
        np.testing.assert_allclose([x["loss"] for x in other.history], [x["loss"] for x in one.history], rtol=1e-5)
    assert [line["step"] for line in one.history] == [3, 6, 7]
    assert not np.array_equal(one.variables["params"]["w"], toy.init(train.init_key(0), None)["params"]["w"])


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("size", "used"), [(8, 4), (6, 3), (5, 1)])
def test_without_a_choice_batches_are_divided_among_as_many_devices_as_they_can_be(monkeypatch, size, used, plain):
    order, seen = data.batches(40, size, 0), []

    def batch(step):
        rows, _ = order(step)
        return {"index": rows, "scale": np.ones(len(rows), np.float32)}

    def read(drawn):
        return toy.pick({"x": toy.X}, drawn)

    stage = train.Stage(**{**vars(toy.stage(steps=3)),
                           "batch": (lambda step: read(batch(step))) if plain else Input(batch, read)})
    mapped = train.mapped_step
    monkeypatch.setattr(train, "mapped_step", lambda *given: seen.append(len(given[2])) or mapped(*given))
    results = [train.run(stage, workdir=None, seed=0, progress=False, devices=devices)
               for devices in (None, jax.devices()[:1])]
    assert seen == [used] * 3 + [1] * 3
    np.testing.assert_allclose(*(found.variables["params"]["w"] for found in results), atol=2e-5)


def test_steps_follow_the_gradient_of_the_whole_batch():
    """Against a loop of plain gradients and SGD with momentum, with no pmap."""
    def reference(params, batch, key):
        noise = np.stack([jax.random.normal(jax.random.fold_in(key, i), (6,)) for i in batch["index"]])
        z = jax.numpy.stack([batch["x"], batch["x"] + 0.3 * noise], 1) @ params
        z = z / jax.numpy.linalg.norm(z, axis=-1, keepdims=True)
        return -jax.numpy.mean(jax.numpy.diagonal(jax.nn.log_softmax(z[:, 0] @ z[:, 1].T / 0.5, 1)))

    stage = toy.stage(steps=4)
    stage = train.Stage(**{**vars(stage), "optimizer": toy.optim.make(name="sgd", learning_rate=0.1, steps=4)})
    result = train.run(stage, workdir=None, seed=3, log_every=1, progress=False, devices=jax.devices()[:1])
    w, trace = np.asarray(toy.init(train.init_key(3), None)["params"]["w"]), 0.0
    for step in range(4):
        key = jax.random.fold_in(jax.random.key(3), step)
        value, gradient = jax.value_and_grad(reference)(w, stage.batch(step), key)
        np.testing.assert_allclose(result.history[step]["loss"], value, rtol=1e-5)
        trace = 0.9 * trace + np.asarray(gradient)
        w = w - 0.1 * trace
    np.testing.assert_allclose(result.variables["params"]["w"], w, atol=1e-5)


def test_one_trace_for_all_stages_of_a_kind():
    toy.run(None)
    before = len(toy.TRACES)
    toy.run(None, steps=9, seed=3)
    assert len(toy.TRACES) == before
    toy.run(None, learning_rate=0.0123)
    assert len(toy.TRACES) == before + 1


def test_finished_run_returns_at_once(tmp_path):
    first = toy.run(tmp_path)
    again = toy.run(tmp_path)
    np.testing.assert_array_equal(again.variables["params"]["w"], first.variables["params"]["w"])
    assert again.history == first.history
    with pytest.raises(UserError, match=r"steps \(7 there, 8 here\)"):
        toy.run(tmp_path, steps=8)


def test_best_is_returned_also_when_resumed(tmp_path):
    def validated(scores, seen, **more):
        def validate(variables):
            seen.append(variables["params"]["w"])
            return next(scores)

        return {"validate": validate, "validate_every": 2, **more}

    whole, parts = [], []
    result = toy.run(tmp_path / "whole", **validated(iter([0.1, 0.9, 0.9, 0.3]), whole))
    assert result.best_step == 6, "of equal scores the later"
    assert [line.get("score") for line in result.history] == [0.1, None, 0.9, 0.9, 0.3]
    np.testing.assert_array_equal(result.variables["params"]["w"], whole[2])
    assert toy.run(None, **validated(iter([0.1, 0.9, 0.9, 0.3]), [])).best_step == 6

    with pytest.raises(UserError, match="nan at step 7"):
        toy.run(tmp_path / "parts", **validated(iter([0.1, 0.9, 0.2]), parts, poisoned=6))
    resumed = toy.run(tmp_path / "parts", **validated(iter([0.3]), parts))
    assert resumed.best_step == 4
    np.testing.assert_array_equal(resumed.variables["params"]["w"], whole[1])

    with pytest.raises(UserError, match="score is nan at step 2"):
        toy.run(None, **validated(iter([float("nan")]), []))


def test_unscored_checkpoints_are_quiet(tmp_path, caplog):
    toy.run(tmp_path / "never")
    toy.run(tmp_path / "sometimes", validate=lambda _: 1.0, validate_every=5)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_infinite_loss_names_the_step(tmp_path):
    with pytest.raises(UserError, match="nan at step 5"):
        toy.run(tmp_path, poisoned=4)
    assert (tmp_path / "toy" / "checkpoints" / "3").is_dir()
    healed, whole = toy.run(tmp_path), toy.run(None)
    np.testing.assert_array_equal(healed.variables["params"]["w"], whole.variables["params"]["w"])
    assert healed.history == whole.history, "the log goes on where the checkpoint left off"


@pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("limit", "told"), [
    (100, r"metrics\.jsonl: cannot be written \(File too large\)"),
    (700, "checkpoints: the checkpoint could not be written .*File too large")])
def test_a_disk_that_fills_up(tmp_path, limit, told):
    """From step 4 on files may not grow beyond a limit; with space again, the training ends as it would have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    stage = toy.stage()

    def batch(step):
        if step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        return stage.batch(step)

    try:
        with pytest.raises(UserError, match=told):
            train.run(train.Stage(**{**vars(stage), "batch": batch}), workdir=tmp_path, seed=0, log_every=3,
                      checkpoint_every=3, progress=False, devices=jax.devices()[:1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    healed, whole = toy.run(tmp_path), toy.run(None)
    np.testing.assert_array_equal(healed.variables["params"]["w"], whole.variables["params"]["w"])
    assert healed.history == whole.history
