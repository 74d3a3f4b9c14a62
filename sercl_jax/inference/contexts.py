"""CPC's context of padded waveforms, and statistics over true frames; exportable with any batch size."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sercl_jax.models import recognizer
from sercl_jax.models.cpc import HOP, Cpc, CpcSettings
from sercl_jax.types import Batch, Variables


def cleared(batch: Batch) -> jax.Array:
    """"waveform" [B, S] int16 as float32 in -1..1, 0 beyond each utterance's "samples" [B]."""
    waveform = batch["waveform"]
    there = jnp.arange(waveform.shape[1], dtype=jnp.int32)[None] < batch["samples"][:, None]
    return jnp.where(there, waveform.astype(jnp.float32) / 32768, 0)


def mask_of(counts: jax.Array, length: int) -> jax.Array:
    """[B, length] bool: the first `counts` [B] of each row."""
    return jnp.arange(length, dtype=jnp.int32)[None] < counts[:, None]


@functools.lru_cache(maxsize=16)
def context(settings: CpcSettings) -> Callable[[Variables, Batch], tuple[jax.Array, jax.Array]]:
    """(variables of a `Cpc`, "waveform" and "samples") -> c [B, T, context] float32 and its mask [B, T].

    T = S // 160; an utterance has as many frames as whole hops, but one at least. The network is causal: neither
    padding nor the other utterances change a frame.
    """
    model = Cpc(settings)

    def apply(variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array]:
        made: Any = model.apply({"params": variables["params"]}, cleared(batch))
        c = made[1].astype(jnp.float32)
        return c, mask_of(jnp.maximum(batch["samples"] // HOP, 1), c.shape[1])

    return apply


def mean_and_deviation(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean and standard deviation over true frames, as `representations.statistics`: [B, T, F] -> [B, 2 F].

    What stands elsewhere changes nothing.
    """
    return recognizer.mean_and_deviation(x, mask, epsilon=0.0)
