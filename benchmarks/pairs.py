"""Sides of a comparison, each in a process of its own, timed in turns.

Two frameworks in one process share an allocator and compete for cores with idle thread pools. Here each side has its
own interpreter, environment and memory; one computes while the others sleep on a pipe.

A side is made by a function of a module of its own, given JSON-like keyword arguments. It returns an object that

    side(repeat)      does step number `repeat`, counted from 0, and returns when its work is done; some are untimed
    side.facts()      is a dict of what there is to tell after the steps so far, JSON-like
    side.other(...)   whatever else `SideProcess.call` names, with JSON-like arguments and results

and has warmed up before it is returned. The parent names the function and says in which environment it runs:

    with pairs.processes({"ours": pairs.Side(".serugcl_ours:make", {"batch": 64}, pairs.TRAINING),
                          "peer": pairs.Side(".serugcl_torch:make", {"batch": 64})}) as (running, failed):
        seconds = pairs.take_turns(running, turns=20, steps=3)
        facts = {name: side.facts() for name, side in running.items()}

`python -m benchmarks.pairs MODULE:FUNCTION` is what such a process runs. The function should import its framework
itself, so that the environment and `timing.use_threads`, which children inherit, precede the import.
"""

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from sercl_jax import environment
from sercl_jax.errors import UserError

# What `sercl_jax.main` sets before it trains: huge pages, and the cores of a CPU as devices (see
# `sercl_jax.environment`). glibc reads its variable only when a program starts.
MEMORY = environment.HUGE_PAGES
TRAINING = {**MEMORY, **environment.host_devices()}
# Thread pools go on spinning for a while after a step; the next side must not pay for it.
PAUSE_SECONDS = 0.02
# Before each timed turn, untimed. A process that has slept wakes its threads first and, where the system reclaims the
# memory of the idle, gets its pages back; training never sleeps.
WAKING_STEPS = 2
PATIENCE_SECONDS = 10  # for a process to end by itself


@dataclass(frozen=True)
class Side:
    """What to run in a process.

    Attributes:
      function: "module:function", which makes the side; ".module" is one beside this file.
      arguments: JSON-like keyword arguments.
      environment: variables to set in the process; those that only other sides name are as in this process.
    """

    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


class SideError(RuntimeError):
    """A side failed, in its own words."""


class SideProcess:
    """A side in its own process, warm and asleep."""

    def __init__(self, side: Side):
        """Starts it and waits until it is warm.

        Raises:
          UserError: the side says that something is the user's to mend.
          SideError: it fails in any other way.
        """
        self.name = side.function
        root = str(Path(__file__).resolve().parents[__name__.count(".")])  # holds the package, as here, as there
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, side.function], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path} | dict(side.environment))
        try:
            self._ask(dict(side.arguments))
        except BaseException:
            self.close()
            raise

    def time(self, first: int, steps: int) -> float:
        """Seconds that steps `first` to `first + steps - 1` take, by the side's own clock, after waking up."""
        return float(self._ask({"first": first, "steps": steps}))

    def facts(self) -> dict[str, Any]:
        """What the side tells, and "idle_cpu_seconds": what its process computed while it should have slept."""
        return dict(self._ask("facts"))

    def call(self, method: str, **arguments: Any) -> Any:
        """What another method of the side returns, JSON-like."""
        return self._ask({"call": method, "arguments": arguments})

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, question: Any) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise SideError(f"{self.name}: its pipes are closed.")
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(question), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SideError(f"{self.name} ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise (UserError if answer["mendable"] else SideError)(answer["error"])
        return answer["answer"]


@contextlib.contextmanager
def processes(sides: Mapping[str, Side]) -> Iterator[tuple[dict[str, SideProcess], dict[str, str]]]:
    """Starts the sides one after another; gives those that run, and why the others don't. Ends them all."""
    with contextlib.ExitStack() as stack:
        running: dict[str, SideProcess] = {}
        failed: dict[str, str] = {}
        for name, side in sides.items():
            try:
                running[name] = SideProcess(side)
            except SideError as error:
                failed[name] = str(error)
            else:
                stack.callback(running[name].close)
        yield running, failed


def take_turns(sides: Mapping[str, SideProcess], turns: int, steps: int = 1) -> dict[str, np.ndarray]:
    """Times each side once per turn, side by side, so that other load on the machine hits all alike.

    Args:
      sides: warm processes.
      turns: how often each is timed. The order rotates, so that none always follows the same other.
      steps: per turn, each turn going on where the side's last one ended.

    Returns:
      Seconds per step [turns] of each side; equal positions were measured next to each other.
    """
    names = list(sides)
    seconds = {name: np.zeros(turns) for name in names}
    for turn in range(turns):
        for name in np.roll(names, turn).tolist():
            time.sleep(PAUSE_SECONDS)
            seconds[name][turn] = sides[name].time(turn * steps, steps) / steps
    return seconds


def serve(function: str, questions: TextIO, answers: TextIO) -> None:
    """The process of a side: makes it from the first line, then answers until there are no more."""
    idle, since = 0.0, time.process_time()

    def answer(value: Any) -> None:
        nonlocal since
        print(json.dumps({"answer": value}), file=answers, flush=True)
        since = time.process_time()

    try:
        module, _, name = function.partition(":")
        side = getattr(importlib.import_module(module, __package__), name)(**json.loads(questions.readline()))
        gc.collect()
        answer(None)
        for line in questions:
            idle += time.process_time() - since
            question = json.loads(line)
            if question == "facts":
                answer(side.facts() | {"idle_cpu_seconds": idle})
                continue
            if "call" in question:
                answer(getattr(side, question["call"])(**question["arguments"]))
                continue
            for _ in range(WAKING_STEPS):
                side(question["first"])
            start = time.perf_counter()
            for repeat in range(question["first"], question["first"] + question["steps"]):
                side(repeat)
            answer(time.perf_counter() - start)
    except Exception as error:  # frameworks raise almost anything; the parent tells it
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        print(json.dumps({"error": text.strip().splitlines()[0], "mendable": isinstance(error, UserError)}),
              file=answers, flush=True)


def main() -> None:
    # Answers go where standard output went; what frameworks print goes to standard error.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        serve(sys.argv[1], sys.stdin, answers)


if __name__ == "__main__":
    main()
