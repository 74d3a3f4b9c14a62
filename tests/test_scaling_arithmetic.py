"""The page of arithmetic: every figure recomputed, and what it says of collectives found in the real steps."""

import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.extend import core

from benchmarks import arithmetic
from benchmarks.arithmetic import Link, Machine
from sercl_jax import encoders, optim, parallel, train
from sercl_jax.methods import supcon
from sercl_jax.methods.supcon_recipes import Contrast
from sercl_jax.models import attentive, cpc, serugcl

PAGE = Path(arithmetic.__file__).with_name("SCALING.md")


@pytest.fixture(scope="module")
def methods():
    return {method.name: method for method in arithmetic.methods()}


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == arithmetic.page(), (
        "python -m benchmarks.arithmetic --write benchmarks/SCALING.md")


def collectives(jaxpr, found):
    """Every collective of a program and of those inside it: name -> number counts of what it yields."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if any(word in name for word in ("psum", "all_gather", "reduce_scatter")):
            found.setdefault(name, []).extend(v.aval for v in equation.outvars)
        for inner in core.jaxprs_in_params(equation.params):
            collectives(inner, found)
    return found


def of_step(loss, variables, batch):
    """The collectives of a training step on two devices."""
    devices = jax.devices()[:2]
    optimizer = optim.make(name="adam", learning_rate=1e-3, steps=10)
    fixed = {name: tree for name, tree in variables.items() if name != "params"}
    state = parallel.replicate({"step": np.int32(0), "params": variables["params"], "fixed": fixed,
                                "optimizer": optimizer.init(variables["params"])}, devices)
    step = train.mapped_step(loss, optimizer.update, tuple(devices))
    return collectives(jax.make_jaxpr(step)(state, parallel.shard(batch, devices),
                                            parallel.replicate(np.uint32(0), devices)).jaxpr, {})


def numbers(found, word, width=None):
    return [math.prod(aval.shape) for name, avals in found.items() if word in name for aval in avals
            if width is None or aval.shape[-1:] == (width,)]


def parameters(variables):
    return sum(np.size(leaf) for leaf in jax.tree.leaves(variables["params"]))


def test_collectives_of_serugcl(methods):
    settings = serugcl.SerugclSettings(hidden=4, layers=1, projection=11, neighbours=2)
    batch = {"x": np.zeros((6, 5, 3), np.float32), "mask": np.ones((6, 5), bool), "valid": np.ones(6, bool),
             "index": np.arange(6, dtype=np.int32), "group": np.zeros(6, np.int32)}
    variables = serugcl.initializer(settings, serugcl.Knobs())(train.init_key(0), batch)
    found = of_step(serugcl.contrastive_loss(settings), variables, batch)
    assert 0 <= sum(numbers(found, "psum")) - parameters(variables) < 10, "the gradient, and metrics"
    # Two projections in one message for the FGSM view's loss, three in one for the loss of all; each way.
    messages = [(len(numbers(found, name, views * 11)), sum(numbers(found, name, views * 11)) // (rows * 11))
                for views in (2, 3) for name, rows in (("all_gather", 6), ("reduce_scatter", 3))]
    assert messages == [(1, 2), (1, 2), (1, 3), (1, 3)]
    assert sum(projections for _, projections in messages) == methods["SERUGCL"].gathers


def test_collectives_of_cpc():
    settings = cpc.CpcSettings(channels=8, context=8, future=3, negatives=2, share=1)
    batch = {"waveform": np.zeros((4, 1600), np.int16), "frames": np.full(4, 10, np.int32),
             "index": np.arange(4, dtype=np.int32), "valid": np.ones(4, bool)}
    variables = cpc.initializer(settings)(train.init_key(0), batch)
    found = of_step(cpc.cpc_loss(settings), variables, batch)
    assert not numbers(found, "all_gather")
    assert not numbers(found, "reduce_scatter")
    assert 0 <= sum(numbers(found, "psum")) - parameters(variables) <= 8 * settings.future


def test_collectives_of_supcon(methods):
    encoder, params = encoders.load("tiny", "", 0, dtype="float32", remat=False)
    _, trained = encoder.split(params)
    width = encoder.config.hidden_size
    batch = {"x": np.ones((4, 6, width), np.float32), "mask": np.ones((4, 6), bool),
             "index": np.arange(4, dtype=np.int32), "positive": np.array([1, 1, 0, 0], bool),
             "half": np.array([0, 1, 0, 0], np.int32)}
    heads = attentive.AttentivePooling().init(train.init_key(0), batch["x"], batch["mask"])["params"]
    variables = {"params": {"encoder": trained, "pooling": heads}}
    found = of_step(supcon.contrastive_loss(encoder, Contrast()), variables, batch)
    assert 0 <= sum(numbers(found, "psum")) - parameters(variables) < 20
    moved = numbers(found, "all_gather", width) + numbers(found, "reduce_scatter", width)
    assert sorted(moved) == [2 * width, 4 * width]
    assert len(moved) == methods["SupCon, WavLM-base+"].gathers


def test_published_sizes(methods):
    """WavLM-base+ has 94.4 million parameters with its convolutions and their projection, which are frozen."""
    frozen = 512 * 10 + 4 * 512 * 512 * 3 + 2 * 512 * 512 * 2 + 2 * 512 + 2 * 512 + 512 * 768 + 768
    assert abs(methods["SupCon, WavLM-base+"].parameters + frozen - 94.4e6) < 0.1e6
    strides, width, total = (5, 4, 4, 2), 1, 0
    for stride in strides:
        total, width = total + 2 * stride * width * 128, 128
    total += 3 * 256 * (128 + 256)  # the GRU
    total += 12 * 128 * 256  # the predictions
    assert 0 <= methods["CPC"].parameters - total < 0.02 * total, "and biases and norms"


@pytest.mark.parametrize("devices", arithmetic.DEVICES)
def test_limits_are_where_efficiency_crosses(methods, devices):
    for method in methods.values():
        for peak, link in arithmetic.LINKS:
            found = arithmetic.batches(method, devices, peak, link)
            grid = np.unique(np.round(np.geomspace(1, 1e6, 400)))
            reached = [b for b in grid if arithmetic.efficiency(method, devices, b, peak, link) >= 0.9]
            if found is None:
                assert not reached
                continue
            low, high = found
            assert arithmetic.efficiency(method, devices, low, peak, link) == pytest.approx(0.9)
            assert reached == [b for b in grid if low <= b <= high]
            if not math.isinf(high):
                assert arithmetic.efficiency(method, devices, high, peak, link) == pytest.approx(0.9)


def test_hours_by_hand(methods):
    """Ten devices of 1 TFLOP/s, half of it done; a link of 1 GB/s without latency; two utterances of 10 s each."""
    method = dataclasses.replace(methods["CPC"], parameters=10**6, flops=5e9, share=0.5)
    machine = Machine("ten", 10, 1e12, Link("slow", 1e9, 0.0))
    step = 2 * 5e9 / 0.5e12 + 2 * 9 / 10 * 4e6 / 1e9
    assert arithmetic.hours(method, 7.0, machine, 2) == pytest.approx(7 * 3600 / 10 / 20 * step / 3600)


def test_the_command_prints_and_writes(tmp_path):
    told = []
    assert arithmetic.main([], told.append) == 0
    assert arithmetic.main(["--write", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == told[0]
