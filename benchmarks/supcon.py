"""The first stage of cross-corpus SupCon: a fine-tuning step of a speech encoder, beside transformers' in PyTorch.

    python -m benchmarks.supcon [--peer torch] [--model wavlm-base] [--batch 4] [--seconds 4]
        [--source waveform|features] [--dropout] [--precision float32|bfloat16] [--repeats 5]
        [--device cpu|gpu|tpu] [--threads N] [--json FILE] [--markdown FILE] [--plot FILE.png] [--profile DIR]

A step is what training runs: the Transformer of WavLM or HuBERT, attentive pooling, L_c and L_m of a batch of pairs,
gradients, Adam; on one device (a CPU is one, as models of this size are not divided there). The convolutions and the
projection before it are frozen: with `--source waveform` they go forward in every step, as in a model that is fed
waveforms; with `--source features` they have been applied before, once, as our training does. Weights are random,
waveforms too; they are placed on the device beforehand, as training's prefetch does, and cycled; none is padded.
Nothing is dropped, masked or skipped, so that both sides do the same work, unless `--dropout` has them do so as
published.

`--peer torch` runs transformers' model with the same pooling, loss, frozen part and batch, in several forms (see
`supcon_torch`), on a CPU each with and without the memory settings that our training sets for itself. Before it is
timed, a form must give our loss and our gradient for the same parameters and waveforms; `agreement` has the
differences. Every side has a process of its own (see `pairs`); each form takes turns with ours. `ratio` is the peer's
time over ours, pair by pair, and the fastest of its forms counts; `memory_ratio` is that form's peak memory over
ours. With bfloat16 the peer has torch's automatic mixed precision. It needs the extra `peer`.

Memory is a process's peak of physical memory, "peak_over_imports" without what it held after its imports. FLOP
counts: "analytic" counts the matrix products of the method as `supcon_ours.analytic_flops` says, "xla" is XLA's own
estimate for the program, as "bytes_accessed" is.

A GPU's figure: `--device gpu --precision bfloat16 --seconds 10 --batch 64 --repeats 20`.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from sercl_jax.errors import UserError
from sercl_jax.models.speech_config import NAMED

from . import pairs, stepping, timing
from .supcon_ours import RATE

METHOD = stepping.Method(
    name="supcon", title="SupCon step", peer="transformers on PyTorch", packages=("torch", "transformers"),
    side=".supcon_torch:make", forms=("eager", "sdpa", "eager_compiled", "sdpa_compiled"), steps=1)
SHORTEST = 0.1  # seconds


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = stepping.parser(__doc__, METHOD, batch=4, repeats=5)
    parser.add_argument("--model", choices=tuple(NAMED), default="wavlm-base", help="the network")
    parser.add_argument("--seconds", type=float, default=4.0, help="of every utterance")
    parser.add_argument("--source", choices=("waveform", "features"), default="waveform",
                        help="whether the frozen part is in the step")
    parser.add_argument("--dropout", action="store_true", help="dropout, SpecAugment and layer drop as published")
    arguments = stepping.check(parser.parse_args(argv), METHOD, batch=4, seconds=SHORTEST)
    if arguments.batch % 4:
        raise UserError(f"--batch={arguments.batch}: a batch of pairs is in quarters; give a multiple of 4.")
    return arguments


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    if arguments.peer:
        stepping.check_peer(METHOD)
    samples = int(arguments.seconds * RATE)
    network = {"model": arguments.model, "dropout": arguments.dropout}
    step = {"dropout": arguments.dropout, "precision": arguments.precision, "source": arguments.source,
            "samples": samples}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.peer:
            pairs.SideProcess(pairs.Side(".supcon_ours:write_reference",
                                         {**network, "device": arguments.device, "folder": folder})).close()
        plan = stepping.Plan(
            ours=pairs.Side(".supcon_ours:make", {**network, **step, "batch": arguments.batch,
                                                  "device": arguments.device}, pairs.TRAINING),
            sizes={"model": arguments.model, "source": arguments.source, "dropout": arguments.dropout,
                   "samples": samples}, audio_seconds=samples / RATE,
            common=lambda told: {**step, "folder": folder, "contrast": told["contrast"]})
        return stepping.measure(arguments, METHOD, plan)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, stepping.print_result)


if __name__ == "__main__":
    sys.exit(main())
