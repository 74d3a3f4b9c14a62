"""Optimizers against loops, schedules against closed forms, freezing by rule."""

import math

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sercl_jax import optim
from sercl_jax.errors import UserError

PARAMS = {"encoder": {"layer_0": {"kernel": np.full((2, 3), 0.7, np.float32), "bias": np.ones(3, np.float32)},
                      "layer_1": {"kernel": np.full((3, 3), -0.2, np.float32), "bias": np.zeros(3, np.float32)}},
          "head": {"kernel": np.full((3, 2), 0.1, np.float32)}}


def gradients(seed, params=PARAMS):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), params)


def updated(optimizer, steps, params=PARAMS):
    state = optimizer.init(params)
    for step in range(steps):
        updates, state = optimizer.update(gradients(step, params), state, params)
        params = optax.apply_updates(params, updates)
    return params


def expected_rate(schedule, step, warmup, steps):
    if step < warmup:
        return (step + 1) / warmup
    done = min((step - warmup) / max(steps - warmup, 1), 1)
    return {"constant": 1, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[schedule]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
@pytest.mark.parametrize(("warmup", "steps"), [(0, 10), (4, 10), (10, 10), (3, 3), (20, 10), (0, 1)])
def test_schedules(schedule, warmup, steps):
    for step in range(steps + 3):
        found = optim.rate(schedule, warmup, jnp.int32(step), jnp.int32(steps))
        np.testing.assert_allclose(found, expected_rate(schedule, step, warmup, steps), atol=1e-6)


@pytest.mark.parametrize(("stairs", "shares"), [
    # Halved at epochs 25, 30, ... 45 of 50; to a tenth after 5 of 10; to a fifth every 20 of 50 (METHODS.md 3.5-3.7).
    (optim.Stairs(50, 25, 5, 0.5), [1.0] * 25 + [0.5 ** (1 + (e - 25) // 5) for e in range(25, 50)]),
    (optim.Stairs(10, 5, 5, 0.1), [1.0] * 5 + [0.1] * 5),
    (optim.Stairs(50, 20, 20, 0.2), [1.0] * 20 + [0.2] * 20 + [0.04] * 10)])
@pytest.mark.parametrize("per_epoch", [1, 7])
def test_stairs_fall_at_the_published_epochs(stairs, shares, per_epoch):
    steps = stairs.epochs * per_epoch
    found = [float(optim.rate("stairs", 0, jnp.int32(step), jnp.int32(steps), stairs)) for step in range(steps)]
    np.testing.assert_allclose(found, np.repeat(shares, per_epoch), rtol=1e-5)


def test_stairs_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="first=0"):
        optim.make(name="adam", learning_rate=1e-3, steps=4, schedule="stairs", stairs=optim.Stairs(4, 0, 1, 0.5))


def test_accumulated_gradients_step_by_their_mean():
    gradients = [np.array([value, -value], np.float32) for value in (1.0, 3.0, -2.0, 6.0)]
    params = np.zeros(2, np.float32)
    whole = optim.make(name="adam", learning_rate=0.1, steps=2, schedule="linear")
    parts = optim.accumulate(optim.make(name="adam", learning_rate=0.1, steps=2, schedule="linear"), 2)
    assert parts.update is optim.accumulate(whole, 2).update  # one compiled step for both
    state, small = whole.init(params), parts.init(params)
    expected, found = params, params
    for step, gradient in enumerate(gradients):
        updates, small = parts.update(gradient, small, found)
        found = found + np.asarray(updates)
        if step % 2:
            updates, state = whole.update((gradients[step - 1] + gradient) / 2, state, expected)
            expected = expected + np.asarray(updates)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_schedule_scales_the_steps_taken():
    optimizer = optim.make(name="sgd", learning_rate=0.5, steps=6, schedule="linear", warmup_steps=2)
    state = optimizer.init(np.float32(0))
    taken, momentum = [], 0.0
    for step in range(6):
        update, state = optimizer.update(jnp.float32(1), state, np.float32(0))
        momentum = 0.9 * momentum + 1
        np.testing.assert_allclose(update, -0.5 * momentum * expected_rate("linear", step, 2, 6), rtol=1e-5)
        taken.append(float(update))
    assert taken[0] < 0


def adam_loop(decay, decoupled, clip, steps, rate=0.01):
    params, first, second = PARAMS, 0.0, 0.0
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    flat = np.asarray(flat, np.float64)
    for step in range(1, steps + 1):
        g = np.asarray(jax.flatten_util.ravel_pytree(gradients(step - 1))[0], np.float64)
        if clip:
            g = g * min(1, clip / np.linalg.norm(g))
        if decay and not decoupled:
            g = g + decay * flat
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        move = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        flat = flat - rate * (move + (decay * flat if decoupled else 0))
    return unravel(flat.astype(np.float32))


@pytest.mark.parametrize(("name", "decay", "clip"),
                         [("adam", 0, 0), ("adam", 0.1, 0), ("adam", 0, 0.5), ("adamw", 0.1, 0), ("adamw", 0.3, 1.0)])
def test_adam_against_a_loop(name, decay, clip):
    found = updated(optim.make(name=name, learning_rate=0.01, steps=9, weight_decay=decay, clip_norm=clip), 4)
    wanted = adam_loop(decay, name == "adamw", clip, 4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-6), found, wanted)


def test_equal_settings_share_one_update():
    one, other = (optim.make(name="adam", learning_rate=0.1, steps=n, schedule="cosine") for n in (5, 500))
    assert one.update is other.update
    rules = (("head/.*", None), (".*", 1.0))
    assert optim.freeze(one, rules).update is optim.freeze(other, rules).update
    assert one.update is not optim.make(name="adam", learning_rate=0.2, steps=5, schedule="cosine").update


def test_frozen_parameters_keep_their_bits_and_take_no_memory():
    plain = optim.make(name="adamw", learning_rate=0.05, steps=9, weight_decay=0.5, clip_norm=0.3)
    rules = (("encoder/layer_0/.*", None), (".*bias", 0.5), (".*", 1.0))
    found = updated(optim.freeze(plain, rules), 5)
    for name in ("kernel", "bias"):
        assert found["encoder"]["layer_0"][name].tobytes() == PARAMS["encoder"]["layer_0"][name].tobytes()
    trained = {"encoder": {"layer_1": PARAMS["encoder"]["layer_1"]}, "head": PARAMS["head"]}
    state = optim.freeze(plain, rules).init(PARAMS)
    moments = sum(np.size(x) for x in jax.tree.leaves(state) if np.ndim(x))
    assert moments == 2 * sum(x.size for x in jax.tree.leaves(trained))

    # What trains moves as if the frozen part did not exist, also where gradients are clipped.
    optimizer, params = plain, trained
    state = optimizer.init(params)
    for step in range(5):
        g = gradients(step)
        part = {"encoder": {"layer_1": g["encoder"]["layer_1"]}, "head": g["head"]}
        updates, state = optimizer.update(part, state, params)
        updates["encoder"]["layer_1"]["bias"] *= 0.5
        params = optax.apply_updates(params, updates)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y),
                 {"encoder": {"layer_1": found["encoder"]["layer_1"]}, "head": found["head"]}, params)


def test_the_first_rule_that_matches_the_whole_name_decides():
    plain = optim.make(name="sgd", learning_rate=1.0, steps=1)
    found = updated(optim.freeze(plain, (("head/kernel", 0.25), (".*kernel", None), (".*", 1.0))), 1)
    moved = jax.tree.map(lambda x, y: np.asarray(x - y), PARAMS, found)
    np.testing.assert_allclose(moved["head"]["kernel"], 0.25 * gradients(0)["head"]["kernel"], atol=1e-6)
    assert not moved["encoder"]["layer_1"]["kernel"].any()
    np.testing.assert_allclose(moved["encoder"]["layer_1"]["bias"], gradients(0)["encoder"]["layer_1"]["bias"],
                               atol=1e-6)


def test_rules_must_fit_the_parameters():
    plain = optim.make(name="adam", learning_rate=0.1, steps=1)
    with pytest.raises(UserError, match="'head/kernel' is covered by no rule"):
        optim.freeze(plain, (("encoder/.*", 1.0),)).init(PARAMS)
    with pytest.raises(UserError, match=r"Rule 'encoder/layer_9/\.\*' covers no parameter"):
        optim.freeze(plain, (("encoder/layer_9/.*", None), (".*", 1.0))).init(PARAMS)
    with pytest.raises(UserError, match=r"'encoder' covers no parameter"):  # a part of a name is no match
        optim.freeze(plain, (("encoder", None), (".*", 1.0))).init(PARAMS)


@pytest.mark.parametrize(("knobs", "told"), [
    ({"name": "lion"}, "optimizer='lion' is unknown; known: adam, adamw, sgd"),
    ({"schedule": "step"}, "schedule='step' is unknown; known: constant, cosine, linear"),
    ({"learning_rate": -1.0}, "learning_rate=-1.0"), ({"clip_norm": -1.0}, "clip_norm=-1.0"),
    ({"warmup_steps": -1}, "warmup_steps=-1"), ({"weight_decay": -0.1}, "weight_decay=-0.1")])
def test_bad_settings_are_named(knobs, told):
    with pytest.raises(UserError, match=told):
        optim.make(**{"name": "adam", "learning_rate": 0.1, "steps": 3, **knobs})
