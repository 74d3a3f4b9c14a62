"""Devices and processes: what N devices compute is what one would."""

import socket

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from sercl_jax import parallel
from sercl_jax.errors import UserError

COUNTS = (1, 2, 4)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype(np.float32)
TARGET = RNG.normal(size=8).astype(np.float32)
MASK = np.array([1, 1, 1, 0, 0, 1, 0, 0], bool)  # uneven over 2 and over 4 devices


def contrastive(z, target, mask):
    del target
    z = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
    similarity = jnp.where(mask[None, :], z @ jnp.roll(z, 1, axis=1).T / 0.3, -1e9)
    each = jax.nn.logsumexp(similarity, 1) - jnp.diagonal(similarity)
    return jnp.sum(jnp.where(mask, each, 0.0)) / mask.sum()


def concordance(z, target, mask):
    """1 - CCC of masked predictions, whose moments are those of the whole batch."""
    x, weight = z[:, 0], mask / mask.sum()
    mean_x, mean_y = jnp.sum(weight * x), jnp.sum(weight * target)
    var_x, var_y = jnp.sum(weight * (x - mean_x) ** 2), jnp.sum(weight * (target - mean_y) ** 2)
    covariance = jnp.sum(weight * (x - mean_x) * (target - mean_y))
    return 1 - 2 * covariance / (var_x + var_y + (mean_x - mean_y) ** 2)


def squares(z, target, mask):
    return jnp.sum(jnp.where(mask, (z[:, 1] - target) ** 2, 0.0)) / mask.sum()


def devices(count):
    return tuple(jax.devices()[:count])


@pytest.mark.parametrize("whole", [contrastive, concordance, squares])
def test_gradients_do_not_depend_on_devices(whole):
    w = RNG.normal(size=(3, 3)).astype(np.float32)
    value, gradient = jax.value_and_grad(lambda w: whole(X @ w, TARGET, MASK))(w)

    def mapped(w, batch):
        def loss(w):
            return whole(*parallel.gather((batch["x"] @ w, batch["target"], batch["mask"])))

        value, gradient = jax.value_and_grad(loss)(w)
        return value, parallel.pmean(gradient)

    for count in COUNTS:
        chosen = devices(count)
        batch = parallel.shard({"x": X, "target": TARGET, "mask": MASK}, chosen)
        values, gradients = parallel.map_step(mapped, devices=chosen)(parallel.replicate(w, chosen), batch)
        np.testing.assert_allclose(values, np.full(count, value), rtol=1e-5)
        for one in np.asarray(gradients):
            np.testing.assert_allclose(one, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", COUNTS)
def test_positions_sums_and_parts(count):
    chosen = devices(count)
    batch = parallel.shard({"x": X}, chosen)
    assert batch["x"].shape == (count, 8 // count, 3)

    def step(batch):
        return (parallel.positions(len(batch["x"])), parallel.gather(batch["x"]), parallel.psum(batch["x"].sum()),
                parallel.pmean(batch["x"].sum()))

    positions, gathered, total, mean = parallel.map_step(step, devices=chosen)(batch)
    assert np.asarray(positions).ravel().tolist() == list(range(8))
    for i in range(count):
        np.testing.assert_array_equal(gathered[i], X)
        np.testing.assert_allclose([total[i], mean[i]], [X.sum(), X.sum() / count], rtol=1e-5)


@pytest.mark.parametrize(("rows", "numbers", "count"), [
    (64, 0, 4), (8, 10**6, 4), (6, 10**6, 3), (4, 1, 2), (10, 1, 2), (7, 1, 1), (2, 1, 1), (1, 1, 1),
    (64, 2**24, 4), (64, 2**25, 2), (64, 2**26 + 1, 1), (64, 10**9, 1)])
def test_a_cpu_is_as_many_devices_as_divide_a_batch_and_hold_the_model(rows, numbers, count):
    assert parallel.shared_by(rows, numbers) == devices(count)


def test_devices_that_are_no_cpu_all_work():
    class Accelerator:
        platform = "gpu"

    accelerators = tuple(Accelerator() for _ in range(8))
    assert parallel.shared_by(6, 10**12, accelerators) == accelerators


def test_uneven_batches_are_refused():
    with pytest.raises(UserError, match=r"shape \(6, 3\) \('x'\) cannot be split over 4 devices.*multiple of 4"):
        parallel.shard({"x": X[:6]}, devices(4))
    with pytest.raises(UserError, match=r"shape \(\) \('y'\)"):
        parallel.shard({"y": np.float32(1)}, devices(2))


def test_replicas_come_back_as_they_went():
    tree = {"a": X, "b": {"c": np.int32(7), "d": np.array([True, False])}, "e": ()}
    back = parallel.unreplicate(parallel.replicate(tree, devices(4)))
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(tree), strict=True):
        assert isinstance(one, np.ndarray)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("total", "size"), [(1, 64), (7, 3), (8, 8), (9, 8), (13, 4)])
def test_any_number_of_rows_can_be_applied(total, size):
    traces = []

    def predict(variables, batch):
        traces.append(1)
        return {"twice": 2 * batch["x"] + variables}["twice"]

    x = RNG.normal(size=(total, 2)).astype(np.float32)
    result = parallel.apply_in_batches(predict, np.float32(0.5), {"x": x}, size)
    np.testing.assert_array_equal(result, 2 * x + np.float32(0.5))
    assert len(traces) == 1


def test_joining_needs_a_number_for_each_process():
    for processes, process_id in ((None, 0), (2, None), (2, 2), (2, -1)):
        with pytest.raises(UserError, match="needs processes"):
            parallel.initialize("127.0.0.1:1", processes, process_id)
    parallel.initialize()
    assert parallel.is_main_process()
    assert len(parallel.all_devices()) == 4


def test_from_main_in_one_process():
    assert parallel.from_main(lambda: 3, 0) == 3
    with pytest.raises(ZeroDivisionError):
        parallel.from_main(lambda: 1 // 0, 0)


def test_two_processes_go_on_where_one_failed(tmp_path):
    """Two processes of one device each resume a run of two devices, end as it would have, and fail together."""
    whole = toy.run(tmp_path / "whole", count=2)
    with pytest.raises(UserError, match="nan at step 5"):
        toy.run(tmp_path / "shared", count=2, poisoned=4)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    processes = [toy.spawn(workdir=str(tmp_path / "shared"), out=str(tmp_path / f"{i}.npy"), coordinator=address,
                           processes=2, process_id=i, checkpoint_every=3, refused=True) for i in range(2)]
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    for i in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"{i}.npy"), whole.variables["params"]["w"], atol=1e-6)
        assert "1 trace, 2 devices" in told[i][0], told
    assert "seed (0 there, 5 here)" in told[0][0]
    assert "The main process (process_id 0) has failed" in told[1][0]
    logs = [(tmp_path / name / "toy" / "metrics.jsonl").read_text().splitlines() for name in ("whole", "shared")]
    assert [line.split(",")[0] for line in logs[0]] == [line.split(",")[0] for line in logs[1]]
    assert len(list((tmp_path / "shared" / "toy" / "tensorboard").iterdir())) == 2, "one file for each start"
