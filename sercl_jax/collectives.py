"""Many small arrays in one collective: each costs a message over the network, or milliseconds between processes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

SMALL = 2**18  # numbers: larger arrays go by themselves, as a copy of theirs would cost more than a message


def elementwise(collective: Callable[[Array], Array], tree: Any) -> Any:
    """Applies a collective that treats each number alone, such as a sum over devices, to a tree of arrays.

    Args:
      collective: [n] -> [n], of whatever shape; once for the small arrays of a dtype, once for each large one.
      tree: arrays or numbers, of any shapes and dtypes.

    Returns:
      The tree that one collective for each array would give.
    """
    leaves, structure = jax.tree.flatten(tree)
    leaves = [jnp.asarray(x) for x in leaves]

    def joined(group: Sequence[Array]) -> list[Array]:
        flat = collective(jnp.concatenate([x.reshape(-1) for x in group]))
        return [part.reshape(x.shape) for part, x in zip(_cut(flat, [x.size for x in group], 0), group, strict=True)]

    return jax.tree.unflatten(structure, _grouped(leaves, collective, joined))


def rowwise(collective: Callable[[Array], Array], tree: Any) -> Any:
    """The same for one that joins rows, such as a gathering along the leading axis: [B/N, ...] -> [B, ...].

    Only arrays with equally many rows go together.
    """
    leaves, structure = jax.tree.flatten(tree)

    def joined(group: Sequence[Array]) -> list[Array]:
        rows = len(group[0])
        flat = [x.reshape(rows, -1) for x in group]
        together = collective(jnp.concatenate(flat, 1))
        parts = _cut(together, [x.shape[1] for x in flat], 1)
        return [part.reshape(-1, *x.shape[1:]) for part, x in zip(parts, group, strict=True)]

    return jax.tree.unflatten(structure, _grouped(leaves, collective, joined, lambda x: (len(x),)))


def _cut(joined: Array, sizes: Sequence[int], axis: int) -> list[Array]:
    ends = [sum(sizes[:i + 1]) for i in range(len(sizes) - 1)]
    return jnp.split(joined, ends, axis)


def _grouped(leaves: Sequence[Array], alone: Callable[[Array], Array],
             joined: Callable[[Sequence[Array]], list[Array]],
             alike: Callable[[Array], tuple[int, ...]] = lambda x: ()) -> list[Array]:
    """Each leaf's result; small ones of a dtype that are also `alike` go together."""
    groups: dict[Any, list[int]] = {}
    for i, x in enumerate(leaves):
        groups.setdefault((x.dtype, *alike(x)) if 0 < x.size < SMALL else i, []).append(i)
    results = list(leaves)
    for places in groups.values():
        group = [leaves[i] for i in places]
        for i, found in zip(places, joined(group) if len(group) > 1 else [alone(group[0])], strict=True):
            results[i] = found
    return results
