"""The training loop. It runs any `Stage` and knows no method."""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sercl_jax import data, files, logs, parallel
from sercl_jax.checkpoint import Checkpoints
from sercl_jax.errors import UserError
from sercl_jax.types import Stage, Variables


@dataclass(frozen=True)
class TrainResult:
    """What a stage ends with.

    Attributes:
      variables: NumPy arrays; of the best step if the stage validates, else of the last.
      step: the number of steps done.
      seconds: that this call took.
      history: the lines of the log.
      best_step: the best validated step, or None.
    """

    variables: Variables
    step: int
    seconds: float
    history: list[dict[str, Any]]
    best_step: int | None


def init_key(seed: int) -> jax.Array:
    """The key that draws a stage's first parameters; no step's key equals it."""
    return jax.random.fold_in(jax.random.key(seed), 2**32 - 1)


@functools.lru_cache(maxsize=16)
def _step(loss: Callable[..., Any], update: Callable[..., Any],
          devices: tuple[jax.Device, ...]) -> Callable[..., Any]:
    def step(state: dict[str, Any], batch: Any, seed: jax.Array) -> tuple[dict[str, Any], Any]:
        key = jax.random.fold_in(jax.random.key(seed), state["step"])

        def objective(params: Any) -> Any:
            return loss({**state["fixed"], "params": params}, batch, key)

        (value, metrics), gradient = jax.value_and_grad(objective, has_aux=True)(state["params"])
        updates, optimizer = update(parallel.pmean(gradient), state["optimizer"], state["params"])
        state = {"step": state["step"] + 1, "params": optax.apply_updates(state["params"], updates),
                 "optimizer": optimizer, "fixed": state["fixed"]}
        return state, (value, parallel.psum(metrics))

    return parallel.map_step(step, devices=devices, donate=(0,))


def _variables(state: Mapping[str, Any]) -> dict[str, Any]:
    return {**state["fixed"], "params": state["params"]}


def run(stage: Stage, *, workdir: Path | None, seed: int, log_every: int = 50, checkpoint_every: int = 0,
        progress: bool = True, devices: Sequence[jax.Device] | None = None) -> TrainResult:
    """Trains a stage, or goes on with it, or returns what it ended with if it is finished.

    The batch and every draw of a step depend on (seed, step) only: a run that was killed and started again ends
    with the parameters of one that was not.

    Args:
      stage: what to train.
      workdir: `workdir/<stage.name>/` holds checkpoints and logs; None keeps nothing.
      seed: of parameters and draws.
      log_every: steps between log lines; there is also one at every checkpoint.
      checkpoint_every: steps between checkpoints; 0 for one at the end (and at each validation).
      progress: whether to show a bar.
      devices: of all processes; None for every one.

    Raises:
      UserError: the loss is not finite; the workdir holds another training, is damaged, or its disk is full.
    """
    chosen = parallel.all_devices() if devices is None else tuple(devices)
    if workdir is None:
        return _run(stage, None, seed, log_every, checkpoint_every, progress, chosen)
    directory = workdir / stage.name
    with files.locked(directory, f"training {directory}"):
        return _run(stage, directory, seed, log_every, checkpoint_every, progress, chosen)


def _run(stage: Stage, directory: Path | None, seed: int, log_every: int, checkpoint_every: int, progress: bool,
         devices: tuple[jax.Device, ...]) -> TrainResult:
    began = time.perf_counter()
    start = stage.variables if stage.variables is not None else stage.init(init_key(seed), stage.batch(0))
    start = jax.tree.map(lambda x: np.asarray(jnp.asarray(x)), dict(start))
    host: dict[str, Any] = {
        "step": np.zeros((), np.int32), "params": start["params"],
        "optimizer": jax.tree.map(np.asarray, stage.optimizer.init(start["params"])),
        "fixed": {name: tree for name, tree in start.items() if name != "params"}}
    settings = {**stage.settings, "stage": stage.name, "steps": stage.steps, "seed": seed}
    checkpoints = Checkpoints(directory / "checkpoints", settings) if directory else None
    best_variables, best_score, best_step = None, -math.inf, None
    try:
        done = checkpoints.latest() if checkpoints else None
        if checkpoints and done is not None:
            host = checkpoints.restore(host)
        first = int(host["step"])
        if first < stage.steps:
            log = logs.MetricsLog(directory, stage.name, step=first, steps=stage.steps, progress=progress)
            with log:
                state = parallel.replicate(host, devices)
                seeds = parallel.replicate(np.uint32(seed), devices)
                step_function = _step(stage.loss, stage.optimizer.update, devices)
                in_flight = parallel.in_flight(devices)
                pending: list[Any] = []
                batches = data.prefetch(lambda step: parallel.shard(stage.batch(step), devices), first, stage.steps)
                for step, batch in enumerate(batches, first + 1):
                    state, told = step_function(state, batch, seeds)
                    pending.append(told)
                    if len(pending) >= in_flight:
                        jax.block_until_ready(pending[-in_flight])
                    log.advance()
                    last = step == stage.steps
                    validates = bool(stage.validate and (last or (stage.validate_every
                                                                  and step % stage.validate_every == 0)))
                    saves = validates or last or bool(checkpoint_every and step % checkpoint_every == 0)
                    if not (saves or step % log_every == 0):
                        continue
                    values = _means(stage, pending, step)
                    pending = []
                    score = None
                    if saves:
                        host = parallel.unreplicate(state)
                    if validates and stage.validate:
                        score = values["score"] = float(stage.validate(_variables(host)))
                        if score >= best_score:
                            best_variables, best_score, best_step = _variables(host), score, step
                    log.write(step, {"epoch": step / stage.steps_per_epoch, **values})
                    if saves and checkpoints:
                        checkpoints.save(step, host, score)
            history = log.history
        else:
            history = logs.read(directory) if directory else []
        if checkpoints:
            checkpoints.wait()
            if stage.validate:
                best_step = checkpoints.best()
                best_variables = _variables(checkpoints.restore(host, best_step))
    finally:
        if checkpoints:
            checkpoints.close()
    return TrainResult(best_variables or _variables(host), stage.steps, time.perf_counter() - began, history,
                       best_step)


def _means(stage: Stage, pending: list[Any], step: int) -> dict[str, float]:
    """Averages over the steps since the last line; the only place where the host waits for values."""
    fetched = jax.device_get([jax.tree.map(lambda x: x.addressable_shards[0].data, told) for told in pending])
    losses = [float(value[0]) for value, _ in fetched]
    for position, value in enumerate(losses):
        if not math.isfinite(value):
            raise UserError(f"Stage {stage.name!r}: the loss is {value} at step {step - len(losses) + position + 1}; "
                            "try a lower learning rate or clip_norm, and look for NaN in the features. "
                            "The last checkpoint before it is kept.")
    means = {"loss": math.fsum(losses) / len(losses)}
    for name in fetched[0][1]:
        total, count = (math.fsum(float(metrics[name][i][0]) for _, metrics in fetched) for i in (0, 1))
        means[name] = total / count if count else 0.0
    return means
