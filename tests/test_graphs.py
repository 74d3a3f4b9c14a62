"""Graphs of frames against loops over pairs."""

import jax
import jax.numpy as jnp
import jraph
import numpy as np
import pytest

from sercl_jax import graphs

pytestmark = pytest.mark.usefixtures("quick_compilation")


def frames(b=3, n=9, f=5, seed=0):
    rng = np.random.default_rng(seed)
    lengths = np.array([n, n - 4, 2])[:b]
    mask = np.arange(n)[None] < lengths[:, None]
    return rng.standard_normal((b, n, f)).astype(np.float32) * mask[..., None], mask


def knn_loop(x, mask, k):
    """Sorts every frame's similarities; equal ones by node number."""
    b, n, _ = x.shape
    joined = np.zeros((b, n, n))
    for g in range(b):
        nodes = np.flatnonzero(mask[g])
        for i in nodes:
            def order(j, g=g, i=i):
                norm = np.linalg.norm(x[g, i]) * np.linalg.norm(x[g, j])
                return (-round(float(x[g, i] @ x[g, j]) / norm, 5) if norm else 0.0, j)
            for j in sorted((j for j in nodes if j != i), key=order)[:k]:
                joined[g, i, j] = joined[g, j, i] = 1
    return joined


@pytest.mark.parametrize("k", [1, 3, 20])
def test_knn_equals_a_loop(k):
    x, mask = frames()
    np.testing.assert_array_equal(graphs.adjacency(graphs.similarity_graph(x, mask, k=k)), knn_loop(x, mask, k))


def test_ties_go_to_the_lower_node_and_zero_vectors_have_similarity_zero():
    rng = np.random.default_rng(1)
    x = np.zeros((4, 8, 3), np.float32)  # graph 0: digital silence
    x[1] = rng.standard_normal(3)  # graph 1: identical frames
    x[2, 4:] = rng.standard_normal((4, 3))  # graph 2: silence, then sound
    x[3] = np.repeat(rng.standard_normal((4, 3)), 2, axis=0)  # graph 3: every frame twice
    mask = np.ones((4, 8), bool)
    found = graphs.adjacency(graphs.similarity_graph(x, mask, k=2))
    np.testing.assert_array_equal(found, knn_loop(x, mask, 2))
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0, 0].sum() == 7  # everyone's lowest-numbered neighbour
    assert np.isfinite(graphs.adjacency(graphs.similarity_graph(x, mask, edges="threshold", threshold=0.0))).all()


def test_threshold_equals_a_loop():
    x, mask = frames()
    found = graphs.adjacency(graphs.similarity_graph(x, mask, edges="threshold", threshold=0.3))
    expected = np.zeros_like(found)
    for g in range(3):
        for i in np.flatnonzero(mask[g]):
            for j in np.flatnonzero(mask[g]):
                norm = np.linalg.norm(x[g, i]) * np.linalg.norm(x[g, j])
                expected[g, i, j] = i != j and x[g, i] @ x[g, j] / norm >= 0.3
    np.testing.assert_array_equal(found, expected)


def test_line_joins_consecutive_existing_frames():
    mask = np.array([[True, True, False, True, False]])
    found = graphs.adjacency(graphs.similarity_graph(np.ones((1, 5, 2), np.float32), mask, edges="line"))
    assert {tuple(map(int, pair)) for pair in np.argwhere(found[0])} == {(0, 1), (1, 0), (1, 3), (3, 1)}


@pytest.mark.parametrize("edges", graphs.EDGES)
def test_edges_are_undirected_without_loops_and_never_touch_padding(edges):
    x, mask = frames()
    keys = graphs.utterance_keys(jax.random.key(0), jnp.arange(3))
    found = np.asarray(graphs.adjacency(graphs.similarity_graph(x, mask, edges=edges, k=3, threshold=0.0, keys=keys)))
    assert set(np.unique(found)) <= {0, 1}
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))
    assert found.diagonal(axis1=1, axis2=2).sum() == 0
    assert found[~(mask[:, :, None] & mask[:, None, :])].sum() == 0
    assert (found.sum() == 0) == (edges == "none")


@pytest.mark.parametrize("edges", ["knn", "threshold", "line", "random"])
def test_more_padding_and_other_utterances_change_no_edge(edges):
    x, mask = frames()
    keys = graphs.utterance_keys(jax.random.key(0), jnp.array([4, 9, 2]))
    small = graphs.adjacency(graphs.similarity_graph(x, mask, edges=edges, k=3, keys=keys))
    wide_x, wide_mask = np.pad(x, ((0, 0), (0, 6), (0, 0))), np.pad(mask, ((0, 0), (0, 6)))
    wide = graphs.adjacency(graphs.similarity_graph(wide_x, wide_mask, edges=edges, k=3, keys=keys))
    alone = graphs.adjacency(graphs.similarity_graph(x[1:2], mask[1:2], edges=edges, k=3, keys=keys[1:2]))
    np.testing.assert_array_equal(wide[:, :9, :9], small)
    np.testing.assert_array_equal(alone[0], small[1])


def test_the_layout_serves_jraph():
    """jraph's own sums over senders equal the matrix product with the adjacency."""
    x, mask = frames()
    graph = graphs.similarity_graph(x, mask, k=2)
    summed = jraph.segment_sum(graph.nodes["x"][graph.senders] * graph.edges["weight"][:, None], graph.receivers, 27)
    expected = np.asarray(graphs.adjacency(graph)) @ x
    np.testing.assert_allclose(summed.reshape(3, 9, 5), expected, atol=1e-5)
    normalised = jraph.GraphMapFeatures(embed_node_fn=lambda nodes: {**nodes, "x": 2 * nodes["x"]})(graph)
    np.testing.assert_array_equal(graphs.features(normalised), 2 * x)
    parts = jraph.unbatch(graph)
    assert [part.nodes["x"].shape for part in parts] == [(9, 5)] * 3
    np.testing.assert_array_equal(parts[1].senders, np.tile(np.arange(9), 9))
    np.testing.assert_array_equal(graphs.node_mask(graph), mask)


def test_the_topology_has_no_gradient():
    x, mask = frames()
    slope = jax.grad(lambda x: jnp.sum(graphs.adjacency(graphs.similarity_graph(x, mask, k=2))))(jnp.array(x))
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"edges": "cosine"}, "known: knn"), ({"k": 0}, "at least 1"), ({"edges": "random"}, "keys")])
def test_wrong_arguments_are_refused(arguments, message):
    x, mask = frames()
    with pytest.raises(ValueError, match=message):
        graphs.similarity_graph(x, mask, **arguments)


def test_too_many_nodes_are_refused():
    with pytest.raises(ValueError, match="1025 nodes"):
        graphs.similarity_graph(np.ones((1, 1025, 2), np.float32), np.ones((1, 1025), bool))
