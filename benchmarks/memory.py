"""The largest batch whose training step fits a device's memory, by XLA's own analysis of the compiled step.

    python -m benchmarks.memory [--method serugcl,cpc,supcon] [--gib 16,40,80] [--remat both|no|yes]
        [--precision float32|bfloat16] [--nodes 120] [--seconds 10] [--model wavlm-base] [--device cpu|gpu|tpu]
        [--json FILE] [--markdown FILE]

No data and no memory of that size are needed: the step is compiled for shapes alone, and XLA tells what arguments,
results and workspace take. Compiled for a CPU it is an estimate of what an accelerator needs, as other programs are
made there; on one, it is that device's own. What the process keeps besides (two more batches that wait on the device,
the CUDA context, fragments) is not in it: leave a tenth free.

The analysis is nearly a line in the batch, so few compilations find it, to a few per cent: a line through two points,
its proposal, and others where it was wrong. `remat` computes activations anew in the backward pass: for SupCon it is
`--config.encoder.remat`, layer by layer; SERUGCL and CPC have no such knob, and their figures are of `jax.checkpoint`
around the whole loss that keeps nothing but matrix products: what a knob could bring.

SERUGCL has `--nodes` for each utterance; CPC waveforms of `--seconds`; SupCon what the frozen part of `--model` has
made of as many, as in training.
"""

import argparse
import functools
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.models.speech_config import NAMED

from . import cpc_ours, our_step, serugcl_ours, stepping, supcon_ours, timing

if TYPE_CHECKING:
    import jax

GIB = 2**30
TRIES = 6  # compilations for one limit, beside the two that all have
GROWTH = 16  # a line is not followed further than to so many times the largest batch
REMAT = {"no": (False,), "yes": (True,), "both": (False, True)}


@dataclass(frozen=True)
class Step:
    """What is compiled.

    Attributes:
      loss: of the stage.
      init: gives its variables; only their shapes are asked for.
      batch: the shapes of a batch of so many utterances.
      first: two batch sizes to begin with.
      multiple: what a batch size must be a multiple of.
      learning_rate: of Adam.
    """

    loss: Callable[..., Any]
    init: Callable[[], Any]
    batch: Callable[[int], dict[str, Any]]
    first: tuple[int, int]
    multiple: int
    learning_rate: float


def largest(size: Callable[[int], int], limit: float, known: dict[int, int], multiple: int = 1) -> int:
    """The largest batch that fits, 0 if none does; a growing and nearly linear size needs few calls.

    Args:
      size: bytes of a batch; costly.
      limit: bytes that there are.
      known: sizes by batch, at least two; what is found out is added.
      multiple: of which the batch must be a multiple.
    """
    width = math.inf
    for _ in range(TRIES):
        fits = sorted(b for b in known if known[b] <= limit)
        exceeds = sorted(b for b in known if known[b] > limit)
        # A line through the two that enclose the limit or, if there are none, through the two that are next to it.
        a, b = (fits[-1], exceeds[0]) if fits and exceeds else fits[-2:] or exceeds[:2]
        slope = (known[b] - known[a]) / (b - a)
        low, high = max(fits, default=0), min(exceeds, default=GROWTH * max(known) + multiple)
        if high - low <= multiple or (fits and known[low] + multiple * slope > limit):
            break
        if fits and exceeds and high - low > width / 2:  # so bent that the line gets on slowly
            guess = (low + high) // 2 // multiple * multiple
        else:
            guess = int((a + (limit - known[a]) / slope) // multiple * multiple) if slope > 0 else high
        width = high - low
        guess = min(max(guess, low + multiple), (high - 1) // multiple * multiple)
        known[guess] = size(guess)
    return max((b for b in known if known[b] <= limit), default=0)


def shapes(tree: Any) -> Any:
    """Arrays to their shapes and types, with a leading axis of one device."""
    import jax

    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *np.shape(x)), x.dtype), tree)


def lowered(step: Step, device: "jax.Device", batch: int) -> Any:
    """The step for so many utterances, not yet compiled."""
    import jax

    from sercl_jax import optim, train

    optimizer = optim.make(name="adam", learning_rate=step.learning_rate, steps=1_000_000)
    variables = jax.eval_shape(step.init)
    state = {"step": np.zeros((), np.int32), "params": variables["params"],
             "optimizer": jax.eval_shape(optimizer.init, variables["params"]),
             "fixed": {name: tree for name, tree in variables.items() if name != "params"}}
    mapped: Any = train.mapped_step(step.loss, optimizer.update, (device,))
    return mapped.lower(shapes(state), shapes(step.batch(batch)), shapes(np.uint32(0)))


def bytes_of(step: Step, device: "jax.Device", batch: int) -> int:
    """What a device must hold for a step of so many utterances."""
    return our_step.xla_memory(lowered(step, device, batch).compile())["total"]


def rematerialised(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss, with nothing but matrix products kept for its backward pass."""
    import jax

    return jax.checkpoint(loss, policy=jax.checkpoint_policies.dots_saveable)


def like(batch: Callable[[int], dict[str, np.ndarray]]) -> Callable[[int], dict[str, Any]]:
    """The shapes of batches of any size, from one that is made with a single utterance."""
    import jax

    made = batch(1)
    return lambda size: {name: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for name, x in made.items()}


def serugcl(arguments: argparse.Namespace, remat: bool) -> Step:
    """SERUGCL's step."""
    from sercl_jax import train
    from sercl_jax.models import serugcl as model

    settings = model.SerugclSettings(dtype=arguments.precision)
    loss, batch = model.contrastive_loss(settings), like(lambda b: serugcl_ours.random_batch(0, b, arguments.nodes))
    return Step(rematerialised(loss) if remat else loss,
                lambda: model.initializer(settings, model.Knobs())(train.init_key(0), _zeros(batch(1))),
                batch, (128, 512), 1, serugcl_ours.LEARNING_RATE)


def cpc(arguments: argparse.Namespace, remat: bool) -> Step:
    """CPC's pre-training step."""
    from sercl_jax import train
    from sercl_jax.models import cpc as model

    settings = model.CpcSettings(dtype=arguments.precision, norm="channel")
    samples = int(arguments.seconds * supcon_ours.RATE) // cpc_ours.HOP * cpc_ours.HOP
    loss = model.cpc_loss(settings)
    return Step(rematerialised(loss) if remat else loss, lambda: model.initializer(settings)(train.init_key(0), {}),
                like(lambda b: cpc_ours.random_batch(0, b, samples)), (8, 32), 1, cpc_ours.LEARNING_RATE)


def supcon(arguments: argparse.Namespace, remat: bool) -> Step:
    """The first stage of SupCon, on features."""
    import jax
    import jax.numpy as jnp

    from sercl_jax import train
    from sercl_jax.encoders import TransformerEncoder
    from sercl_jax.models.attentive import AttentivePooling
    from sercl_jax.models.speech_encoder import SpeechEncoder

    config = supcon_ours.network(arguments.model, dropout=True)
    encoder = TransformerEncoder(config, arguments.precision, remat)
    frames = encoder.frames(int(arguments.seconds * supcon_ours.RATE))

    def init() -> Any:
        key, x = train.init_key(0), jnp.zeros((1, supcon_ours.RATE))
        params: Any = SpeechEncoder(config).init(key, x, jnp.ones_like(x, bool))
        pooling = AttentivePooling().init(key, jnp.zeros((1, 1, config.hidden_size)), jnp.ones((1, 1), bool))
        return {"params": {"encoder": encoder.split(params["params"])[1], "pooling": pooling["params"]}}

    def batch(size: int) -> dict[str, Any]:
        made = {name: jax.ShapeDtypeStruct(x.shape, x.dtype)
                for name, x in supcon_ours.random_batch(0, size, 1).items() if name != "waveform"}
        return {**made, "x": jax.ShapeDtypeStruct((size, frames, config.hidden_size), np.float32)}

    return Step(supcon_ours.objective(encoder), init, batch, (8, 32), 4, supcon_ours.LEARNING_RATE)


def _zeros(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: np.zeros(x.shape, x.dtype) for name, x in batch.items()}


METHODS = {"serugcl": serugcl, "cpc": cpc, "supcon": supcon}
KNOBS = {"serugcl": None, "cpc": None, "supcon": "config.encoder.remat"}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default=",".join(METHODS), help="separated by commas")
    parser.add_argument("--gib", default="16,40,80", help="memory of the device in GiB, separated by commas")
    parser.add_argument("--remat", choices=tuple(REMAT), default="both")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--nodes", type=int, default=120, help="of SERUGCL's utterances")
    parser.add_argument("--seconds", type=float, default=10.0, help="of CPC's and SupCon's utterances")
    parser.add_argument("--model", choices=tuple(NAMED), default="wavlm-base", help="SupCon's network")
    stepping.add_outputs(parser, plot=False)
    arguments = parser.parse_args(argv)
    try:
        arguments.gib = sorted(float(size) for size in arguments.gib.split(","))
    except ValueError:
        raise UserError(f"--gib={arguments.gib}: numbers are wanted, such as 16,40,80.") from None
    if not arguments.gib[0] > 0:
        raise UserError(f"--gib={arguments.gib[0]:g}: must be above 0.")
    arguments.method = arguments.method.split(",")
    if unknown := set(arguments.method) - set(METHODS):
        raise UserError(f"--method: {min(unknown)!r} is none of {', '.join(METHODS)}.")
    stepping.check_least(arguments, nodes=2, seconds=0.64)
    return arguments


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    began = timing.machine()
    our_step.import_all()
    device = our_step.chosen_device(arguments.device)
    found = []
    for method in arguments.method:
        for remat in REMAT[arguments.remat]:
            step = METHODS[method](arguments, remat)
            size = functools.partial(bytes_of, step, device)
            known = {batch: size(batch) for batch in step.first}
            fits = [largest(size, gib * GIB, known, step.multiple) for gib in arguments.gib]
            found.append({
                "method": method, "title": {"serugcl": f"SERUGCL, {arguments.nodes} nodes",
                                            "cpc": f"CPC, {arguments.seconds:g} s",
                                            "supcon": f"SupCon, {arguments.model}, {arguments.seconds:g} s"}[method],
                "precision": arguments.precision, "remat": remat, "knob": KNOBS[method],
                "largest": [{"gib": gib, "batch": batch, "bytes": known.get(batch, 0)}
                            for gib, batch in zip(arguments.gib, fits, strict=True)],
                "analysed": [{"batch": batch, "bytes": known[batch]} for batch in sorted(known)]})
    return {"benchmark": "memory", "date": timing.now(), "threads": arguments.threads,
            "estimate": "by XLA's analysis of the step compiled for this device, not measured",
            "device": {"platform": device.platform, "kind": device.device_kind},
            "versions": timing.versions("jax", "jaxlib", "flax"), "found": found,
            "machine": began | {"load_after": list(os.getloadavg())}}


def print_result(result: dict[str, Any]) -> None:
    """A few lines for people."""
    print(f"Largest batches, {result['estimate']} ({result['device']['kind']}):")
    for found in result["found"]:
        told = ", ".join(f"{one['gib']:g} GiB: {one['batch']}" for one in found["largest"])
        print(f"{found['title']}, {found['precision']}, remat {'yes' if found['remat'] else 'no'}: {told}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, print_result)


if __name__ == "__main__":
    sys.exit(main())
