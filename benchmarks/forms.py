"""A peer's step in several forms, each timed beside ours, so that the fastest counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sercl_jax.errors import UserError

from . import pairs, timing


def take_turns(ours: pairs.SideProcess, peer: str, forms: Sequence[str], common: dict[str, Any], repeats: int,
               steps: int) -> tuple[np.ndarray, dict[str, dict[str, Any]]]:
    """Times one form after another beside ours, so that only one form's memory is held at a time.

    Args:
      ours: our side, warm.
      peer: ".module:function" that makes the peer's side; its arguments are `form`, `keep_freed` and the common ones.
      forms: their names.
      common: other arguments of the function.
      repeats: timed turns of each form.
      steps: in each turn.

    Returns:
      Our seconds per step, of all turns, and the facts of each form as it starts by default and with the memory
      settings that our training sets itself.

    Raises:
      UserError: no form runs.
    """
    own, found = [], dict[str, dict[str, Any]]()
    for form in forms:
        sides = {form + note: pairs.Side(peer, {"form": form, "keep_freed": ours_too, **common},
                                         pairs.TRAINING if ours_too else {})
                 for note, ours_too in (("", False), (", our memory settings", True))}
        with pairs.processes(sides) as (running, failed):
            found |= {name: {"error": text} for name, text in failed.items()}
            if not running:
                continue
            seconds = pairs.take_turns({"ours": ours, **running}, repeats, steps)
            own.append(seconds["ours"])
            for name, process in running.items():
                found[name] = process.facts() | {
                    "step_seconds": timing.summary(seconds[name]),
                    "ratio": timing.spread(seconds[name] / seconds["ours"])
                    | {"of_minima": float(seconds[name].min() / seconds["ours"].min())}}
    if not own:
        raise UserError(f"--peer torch: no form of the step runs: {found}.")
    return np.concatenate(own), found


def compare(forms: dict[str, dict[str, Any]], memory: dict[str, Any], *packages: str) -> dict[str, Any]:
    """The peer's side of the JSON: all its forms, and the ratios of the fastest.

    Args:
      forms: as `take_turns` gives them.
      memory: of our side.
      packages: whose versions are told besides PyTorch's.
    """
    timed = {name: fact for name, fact in forms.items() if "ratio" in fact}
    for fact in timed.values():
        fact["memory_ratio"] = fact["memory"]["peak_over_imports"] / memory["peak_over_imports"]
    fastest = min(timed, key=lambda name: timed[name]["ratio"]["median"])
    return {"ratio": timed[fastest]["ratio"], "memory_ratio": timed[fastest]["memory_ratio"],
            "peer": {"name": "PyTorch", "versions": timing.versions("torch", *packages), "fastest": fastest,
                     "forms": forms}}


def print_forms(result: dict[str, Any]) -> None:
    """A line for each form of the peer, and one for the fastest; nothing without a peer."""
    for form, fact in result.get("peer", {"forms": {}})["forms"].items():
        told = fact.get("error") or (
            f"median {fact['step_seconds']['median']:.4f} s, min {fact['step_seconds']['min']:.4f} s, ratio "
            f"{fact['ratio']['median']:.2f}, peak memory {gigabytes(fact)}, ratio {fact['memory_ratio']:.2f}")
        print(f"PyTorch, {form}: {told}")
    if "ratio" in result:
        ratio = result["ratio"]
        print(f"Peer's time over ours, {result['peer']['fastest']}: median {ratio['median']:.2f} (quartiles "
              f"{ratio['quartiles'][0]:.2f}, {ratio['quartiles'][1]:.2f}; of minima {ratio['of_minima']:.2f}); "
              f"memory {result['memory_ratio']:.2f}")


def gigabytes(told: dict[str, Any]) -> str:
    """The peak memory of a side, from its facts."""
    memory = told["memory"]
    on_device = f" (on the device {memory['device_peak'] / 1e9:.2f})" if "device_peak" in memory else ""
    return f"{memory['peak_over_imports'] / 1e9:.2f} GB over imports{on_device}"
