"""The training loop. It runs any `Stage` and knows no method."""

import contextlib
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

from sercl_jax import feed, files, logs, memory, parallel
from sercl_jax.checkpoint import Checkpoints
from sercl_jax.errors import UserError
from sercl_jax.types import Input, Stage, Variables


@dataclass(frozen=True)
class TrainResult:
    """What a stage ends with.

    Attributes:
      variables: NumPy arrays; of the best step if the stage validates, else of the last.
      step: the number of steps done.
      seconds: that this call took.
      history: the lines of the log; in a process that is not the main one, those of this call.
      best_step: the best validated step, or None.
      waited: of these seconds, those in which it waited for input.
    """

    variables: Variables
    step: int
    seconds: float
    history: list[dict[str, Any]]
    best_step: int | None
    waited: float = 0.0


def init_key(seed: int) -> jax.Array:
    """The key that draws a stage's first parameters; no step's key equals it."""
    return jax.random.fold_in(jax.random.key(seed), 2**32 - 1)


@functools.lru_cache(maxsize=16)
def mapped_step(loss: Callable[..., Any], update: Callable[..., Any], devices: tuple[jax.Device, ...],
                select: Callable[..., Any] | None = None, several: bool = False) -> Callable[..., Any]:
    """The step that `run` repeats: (state, batch, seed) -> (state, (loss, metrics)), mapped, its state donated.

    Equal arguments give the same function, which compiles once for each shape of batch. The state is a dict of
    "step", "params", "optimizer" (its state) and "fixed" (the other collections).

    Args:
      loss, update: of the stage and its optimizer.
      devices: of all processes.
      select: makes the batch of the corpus, a fourth argument, and of what was drawn, see `types.Input`.
      several: whether batches, loss and metrics have a further axis after that of the devices: steps that are taken
        one after another without coming back to the host.
    """
    memory.keep_freed()

    def step(state: dict[str, Any], batch: Any, seed: jax.Array) -> tuple[dict[str, Any], Any]:
        key = jax.random.fold_in(jax.random.key(seed), state["step"])

        def objective(params: Any) -> Any:
            return loss({**state["fixed"], "params": params}, batch, key)

        (value, metrics), gradient = jax.value_and_grad(objective, has_aux=True)(state["params"])
        updates, optimizer = update(parallel.pmean(gradient), state["optimizer"], state["params"])
        state = {"step": state["step"] + 1, "params": optax.apply_updates(state["params"], updates),
                 "optimizer": optimizer, "fixed": state["fixed"]}
        return state, (value, parallel.psum(metrics))

    def dispatch(state: dict[str, Any], drawn: Any, seed: jax.Array, *arrays: Any) -> tuple[dict[str, Any], Any]:
        def one(state: dict[str, Any], drawn: Any) -> tuple[dict[str, Any], Any]:
            return step(state, drawn if select is None else select(*arrays, drawn), seed)

        return jax.lax.scan(one, state, drawn) if several else one(state, drawn)

    return parallel.map_step(dispatch, devices=devices, donate=(0,))


def initial_state(variables: Variables, optimizer: Any) -> dict[str, Any]:
    """The state before the first step, see `mapped_step`."""
    return {"step": np.zeros((), np.int32), "params": variables["params"],
            "optimizer": optimizer.init(variables["params"]),
            "fixed": {name: tree for name, tree in variables.items() if name != "params"}}


def _variables(state: Mapping[str, Any]) -> dict[str, Any]:
    return {**state["fixed"], "params": state["params"]}


def run(stage: Stage, *, workdir: Path | None, seed: int, log_every: int = 50, checkpoint_every: int = 0,
        progress: bool = True, devices: Sequence[jax.Device] | None = None, resident: str = "auto",
        steps_per_dispatch: int = 0) -> TrainResult:
    """Trains a stage, or goes on with it, or returns what it ended with if it is finished.

    The batch and every draw of a step depend on (seed, step) only: a run that was killed and started again ends
    with the parameters of one that was not. Of several processes each must call it with the same arguments.

    Args:
      stage: what to train.
      workdir: `workdir/<stage.name>/` holds checkpoints and logs; None keeps nothing.
      seed: of parameters and draws.
      log_every: steps between log lines; there is also one at every checkpoint.
      checkpoint_every: steps between checkpoints; 0 for one at the end (and at each validation).
      progress: whether to show a bar.
      devices: of all processes; None for every one, of a single CPU's those that serve, see `parallel.shared_by`.
      resident, steps_per_dispatch: whether the corpus lies on the devices, and how many steps they take between two
        looks of the host, see `feed.Feed`. Neither changes batches, draws, or where lines and checkpoints are;
        XLA fuses another program differently, so that results may differ by rounding.

    Raises:
      UserError: the loss is not finite; the workdir holds another training, is damaged, or its disk is full; another
        process has ended.
    """
    directory = workdir and workdir / stage.name
    main = parallel.is_main_process()  # it alone locks, logs and saves
    lock = files.locked(directory, f"training {directory}") if directory and main else contextlib.nullcontext()
    with parallel.lost_processes_told(), lock:
        return _Training(stage, directory, seed, log_every, checkpoint_every, progress and main, devices, resident,
                         steps_per_dispatch).run()


class _Training:
    """One call of `run`."""

    def __init__(self, stage: Stage, directory: Path | None, seed: int, log_every: int, checkpoint_every: int,
                 progress: bool, devices: Sequence[jax.Device] | None, resident: str, steps_per_dispatch: int):
        self.stage, self.directory, self.seed, self.devices = stage, directory, seed, devices and tuple(devices)
        self.log_every, self.checkpoint_every, self.progress = log_every, checkpoint_every, progress
        self.resident, self.steps_per_dispatch = resident, steps_per_dispatch
        self.waited = 0.0
        self.rows = 0  # of a batch, once it is known
        self.checkpoints: Checkpoints | None = None
        self.best: tuple[Variables, int] | None = None
        self.best_score = -math.inf

    def run(self) -> TrainResult:
        began = time.perf_counter()
        stage = self.stage
        host = self._start()
        try:
            if self.directory:
                settings = {**stage.settings, "stage": stage.name, "steps": stage.steps, "seed": self.seed}
                self.checkpoints = Checkpoints(self.directory / "checkpoints", settings,
                                               scored=stage.validate is not None)
                if self.checkpoints.latest() is not None:
                    host = self.checkpoints.restore(host)
            if int(host["step"]) < stage.steps:
                host, history = self._train(host)
            else:
                history = logs.read(self.directory) if self.directory and parallel.is_main_process() else []
            self._settle(host)
        finally:
            if self.checkpoints:
                self.checkpoints.close()
        variables, best_step = self.best or (_variables(host), None)
        return TrainResult(variables, stage.steps, time.perf_counter() - began, history, best_step,
                           self.waited)

    def _start(self) -> dict[str, Any]:
        """The state before the first step, on the host."""
        stage = self.stage
        if stage.variables is None:
            batch = stage.batch(0)
            self.rows = _rows(batch)
            start = stage.init(init_key(self.seed), batch)
        else:
            start = stage.variables
        start = jax.tree.map(lambda x: np.asarray(jnp.asarray(x)), dict(start))
        return jax.tree.map(np.asarray, initial_state(start, stage.optimizer))

    def _train(self, host: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Takes the steps that are left; returns the last state and the lines of the log."""
        stage, first = self.stage, int(host["step"])
        devices = self.devices or self._choose(host)
        directory = self.directory if parallel.is_main_process() else None
        with logs.MetricsLog(directory, stage.name, step=first, steps=stage.steps, progress=self.progress) as log:
            state = parallel.replicate(host, devices)
            seed = parallel.replicate(np.uint32(self.seed), devices)
            source = feed.Feed(stage.batch, devices, resident=self.resident, log_every=self.log_every,
                               steps_per_dispatch=self.steps_per_dispatch)
            in_flight = parallel.in_flight(devices)
            pending: list[Any] = []
            step = first
            for batch, count in source.dispatches(first, stage.steps, self._looks):
                take = mapped_step(stage.loss, stage.optimizer.update, devices, source.select, count > 1)
                state, told = take(state, batch, seed, *source.arrays)
                step += count
                pending.append(told)
                if len(pending) >= in_flight:
                    jax.block_until_ready(pending[-in_flight])
                log.advance(count)
                if self._looks(step):
                    values = _means(stage, pending, step)
                    pending = []
                    if self._saves(step):
                        host = parallel.unreplicate(state)
                    self._record(step, host, values, log)
            self.waited = source.waited
        return host, log.history

    def _choose(self, host: dict[str, Any]) -> tuple[jax.Device, ...]:
        """The devices, where the caller has named none."""
        source, first = self.stage.batch, int(host["step"])
        rows = self.rows or _rows(source.draw(first) if isinstance(source, Input) else source(first))
        return parallel.shared_by(rows, parallel.numbers_in(_variables(host)))

    def _validates(self, step: int) -> bool:
        stage = self.stage
        due = step == stage.steps or bool(stage.validate_every and step % stage.validate_every == 0)
        return stage.validate is not None and due

    def _looks(self, step: int) -> bool:
        """Whether the host needs values after so many steps."""
        return step % self.log_every == 0 or self._saves(step)

    def _saves(self, step: int) -> bool:
        due = bool(self.checkpoint_every and step % self.checkpoint_every == 0)
        return due or step == self.stage.steps or self._validates(step)

    def _record(self, step: int, host: dict[str, Any], values: dict[str, float], log: logs.MetricsLog) -> None:
        """Validates, logs and saves what is due; `host` is the state of this step if it is to be saved."""
        told = self._validate(step, host) if self._validates(step) else {}
        log.write(step, {"epoch": step / self.stage.steps_per_epoch, **values, **told})
        if self.checkpoints and self._saves(step):
            self.checkpoints.save(step, host, told.get("score"))

    def _validate(self, step: int, host: dict[str, Any]) -> dict[str, float]:
        """The score, and what else the stage tells of it; all processes go by the main one's score."""
        stage = self.stage
        assert stage.validate is not None
        found = stage.validate(_variables(host))
        told = dict(found) if isinstance(found, Mapping) else {"score": float(found)}
        mine = np.float64(told["score"])
        score = told["score"] = float(parallel.from_main(lambda: mine, mine))
        if not math.isfinite(score):
            raise UserError(f"Stage {stage.name!r}: the score is {score} at step {step}; a best step cannot be "
                            "chosen by it.")
        if score >= self.best_score:
            self.best, self.best_score = (_variables(host), step), score
        return told

    def _settle(self, host: dict[str, Any]) -> None:
        """Waits for the disk; takes the best variables from there, as they may come from an earlier call."""
        if self.checkpoints is None:
            return
        self.checkpoints.wait()
        if self.stage.validate and (step := self.checkpoints.best()) is not None:
            self.best = (_variables(self.checkpoints.restore(host, step)), step)


def _rows(batch: Mapping[str, Any]) -> int:
    """How many utterances a batch has."""
    return len(next(iter(batch.values())))


def _means(stage: Stage, pending: list[Any], step: int) -> dict[str, float]:
    """Averages over the steps since the last line; the only place where the host waits for values."""
    fetched = jax.device_get([jax.tree.map(lambda x: x.addressable_shards[0].data, told) for told in pending])
    losses = np.concatenate([np.ravel(value) for value, _ in fetched]).tolist()
    for position, value in enumerate(losses):
        if not math.isfinite(value):
            raise UserError(f"Stage {stage.name!r}: the loss is {value} at step {step - len(losses) + position + 1}; "
                            "try a lower learning rate or clip_norm, and look for NaN in the features. "
                            "The last checkpoint before it is kept.")
    means = {"loss": math.fsum(losses) / len(losses)}
    for name in fetched[0][1]:
        total, count = (math.fsum(np.concatenate([np.ravel(metrics[name][i]) for _, metrics in fetched]).tolist())
                        for i in (0, 1))
        means[name] = total / count if count else 0.0
    return means
