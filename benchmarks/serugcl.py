"""SERUGCL's whole training step: throughput, memory, share of what the device can do, and a peer's time.

    python -m benchmarks.serugcl [--peer torch] [--batch 64] [--nodes 120] [--precision float32|bfloat16]
        [--repeats 20] [--device cpu|gpu|tpu] [--threads N] [--json FILE] [--markdown FILE] [--plot FILE.png]
        [--profile DIR]

A step is what training runs: cosine k-NN graphs, random-walk subgraphs with edge perturbation, the FGSM view with
its backward pass, NT-Xent over three views, gradients, Adam; with the default settings, on one accelerator or on a
CPU in as many devices as training makes of it. Random batches are placed there beforehand, as training's prefetch
does, and cycled. Nodes are averages over frames: a step takes as long for long utterances as for short ones, and
hours of audio are at `--seconds` each (the mean of EMO-DB).

`--peer torch` runs the same step in PyTorch Geometric on the same batches, in several forms (see `serugcl_torch`), on
a CPU each with and without the memory settings that our training sets for itself. Before it is timed, a form must
give our projections of the same graphs; `agreement` has the differences. Every side has a process of its own; they
take turns of a few steps (see `pairs`). `ratio` is the peer's time over ours, pair by pair, and the fastest of its
forms counts. It needs the extra `peer`.

FLOP counts: "analytic" counts the matrix products of the method as it is written in dense form; "xla" is XLA's own
estimate for the program, as "bytes_accessed" is. Rates and shares are of the analytic one.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import pairs, stepping, timing

METHOD = stepping.Method(
    name="serugcl", title="SERUGCL step", peer="PyTorch Geometric", packages=("torch", "torch_geometric"),
    side=".serugcl_torch:make", forms=("edge_index", "sparse", "dense", "edge_index_compiled", "dense_compiled"),
    steps=3)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = stepping.parser(__doc__, METHOD, batch=64, repeats=20)
    parser.add_argument("--nodes", type=int, default=120, help="of each utterance")
    parser.add_argument("--seconds", type=float, default=2.8, help="of speech in an utterance, to count hours by")
    return stepping.check(parser.parse_args(argv), METHOD, batch=2, nodes=2, seconds=0.01)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    if arguments.peer:
        stepping.check_peer(METHOD)
    with tempfile.TemporaryDirectory() as folder:
        reference = str(Path(folder) / "reference.npz")
        both = {"precision": arguments.precision, "nodes": arguments.nodes, "reference": reference}
        plan = stepping.Plan(
            ours=pairs.Side(".serugcl_ours:make", {**both, "batch": arguments.batch, "device": arguments.device},
                            pairs.TRAINING),
            sizes={"nodes": arguments.nodes, "seconds": arguments.seconds}, audio_seconds=arguments.seconds,
            common=lambda told: both)
        return stepping.measure(arguments, METHOD, plan)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, stepping.print_result)


if __name__ == "__main__":
    sys.exit(main())
