"""CPC's whole training step: throughput and peak memory, beside a straightforward PyTorch implementation's.

    python -m benchmarks.cpc [--peer torch] [--json FILE] [--batch 8] [--seconds 10] [--norm channel|none]
        [--repeats 10] [--precision float32|bfloat16] [--threads N] [--device cpu|gpu|tpu]

A step is what training runs: four convolutions, the GRU, K predictors, 50 negatives of the same sequence for each
prediction, InfoNCE, gradients, Adam with L2; on one device, with the default settings. Random waveforms are placed on
the device beforehand, as training's prefetch does, and cycled. `--peer torch` runs the same model, batch and loss in
PyTorch, in several forms (see `cpc_torch`), each with and without the memory settings that our training sets for
itself. Before it is timed, a form must give our loss and our gradient for the same parameters, waveforms and
negatives; `agreement` has the differences. Every side has a process of its own (see `pairs`); each form takes turns
with ours. `ratio` is the peer's time over ours, pair by pair, and the fastest of its forms counts; `memory_ratio`
is that form's peak memory over ours. It needs the extra `peer`.

Memory is a process's peak of physical memory, "peak_over_imports" without what it held after its imports. FLOP
counts: "analytic" counts the matrix products of the method, "xla" is XLA's own estimate for the program, which counts
loops once.
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

from . import forms, pairs, timing
from .cpc_ours import HOP

RATE = 16_000
STEPS_PER_TURN = 2
# gathered, matrix, shared: without and with torch.compile.
PEER_FORMS = ("gathered", "matrix", "shared", "gathered_compiled", "matrix_compiled", "shared_compiled")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=("torch",), help="also time PyTorch")
    parser.add_argument("--forms", default=",".join(PEER_FORMS), help="of the peer, separated by commas")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--batch", type=int, default=8, help="utterances per step; the paper has 8 on each device")
    parser.add_argument("--seconds", type=float, default=10.0, help="of every utterance")
    parser.add_argument("--norm", choices=("channel", "none"), default="channel", help="of each latent")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--context", type=int, default=256, help="width of the GRU")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32",
                        help="ours; the peer computes in float32")
    parser.add_argument("--repeats", type=int, default=10, help="timed turns of each form, and of ours beside it")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs for each side")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="the default is JAX's")
    arguments = parser.parse_args(argv)
    # 64 frames leave every prediction its 50 negatives.
    for name, least in (("batch", 1), ("channels", 1), ("context", 1), ("repeats", 1), ("seconds", 64 * HOP / RATE)):
        if not getattr(arguments, name) >= least:
            raise UserError(f"--{name}={getattr(arguments, name)}: must be at least {least}.")
    if unknown := set(arguments.forms.split(",")) - set(PEER_FORMS):
        raise UserError(f"--forms={arguments.forms}: {min(unknown)!r} is none of {', '.join(PEER_FORMS)}.")
    return arguments


def check_peer() -> None:
    """Raises UserError if PyTorch is missing."""
    if not resources.installed("torch"):
        raise UserError("--peer torch needs torch: pip install 'sercl_jax[peer]'.")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    if arguments.peer:
        check_peer()
    began = timing.machine()
    samples = int(arguments.seconds * RATE) // HOP * HOP
    settings = {"channels": arguments.channels, "context": arguments.context, "norm": arguments.norm,
                "dtype": arguments.precision}
    with tempfile.TemporaryDirectory() as folder:
        reference = str(Path(folder) / "reference.npz")
        side = pairs.Side(".cpc_ours:make", {
            "settings": settings, "device": arguments.device, "batch": arguments.batch, "samples": samples,
            "reference": reference if arguments.peer else None}, pairs.TRAINING)
        with contextlib.closing(pairs.SideProcess(side)) as ours:
            if arguments.peer:
                told = ours.facts()
                common = {"threads": arguments.threads, "settings": told["settings"], "reference": reference,
                          "platform": told["device"]["platform"], "batch": arguments.batch, "samples": samples}
                seconds, found = forms.take_turns(ours, ".cpc_torch:make", arguments.forms.split(","), common,
                                                  arguments.repeats, STEPS_PER_TURN)
            else:
                seconds, found = pairs.take_turns({"ours": ours}, arguments.repeats, STEPS_PER_TURN)["ours"], {}
            told = ours.facts()

    median = float(np.median(seconds))
    flops, ceiling = told["flops"]["analytic"], told["matmul_ceiling_flops_per_second"]
    result: dict[str, Any] = {
        "benchmark": "cpc", "batch": arguments.batch, "samples": samples, "frames": samples // HOP,
        "repeats": arguments.repeats, "precision": arguments.precision, "threads": arguments.threads,
        **told,
        "machine": began | {"load_after": list(os.getloadavg())},
        "step_seconds": timing.summary(seconds),
        "audio_seconds_per_second": arguments.batch * samples / RATE / median,
        "flops_per_second": flops / median,
        "share_of_ceiling": flops / median / ceiling,
    }
    if arguments.peer:
        result |= forms.compare(found, told["memory"])
    figures = {name: result[name] for name in ("audio_seconds_per_second", "compile_seconds", "flops_per_second",
                                               "matmul_ceiling_flops_per_second")}
    figures |= {"the fastest step in seconds": float(seconds.min()),
                "peak memory over imports": told["memory"]["peak_over_imports"]}
    result["implausible"] = timing.implausible(figures, ceiling, ("flops_per_second",))
    return result


def print_result(result: dict[str, Any]) -> None:
    """A few lines for people."""
    seconds = result["step_seconds"]
    print(f"CPC step, batch {result['batch']} x {result['samples'] / RATE:g} s, {result['precision']}, "
          f"{result['device']['kind']}, {result['threads']} threads: median {seconds['median']:.4f} s "
          f"(quartiles {seconds['quartiles'][0]:.4f}, {seconds['quartiles'][1]:.4f}; min {seconds['min']:.4f}), "
          f"{result['audio_seconds_per_second']:.0f} s of audio per second, compiled in "
          f"{result['compile_seconds']:.1f} s, peak memory {forms.gigabytes(result)}")
    print(f"{result['flops']['analytic'] / 1e9:.1f} GFLOP of matrix products: "
          f"{result['flops_per_second'] / 1e9:.1f} GFLOP/s, {100 * result['share_of_ceiling']:.0f} % of the "
          f"{result['matmul_ceiling_flops_per_second'] / 1e9:.1f} that a matrix product reaches here")
    forms.print_forms(result)
    for line in result["implausible"]:
        print(f"implausible: {line}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, print_result)


if __name__ == "__main__":
    sys.exit(main())
