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
    edges = jnp.sum(edge, (1, 2))
    wanted = jnp.round(ratio * edges).astype(jnp.int32)
    dropped = edge & (score < _bound(score, wanted)[:, None, None])
    added = free & (score < _bound(score, edges + wanted)[:, None, None])
    half = (edge & ~dropped) | added
    return dense_graph(features(graph), mask, half | half.mT)


def _bound(score: Array, count: Array) -> Array:
    """The largest number [B] below 2**25 with at most `count` [B] of the scores [B, N, N] below it.

    Found bit by bit: 25 counts take a tenth of the time of a sort.
    """
    flat = score.reshape(score.shape[0], -1)

    def refine(i: int, bound: Array) -> Array:
        higher = bound | (_ONE << 1 >> i)
        return jnp.where(jnp.sum(flat < higher[:, None], 1) <= count, higher, bound)

    return jax.lax.fori_loop(0, _BITS + 2, refine, jnp.zeros_like(count))
