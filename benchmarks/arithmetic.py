"""What training over many devices costs: bytes over the interconnect, where scaling ends, hours of audio in time.

    python -m benchmarks.arithmetic                              prints the page
    python -m benchmarks.arithmetic --write benchmarks/SCALING.md

Nothing is measured here. Parameters are those of the real models, FLOPs those of the benchmarks' own formulas; links
and rates are stated, see `LINKS` and `MACHINES`.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sercl_jax import files

if TYPE_CHECKING:
    from sercl_jax.models.speech_config import SpeechConfig

BYTES = 4  # float32, of parameters, gradients and what is gathered
EFFICIENCY = 0.9  # below it a method no longer scales
AUDIO = 2 * 16_000  # bytes in a second of the records: int16 at 16 kHz
DEVICES = (8, 64, 512)


@dataclass(frozen=True)
class Method:
    """What a step needs.

    Attributes:
      name, example: of the method, and what an utterance is here.
      parameters: that train.
      flops: of one utterance, forward and backward.
      width: of what is gathered for each utterance, in numbers; 0: the loss sums over devices instead.
      gathers: how often they are gathered, or their gradients scattered back.
      similarity: FLOPs of the contrastive loss for each pair of utterances of the whole batch, on every device.
      seconds: of audio in an utterance.
      share: of a device's peak that its steps reach, stated.
    """

    name: str
    example: str
    parameters: int
    flops: float
    width: int
    gathers: int
    similarity: float
    seconds: float
    share: float


@dataclass(frozen=True)
class Link:
    """An interconnect: bytes per second that a device sends while it receives as many, seconds of each hop."""

    name: str
    rate: float
    latency: float


@dataclass(frozen=True)
class Machine:
    """Some devices of one kind."""

    name: str
    devices: int
    peak: float  # FLOP/s
    link: Link


NVLINK = Link("NVLink 3, 300 GB/s", 300e9, 2e-6)
INFINIBAND = Link("InfiniBand, 200 Gb/s", 25e9, 5e-6)
ICI = Link("TPU v5e ICI, 1,600 Gb/s", 200e9, 1e-6)
ETHERNET = Link("Ethernet, 10 Gb/s", 1.25e9, 30e-6)
A100, V5E = 312e12, 197e12  # FLOP/s in bfloat16, as their makers state them
LINKS = ((A100, NVLINK), (A100, INFINIBAND), (V5E, ICI), (A100, ETHERNET))
MACHINES = (Machine("1 A100", 1, A100, NVLINK), Machine("8 A100, NVLink", 8, A100, NVLINK),
            Machine("64 A100, InfiniBand", 64, A100, INFINIBAND), Machine("256 TPU v5e", 256, V5E, ICI),
            Machine("64 A100, 10 Gb/s Ethernet", 64, A100, ETHERNET))


def methods() -> tuple[Method, ...]:
    """The three methods at the sizes of their configs; parameters are counted without making any."""
    import jax
    import numpy as np

    from sercl_jax.encoders import TransformerEncoder
    from sercl_jax.methods.serugcl import parameter_count
    from sercl_jax.models import cpc, serugcl
    from sercl_jax.models.speech_config import NAMED

    from . import cpc_ours, serugcl_ours, supcon_ours

    key = jax.random.key(0)
    graphs = serugcl.SerugclSettings()
    batch = serugcl_ours.random_batch(0, 2, 120)
    graph_parameters = jax.eval_shape(lambda: serugcl.initializer(graphs, serugcl.Knobs())(key, batch))
    pairs = serugcl_ours.analytic_flops(graphs, 2, 120) - 2 * serugcl_ours.analytic_flops(graphs, 1, 120)
    coding = cpc.CpcSettings()
    speech = NAMED["wavlm-base-plus"]
    trained = TransformerEncoder(speech).split(jax.eval_shape(lambda: _speech_parameters(speech)))[1]
    views = len(graphs.views)
    return (
        Method("SERUGCL", "120 nodes of 4 s", parameter_count(graph_parameters),
               serugcl_ours.analytic_flops(graphs, 1, 120), graphs.projection,
               # Two projections for FGSM's loss, and back in one message; all of them, and back, for the loss itself.
               4 + 2 * views, pairs / 2, 4.0, 0.05),
        Method("CPC", "10 s", parameter_count(jax.eval_shape(lambda: cpc.initializer(coding)(key, {}))),
               cpc_ours.analytic_flops(coding, 1, 160_000), 0, 0, 0.0, 10.0, 0.05),
        Method("SupCon, WavLM-base+", "10 s, features stored",
               parameter_count({"params": jax.tree.map(lambda x: np.broadcast_to(0, x.shape), trained)})
               + speech.hidden_size,
               supcon_ours.analytic_flops(speech, 1, 160_000, "features")["analytic"], speech.hidden_size,
               2, 3 * 2 * speech.hidden_size, 10.0, 0.4))


def _speech_parameters(config: "SpeechConfig") -> Any:
    import jax
    import jax.numpy as jnp

    from sercl_jax.models.speech_encoder import SpeechEncoder

    made = SpeechEncoder(config).init(jax.random.key(0), jnp.zeros((1, 16_000)), jnp.ones((1, 16_000), bool))
    return made["params"]


def gradient_bytes(method: Method, devices: int) -> float:
    """Sent by each device for a ring all-reduce of the gradient: 2 (N - 1) / N x 4 P."""
    return 2 * (devices - 1) / devices * BYTES * method.parameters


def gathered_bytes(method: Method, devices: int, batch: float) -> float:
    """Sent by each device for the loss, `batch` utterances each: g (N - 1) b x 4 D."""
    return method.gathers * (devices - 1) * batch * BYTES * method.width


def step_seconds(method: Method, devices: int, batch: float, peak: float, link: Link) -> tuple[float, float]:
    """Seconds of a step, and of its utterances' own part; nothing overlaps."""
    rate = method.share * peak
    own = batch * method.flops / rate
    pairs = method.similarity * (devices * batch) ** 2 / rate
    talk = (gradient_bytes(method, devices) + gathered_bytes(method, devices, batch)) / link.rate
    return own + pairs + talk + 2 * (devices - 1) * link.latency, own


def efficiency(method: Method, devices: int, batch: float, peak: float, link: Link) -> float:
    """The share of a step that is its utterances' own part."""
    total, own = step_seconds(method, devices, batch, peak, link)
    return own / total


def batches(method: Method, devices: int, peak: float, link: Link) -> tuple[float, float] | None:
    """The smallest and largest batch for each device at which `EFFICIENCY` is reached; None if there is none.

    What is lost, A b^2 + (gathered bytes per utterance / W) b + C, may be 1 / E - 1 of b f / R, with A = s N^2 / R
    and C the seconds of the gradient.
    """
    rate = method.share * peak
    a = method.similarity * devices**2 / rate
    b = (1 / EFFICIENCY - 1) * method.flops / rate - gathered_bytes(method, devices, 1) / link.rate
    c = gradient_bytes(method, devices) / link.rate + 2 * (devices - 1) * link.latency
    if b <= 0 or b * b < 4 * a * c:
        return None
    root = math.sqrt(b * b - 4 * a * c)
    return 2 * c / (b + root), (b + root) / (2 * a) if a else math.inf


def hours(method: Method, audio: float, machine: Machine, batch: float) -> float:
    """Hours that one pass over so many hours of audio takes, `batch` utterances on each device."""
    total, _ = step_seconds(method, machine.devices, batch, machine.peak, machine.link)
    return audio * 3600 / method.seconds / (machine.devices * batch) * total / 3600


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def _time(value: float) -> str:
    for unit, size in (("days", 24.0), ("h", 1.0), ("min", 1 / 60)):
        if value >= 2 * size:
            return f"{value / size:,.3g} {unit}" if value < 999.5 * size else f"{value / size:,.0f} {unit}"
    return f"{value * 3600:.3g} s"


def _range(found: tuple[float, float] | None) -> str:
    if found is None:
        return "never"
    low, high = max(math.ceil(found[0]), 1), found[1]
    if low > high:
        return "never"
    return f"{low:,} and more" if math.isinf(high) else f"{low:,} to {math.floor(high):,}"


def tables() -> dict[str, str]:
    """Every table of the page, by name."""
    known = methods()
    per_step = [[m.name, m.example, f"{m.parameters:,}", f"{m.flops / 1e9:.3g}", _bytes(gradient_bytes(m, 8)),
                 _bytes(gathered_bytes(m, 8, 64)), _bytes(AUDIO * m.seconds * 64)] for m in known]
    limits = [[f"{m.name}, {link.name}", *(_range(batches(m, n, peak, link)) for n in DEVICES)]
              for m in known for peak, link in LINKS]
    _, coding, speech = known
    runs: list[tuple[str, Method, float, float]] = [
        ("CPC, 960 h, 50 passes", coding, 960 * 50, 64), ("CPC, 10^6 h, one pass", coding, 1e6, 64),
        ("WavLM-base+, 960 h, one pass", speech, 960, 16), ("WavLM-base+, 10^6 h, one pass", speech, 1e6, 16)]
    times = [[name, *(_time(hours(m, audio, machine, b)) for machine in MACHINES)] for name, m, audio, b in runs]
    reading = [[name, *(f"{_bytes(audio * AUDIO / hours(m, audio, machine, b))}/s" for machine in MACHINES)]
               for name, m, audio, b in runs]
    share = [[name, *(f"{100 * efficiency(m, machine.devices, b, machine.peak, machine.link):.1f} %"
                      for machine in MACHINES)] for name, m, _, b in runs]
    names = [machine.name for machine in MACHINES]
    return {
        "per_step": _table(["method", "utterance", "parameters P", "GFLOP per utterance f", "gradient", "embeddings",
                            "audio itself"], per_step),
        "limits": _table(["method, link", *(f"N = {n}" for n in DEVICES)], limits),
        "times": _table(["training", *names], times), "share": _table(["training", *names], share),
        "reading": _table(["training", *names], reading)}


PAGE = """# Scaling: a page of arithmetic

Written by `python -m benchmarks.arithmetic --write benchmarks/SCALING.md`; a test recomputes every figure. Nothing on
this page is measured: parameters are counted in the real models, FLOPs are those of the benchmarks (a multiplication
with its addition counts as 2), rates and links are stated. `benchmarks/scaling.py` measures.

## What a step sends

Each device has all P parameters and b of the B = N b utterances of a batch. A step sends, from each device,

- the gradient, by a ring all-reduce: **2 (N - 1) / N x 4 P bytes**, whatever the batch;
- what the loss compares: **g (N - 1) b x 4 D bytes**, for g gatherings of D numbers per utterance and of their
  gradients on the way back. SERUGCL gathers projections (D = 128, g = 10: three views there and back, two more there
  and back for the FGSM view's own loss), SupCon pooled vectors (D = 768, g = 2). CPC draws its negatives inside
  an utterance: its loss is a sum over devices, 2 K numbers.

For N = 8 devices with b = 64 utterances each, per device and step:

{per_step}

The last column is what a process reads for one device's b utterances if it trains on waveforms (SERUGCL reads frames
that are made once, SupCon what the frozen convolutions have made of the corpus once).

## Where scaling ends

A step takes, with R FLOP/s that a device really does, W bytes per second that it sends and latency a of each of the
ring's 2 (N - 1) hops, and with nothing overlapping:

    b f / R   +   s (N b)^2 / R   +   (gradient + embeddings) / W   +   2 (N - 1) a

The first term is useful; the second is the loss of the whole batch, which every device computes for itself (s FLOPs
for each pair of utterances). A method scales while the first is at least {percent} % of the sum. That gives a
smallest batch for each device, below which the gradient's way takes too long, and for contrastive losses a largest,
above which comparing everyone with everyone does. R is a share of the peak in bfloat16 (A100: 312 TFLOP/s, TPU v5e:
197): {shares}; guesses, until they are measured on one.
Utterances for each device:

{limits}

With `never` no batch will do: embeddings alone take longer on that link than {rest} % of the time of the utterances
that they belong to, or comparing takes over before the gradient is paid. The remedy is then fewer devices for a
training and more trainings beside each other: a table has dozens.

## How long it takes

One pass over H hours of audio takes H x 3600 / (seconds of an utterance x N b) steps; b is 64 for CPC and 16 for
WavLM-base+:

{times}

with so much of a step being useful:

{share}

and records being read, by all processes together, at (32 kB for each second of audio):

{reading}

10^6 hours are {hoard} as records. Each process reads its own rows only, so the rate divides by the number of hosts.
"""


def page() -> str:
    """The whole of SCALING.md."""
    shares = ", ".join(f"{100 * m.share:.0f} % for {m.name}" for m in methods())
    return PAGE.format(**tables(), shares=shares, percent=round(100 * EFFICIENCY),
                       rest=f"{100 * (1 / EFFICIENCY - 1):.0f}", hoard=f"{1e6 * 3600 * AUDIO / 1e12:.1f} TB")


def main(argv: Sequence[str] | None = None, show: Callable[[str], object] = print) -> int:
    """Prints the page, or writes it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arithmetic", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="where the page goes")
    arguments = parser.parse_args(argv)
    if arguments.write:
        files.write_text(arguments.write.resolve(), page())
    else:
        show(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
