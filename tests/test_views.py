"""Augmented views: what they keep, how much they change, and that draws belong to utterances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax import graphs

pytestmark = pytest.mark.usefixtures("quick_compilation")
WALK, PERTURB = jax.jit(graphs.random_walk_subgraph), jax.jit(graphs.perturb_edges)


def utterances(b=4, n=14, f=3, seed=0, k=3):
    rng = np.random.default_rng(seed)
    lengths = np.array([n, n - 3, 5, 1])[:b]
    mask = np.arange(n)[None] < lengths[:, None]
    x = rng.standard_normal((b, n, f)).astype(np.float32) * mask[..., None]
    return graphs.similarity_graph(x, mask, k=k), mask


KEYS = graphs.utterance_keys(jax.random.key(3), jnp.arange(4))


def padded(graph, extra):
    x, mask, a = (np.asarray(f(graph)) for f in (graphs.features, graphs.node_mask, graphs.adjacency))
    more = (0, extra)
    return graphs.dense_graph(np.pad(x, ((0, 0), more, (0, 0))), np.pad(mask, ((0, 0), more)),
                              np.pad(a, ((0, 0), more, more)))


def test_fgsm_moves_by_eps_along_the_sign_and_leaves_padding():
    graph, mask = utterances()
    direction = np.random.default_rng(1).standard_normal((4, 14, 3)).astype(np.float32)
    direction[0, 0, 0] = 0
    moved = graphs.fgsm_view(graph, direction, jnp.float32(0.25))
    expected = np.asarray(graphs.features(graph)) + 0.25 * np.sign(direction) * mask[..., None]
    np.testing.assert_allclose(graphs.features(moved), expected, rtol=1e-6)
    np.testing.assert_array_equal(graphs.adjacency(moved), graphs.adjacency(graph))


def test_random_signs_are_signs_of_the_utterance():
    signs = graphs.random_direction(KEYS, (14, 3))
    assert set(np.unique(signs)) == {-1, 1}
    np.testing.assert_array_equal(graphs.random_direction(KEYS, (20, 3))[:, :14], signs)
    np.testing.assert_array_equal(graphs.random_direction(KEYS[2:3], (14, 3))[0], signs[2])


def connected(joined, nodes):
    seen, todo = set(), [nodes[0]]
    while todo:
        i = todo.pop()
        if i not in seen:
            seen.add(i)
            todo += [j for j in nodes if joined[i, j]]
    return len(seen) == len(nodes)


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_the_walk_keeps_a_connected_share_and_the_edges_inside(ratio):
    n, mask = 14, np.ones((4, 14), bool)
    ring = np.eye(n, k=1) + np.eye(n, k=-1)
    ring[0, -1] = ring[-1, 0] = 1
    graph = graphs.dense_graph(np.ones((4, n, 2), np.float32), mask, np.stack([ring] * 4))
    sample = WALK(KEYS, graph, jnp.float32(ratio))
    kept, joined = np.asarray(graphs.node_mask(sample)), np.asarray(graphs.adjacency(sample))
    assert (kept.sum(1) == max(1, round(ratio * n))).all()
    np.testing.assert_array_equal(joined, ring[None] * kept[:, :, None] * kept[:, None, :])
    assert all(connected(joined[b], np.flatnonzero(kept[b])) for b in range(4))
    if 0 < ratio < 1:
        assert len({tuple(row) for row in kept}) > 1  # each utterance has its own walk


def test_the_walk_jumps_where_nothing_is_left_and_stays_out_of_padding():
    mask = np.array([[True] * 6 + [False] * 2, [False] * 8, [True] * 3 + [False] * 5, [True] * 8])
    graph = graphs.similarity_graph(np.zeros((4, 8, 2), np.float32), mask, edges="none")
    kept = np.asarray(graphs.node_mask(WALK(KEYS, graph, 0.5)))
    np.testing.assert_array_equal(kept.sum(1), [3, 0, 2, 4])
    assert not (kept & ~mask).any()


def test_the_walk_takes_every_node_equally_often_on_a_ring():
    n, b = 6, 3000
    ring = (np.eye(n, k=1) + np.eye(n, k=-1))
    ring[0, -1] = ring[-1, 0] = 1
    graph = graphs.dense_graph(np.ones((b, n, 1), np.float32), np.ones((b, n), bool), np.stack([ring] * b))
    keys = graphs.utterance_keys(jax.random.key(0), jnp.arange(b))
    kept = np.asarray(graphs.node_mask(WALK(keys, graph, 0.5)))
    # 0.5 +- 5 standard errors of a share among 3000.
    np.testing.assert_allclose(kept.mean(0), 0.5, atol=5 * 0.5 / np.sqrt(b))


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5, 1.0])
def test_as_many_edges_are_added_as_dropped(ratio):
    graph, mask = utterances()
    graph = WALK(KEYS, graph, 0.9)
    mask = np.asarray(graphs.node_mask(graph))
    before = np.asarray(graphs.adjacency(graph)) > 0
    after = np.asarray(graphs.adjacency(PERTURB(KEYS, graph, jnp.float32(ratio)))) > 0
    np.testing.assert_array_equal(after, after.transpose(0, 2, 1))
    assert not after.diagonal(axis1=1, axis2=2).any()
    assert not after[~(mask[:, :, None] & mask[:, None, :])].any()
    for b in range(4):
        edges = before[b].sum() // 2
        nodes = mask[b].sum()
        wanted = int(np.round(np.float32(ratio) * np.float32(edges)))
        assert (before[b] & ~after[b]).sum() // 2 == wanted
        assert (after[b] & ~before[b]).sum() // 2 == min(wanted, nodes * (nodes - 1) // 2 - edges)


def test_every_pair_is_equally_likely_to_change():
    n, b = 6, 4000
    ring = np.eye(n, k=1) + np.eye(n, k=-1)
    graph = graphs.dense_graph(np.ones((b, n, 1), np.float32), np.ones((b, n), bool), np.stack([ring] * b))
    keys = graphs.utterance_keys(jax.random.key(0), jnp.arange(b))
    after = np.asarray(graphs.adjacency(PERTURB(keys, graph, 0.4)))
    share = after.mean(0)
    off = ~np.eye(n, dtype=bool)
    # 5 edges of which 2 go; 10 free pairs of which 2 are joined.
    np.testing.assert_allclose(share[off & (ring > 0)], 0.6, atol=5 * 0.5 / np.sqrt(b))
    np.testing.assert_allclose(share[off & (ring == 0)], 0.2, atol=5 * 0.4 / np.sqrt(b))


@pytest.mark.parametrize("view", [WALK, PERTURB], ids=["walk", "perturb"])
def test_draws_belong_to_utterances(view):
    graph, _ = utterances()
    small = view(KEYS, graph, 0.5)
    wide = view(KEYS, padded(graph, 9), 0.5)
    np.testing.assert_array_equal(graphs.node_mask(wide)[:, :14], graphs.node_mask(small))
    np.testing.assert_array_equal(graphs.adjacency(wide)[:, :14, :14], graphs.adjacency(small))
    order = np.array([2, 0, 3, 1])
    turned = graphs.dense_graph(*(f(graph)[order] for f in (graphs.features, graphs.node_mask, graphs.adjacency)))
    np.testing.assert_array_equal(graphs.adjacency(view(KEYS[order], turned, 0.5)), graphs.adjacency(small)[order])
    other = view(graphs.utterance_keys(jax.random.key(4), jnp.arange(4)), graph, 0.5)
    assert (graphs.adjacency(other) != graphs.adjacency(small)).any()
