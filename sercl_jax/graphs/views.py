"""The augmented views of SERUGCL (METHODS.md 1.3 and 1.4). Ratios and eps may be traced.

Every draw belongs to one utterance's key and to a node or a pair by number, so that neither padding nor the other
utterances of the batch nor the number of devices changes it.
"""

import jax
import jax.numpy as jnp
import jraph
from jax import Array

from sercl_jax.graphs.build import adjacency, dense_graph, features, node_mask, pair_draws

_BITS = 23  # a float32 uniform draw is a multiple of 2**-23


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
    round(ratio * nodes) nodes, but at least one, are kept. Where nothing is left to reach it goes on at a random other node.

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

    A dropped edge is not added again. If fewer unjoined pairs exist than edges were dropped, all of them are joined. (Two pairs
    of one graph share a draw with a chance of some 2**-23 per pair; the count may then be off by one.)

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
    score = (jax.vmap(pair_draws, (0, None))(keys, n) * 2**_BITS).astype(jnp.int32)
    wanted = jnp.round(ratio * jnp.sum(edge, (1, 2))).astype(jnp.int32)
    changed = ((edge & (score < _bound(score, edge, wanted)[:, None, None]))
               | (free & (score < _bound(score, free, wanted)[:, None, None])))
    half = edge ^ changed
    return dense_graph(features(graph), mask, half | half.mT)


def _bound(score: Array, among: Array, count: Array) -> Array:
    """The number [B] below which `count` of the scores [B, N, N] in `among` lie; found bit by bit, without a sort."""
    def refine(i: int, bound: Array) -> Array:
        higher = bound | (1 << (_BITS - 1 - i))
        fewer = jnp.sum(among & (score < higher[:, None, None]), (1, 2)) <= count
        return jnp.where(fewer, higher, bound)

    bound = jax.lax.fori_loop(0, _BITS, refine, jnp.zeros_like(count))
    return jnp.where(count >= jnp.sum(among, (1, 2)), 1 << _BITS, bound)
