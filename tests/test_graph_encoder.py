"""GIN and GCN against their formulas, and what must not change their outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax import graphs
from sercl_jax.models.graph_encoder import KINDS, GraphEncoder

pytestmark = pytest.mark.usefixtures("quick_compilation")


def utterances(b=3, n=8, f=5, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.arange(n)[None] < np.array([n, n - 3, 2])[:b, None]
    x = rng.standard_normal((b, n, f)).astype(np.float32)
    return graphs.similarity_graph(x, mask, k=2), mask


def encoder(kind, graph, **settings):
    model = GraphEncoder(kind, hidden=6, layers=2, **settings)
    variables = jax.jit(model.init)(jax.random.key(0), graph)
    # Away from the initial zeros and ones, so that biases, scales and eps matter.
    leaves, tree = jax.tree.flatten(variables)
    rng = np.random.default_rng(1)
    shaken = [leaf + 0.3 * rng.standard_normal(leaf.shape).astype(np.float32) for leaf in leaves]
    return model, jax.tree.unflatten(tree, shaken)


def by_formula(kind, p, x, a, norm):
    """One graph without padding, in float64."""
    outputs, h = [], x.astype(np.float64)
    for layer in range(2):
        if kind == "gin":
            q = p[f"GinLayer_{layer}"]
            h = (1 + float(q["eps"])) * h + a @ h
            h = np.maximum(h @ q["Dense_0"]["kernel"] + q["Dense_0"]["bias"], 0)
            h = h @ q["Dense_1"]["kernel"] + q["Dense_1"]["bias"]
        else:
            q = p[f"GcnLayer_{layer}"]["Dense_0"]
            looped = a + np.eye(len(a))
            root = np.diag(looped.sum(1) ** -0.5)
            h = root @ looped @ root @ h @ q["kernel"] + q["bias"]
        if norm == "layer":
            q = p[f"LayerNorm_{layer}"]
            h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-6) * q["scale"] + q["bias"]
        h = np.maximum(h, 0)
        outputs.append(h)
    return np.concatenate(outputs, 1)


@pytest.mark.parametrize("norm", ["layer", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_encoders_equal_their_formulas(kind, norm):
    graph, mask = utterances()
    model, variables = encoder(kind, graph, norm=norm)
    found = np.asarray(jax.jit(model.apply)(variables, graph))
    x, a = np.asarray(graphs.features(graph)), np.asarray(graphs.adjacency(graph))
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    assert found.shape == (3, 8, 12)
    for b in range(3):
        m = mask[b]
        expected = by_formula(kind, params, x[b, m], a[b][np.ix_(m, m)], norm)
        np.testing.assert_allclose(found[b, m], expected, rtol=2e-4, atol=2e-4)
        np.testing.assert_array_equal(found[b, ~m], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_dense_and_segment_sums_agree_in_value_and_gradient(kind):
    graph, _ = utterances()
    model, variables = encoder(kind, graph)
    segment = model.clone(aggregate="segment")

    def value(model, variables, x):
        return jnp.sum(jnp.sin(model.apply(variables, graph._replace(nodes={**graph.nodes, "x": x}))))

    slopes = jax.jit(jax.value_and_grad(value, (1, 2)), static_argnums=0)
    found, expected = (slopes(m, variables, graph.nodes["x"]) for m in (model, segment))
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-3, atol=1e-4), found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_renumbering_nodes_renumbers_outputs(kind):
    graph, mask = utterances()
    model, variables = encoder(kind, graph)
    order = np.random.default_rng(2).permutation(8)
    x, a = np.asarray(graphs.features(graph)), np.asarray(graphs.adjacency(graph))
    turned = graphs.dense_graph(x[:, order], mask[:, order], a[:, order][:, :, order])
    np.testing.assert_allclose(model.apply(variables, turned), model.apply(variables, graph)[:, order], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_leaks_between_graphs_or_out_of_padding(kind):
    graph, mask = utterances()
    model, variables = encoder(kind, graph)

    def first(x):
        return jnp.sum(jnp.sin(model.apply(variables, graph._replace(nodes={**graph.nodes, "x": x}))[1]))

    slope = np.asarray(jax.grad(first)(graph.nodes["x"])).reshape(3, 8, 5)
    np.testing.assert_array_equal(slope[[0, 2]], 0)
    np.testing.assert_array_equal(slope[1][~mask[1]], 0)
    assert np.abs(slope[1][mask[1]]).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_near_float32(kind):
    graph, _ = utterances()
    model, variables = encoder(kind, graph)
    low = model.clone(dtype="bfloat16").apply(variables, graph)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, model.apply(variables, graph), atol=0.15)


def test_wrong_arguments_are_refused():
    graph, _ = utterances()
    for wrong in ({"kind": "gat"}, {"norm": "batch"}, {"aggregate": "sparse"}):
        with pytest.raises(ValueError, match="known"):
            GraphEncoder(**wrong).init(jax.random.key(0), graph)
