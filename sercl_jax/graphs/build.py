"""Frames to graphs: the original view of SERUGCL (METHODS.md 1.2), built on the device with fixed shapes."""

import jax
import jax.numpy as jnp
import jraph
from jax import Array

EDGES = ("knn", "threshold", "none", "line", "random")
MAX_NODES = 1024  # the node index takes ten bits of a similarity's sort key
_GRID = 2**20  # similarities are compared on this grid: float noise does not decide between equal frames


def dense_graph(x: Array, mask: Array, weight: Array) -> jraph.GraphsTuple:
    """A batch of graphs that carries every ordered node pair as an edge of weight 0 or 1.

    Args:
      x: [B, N, F] node features.
      mask: [B, N] bool, true for nodes that exist.
      weight: [B, N, N], `weight[b, i, j]` is the edge from sender j to receiver i.

    Returns:
      nodes = {"x": [B * N, F], "mask": [B * N] bool}; edges = {"weight": [B * N * N] float32} in row-major
      (graph, receiver, sender) order; senders and receivers int32 [B * N * N], absolute node numbers; n_node = N and
      n_edge = N * N for each graph. Padding nodes have no edge of weight 1.
    """
    x, mask, weight = jnp.asarray(x), jnp.asarray(mask), jnp.asarray(weight)
    b, n, f = x.shape
    first = (n * jnp.arange(b, dtype=jnp.int32))[:, None, None]
    node = jnp.arange(n, dtype=jnp.int32)
    receivers = jnp.broadcast_to(first + node[None, :, None], (b, n, n))
    senders = jnp.broadcast_to(first + node[None, None, :], (b, n, n))
    return jraph.GraphsTuple(
        nodes={"x": x.reshape(b * n, f), "mask": mask.reshape(b * n)},
        edges={"weight": weight.astype(jnp.float32).reshape(b * n * n)},
        senders=senders.reshape(-1), receivers=receivers.reshape(-1), globals=None,
        n_node=jnp.full(b, n, jnp.int32), n_edge=jnp.full(b, n * n, jnp.int32))


def features(graph: jraph.GraphsTuple) -> Array:
    """Node features of a `dense_graph`, [B, N, F]."""
    x = graph.nodes["x"]
    return x.reshape(graph.n_node.shape[0], -1, x.shape[-1])


def node_mask(graph: jraph.GraphsTuple) -> Array:
    """Which nodes of a `dense_graph` exist, [B, N] bool."""
    return graph.nodes["mask"].reshape(graph.n_node.shape[0], -1)


def adjacency(graph: jraph.GraphsTuple) -> Array:
    """Edge weights of a `dense_graph`, [B, N, N] float32: rows receive, columns send."""
    mask = node_mask(graph)
    return graph.edges["weight"].reshape(*mask.shape, mask.shape[1])


def utterance_keys(key: Array, index: Array) -> Array:
    """One key per utterance, [B], from its number in the corpus: its place in the batch or on devices is moot."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)


def pair_draws(key: Array, n: int) -> Array:
    """Uniform draws in [0, 1) for ordered node pairs, [N, N]; those of the first nodes don't depend on N."""
    rows = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
    return jax.vmap(lambda row: jax.random.uniform(row, (n,)))(rows)


def cosine_similarity(x: Array) -> Array:
    """Cosine similarity of all node pairs, [B, N, F] -> [B, N, N]; 0 where either vector is zero."""
    square = jnp.sum(jnp.square(x), -1, keepdims=True)
    unit = x * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return jnp.einsum("bif,bjf->bij", unit, unit)


def _nearest(similarity: Array, allowed: Array, k: int) -> Array:
    """For each column j of [B, N, N], marks its k largest allowed rows; equal ones go to the lower row number."""
    n = similarity.shape[-1]
    # One integer per pair that sorts by similarity, then by lower node number: no two in a column are equal. k
    # masked maxima along the leading axis run about twice as fast on a CPU as lax.top_k, with the same outcome.
    grid = jnp.round(similarity * _GRID).astype(jnp.int32)
    lowest = jnp.iinfo(jnp.int32).min
    rank = jnp.where(allowed, grid * MAX_NODES - jnp.arange(n, dtype=jnp.int32)[None, :, None], lowest)
    bound = jnp.max(rank, 1, keepdims=True)
    for _ in range(min(k, n) - 1):
        bound = jnp.max(jnp.where(rank < bound, rank, lowest), 1, keepdims=True)
    return allowed & (rank >= bound)


def similarity_graph(x: Array, mask: Array, *, edges: str = "knn", k: int = 10, threshold: float = 0.5,
                     keys: Array | None = None) -> jraph.GraphsTuple:
    """The original view G = (V, E, X): frames as nodes, edges by cosine similarity, undirected, no self-loops.

    Similarities are compared after rounding to 2**-20. Among equal ones (identical frames, digital silence) the
    lower node number wins, as in `lax.top_k`. A zero vector has similarity 0 with every frame. A graph with fewer
    than k + 1 nodes is complete; no edge touches padding. The topology carries no gradient.

    Args:
      x: [B, N, F] float; N is at most 1024.
      mask: [B, N] bool, true for frames that exist.
      edges: "knn": i and j are joined if either is among the other's k most similar; "threshold": if their
        similarity is at least `threshold`; and three controls: "none"; "line": consecutive existing frames;
        "random": like "knn" with random similarities.
      k: neighbours per node, for "knn" and "random"; at least 1.
      threshold: cosine, for "threshold".
      keys: [B] random keys, one per utterance, for "random".

    Returns:
      A `dense_graph`.

    Raises:
      ValueError: an unknown `edges`, k < 1, more than 1024 nodes, or "random" without keys.
    """
    b, n, _ = x.shape
    if edges not in EDGES:
        raise ValueError(f"edges={edges!r}; known: {', '.join(EDGES)}")
    if k < 1:
        raise ValueError(f"k={k}; a node needs at least 1 neighbour (for no edges use edges='none')")
    if n > MAX_NODES:
        raise ValueError(f"{n} nodes per utterance; at most {MAX_NODES}: average adjacent frames")
    frames = jax.lax.stop_gradient(x.astype(jnp.float32))
    pairs = mask[:, :, None] & mask[:, None, :] & ~jnp.eye(n, dtype=bool)[None]
    if edges == "none":
        joined = jnp.zeros((b, n, n), bool)
    elif edges == "line":
        place = jnp.cumsum(mask, -1)  # gaps in the mask are stepped over
        joined = pairs & (jnp.abs(place[:, :, None] - place[:, None, :]) == 1)
    elif edges == "threshold":
        similarity = cosine_similarity(jnp.where(mask[..., None], frames, 0))
        joined = pairs & (jnp.round(similarity * _GRID) >= jnp.round(threshold * _GRID))
        joined = joined | joined.mT  # the two halves of a matrix product may differ in the last bit
    else:
        if edges == "random":
            if keys is None:
                raise ValueError("edges='random' needs keys, one per utterance")
            similarity = jax.vmap(pair_draws, (0, None))(keys, n)
        else:
            similarity = cosine_similarity(jnp.where(mask[..., None], frames, 0))
        nearest = _nearest(similarity, pairs, k)
        joined = nearest | nearest.mT
    return dense_graph(x, mask, joined)
