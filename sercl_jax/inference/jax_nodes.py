"""Frames to graph nodes on the device: what `sercl_jax.nodes` does on the host, with fixed shapes."""

import jax
import jax.numpy as jnp


def average(frames: jax.Array, counts: jax.Array, nodes: int,
            voiced_only: tuple[int, ...] = ()) -> tuple[jax.Array, jax.Array]:
    """Averages adjacent frames, as `sercl_jax.nodes.average_frames`, and pads the nodes.

    Exportable with any batch size. One product with a matrix of ones and zeros: each sum runs over the frames of its
    own group, so that float32 suffices however long the utterance is.

    Args:
      frames: [B, T, F] float32; what is in the padding, NaN too, changes nothing.
      counts: [B] int32: true frames of each utterance, which come first; at most T.
      nodes: N, the most rows to keep; an utterance with fewer frames keeps its frames.
      voiced_only: columns whose zeros mean "no voice": averaged over the other frames of a group only.

    Returns:
      [B, N, F] float32 with zeros in the padding, and [B, N] bool: True for real nodes, which come first.
    """
    length = frames.shape[1]
    if length * nodes >= 2 ** 31:
        raise ValueError(f"{length} frames for {nodes} nodes: their product must stay below 2^31.")
    counts = counts.astype(jnp.int32)[:, None]
    node, place = jnp.arange(nodes, dtype=jnp.int32)[None], jnp.arange(length, dtype=jnp.int32)[None]
    grouped = counts > nodes
    starts = jnp.where(grouped, node * counts // nodes, node)
    ends = jnp.where(grouped, (node + 1) * counts // nodes, node + 1)
    real = place < counts
    x = jnp.where(real[..., None], frames.astype(jnp.float32), 0)
    own = (starts[..., None] <= place[:, None]) & (place[:, None] < ends[..., None]) & real[:, None]
    columns = list(voiced_only)
    # Sums of the features and, beside them, how many frames have a voice.
    sums = jnp.einsum("bnt,btf->bnf", own.astype(jnp.float32),
                      jnp.concatenate([x, (x[..., columns] != 0).astype(jnp.float32)], -1),
                      precision=jax.lax.Precision.HIGHEST)
    total, voiced = sums[..., :frames.shape[2]], sums[..., frames.shape[2]:]
    mask = node < jnp.minimum(counts, nodes)
    averaged = total / jnp.maximum(ends - starts, 1)[..., None]
    if columns:
        averaged = averaged.at[..., columns].set(total[..., columns] / jnp.maximum(voiced, 1))
    return averaged, mask
