"""What steps are fed: nothing changes with the place of the corpus or the number of steps in a dispatch."""

import jax
import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax import feed, parallel, train, waveforms
from sercl_jax.encodings import Mixture
from sercl_jax.errors import UserError
from sercl_jax.methods import cpc, serugcl, supcon
from sercl_jax.methods.cpc_recipes import Recognition
from sercl_jax.methods.schedules import Schedule
from sercl_jax.models import serugcl as model
from sercl_jax.models.recognizer import RecognizerSettings
from sercl_jax.types import Frames, Input

WAYS = [("yes", 1), ("no", 4), ("yes", 4), ("yes", 50)]


@pytest.mark.parametrize(("resident", "steps"), WAYS)
def test_one_device_gives_the_same(resident, steps, tmp_path):
    """To rounding: XLA may fuse the selection of a batch into the step."""
    knobs = {"steps": 23, "log_every": 6, "checkpoint_every": 9}
    plain = toy.run(None, resident="no", steps_per_dispatch=1, **knobs)
    other = toy.run(tmp_path, resident=resident, steps_per_dispatch=steps, **knobs)
    np.testing.assert_allclose(other.variables["params"]["w"], plain.variables["params"]["w"], atol=5e-6)
    assert [line["step"] for line in other.history] == [6, 9, 12, 18, 23]
    np.testing.assert_allclose([x["loss"] for x in other.history], [x["loss"] for x in plain.history], rtol=1e-5)


@pytest.mark.parametrize(("resident", "steps"), WAYS)
def test_several_devices_agree_to_rounding(resident, steps):
    knobs = {"steps": 12, "log_every": 6, "checkpoint_every": 6}
    one = toy.run(None, resident="no", steps_per_dispatch=1, **knobs)
    four = toy.run(None, 4, resident=resident, steps_per_dispatch=steps, **knobs)
    np.testing.assert_allclose(four.variables["params"]["w"], one.variables["params"]["w"], atol=2e-5)
    np.testing.assert_allclose([x["loss"] for x in four.history], [x["loss"] for x in one.history], rtol=1e-5)


@pytest.mark.usefixtures("quick_compilation")
def test_serugcl_on_the_device_is_serugcl():
    rng = np.random.default_rng(0)
    mask = np.arange(8) < rng.integers(4, 9, 12)[:, None]
    x = rng.normal(size=(12, 8, 5)).astype(np.float32) * mask[..., None]
    arrays = serugcl.arrays(x, mask, np.array(["a"] * 12))
    settings = model.SerugclSettings(hidden=4, layers=1, projection=4, neighbours=2)
    recipe = serugcl.Recipe(settings, model.Knobs(), 4, 2, (("learning_rate", 1e-2), ("name", "adam")))
    stage = serugcl.stage(recipe, arrays, np.arange(12), 0, {})
    results = [train.run(stage, workdir=None, seed=0, log_every=3, progress=False, devices=jax.devices()[:1],
                         resident=resident, steps_per_dispatch=steps) for resident, steps in (("no", 1), ("yes", 3))]
    for mine, theirs in zip(*(jax.tree.leaves(result.variables) for result in results), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_dispatch_is_one_trace_and_resumes_at_the_same_places(tmp_path):
    whole = toy.run(tmp_path / "whole", steps=20, learning_rate=0.05, resident="yes", steps_per_dispatch=5,
                    checkpoint_every=10, log_every=10)
    before = len(toy.TRACES)
    toy.run(None, steps=20, learning_rate=0.05, seed=1, resident="yes", steps_per_dispatch=5,
            checkpoint_every=10, log_every=10)
    assert len(toy.TRACES) == before, "a program for five steps, and nothing else"
    with pytest.raises(UserError, match="nan at step 14"):
        toy.run(tmp_path / "parts", steps=20, learning_rate=0.05, resident="yes", steps_per_dispatch=5,
                checkpoint_every=10, log_every=10, poisoned=13)
    resumed = toy.run(tmp_path / "parts", steps=20, learning_rate=0.05, resident="yes", steps_per_dispatch=5,
                      checkpoint_every=10, log_every=10)
    np.testing.assert_array_equal(resumed.variables["params"]["w"], whole.variables["params"]["w"])
    assert resumed.history == whole.history


@settings(max_examples=200, deadline=None)
@given(steps=st.integers(1, 60), most=st.integers(1, 9), every=st.lists(st.integers(1, 20), max_size=3),
       resumed=st.integers(0, 60))
def test_dispatches_cover_all_steps_and_never_cross_a_line(steps, most, every, resumed):
    def due(step):
        return step == steps or any(step % n == 0 for n in every)

    chunks = list(feed._chunks(0, steps, most, due))
    assert [step for start, end in chunks for step in range(start, end)] == list(range(steps))
    assert {end - start for start, end in chunks} <= {1, most}
    assert not any(due(step) for start, end in chunks for step in range(start + 1, end))
    if resumed < steps and (resumed == 0 or due(resumed)):
        assert list(feed._chunks(resumed, steps, most, due)) == [c for c in chunks if c[0] >= resumed]


def test_batches_of_other_shapes_go_alone():
    lengths = [3, 3, 3, 5, 3, 3]
    batches = Input(lambda step: {"x": np.full((2, lengths[step]), step, np.float32)}, lambda drawn: drawn)
    source = feed.Feed(batches, jax.devices()[:1], resident="yes", steps_per_dispatch=3, log_every=10)
    found = [(count, batch["x"].shape) for batch, count in source.dispatches(0, 6, lambda step: step == 6)]
    assert found == [(3, (1, 3, 2, 3)), (1, (1, 2, 5)), (1, (1, 2, 3)), (1, (1, 2, 3))]
    assert source.select is None, "nothing can be resident"
    assert source.waited > 0


def test_several_steps_are_split_over_devices_as_one_is():
    parts = [{"x": np.arange(8.0) + 10 * step} for step in range(3)]
    devices = jax.devices()[:4]
    together = parallel.place_steps(parts, devices)["x"]
    assert together.shape == (4, 3, 2)
    for step, part in enumerate(parts):
        np.testing.assert_array_equal(np.asarray(together)[:, step], np.asarray(parallel.shard(part, devices)["x"]))


@pytest.mark.parametrize(("knobs", "told"), [({"resident": "always"}, "config.train.resident=always: must be auto"),
                                             ({"steps_per_dispatch": -1}, "must not be negative")])
def test_unknown_ways_are_refused(knobs, told):
    with pytest.raises(UserError, match=told):
        toy.run(None, **knobs)


def test_what_is_automatic(monkeypatch):
    """On CPUs nothing; on an accelerator a corpus stays if a quarter of its memory holds it."""
    class Accelerator:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 4 * toy.X.nbytes}

    fed = []
    monkeypatch.setattr(parallel, "replicate", lambda tree, devices: fed.append(devices) or tree)
    knobs = {"resident": "auto", "steps_per_dispatch": 0, "log_every": 50}
    batch = toy.stage().batch
    on_cpu = feed.Feed(batch, jax.devices()[:1], **knobs)
    assert (on_cpu.select, on_cpu.steps) == (None, 1)
    on_gpu = feed.Feed(batch, [Accelerator()], **knobs)
    assert (on_gpu.select, on_gpu.steps) == (toy.pick, 25)
    larger = Input(batch.draw, batch.read, batch.select, {"x": np.concatenate([toy.X, toy.X[:1]])})
    assert feed.Feed(larger, [Accelerator()], **knobs).select is None
    assert feed.Feed(larger, [Accelerator()], **{**knobs, "resident": "yes"}).select is toy.pick
    assert len(fed) == 2


@pytest.fixture(scope="module")
def frames():
    counts = np.array([3, 9, 1, 6, 12])
    values = np.random.default_rng(0).normal(size=(counts.sum(), 4)).astype(np.float32)
    return Frames(values, np.concatenate([[0], np.cumsum(counts)]), ("a", "b", "c", "d"), 0.01, "key")


def assert_same_batches(batch: Input, steps: int):
    """What is selected on the device is what is read on the host, also from a part of what was drawn."""
    for step in range(steps):
        drawn = batch.draw(step)
        read, selected = batch.read(drawn), jax.jit(batch.select)(batch.arrays, drawn)
        assert read.keys() == selected.keys()
        half = batch.read({name: values[:2] for name, values in drawn.items()})
        for name, values in read.items():
            np.testing.assert_array_equal(selected[name], values)
            np.testing.assert_array_equal(half[name], values[:2])
            assert selected[name].dtype == values.dtype


def test_recognizer_batches_on_the_device(frames):
    settings = RecognizerSettings(heads=1, head_dim=4, hidden=4)
    recipe = Recognition(settings, Schedule(4, 3, (("learning_rate", 1e-3), ("name", "adam"))), seconds=0.1)
    ratings = np.array([[1.0, np.nan, 2], [2, 3, 1], [3, 1, 4], [np.nan] * 3, [2, 2, 2]])
    rows = np.array([0, 1, 2, 4])
    stage = cpc.recognizer_stage(recipe, frames, cpc.Targets.of(ratings, rows), rows, rows, 0, {}, standardise=True)
    assert stage.batch(0)["x"].shape == (4, 10, 4)
    assert_same_batches(stage.batch, 3)


def test_classifier_batches_on_the_device(frames):
    stage = supcon.classifier_stage(Schedule(2, 2, (("learning_rate", 1e-3), ("name", "adam"))), 4, Mixture([frames]),
                                    [4, 8], np.arange(5), np.array([0, 1, 0, 1, 1]), 2, None, 0, {})
    assert {stage.batch(step)["x"].shape[1] for step in range(6)} == {4, 8}
    assert_same_batches(stage.batch, 6)


def test_processes_read_their_own_waveforms():
    class Corpus:
        def waveform(self, u):
            return np.arange(500 * (u + 1), dtype=np.int16)

    batch = waveforms.batches(Corpus(), np.arange(6), batch_size=4, seconds=0.05, crop="random", seed=0)
    for step in range(3):
        whole, drawn = batch(step), batch.draw(step)
        for part in (slice(0, 2), slice(2, 4)):
            for name, values in batch.read({key: x[part] for key, x in drawn.items()}).items():
                np.testing.assert_array_equal(values, whole[name][part])
