"""A peer's step in several forms, each timed beside ours, so that the fastest counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sercl_jax.errors import UserError

from . import pairs, timing

# On a CPU a form runs as it starts by default, and with the memory settings that our training sets itself.
VARIANTS = (("", False), (", our memory settings", True))
PEER = {"JAX_PLATFORMS": "cpu"}  # a peer may import JAX for a dataclass; the device is not for it then


def take_turns(ours: pairs.SideProcess, peer: str, forms: Sequence[str], common: Mapping[str, Any], repeats: int,
               steps: int) -> tuple[np.ndarray, dict[str, dict[str, Any]]]:
    """Times one form after another beside ours, so that only one form's memory is held at a time.

    Args:
      ours: our side, warm.
      peer: ".module:function" that makes the peer's side; its arguments are `form`, `keep_freed` and the common ones.
      forms: their names.
      common: other arguments of the function; "platform" is JAX's name of the device.
      repeats: timed turns of each form.
      steps: in each turn.

    Returns:
      Our seconds per step, of all turns, and the facts of each form, or the error that it ended with.

    Raises:
      UserError: no form runs.
    """
    own, found = [], dict[str, dict[str, Any]]()
    variants = VARIANTS if common["platform"] == "cpu" else VARIANTS[:1]
    for form in forms:
        sides = {form + note: pairs.Side(peer, {"form": form, "keep_freed": ours_too, **common},
                                         PEER | (pairs.MEMORY if ours_too else {}))
                 for note, ours_too in variants}
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


def compare(forms: dict[str, dict[str, Any]], memory: Mapping[str, Any], name: str,
            packages: Sequence[str]) -> dict[str, Any]:
    """The peer's side of the JSON: all its forms, and the ratios of the fastest.

    Memory is that of the device where both sides tell it, else the processes'.

    Args:
      forms: as `take_turns` gives them.
      memory: of our side.
      name: of the peer.
      packages: whose versions are told.
    """
    timed = {form: fact for form, fact in forms.items() if "ratio" in fact}
    for fact in timed.values():
        kind = "device_peak" if "device_peak" in memory and "device_peak" in fact["memory"] else "peak_over_imports"
        fact["memory_ratio"] = fact["memory"][kind] / memory[kind]
    fastest = min(timed, key=lambda form: timed[form]["ratio"]["median"])
    return {"ratio": timed[fastest]["ratio"], "memory_ratio": timed[fastest]["memory_ratio"],
            "peer": {"name": name, "versions": timing.versions(*packages), "fastest": fastest, "forms": forms}}
