"""Optimizers and schedules, and which parameters train.

Two optimizers of equal settings share one `update` object, whatever their number of steps, because the number of
steps lies in the optimizer's state. `train` compiles once per `update`, so folds of different sizes share a step.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sercl_jax.errors import UserError

NAMES = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "linear", "stairs")

Rules = tuple[tuple[str, float | None], ...]


class Stairs(NamedTuple):
    """A learning rate that falls in steps, in epochs counted from 0.

    Attributes:
      epochs: how many the training has.
      first: the epoch before which it falls for the first time.
      every: epochs between two falls.
      factor: of each fall.
    """

    epochs: int
    first: int
    every: int
    factor: float


FLAT = Stairs(1, 1, 1, 1.0)


class ScheduleState(NamedTuple):
    """Where the schedule stands: int32 scalars."""

    taken: jax.Array
    steps: jax.Array


def rate(schedule: str, warmup_steps: int, count: jax.Array, steps: jax.Array,
         stairs: Stairs = FLAT) -> jax.Array:
    """The learning rate at a step, as a share of its peak.

    Rises linearly over `warmup_steps`, then stays ("constant"), falls to 0 at `steps` along half a cosine ("cosine")
    or a line ("linear"), or falls as `stairs` say, whose epochs divide the steps evenly ("stairs").
    """
    warm = jnp.minimum(1.0, (count + 1) / max(warmup_steps, 1)) if warmup_steps else 1.0
    done = jnp.clip((count - warmup_steps) / jnp.maximum(steps - warmup_steps, 1), 0.0, 1.0)
    if schedule == "stairs":
        per_epoch = jnp.maximum(steps // stairs.epochs, 1)
        falls = jnp.maximum(count // per_epoch - stairs.first + stairs.every, 0) // stairs.every
        return warm * jnp.float32(stairs.factor) ** falls
    falling = {"constant": jnp.ones_like(done), "cosine": 0.5 * (1 + jnp.cos(jnp.pi * done)),
               "linear": 1 - done}[schedule]
    return warm * falling


@functools.lru_cache(maxsize=64)
def _chain(name: str, learning_rate: float, schedule: str, warmup_steps: int, weight_decay: float,
           clip_norm: float, stairs: Stairs) -> optax.GradientTransformation:
    decay = [optax.add_decayed_weights(weight_decay)] if weight_decay else []
    parts = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    if name == "adamw":
        parts += [optax.scale_by_adam(), *decay]
    else:
        parts += [*decay, optax.scale_by_adam() if name == "adam" else optax.trace(decay=0.9)]

    def init(params: Any) -> ScheduleState:
        del params
        return ScheduleState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: ScheduleState, params: Any = None) -> tuple[Any, ScheduleState]:
        del params
        factor = -learning_rate * rate(schedule, warmup_steps, state.taken, state.steps, stairs)
        return (jax.tree.map(lambda u: u * factor.astype(u.dtype), updates),
                ScheduleState(state.taken + 1, state.steps))

    return optax.chain(*parts, optax.GradientTransformation(init, update))  # type: ignore[arg-type]


def make(*, name: str, learning_rate: float, steps: int, schedule: str = "constant", warmup_steps: int = 0,
         weight_decay: float = 0.0, clip_norm: float = 0.0,
         stairs: Stairs = FLAT) -> optax.GradientTransformation:
    """An optimizer with its schedule.

    Args:
      name: "adam" (weight decay, if any, is L2 added to the gradient), "adamw" (decoupled decay) or "sgd"
        (momentum 0.9, L2 added to the gradient).
      learning_rate: its peak.
      steps: in all; where "cosine" and "linear" end.
      schedule: see `rate`.
      warmup_steps: of linear rise.
      weight_decay: 0 for none.
      clip_norm: largest global norm of the gradient; 0 for no limit.
      stairs: for the schedule "stairs".

    Raises:
      UserError: an unknown name or schedule, or a number out of range.
    """
    for what, value, known in (("optimizer", name, NAMES), ("schedule", schedule, SCHEDULES)):
        if value not in known:
            raise UserError(f"{what}={value!r} is unknown; known: {', '.join(known)}.")
    if learning_rate < 0 or weight_decay < 0 or clip_norm < 0 or warmup_steps < 0 or steps < 0:
        raise UserError(f"optimizer: learning_rate={learning_rate}, weight_decay={weight_decay}, "
                        f"clip_norm={clip_norm}, warmup_steps={warmup_steps} and steps={steps} may not be negative.")
    if stairs.epochs < 1 or stairs.first < 1 or stairs.every < 1 or not stairs.factor > 0:
        raise UserError(f"optimizer: {stairs} need at least 1 epoch everywhere and a factor above 0.")
    chain = _chain(name, float(learning_rate), schedule, warmup_steps, float(weight_decay), float(clip_norm), stairs)

    def init(params: Any) -> Any:
        *states, last = chain.init(params)
        return (*states, ScheduleState(last.taken, jnp.asarray(steps, jnp.int32)))

    return optax.GradientTransformation(init, chain.update)


def accumulate(optimizer: optax.GradientTransformation, count: int) -> optax.GradientTransformation:
    """Takes a step only every `count` batches, with the mean of their gradients.

    The optimizer must have been made for that many times fewer steps. Of a contrastive loss each batch has pairs of
    its own: more batches are not a larger one.
    """
    if count == 1:
        return optimizer
    return optax.GradientTransformation(
        optax.MultiSteps(optimizer, count).init, _accumulated(optimizer.update, count))


@functools.lru_cache(maxsize=64)
def _accumulated(update: Callable[..., Any], count: int) -> Callable[..., Any]:
    def no_init(params: Any) -> Any:
        raise NotImplementedError

    return optax.MultiSteps(optax.GradientTransformation(no_init, update), count).update


def freeze(optimizer: optax.GradientTransformation, rules: Rules) -> optax.GradientTransformation:
    """Freezes parameters, or scales their learning rates, by name.

    Args:
      optimizer: for what trains. Frozen parameters take no memory in it and do not count when it clips.
      rules: (regular expression, scale) pairs. The first expression that matches the whole of a parameter's
        name, such as "encoder/layer_0/kernel", decides: None freezes, a number multiplies the learning rate.

    Raises:
      UserError: (when initialised) a parameter that no rule covers, or a rule that covers none.
    """
    inner = _freeze_update(optimizer.update, rules)
    partition = optax.partition({"train": optax.chain(optimizer, _scale(rules)), "frozen": optax.set_to_zero()},
                                functools.partial(_labels, rules))
    return optax.GradientTransformation(partition.init, inner)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=64)
def _freeze_update(update: Callable[..., Any], rules: Rules) -> Callable[..., Any]:
    def no_init(params: Any) -> Any:
        raise NotImplementedError

    chain = optax.chain(optax.GradientTransformation(no_init, update), _scale(rules))
    return optax.partition({"train": chain, "frozen": optax.set_to_zero()}, functools.partial(_labels, rules)).update


def _scale(rules: Rules) -> optax.GradientTransformation:
    def update(updates: Any, params: Any) -> Any:
        del params
        return jax.tree_util.tree_map_with_path(lambda path, u: u * _rule(rules, path)[1], updates)

    return optax.stateless(update)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _rule(rules: Rules, path: Any) -> tuple[str, float | None]:
    for rule in rules:
        if re.fullmatch(rule[0], _name(path)):
            return rule
    raise UserError(f"Parameter {_name(path)!r} is covered by no rule; add one, such as ('.*', 1.0) at the end.")


def _labels(rules: Rules, params: Any) -> Any:
    used = jax.tree_util.tree_map_with_path(lambda path, _: _rule(rules, path), params)
    chosen = {rule[0] for rule in jax.tree.leaves(used, is_leaf=lambda x: isinstance(x, tuple) and len(x) == 2)}
    if idle := [pattern for pattern, _ in rules if pattern not in chosen]:
        raise UserError(f"Rule {idle[0]!r} covers no parameter; correct or remove it.")
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "frozen" if _rule(rules, path)[1] is None else "train", params)
