"""What the benchmarks of training steps share: command line, measurement, figures, and their lines for people."""

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import resources, workers
from sercl_jax.errors import UserError

from . import forms, pairs, timing

PROFILED_STEPS = 5
# Beside a peer our side may not take the device's memory for itself in advance.
SHARING = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
RATIOS = (0.02, 100)  # a peer's time over ours outside of them is a mistake somewhere
BUSY = 0.1  # share of the CPUs' time that others may take
OF_XLA = (0.1, 30)  # XLA's FLOPs over the analytic ones: it counts loops once, and what is done to single numbers


@dataclass(frozen=True)
class Method:
    """A benchmark of a training step.

    Attributes:
      name: in the JSON.
      title: for people.
      peer: the peer's name.
      packages: that it needs.
      side: ".module:function" that makes its side.
      forms: of its step.
      steps: in a timed turn.
    """

    name: str
    title: str
    peer: str
    packages: tuple[str, ...]
    side: str
    forms: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class Plan:
    """What a command line has chosen.

    Attributes:
      ours: our side.
      sizes: for the JSON; beside the batch.
      audio_seconds: of an utterance.
      common: from the facts of our side: the peer's arguments.
    """

    ours: pairs.Side
    sizes: Mapping[str, Any]
    audio_seconds: float
    common: Callable[[Mapping[str, Any]], Mapping[str, Any]]


def parser(description: str | None, method: Method, *, batch: int, repeats: int) -> argparse.ArgumentParser:
    """The options that all of them have, with these defaults."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--peer", choices=("torch",), help=f"also time {method.peer}")
    made.add_argument("--forms", default=",".join(method.forms), help="of the peer, separated by commas")
    made.add_argument("--batch", type=int, default=batch, help="utterances per step")
    made.add_argument("--precision", choices=("float32", "bfloat16"), default="float32",
                      help="of both sides; the peer's bfloat16 is torch's automatic mixed precision")
    made.add_argument("--repeats", type=int, default=repeats, help="timed turns of each form, and of ours beside it")
    made.add_argument("--profile", type=Path, metavar="DIR", help="where to put a trace for TensorBoard or Perfetto")
    add_outputs(made)
    return made


def add_outputs(made: argparse.ArgumentParser, plot: bool = True) -> None:
    """The options that other benchmarks have, too: device, threads, and what is written."""
    made.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="the default is JAX's")
    made.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs for each side")
    made.add_argument("--json", type=Path, help="where to write every figure")
    made.add_argument("--markdown", type=Path, help="where to write a table of them")
    if plot:
        made.add_argument("--plot", type=Path, metavar="FILE.png", help="where to draw them under the ceilings")


def check(arguments: argparse.Namespace, method: Method, **least: float) -> argparse.Namespace:
    """The arguments, if they can be; raises `UserError` for the first that is below its least value, or unknown."""
    check_least(arguments, repeats=1, **least)
    if unknown := set(arguments.forms.split(",")) - set(method.forms):
        raise UserError(f"--forms={arguments.forms}: {min(unknown)!r} is none of {', '.join(method.forms)}.")
    return arguments


def check_least(arguments: argparse.Namespace, **least: float) -> None:
    """Raises `UserError` for the first argument that is below its least value, or no number."""
    for name, value in least.items():
        if not getattr(arguments, name) >= value:
            raise UserError(f"--{name}={getattr(arguments, name)}: must be at least {value}.")


def check_peer(method: Method) -> None:
    """Raises `UserError` if a package of the peer's is missing."""
    if missing := [name for name in method.packages if not resources.installed(name)]:
        raise UserError(f"--peer torch needs {' and '.join(missing)}: pip install 'sercl_jax[peer]'.")


def measure(arguments: argparse.Namespace, method: Method, plan: Plan) -> dict[str, Any]:
    """Everything the JSON holds."""
    began = timing.machine()
    environment = {**plan.ours.environment, **(SHARING if arguments.peer else {})}
    side = pairs.Side(plan.ours.function, plan.ours.arguments, environment)
    with contextlib.closing(pairs.SideProcess(side)) as ours:
        if arguments.peer:
            told = ours.facts()
            common = {"threads": arguments.threads, "platform": told["device"]["platform"],
                      "batch": arguments.batch, **plan.common(told)}
            seconds, found = forms.take_turns(ours, method.side, arguments.forms.split(","), common,
                                              arguments.repeats, method.steps)
        else:
            seconds, found = pairs.take_turns({"ours": ours}, arguments.repeats, method.steps)["ours"], {}
        told = ours.facts()
        if arguments.profile:
            told["profile"] = ours.call("profile", folder=str(arguments.profile.resolve()), steps=PROFILED_STEPS)
        told |= ours.call("ceilings")
    told["flops"]["xla"] = told.pop("xla_flops")
    result = {"benchmark": method.name, "title": method.title, "date": timing.now(), "batch": arguments.batch,
              **plan.sizes, "precision": arguments.precision, "repeats": arguments.repeats,
              "steps_per_repeat": method.steps, "threads": arguments.threads, **told,
              "machine": began | {"load_after": list(os.getloadavg())},
              "step_seconds": timing.summary(seconds),
              **rates(told, arguments.batch, plan.audio_seconds, float(np.median(seconds)))}
    if arguments.peer:
        result |= forms.compare(found, told["memory"], method.peer, method.packages)
    return result | {"implausible": implausible(result), "notes": notes(result)}


def rates(told: Mapping[str, Any], batch: int, audio_seconds: float, seconds: float) -> dict[str, float]:
    """What a step of so many seconds comes to; shares are of the measured ceilings.

    "share_of_roofline" is of what the ceilings allow at the step's "flops_per_byte": analytic FLOPs over the bytes
    that XLA says its operations read and write. Caches serve a part of those, so "bytes_per_second" may exceed what
    memory gives.
    """
    flops, moved = told["flops"]["analytic"], told["bytes_accessed"]
    product, copy = told["matmul_ceiling_flops_per_second"], told["copy_ceiling_bytes_per_second"]
    return {"utterances_per_second": batch / seconds,
            "audio_hours_per_second": batch * audio_seconds / seconds / 3600,
            "flops_per_second": flops / seconds, "bytes_per_second": moved / seconds,
            "flops_per_byte": flops / moved, "share_of_ceiling": flops / seconds / product,
            "share_of_copy_ceiling": moved / seconds / copy,
            "share_of_roofline": flops / seconds / min(product, flops / moved * copy)}


def implausible(result: Mapping[str, Any]) -> list[str]:
    """What cannot be true in a result, in words."""
    names = ("utterances_per_second", "audio_hours_per_second", "compile_seconds", "flops_per_second",
             "matmul_ceiling_flops_per_second", "copy_ceiling_bytes_per_second", "loss")
    figures = {name: result[name] for name in names}
    figures |= {"the fastest step in seconds": result["step_seconds"]["min"],
                "peak memory over imports": result["memory"]["peak_over_imports"],
                "memory by XLA's analysis": result["memory"]["xla"]["total"]}
    found = [f"{name} is {value}, not a positive number" for name, value in figures.items()
             if not (math.isfinite(value) and value > 0)]
    if result["share_of_ceiling"] > 1:
        found.append(f"flops_per_second is {result['flops_per_second']:.3g}, above the matrix product ceiling of "
                     f"{result['matmul_ceiling_flops_per_second']:.3g} FLOP/s")
    counted = result["flops"]["xla"] / result["flops"]["analytic"]
    if not OF_XLA[0] < counted < OF_XLA[1]:
        found.append(f"XLA counts {counted:.3g} times the analytic FLOPs")
    for form, fact in result.get("peer", {"forms": {}})["forms"].items():
        if "ratio" in fact and not RATIOS[0] < fact["ratio"]["median"] < RATIOS[1]:
            found.append(f"{form}: the peer's time over ours is {fact['ratio']['median']:.3g}")
        if "loss" in fact and not math.isfinite(fact["loss"]):
            found.append(f"{form}: the peer's loss is {fact['loss']}")
    return found


def notes(result: Mapping[str, Any]) -> list[str]:
    """What speaks against figures that may be true."""
    busy = result["machine"]["busy"]
    if busy is None or busy <= BUSY:
        return []
    return [f"others took {100 * busy:.0f} % of the CPUs before the measurement began: repeat it when they have "
            "ended. Torch's threads wait for each other and lose more than ours, so that ratios come out too high"]


def print_result(result: Mapping[str, Any]) -> None:
    """Some lines for people."""
    seconds, flops = result["step_seconds"], result["flops"]
    low, high = seconds["quartiles"]
    print(f"{result['title']}, {result['precision']}, {result['device']['kind']}, {result['threads']} threads: "
          f"median {seconds['median']:.4f} s (quartiles {low:.4f}, {high:.4f}; min {seconds['min']:.4f}), "
          f"{result['utterances_per_second']:.4g} utterances/s, {result['audio_hours_per_second']:.3g} hours of "
          f"audio per second, compiled in {result['compile_seconds']:.1f} s")
    print(f"{flops['analytic'] / 1e9:.4g} GFLOP of matrix products (XLA counts {flops['xla'] / 1e9:.4g} in all, and "
          f"{result['bytes_accessed'] / 1e9:.3g} GB): {result['flops_per_second'] / 1e9:.1f} GFLOP/s, "
          f"{100 * result['share_of_ceiling']:.0f} % of the {result['matmul_ceiling_flops_per_second'] / 1e9:.1f} "
          "that a matrix product reaches here; copies reach "
          f"{result['copy_ceiling_bytes_per_second'] / 1e9:.1f} GB/s")
    print(f"Memory: {describe_memory(result['memory'])}; a step by XLA's analysis "
          f"{result['memory']['xla']['total'] / 1e9:.3f} GB")
    peer = result.get("peer", {"name": "", "forms": {}})
    for form, fact in peer["forms"].items():
        told = fact.get("error") or (
            f"median {fact['step_seconds']['median']:.4f} s, min {fact['step_seconds']['min']:.4f} s, ratio "
            f"{fact['ratio']['median']:.2f}, {describe_memory(fact['memory'])}, ratio {fact['memory_ratio']:.2f}")
        print(f"{peer['name']}, {form}: {told}")
    if "ratio" in result:
        ratio = result["ratio"]
        print(f"Peer's time over ours, {peer['fastest']}: median {ratio['median']:.2f} (quartiles "
              f"{ratio['quartiles'][0]:.2f}, {ratio['quartiles'][1]:.2f}; of minima {ratio['of_minima']:.2f}); "
              f"memory {result['memory_ratio']:.2f}")
    for file in result.get("profile", ()):
        print(f"Trace: {file}")
    for name in ("implausible", "notes"):
        for line in result[name]:
            print(f"{name}: {line}", file=sys.stderr)


def describe_memory(memory: Mapping[str, Any]) -> str:
    """The peak of a side, from its facts."""
    on_device = f", on the device {memory['device_peak'] / 1e9:.3f} GB" if "device_peak" in memory else ""
    return f"process's peak {memory['peak_over_imports'] / 1e9:.3f} GB over imports{on_device}"
