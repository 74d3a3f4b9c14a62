"""SERUGCL's whole training step: throughput, share of the device's matrix product ceiling, and a peer's time.

    python -m benchmarks.serugcl [--peer torch] [--json FILE] [--batch 64] [--nodes 120] [--repeats 20]
        [--precision float32|bfloat16] [--threads N] [--device cpu|gpu|tpu]

A step is what training runs: cosine k-NN graphs, random-walk subgraphs with edge perturbation, the FGSM view with
its backward pass, NT-Xent over three views, gradients, Adam; on one device, with the default settings. Random
batches are placed on the device beforehand, as training's prefetch does, and cycled. `--peer torch` runs the same
step in PyTorch Geometric on the same batches, in every form of aggregation that it offers, each with and without
the memory settings that our training sets for itself. Every side has a process of its own; they take turns of
a few steps (see `pairs`). `ratio` is the peer's time over ours, pair by pair, and the fastest of its forms counts.
It needs the extra `peer`.

FLOP counts: "analytic" counts the matrix products of the method as it is written in dense form; "xla" is XLA's own
estimate for the program. Rates and shares are of the analytic one.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import resources, workers
from sercl_jax.errors import UserError

from . import pairs, timing

STEPS_PER_TURN = 3
PEER_FORMS = ("edge_index", "sparse", "dense", "compiled")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=("torch",), help="also time PyTorch Geometric")
    parser.add_argument("--forms", default=",".join(PEER_FORMS), help="of the peer, separated by commas")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--batch", type=int, default=64, help="utterances per step")
    parser.add_argument("--nodes", type=int, default=120, help="frames per utterance")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the encoders")
    parser.add_argument("--repeats", type=int, default=20, help="timed turns of each side")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs for each side")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="the default is JAX's")
    arguments = parser.parse_args(argv)
    for name, least in (("batch", 2), ("nodes", 2), ("repeats", 1)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name}={getattr(arguments, name)}: must be at least {least}.")
    if unknown := set(arguments.forms.split(",")) - set(PEER_FORMS):
        raise UserError(f"--forms={arguments.forms}: {min(unknown)!r} is none of {', '.join(PEER_FORMS)}.")
    return arguments


def check_peer() -> None:
    """Raises UserError if PyTorch Geometric is missing."""
    if not (resources.installed("torch") and resources.installed("torch_geometric")):
        raise UserError("--peer torch needs torch and torch_geometric: pip install 'sercl_jax[peer]'.")


def peer_sides(arguments: argparse.Namespace, platform: str, parameters: Path) -> dict[str, pairs.Side]:
    """Each form of the peer, as it starts by default and with the memory settings that our training sets itself."""
    common = {"threads": arguments.threads, "precision": arguments.precision, "platform": platform,
              "batch": arguments.batch, "nodes": arguments.nodes, "parameters": str(parameters)}
    sides = {}
    for form in arguments.forms.split(","):
        for note, keep_freed, environment in (("", False, {}), (", our memory settings", True, pairs.TRAINING)):
            sides[form + note] = pairs.Side(".serugcl_torch:make", {"form": form, "keep_freed": keep_freed, **common},
                                            environment)
    return sides


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    if arguments.peer:
        check_peer()
    began = timing.machine()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        parameters = Path(folder) / "parameters.npz"
        ours = pairs.Side(".serugcl_ours:make", {
            "precision": arguments.precision, "batch": arguments.batch, "nodes": arguments.nodes,
            "device": arguments.device, "parameters": str(parameters)}, pairs.TRAINING)
        running = {"ours": stack.enter_context(contextlib.closing(pairs.SideProcess(ours)))}
        failed: dict[str, str] = {}
        if arguments.peer:
            platform = running["ours"].facts()["device"]["platform"]
            peers, failed = stack.enter_context(pairs.processes(peer_sides(arguments, platform, parameters)))
            if not peers:
                raise UserError(f"--peer torch: no form of the step runs: {failed}.")
            running |= peers
        seconds = pairs.take_turns(running, arguments.repeats, STEPS_PER_TURN)
        facts = {name: side.facts() for name, side in running.items()}

    told = facts.pop("ours")
    median = float(np.median(seconds["ours"]))
    flops, ceiling = told["flops"]["analytic"], told["matmul_ceiling_flops_per_second"]
    result: dict[str, Any] = {
        "benchmark": "serugcl", "batch": arguments.batch, "nodes": arguments.nodes, "repeats": arguments.repeats,
        "steps_per_repeat": STEPS_PER_TURN, "precision": arguments.precision, "threads": arguments.threads,
        **told,
        "machine": began | {"load_after": list(os.getloadavg())},
        "step_seconds": timing.summary(seconds["ours"]),
        "utterances_per_second": arguments.batch / median,
        "flops_per_second": flops / median,
        "share_of_ceiling": flops / median / ceiling,
    }
    if arguments.peer:
        result |= compare(seconds, facts, failed)
    figures = {name: result[name] for name in ("utterances_per_second", "compile_seconds", "flops_per_second",
                                               "matmul_ceiling_flops_per_second")}
    figures |= {"the fastest step in seconds": float(seconds["ours"].min()), "XLA's flops": told["flops"]["xla"]}
    result["implausible"] = timing.implausible(figures, ceiling, ("flops_per_second",))
    return result


def compare(seconds: dict[str, np.ndarray], facts: dict[str, dict[str, Any]],
            failed: dict[str, str]) -> dict[str, Any]:
    """The peer's side of the JSON: each form's times, and the ratio of the fastest."""
    forms = {form: told | {"step_seconds": timing.summary(seconds[form]),
                           "ratio": timing.spread(seconds[form] / seconds["ours"])} for form, told in facts.items()}
    fastest = min(forms, key=lambda form: forms[form]["step_seconds"]["median"])
    return {"ratio": forms[fastest]["ratio"] | {"of_minima": float(seconds[fastest].min() / seconds["ours"].min())},
            "peer": {"name": "PyTorch Geometric", "versions": timing.versions("torch", "torch_geometric"),
                     "fastest": fastest, "forms": forms | {form: {"error": text} for form, text in failed.items()}}}


def print_result(result: dict[str, Any]) -> None:
    """A few lines for people."""
    seconds = result["step_seconds"]
    print(f"SERUGCL step, batch {result['batch']} x {result['nodes']} nodes, {result['precision']}, "
          f"{result['device']['kind']}, {result['threads']} threads: median {seconds['median']:.4f} s "
          f"(quartiles {seconds['quartiles'][0]:.4f}, {seconds['quartiles'][1]:.4f}; min {seconds['min']:.4f}), "
          f"{result['utterances_per_second']:.1f} utterances/s, compiled in {result['compile_seconds']:.1f} s")
    print(f"{result['flops']['analytic'] / 1e9:.2f} GFLOP of matrix products (XLA counts "
          f"{result['flops']['xla'] / 1e9:.2f}): {result['flops_per_second'] / 1e9:.1f} GFLOP/s, "
          f"{100 * result['share_of_ceiling']:.0f} % of the {result['matmul_ceiling_flops_per_second'] / 1e9:.1f} "
          "that a matrix product reaches here")
    for form, fact in result.get("peer", {"forms": {}})["forms"].items():
        told = fact.get("error") or (f"median {fact['step_seconds']['median']:.4f} s, min "
                                     f"{fact['step_seconds']['min']:.4f} s, ratio {fact['ratio']['median']:.2f}")
        print(f"PyTorch Geometric, {form}: {told}")
    if "ratio" in result:
        ratio = result["ratio"]
        print(f"Peer's time over ours: median {ratio['median']:.2f} (quartiles {ratio['quartiles'][0]:.2f}, "
              f"{ratio['quartiles'][1]:.2f}; of minima {ratio['of_minima']:.2f})")
    for line in result["implausible"]:
        print(f"implausible: {line}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, print_result)


if __name__ == "__main__":
    sys.exit(main())
