"""CPC's whole training step: throughput, memory, share of what the device can do, and a peer's time.

    python -m benchmarks.cpc [--peer torch] [--batch 8] [--seconds 10] [--norm channel|none]
        [--precision float32|bfloat16] [--repeats 10] [--device cpu|gpu|tpu] [--threads N] [--json FILE]
        [--markdown FILE] [--plot FILE.png] [--profile DIR]

A step is what training runs: four convolutions, the GRU, K predictors, 50 negatives of the same sequence for each
prediction, InfoNCE, gradients, Adam with L2; with the default settings, on one accelerator or on a CPU in as many
devices as training makes of it. Random waveforms are placed there beforehand, as training's prefetch does, and
cycled. The paper has 8 utterances on each device.

`--peer torch` runs the same model, batch and loss in PyTorch, in several forms (see `cpc_torch`), on a CPU each with
and without the memory settings that our training sets for itself. Before it is timed, a form must give our loss and
our gradient for the same parameters, waveforms and negatives; `agreement` has the differences. Every side has a
process of its own (see `pairs`); each form takes turns with ours. `ratio` is the peer's time over ours, pair by pair,
and the fastest of its forms counts; `memory_ratio` is that form's peak memory over ours. It needs the extra `peer`.

Memory is a process's peak of physical memory, "peak_over_imports" without what it held after its imports. FLOP
counts: "analytic" counts the matrix products of the method; "xla" is XLA's own estimate for the program, as
"bytes_accessed" is; both count a loop once.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import pairs, stepping, timing
from .cpc_ours import HOP

RATE = 16_000
METHOD = stepping.Method(
    name="cpc", title="CPC step", peer="PyTorch", packages=("torch",), side=".cpc_torch:make",
    forms=("gathered", "matrix", "shared", "gathered_compiled", "matrix_compiled", "shared_compiled"), steps=2)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = stepping.parser(__doc__, METHOD, batch=8, repeats=10)
    parser.add_argument("--seconds", type=float, default=10.0, help="of every utterance")
    parser.add_argument("--norm", choices=("channel", "none"), default="channel", help="of each latent")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--context", type=int, default=256, help="width of the GRU")
    # 64 frames leave every prediction its 50 negatives.
    return stepping.check(parser.parse_args(argv), METHOD, batch=1, channels=1, context=1, seconds=64 * HOP / RATE)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    if arguments.peer:
        stepping.check_peer(METHOD)
    samples = int(arguments.seconds * RATE) // HOP * HOP
    settings = {"channels": arguments.channels, "context": arguments.context, "norm": arguments.norm,
                "dtype": arguments.precision}
    with tempfile.TemporaryDirectory() as folder:
        reference = str(Path(folder) / "reference.npz")
        plan = stepping.Plan(
            ours=pairs.Side(".cpc_ours:make", {
                "settings": settings, "device": arguments.device, "batch": arguments.batch, "samples": samples,
                "reference": reference if arguments.peer else None}, pairs.TRAINING),
            sizes={"samples": samples, "frames": samples // HOP}, audio_seconds=samples / RATE,
            common=lambda told: {"settings": told["settings"], "reference": reference, "samples": samples})
        return stepping.measure(arguments, METHOD, plan)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, stepping.print_result)


if __name__ == "__main__":
    sys.exit(main())
