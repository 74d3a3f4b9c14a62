"""The first stage of cross-corpus SupCon: a fine-tuning step of a speech encoder, beside transformers' in PyTorch.

    python -m benchmarks.supcon [--peer torch] [--json FILE] [--model wavlm-base] [--batch 4] [--seconds 4]
        [--source waveform|features] [--dropout] [--precision float32|bfloat16] [--repeats 5] [--threads N]
        [--device cpu|gpu|tpu]

A step is what training runs: the Transformer of WavLM or HuBERT, attentive pooling, L_c and L_m of a batch of pairs,
gradients, Adam; on one device. The convolutions and the projection before it are frozen: with `--source waveform`
they go forward in every step, as in a model that is fed waveforms; with `--source features` they have been applied
before, once, as our training does. Weights are random, waveforms too; they are placed on the device beforehand, as
training's prefetch does, and cycled; none is padded. Nothing is dropped, masked or skipped, so that both sides do
the same work, unless `--dropout` has them do so as published.

`--peer torch` runs transformers' model with the same pooling, loss, frozen part and batch, in several forms (see
`supcon_torch`), each with and without the memory settings that our training sets for itself. Before it is timed, a
form must give our loss and our gradient for the same parameters and waveforms; `agreement` has the differences. Every
side has a process of its own (see `pairs`); each form takes turns with ours. `ratio` is the peer's time over ours,
pair by pair, and the fastest of its forms counts; `memory_ratio` is that form's peak memory over ours. With bfloat16
the peer has torch's automatic mixed precision. It needs the extra `peer`.

Memory is a process's peak of physical memory, "peak_over_imports" without what it held after its imports. FLOP
counts: "analytic" counts the matrix products of the method as `supcon_ours.analytic_flops` says, "xla" is XLA's own
estimate for the program, as "bytes_accessed" is.

A GPU's figure: `--device gpu --precision bfloat16 --seconds 10 --batch 64 --repeats 20`.
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
from sercl_jax.models.speech_config import NAMED

from . import forms, pairs, timing
from .supcon_ours import RATE

STEPS_PER_TURN = 1
PEER_FORMS = ("eager", "sdpa", "eager_compiled", "sdpa_compiled")  # without and with torch.compile
PEER_PACKAGES = ("torch", "transformers")
SHORTEST = 0.1  # seconds


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=("torch",), help="also time PyTorch")
    parser.add_argument("--forms", default=",".join(PEER_FORMS), help="of the peer, separated by commas")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--model", choices=tuple(NAMED), default="wavlm-base", help="the network")
    parser.add_argument("--batch", type=int, default=4, help="utterances per step, in quarters")
    parser.add_argument("--seconds", type=float, default=4.0, help="of every utterance")
    parser.add_argument("--source", choices=("waveform", "features"), default="waveform",
                        help="whether the frozen part is in the step")
    parser.add_argument("--dropout", action="store_true", help="dropout, SpecAugment and layer drop as published")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of both sides")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each form, and of ours beside it")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs for each side")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="the default is JAX's")
    arguments = parser.parse_args(argv)
    for name, least in (("batch", 4), ("repeats", 1), ("seconds", SHORTEST)):
        if not getattr(arguments, name) >= least:
            raise UserError(f"--{name}={getattr(arguments, name)}: must be at least {least}.")
    if arguments.batch % 4:
        raise UserError(f"--batch={arguments.batch}: a batch of pairs is in quarters; give a multiple of 4.")
    if unknown := set(arguments.forms.split(",")) - set(PEER_FORMS):
        raise UserError(f"--forms={arguments.forms}: {min(unknown)!r} is none of {', '.join(PEER_FORMS)}.")
    return arguments


def check_peer() -> None:
    """Raises UserError if PyTorch or transformers is missing."""
    if missing := [name for name in PEER_PACKAGES if not resources.installed(name)]:
        raise UserError(f"--peer torch needs {' and '.join(missing)}: pip install 'sercl_jax[peer]'.")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    if arguments.peer:
        check_peer()
    began = timing.machine()
    samples = int(arguments.seconds * RATE)
    network = {"model": arguments.model, "dropout": arguments.dropout}
    step = {"dropout": arguments.dropout, "precision": arguments.precision, "source": arguments.source,
            "batch": arguments.batch, "samples": samples}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.peer:
            pairs.SideProcess(pairs.Side(".supcon_ours:write_reference",
                                         {**network, "device": arguments.device, "folder": folder})).close()
        side = pairs.Side(".supcon_ours:make", {**network, **step, "device": arguments.device}, pairs.TRAINING)
        with contextlib.closing(pairs.SideProcess(side)) as ours:
            if arguments.peer:
                told = ours.facts()
                common = {**step, "threads": arguments.threads, "folder": folder, "contrast": told["contrast"],
                          "platform": told["device"]["platform"]}
                seconds, found = forms.take_turns(ours, ".supcon_torch:make", arguments.forms.split(","), common,
                                                  arguments.repeats, STEPS_PER_TURN)
            else:
                seconds, found = pairs.take_turns({"ours": ours}, arguments.repeats, STEPS_PER_TURN)["ours"], {}
            told = ours.facts()

    median = float(np.median(seconds))
    flops, ceiling = told["flops"]["analytic"], told["matmul_ceiling_flops_per_second"]
    result: dict[str, Any] = {
        "benchmark": "supcon", "model": arguments.model, **step, "repeats": arguments.repeats,
        "threads": arguments.threads, **told,
        "machine": began | {"load_after": list(os.getloadavg())},
        "step_seconds": timing.summary(seconds),
        "utterances_per_second": arguments.batch / median,
        "audio_hours_per_second": arguments.batch * samples / RATE / median / 3600,
        "flops_per_second": flops / median,
        "bytes_per_second": told["bytes_accessed"] / median,
        "share_of_ceiling": flops / median / ceiling,
    }
    if arguments.peer:
        result |= forms.compare(found, told["memory"], "transformers")
    figures = {name: result[name] for name in ("utterances_per_second", "compile_seconds", "flops_per_second",
                                               "matmul_ceiling_flops_per_second")}
    figures |= {"the fastest step in seconds": float(seconds.min()),
                "peak memory over imports": told["memory"]["peak_over_imports"]}
    result["implausible"] = timing.implausible(figures, ceiling, ("flops_per_second",))
    return result


def print_result(result: dict[str, Any]) -> None:
    """A few lines for people."""
    seconds, quartiles = result["step_seconds"], result["step_seconds"]["quartiles"]
    print(f"SupCon step of {result['model']}, batch {result['batch']} x {result['samples'] / RATE:g} s from "
          f"{result['source']}, {result['precision']}, {result['device']['kind']}, {result['threads']} threads: "
          f"median {seconds['median']:.4f} s (quartiles {quartiles[0]:.4f}, {quartiles[1]:.4f}; min "
          f"{seconds['min']:.4f}), {result['utterances_per_second']:.2f} utterances/s, "
          f"{result['audio_hours_per_second']:.4f} h of audio per second, compiled in "
          f"{result['compile_seconds']:.1f} s, peak memory {forms.gigabytes(result)}")
    print(f"{result['flops']['analytic'] / 1e9:.1f} GFLOP of matrix products: "
          f"{result['flops_per_second'] / 1e9:.1f} GFLOP/s, {100 * result['share_of_ceiling']:.0f} % of the "
          f"{result['matmul_ceiling_flops_per_second'] / 1e9:.1f} that a matrix product reaches here; XLA counts "
          f"{result['flops']['xla'] / 1e9:.1f} GFLOP and {result['bytes_accessed'] / 1e9:.1f} GB")
    forms.print_forms(result)
    for line in result["implausible"]:
        print(f"implausible: {line}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, print_result)


if __name__ == "__main__":
    sys.exit(main())
