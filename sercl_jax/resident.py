"""Frames of many utterances that lie on the devices one after another, and batches cut from them there."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax.types import Frames


def arrays(frames: Frames) -> dict[str, np.ndarray]:
    """"values" [total frames, F], as they are, and "first" [U] int32, where each utterance begins."""
    return {"values": frames.values, "first": frames.offsets[:-1].astype(np.int32)}


def padded(lying: Mapping[str, Any], rows: jax.Array, mask: jax.Array) -> jax.Array:
    """The beginnings of utterances, [B, T, F], 0 in the padding.

    Args:
      lying: see `arrays`.
      rows: [B] utterances.
      mask: [B, T], True for frames of theirs, which come first.
    """
    places = lying["first"][rows][:, None] + jnp.arange(mask.shape[1])[None, :]
    return jnp.where(mask[..., None], lying["values"][jnp.where(mask, places, 0)], 0)
