"""SERUGCL's whole training step: throughput, share of the device's matrix product ceiling, and a peer's time.

    python -m benchmarks.serugcl [--peer torch] [--json FILE] [--batch 64] [--nodes 120] [--repeats 20]
        [--precision float32|bfloat16] [--threads N] [--device cpu|gpu|tpu]

A step is what training runs: cosine k-NN graphs, random-walk subgraphs with edge perturbation, the FGSM view with
its backward pass, NT-Xent over three views, gradients, Adam; on one device, with the default settings. Random
batches are placed on the device beforehand, as training's prefetch does, and cycled. `--peer torch` runs the same
step in PyTorch Geometric on the same batches, alternating with ours; `ratio` is its time over ours, pair by pair,
and the fastest of its forms counts. It needs the extra `peer`.

FLOP counts: "analytic" counts the matrix products of the method as it is written in dense form; "xla" is XLA's own
estimate for the program. Rates and shares are of the analytic one.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax import files, resources, workers
from sercl_jax.errors import UserError

from . import timing

if TYPE_CHECKING:  # JAX reads its environment when it is imported, so that waits for the arguments
    import jax

    from sercl_jax.models.serugcl import SerugclSettings

FEATURES = 76  # the IS10 descriptors and their deltas
BATCHES = 4
WARM_UP = 2
LEARNING_RATE = 1e-3


def random_batch(seed: int, batch: int, nodes: int) -> dict[str, np.ndarray]:
    """Standardised features whose adjacent frames are alike, as in speech; every node exists."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, nodes, FEATURES), np.float32)
    for frame in range(1, nodes):
        x[:, frame] = 0.9 * x[:, frame - 1] + np.sqrt(1 - 0.9**2) * x[:, frame]
    return {"x": x, "mask": np.ones((batch, nodes), bool), "valid": np.ones(batch, bool),
            "index": np.arange(batch, dtype=np.int32) + batch * seed, "group": np.zeros(batch, np.int32)}


def analytic_flops(settings: "SerugclSettings", batch: int, nodes: int) -> float:
    """Matrix products of one step of the default method, a multiplication with its addition counted as 2."""
    pairs, rows, hidden = batch * nodes**2, batch * nodes, settings.hidden
    head = 2 * batch * (settings.layers * hidden + settings.projection) * settings.projection
    total = 2 * pairs * FEATURES  # cosine similarities
    for view in settings.views:
        gin = settings.encoder(view) == "gin"
        for layer in range(settings.layers):
            width = hidden if layer else FEATURES
            spread, first = 2 * pairs * width, 2 * rows * width * hidden
            second = 2 * rows * hidden * hidden if gin else 0
            total += spread + 2 * (first + second)  # forward, and the gradients of the weights
            # Back to the layer's input. The first layer's is wanted for GIN's eps only, and not through the sum.
            total += second + (spread + first if layer else first if gin else 0)
            if view == "original":
                total += spread + first + second  # FGSM: back to X
        total += (4 if view == "original" else 3) * head
    similarities = 2 * batch**2 * settings.projection
    comparisons = len(settings.views) * (len(settings.views) - 1) // 2
    return float(total + 3 * comparisons * similarities + 2 * similarities)


class Ours:
    """The compiled training step with its state and batches on one device."""

    def __init__(self, settings: "SerugclSettings", batches: Sequence[dict[str, np.ndarray]], device: "jax.Device"):
        import jax

        from sercl_jax import optim, parallel, train
        from sercl_jax.models import serugcl as model

        devices = (device,)
        optimizer = optim.make(name="adam", learning_rate=LEARNING_RATE, steps=1_000_000)
        variables = model.initializer(settings, model.Knobs())(train.init_key(0), batches[0])
        self.variables = jax.tree.map(np.asarray, variables)
        self._state = parallel.replicate(
            {"step": np.zeros((), np.int32), "params": variables["params"],
             "optimizer": optimizer.init(variables["params"]), "fixed": {"knobs": variables["knobs"]}}, devices)
        self._seed = parallel.replicate(np.uint32(0), devices)
        self._batches = [parallel.shard(batch, devices) for batch in batches]
        # The very step of the training loop.
        step: Any = train.mapped_step(model.contrastive_loss(settings), optimizer.update, devices)
        start = time.perf_counter()
        lowered = step.lower(self._state, self._batches[0], self._seed)
        self._step = lowered.compile()
        self.compile_seconds = time.perf_counter() - start
        self.xla_flops = float(self._step.cost_analysis()["flops"])
        self.loss = float("nan")

    def __call__(self, repeat: int) -> None:
        import jax

        batch = self._batches[repeat % len(self._batches)]
        self._state, (loss, metrics) = self._step(self._state, batch, self._seed)
        jax.block_until_ready((self._state, loss, metrics))
        self.loss = float(loss[0])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=("torch",), help="also time PyTorch Geometric")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--batch", type=int, default=64, help="utterances per step")
    parser.add_argument("--nodes", type=int, default=120, help="frames per utterance")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the encoders")
    parser.add_argument("--repeats", type=int, default=20, help="timed steps of each side")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs for each side")
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="the default is JAX's")
    arguments = parser.parse_args(argv)
    for name, least in (("batch", 2), ("nodes", 2), ("repeats", 1)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name}={getattr(arguments, name)}: must be at least {least}.")
    return arguments


def check_peer(platform: str) -> None:
    """Raises UserError if PyTorch Geometric is missing or cannot compute on the device."""
    if not (resources.installed("torch") and resources.installed("torch_geometric")):
        raise UserError("--peer torch needs torch and torch_geometric: pip install 'sercl_jax[peer]'.")
    import torch

    if platform == "tpu" or (platform == "gpu" and not torch.cuda.is_available()):
        raise UserError(f"--peer torch: this PyTorch cannot compute on a {platform}; "
                        "choose --device cpu, or leave the peer out.")


def make_peers(settings: "SerugclSettings", ours: Ours, batches: list[dict[str, np.ndarray]], platform: str,
               threads: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The peer's forms, warmed up, and what is known of each; one that fails is told, not timed."""
    import torch

    from sercl_jax.models.serugcl import Knobs

    from . import serugcl_torch

    torch.set_num_threads(threads)
    peers: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for form in serugcl_torch.FORMS:
        start = time.perf_counter()
        try:
            peer = serugcl_torch.Peer(form, settings, Knobs(), ours.variables, batches,
                                      "cuda" if platform == "gpu" else platform, LEARNING_RATE)
            for repeat in range(len(batches)):  # torch.compile needs several batches to settle
                peer(repeat)
        except Exception as error:  # a compiler that is missing or fails raises almost anything
            facts[form] = {"error": f"{type(error).__name__}: {error}".strip().splitlines()[0]}
            continue
        facts[form] = {"warm_up_seconds": time.perf_counter() - start}
        peers[form] = peer
    if not peers:
        raise UserError(f"--peer torch: no form of the step runs: {facts}.")
    return peers, facts


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    import jax

    from sercl_jax.models.serugcl import SerugclSettings

    try:
        device = jax.devices(arguments.device)[0]
    except RuntimeError as error:
        raise UserError(f"--device {arguments.device}: JAX finds none ({error}).") from error
    if arguments.peer:
        check_peer(device.platform)
    began = timing.machine()
    settings = SerugclSettings(dtype=arguments.precision)
    batches = [random_batch(seed, arguments.batch, arguments.nodes) for seed in range(BATCHES)]
    ours = Ours(settings, batches, device)
    for repeat in range(WARM_UP):
        ours(repeat)
    peers: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    if arguments.peer:
        peers, facts = make_peers(settings, ours, batches, device.platform, arguments.threads)
    ceiling = timing.matmul_ceiling(device, arguments.precision)
    seconds = timing.interleave({"ours": ours, **peers}, arguments.repeats)
    ceiling = max(ceiling, timing.matmul_ceiling(device, arguments.precision))

    median = float(np.median(seconds["ours"]))
    flops = analytic_flops(settings, arguments.batch, arguments.nodes)
    result: dict[str, Any] = {
        "benchmark": "serugcl", "batch": arguments.batch, "nodes": arguments.nodes, "features": FEATURES,
        "repeats": arguments.repeats, "precision": arguments.precision, "threads": arguments.threads,
        "device": {"platform": device.platform, "kind": device.device_kind},
        "settings": dataclasses.asdict(settings),
        "versions": timing.versions("jax", "jaxlib", "flax", "jraph"),
        "machine": began | {"load_after": list(os.getloadavg())},
        "step_seconds": timing.summary(seconds["ours"]),
        "utterances_per_second": arguments.batch / median,
        "compile_seconds": ours.compile_seconds,
        "flops": {"analytic": flops, "xla": ours.xla_flops},
        "flops_per_second": flops / median,
        "matmul_ceiling_flops_per_second": ceiling,
        "share_of_ceiling": flops / median / ceiling,
        "loss": ours.loss,
    }
    if peers:
        result |= compare(seconds, peers, facts)
    figures = {name: result[name] for name in ("utterances_per_second", "compile_seconds", "flops_per_second",
                                               "matmul_ceiling_flops_per_second")}
    figures |= {"the fastest step in seconds": float(seconds["ours"].min()), "XLA's flops": ours.xla_flops}
    result["implausible"] = timing.implausible(figures, ceiling, ("flops_per_second",))
    return result


def compare(seconds: dict[str, np.ndarray], peers: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """The peer's side of the JSON: each form's times, and the ratio of the fastest."""
    for form in peers:
        facts[form] |= {"step_seconds": timing.summary(seconds[form]), "loss": peers[form].loss,
                        "ratio": timing.spread(seconds[form] / seconds["ours"])}
    fastest = min(peers, key=lambda form: facts[form]["step_seconds"]["median"])
    return {"ratio": facts[fastest]["ratio"] | {"of_minima": float(seconds[fastest].min() / seconds["ours"].min())},
            "peer": {"name": "PyTorch Geometric", "versions": timing.versions("torch", "torch_geometric"),
                     "fastest": fastest, "edges_per_graph": peers[fastest].edges_per_graph(), "forms": facts}}


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
    try:
        arguments = parse(argv)
        if arguments.json:
            files.make_directory(arguments.json.resolve().parent)
        timing.use_threads(arguments.threads)
        if not arguments.peer:  # tensorboardX would import an installed torch, with its thread pools
            sys.modules["torch"] = None  # type: ignore[assignment]
        result = measure(arguments)
        print_result(result)
        if arguments.json:
            files.write_json(arguments.json, result)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
