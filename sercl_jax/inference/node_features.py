"""Features that are computed in the program itself, from waveforms to the nodes of a graph."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sercl_jax.features import feature_names, frames, jax_is10
from sercl_jax.inference import contexts, jax_nodes
from sercl_jax.models.cpc import HOP, CpcSettings
from sercl_jax.nodes import VOICED_ONLY
from sercl_jax.types import SAMPLE_RATE, Batch, Variables

CPC = "cpc"
# Lengths of batches, in samples. Descriptors take ten seconds to compile for each, and run at hundreds of times real
# time: few lengths are worth some padding.
LENGTHS = tuple(seconds * SAMPLE_RATE for seconds in (4, 10, 30))
BATCH = 8

Nodes = Callable[[Variables, Batch], tuple[jax.Array, jax.Array]]


def maker(features: str, nodes: int, cpc: CpcSettings | None) -> Nodes:
    """(variables, {"waveform" [B, S] int16, "samples" [B]}) -> nodes [B, N, F] and their mask [B, N].

    Args:
      features: is10_jax, logmel, cpc, or several joined by "+", which stand side by side, each utterance as long as
        its shortest.
      nodes: N.
      cpc: of the network whose parameters are `variables["cpc"]`, for features=cpc.
    """
    kinds = features.split("+")
    names = [name for kind in kinds for name in (feature_names(kind) if kind != CPC else [CPC] * _width(cpc))]
    voiced_only = tuple(i for i, name in enumerate(names) if name in VOICED_ONLY)

    def make(variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array]:
        made = [_frames(kind, cpc, variables, batch) for kind in kinds]
        length = min(x.shape[1] for x, _ in made)
        counts = jnp.stack([count for _, count in made]).min(0)
        joined = jnp.concatenate([x[:, :length] for x, _ in made], -1)
        return jax_nodes.average(joined, counts, nodes, voiced_only)

    return make


def _width(cpc: CpcSettings | None) -> int:
    assert cpc is not None, "features=cpc needs its settings"
    return cpc.context


def _frames(kind: str, cpc: CpcSettings | None, variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """[B, T, F] of one kind, and how many frames each utterance has."""
    samples = batch["samples"]
    if kind == CPC:
        assert cpc is not None
        return contexts.context(cpc)(variables[CPC], batch)[0], jnp.maximum(samples // HOP, 1)
    extract, reach = (jax_is10.log_mel, frames.SHORT) if kind == "logmel" else (jax_is10.describe, frames.LONG)
    return extract(batch["waveform"], samples)[0], jnp.maximum(1 + (samples - reach) // frames.HOP, 1)
