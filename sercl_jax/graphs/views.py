"""The augmented views of SERUGCL (METHODS.md 1.3 and 1.4). Ratios and eps may be traced.

Every draw belongs to one utterance's key and to a node or a pair by number, so that neither padding nor the other
utterances of the batch nor the number of devices changes it.
"""

import jax
import jax.numpy as jnp
import jraph
from jax import Array

from sercl_jax.graphs.build import adjacency, dense_graph, features, node_mask, pair_draws

_BITS = 23
_INTERPOLATIONS = 12  # then bisection, which cannot be slow
_ONE = 1 << _BITS  # a float32 uniform draw is a multiple of 2**-23


def fgsm_view(graph: jraph.GraphsTuple, direction: Array, eps: Array | float) -> jraph.GraphsTuple:
    """X' = X + eps * sign(direction), same topology (paper, FGSM box, steps 4 and 5); carries no gradient.

    Args:
      graph: a `dense_graph` with features [B, N, F].
      direction: [B, N, F]; the gradient of a contrastive loss with respect to X. Only its signs count.
      eps: perturbation strength, in units of X.

    Returns:
      The graph with X'; padding nodes are untouched.
    """
    x = features(graph)
    moved = x + eps * jnp.sign(direction)
    moved = jax.lax.stop_gradient(jnp.where(node_mask(graph)[..., None], moved, x))
    return graph._replace(nodes={**graph.nodes, "x": moved.reshape(graph.nodes["x"].shape)})


def random_direction(keys: Array, shape: tuple[int, int]) -> Array:
    """Random signs [B, N, F] for `fgsm_view`, the control for the gradient's; `shape` is (N, F)."""
    return jax.vmap(lambda key: jax.random.rademacher(key, shape, jnp.float32))(keys)


def random_walk_subgraph(keys: Array, graph: jraph.GraphsTuple, ratio: Array | float) -> jraph.GraphsTuple:
    """Keeps a connected part of each graph, grown at random (GraphCL's "subgraph").

    Starts at a random node, then adds a random neighbour of what is kept, uniformly among all of them, until
    round(ratio * nodes) nodes, but at least one, are kept. Where nothing is left to reach it goes on at a random
    other node.

    Args:
      keys: [B] random keys, one per utterance.
      graph: a `dense_graph`; its edges are undirected.
      ratio: share of nodes to keep, in [0, 1].

    Returns:
      The graph with the kept nodes as its node mask, and the edges among them.
    """
    mask, joined = node_mask(graph), adjacency(graph) > 0
    b, n = mask.shape
    size = jnp.clip(jnp.round(ratio * jnp.sum(mask, -1)), 1, jnp.sum(mask, -1)).astype(jnp.int32)
    draws = jax.vmap(lambda key: jax.random.uniform(key, (n,)))(keys)  # one per step
    rows = jnp.arange(b)

    def grow(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        step, kept, reached = state
        rest = mask & ~kept
        frontier = rest & reached
        choice = jnp.where(jnp.any(frontier, -1, keepdims=True), frontier, rest)
        place = jnp.cumsum(choice, -1, dtype=jnp.int32)
        wanted = jnp.floor(draws[:, step] * place[:, -1]).astype(jnp.int32)  # 0 ... count - 1
        chosen = choice & (place == wanted[:, None] + 1) & (step < size)[:, None]
        return step + 1, kept | chosen, reached | joined[rows, jnp.argmax(chosen, -1)]

    start = (jnp.int32(0), jnp.zeros((b, n), bool), jnp.zeros((b, n), bool))
    most = jnp.max(size)
    _, kept, _ = jax.lax.while_loop(lambda state: state[0] < most, grow, start)
    return dense_graph(features(graph), kept, joined & kept[:, :, None] & kept[:, None, :])


def perturb_edges(keys: Array, graph: jraph.GraphsTuple, ratio: Array | float) -> jraph.GraphsTuple:
    """Drops round(ratio * edges) random undirected edges and adds as many between random unjoined nodes.

    A dropped edge is not added again. If fewer unjoined pairs exist than edges were dropped, all of them are joined.
    (Two pairs of a graph may have the same draw, with a chance of 2**-23; the count is then short by one.)

    Args:
      keys: [B] random keys, one per utterance.
      graph: a `dense_graph`; its edges are undirected.
      ratio: share of edges to replace, in [0, 1].
    """
    mask, joined = node_mask(graph), adjacency(graph) > 0
    n = mask.shape[1]
    lower = jnp.tril(jnp.ones((1, n, n), bool), -1)  # each undirected pair once
    edge = joined & lower
    free = mask[:, :, None] & mask[:, None, :] & ~joined & lower
    # Edges score below 2**23, free pairs from there to 2**24, anything else at 2**24.
    score = (jax.vmap(pair_draws, (0, None))(keys, n) * _ONE).astype(jnp.int32)
    score = jnp.where(edge, score, jnp.where(free, _ONE + score, 2 * _ONE))
    edges, unjoined = (jnp.sum(pairs, (1, 2), dtype=jnp.int32) for pairs in (edge, free))
    wanted = jnp.round(ratio * edges).astype(jnp.int32)
    bounds = _bounds(score, edges, unjoined, wanted, jnp.minimum(wanted, unjoined))[:, :, None, None]
    dropped = edge & (score < bounds[:, 0])
    added = free & (score < bounds[:, 1])
    half = (edge & ~dropped) | added
    return dense_graph(features(graph), mask, half | half.mT)


def _bounds(score: Array, edges: Array, free: Array, dropped: Array, added: Array) -> Array:
    """Numbers [B, 2] such that `dropped` [B] edges score below the first and `added` free pairs below the second.

    Found by interpolation, for draws are uniform: half a dozen counts in place of the 23 of a bisection or of a sort.
    """
    low = jnp.broadcast_to(jnp.array([0, _ONE], jnp.int32), (score.shape[0], 2))
    most = jnp.stack([edges, edges + free], 1)
    wanted = jnp.stack([dropped, edges + added], 1)
    below = jnp.stack([jnp.zeros_like(edges), edges], 1)  # how many score below `low`
    low, below = (jnp.where(wanted == most, *of) for of in ((low + _ONE, low), (most, below)))

    def open_(low: Array, high: Array, below: Array) -> Array:
        return (below < wanted) & (high - low > 1)

    def refine(state: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
        step, low, high, below, above = state
        share = (wanted - below + 0.5) / jnp.maximum(above - below, 1)
        share = jnp.where(step < _INTERPOLATIONS, share, 0.5)
        middle = low + (share * (high - low)).astype(jnp.int32)
        middle = jnp.clip(middle, low + 1, jnp.maximum(high - 1, low + 1))
        # Both counts in one pass, as halves of a number: a column has at most 1024 pairs.
        under = [(score < middle[:, side, None, None]).astype(jnp.int32) for side in (0, 1)]
        columns = jnp.sum(under[0] + (under[1] << 16), 1)
        count = jnp.stack([jnp.sum(columns & 0xffff, 1), jnp.sum(columns >> 16, 1)], 1)
        unfinished, enough = open_(low, high, below), count > wanted
        up, down = unfinished & ~enough, unfinished & enough
        return (step + 1, jnp.where(up, middle, low), jnp.where(down, middle, high),
                jnp.where(up, count, below), jnp.where(down, count, above))

    start = (jnp.int32(0), low, jnp.broadcast_to(jnp.array([_ONE, 2 * _ONE], jnp.int32), low.shape), below, most)
    return jax.lax.while_loop(lambda state: jnp.any(open_(*state[1:4])), refine, start)[1]
