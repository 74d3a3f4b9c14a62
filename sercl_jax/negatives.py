"""Which frames of its own sequence a contrastive prediction is compared with."""

import jax
import jax.numpy as jnp
from jax import Array


def _subsets(key: Array, n: Array, size: int, draws: int) -> Array:
    """[draws, size] int32: random subsets of 0..n-1 in an order whose last is a random one; -1 beyond the n-th.

    Floyd's algorithm (Bentley and Floyd 1987): every subset is equally likely, with `size` random numbers for each.
    """
    number_key, turn_key = jax.random.split(key)
    tops = jnp.maximum(n - size, 0) + jnp.arange(size)
    numbers = jax.random.randint(number_key, (draws, size), 0, (tops + 1)[None]).T

    def step(chosen: Array, given: tuple[Array, Array, Array]) -> tuple[Array, None]:
        i, top, number = given
        taken = jnp.any(chosen == number[None], 0)
        value = jnp.where(top < n, jnp.where(taken, top, number), -1)
        return jax.lax.dynamic_update_index_in_dim(chosen, value, i, 0), None

    nothing = jnp.full((size, draws), -1, numbers.dtype)
    chosen, _ = jax.lax.scan(step, nothing, (jnp.arange(size), tops, numbers))
    turn = jax.random.randint(turn_key, (draws, 1), 0, size)
    return jnp.take_along_axis(chosen.T, (jnp.arange(size)[None] + turn) % size, 1)


def draw_candidates(keys: Array, frames: Array, *, length: int, draws: int, size: int) -> Array:
    """Frames to compare predictions with: `draws` sets of `size` for each utterance.

    An utterance of n frames is repeated to `length`, so frame t is a copy of frame t % n; the frames of one set are
    copies of different frames. Among the n residues every set of `size` is equally likely, and so is every copy of a
    chosen residue.

    Args:
      keys: [B] keys, one for each utterance.
      frames: [B] int32, n >= 1; what is above `length` counts as `length`.
      length: T, frames of the repeated utterance.
      draws: sets per utterance.
      size: frames per set.

    Returns:
      [B, draws, size] int32 in 0..T-1. Where n < size, all n residues and n - size times -1, which stands for none.
      The last of a set is a random one of it.
    """
    def one(key: Array, n: Array) -> Array:
        residue_key, copy_key = jax.random.split(key)
        n = jnp.clip(n, 1, length)
        residue = _subsets(residue_key, n, size, draws)
        copies = (length - 1 - residue) // n + 1
        copy = jax.random.randint(copy_key, residue.shape, 0, copies)
        return jnp.where(residue < 0, -1, residue + n * copy)

    return jax.vmap(one)(keys, frames)


def usable(candidates: Array, positives: Array, frames: Array) -> Array:
    """Which candidates are negatives of which positives.

    Of a set of 1 + N candidates at most one is the positive or a copy of it, as their residues differ. That one is
    left out; if there is none, the last is. So N are left, and every set of N residues other than the positive's is
    equally likely. Where there are at most 1 + N residues, all but the positive's are left.

    Args:
      candidates: [B, G, M] from `draw_candidates`.
      positives: [G, P] int32, the frames that share a set.
      frames: [B] int32, n.

    Returns:
      [B, G, P, M] bool.
    """
    n = frames[:, None, None]
    residue = jnp.where(candidates < 0, -1, candidates % n)
    same = residue[:, :, None, :] == (positives[None] % n)[..., None]
    last = (jnp.arange(candidates.shape[-1]) == candidates.shape[-1] - 1)[None, None, None]
    spare = last & ~jnp.any(same, -1, keepdims=True)
    return (residue >= 0)[:, :, None, :] & ~same & ~spare
