"""SERUGCL's loss and embeddings: FGSM's signs, invariances, devices."""

import functools

import jax
import numpy as np
import pytest

from sercl_jax import graphs, parallel
from sercl_jax.losses import nt_xent
from sercl_jax.models.serugcl import (
    ENCODERS,
    Knobs,
    Serugcl,
    SerugclSettings,
    contrastive_loss,
    embedder,
    initializer,
    original_graph,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = {"hidden": 8, "layers": 1, "projection": 6, "neighbours": 3}


def a_batch(b=8, n=10, f=5, seed=0):
    rng = np.random.default_rng(seed)
    mask = np.arange(n)[None] < rng.integers(4, n + 1, b)[:, None]
    x = rng.standard_normal((b, n, f)).astype(np.float32) * mask[..., None]
    return {"x": x, "mask": mask, "index": np.arange(b, dtype=np.int32) + 5, "valid": np.arange(b) != 2,
            "group": np.arange(b, dtype=np.int32) % 3}


@functools.cache
def step_of(settings, devices):
    """Loss, metrics and gradients as the training step makes them; one function, so that it is compiled once."""
    loss = contrastive_loss(settings)

    def step(variables, batch, key):
        def of(params):
            return loss({**variables, "params": params}, batch, key)

        (value, metrics), slope = jax.value_and_grad(of, has_aux=True)(variables["params"])
        return value, metrics, parallel.pmean(slope)

    return parallel.map_step(step, devices=devices)


def run(settings, variables, batch, devices=1):
    chosen = parallel.all_devices()[:devices]
    key = parallel.replicate(jax.random.key_data(jax.random.key(7)), chosen)
    return parallel.unreplicate(step_of(settings, chosen)(parallel.replicate(variables, chosen),
                                                          parallel.shard(batch, chosen), key))


@functools.cache
def variables_of(settings, f=5):
    return initializer(settings, Knobs())(jax.random.key(0), a_batch(f=f))


def close(found, expected, tolerance=1e-4):
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=tolerance, atol=tolerance), found, expected)


def test_1_2_and_4_devices_give_one_loss_and_one_gradient():
    settings, batch = SerugclSettings(**SMALL, negatives="within_group"), a_batch()
    variables = variables_of(settings)
    one = run(settings, variables, batch)
    assert np.abs(jax.tree.leaves(one[2])[0]).max() > 0
    for devices in (2, 4):
        close(run(settings, variables, batch, devices), one)


def test_more_padding_changes_neither_loss_nor_embeddings():
    settings, batch = SerugclSettings(**{**SMALL, "layers": 2}), a_batch()
    # With eps = 0, joined frames with the same other neighbours (all, in a complete graph) get the very same output:
    # rounding decides which of them max pooling takes, and each has another gradient for eps.
    variables = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 0.3 if path[-1].key == "eps" else leaf, variables_of(settings))
    # Six more frames, then two rows that only fill the batch up.
    wide = {**batch, "x": np.pad(batch["x"], ((0, 0), (0, 6), (0, 0))),
            "mask": np.pad(batch["mask"], ((0, 0), (0, 6)))}
    wide = {k: np.concatenate([v, np.zeros_like(v[:2])]) for k, v in wide.items()}
    close(run(settings, variables, wide), run(settings, variables, batch))
    embed = jax.jit(embedder(settings))
    more = embed(variables, wide)
    close(more[:8], embed(variables, batch), 1e-5)
    assert np.isfinite(more).all()


def test_the_order_of_frames_does_not_change_an_embedding():
    settings, batch = SerugclSettings(**{**SMALL, "layers": 2}), a_batch()
    variables, embed = variables_of(settings), jax.jit(embedder(settings))
    order = np.random.default_rng(3).permutation(10)
    turned = {**batch, "x": batch["x"][:, order], "mask": batch["mask"][:, order]}
    found = embed(variables, turned)
    assert found.shape == (8, settings.embedding_width) == (8, 32)
    close(found, embed(variables, batch), 1e-5)


def test_the_fgsm_view_follows_finite_differences():
    """The gradient's sign at each frame's coordinate is that of the loss's change when it is moved."""
    settings, batch = SerugclSettings(**SMALL, views=("original", "fgsm")), a_batch(b=4, n=5, f=3)
    variables = initializer(settings, Knobs(fgsm_eps=0.3))(jax.random.key(0), batch)
    model, graph = Serugcl(settings), original_graph(settings, batch)
    gin, gcn = (jax.jit(functools.partial(model.apply, variables, kind=kind, method="project"))
                for kind in ("gin", "gcn"))
    other = gcn(graph)

    @jax.jit
    def loss(x):
        moved = graph._replace(nodes={**graph.nodes, "x": x.reshape(-1, 3)})
        return nt_xent([gin(moved), other], batch["valid"], temperature=variables["knobs"]["temperature"])[0]

    x, h = batch["x"], np.float32(2e-3)
    moves = h * np.eye(x.size, dtype=np.float32).reshape(x.size, *x.shape)
    difference = np.array([(loss(x + d) - loss(x - d)) / (2 * h) for d in moves]).reshape(x.shape)
    slope = jax.jit(jax.grad(loss))(x)
    clear = np.abs(difference) > 0.01
    assert clear.mean() > 0.3
    assert (np.sign(slope) == np.sign(difference))[clear].mean() > 0.98  # a ReLU's kink may lie between
    # The whole loss is that of the view made from these signs.
    adversary = graphs.fgsm_view(graph, slope, 0.3)
    expected, _ = nt_xent([gin(graph), gcn(adversary)], batch["valid"], temperature=0.2)
    np.testing.assert_allclose(run(settings, variables, batch)[0], expected, rtol=1e-4)


@pytest.mark.parametrize("change", [
    {"views": ("original", "subgraph")}, {"views": ("original", "fgsm")}, {"fgsm": "random"}, {"edges": "random"},
    {"encoders": ENCODERS["gcn-gin"]}, {"loss_form": "graphcl"}, {"negatives": "within_group"}])
def test_each_setting_changes_the_loss(change):
    batch, usual = a_batch(), SerugclSettings(**SMALL)
    value, metrics, slope = run(SerugclSettings(**SMALL, **change), variables_of(usual), batch)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    np.testing.assert_allclose(metrics["loss"][0], value)
    assert abs(value - run(usual, variables_of(usual), batch)[0]) > 1e-4


def test_knobs_change_the_loss_without_a_new_trace():
    settings, batch = SerugclSettings(**SMALL), a_batch()
    traces = []

    def step(variables, batch, key):
        traces.append(1)
        return contrastive_loss(settings)(variables, batch, key)[0]

    devices = parallel.all_devices()[:1]
    mapped = parallel.map_step(step, devices=devices)
    key = parallel.replicate(jax.random.key_data(jax.random.key(7)), devices)
    knobs = [{}, {"fgsm_eps": 0.1}, {"node_ratio": 0.4}, {"edge_ratio": 0.6}, {"temperature": 0.5},
             {"pool_weights": (0.0, 0.0, 0.0, 1.0)}]
    losses = {float(mapped(parallel.replicate({**variables_of(settings), "knobs": Knobs(**k).arrays()}, devices),
                           parallel.shard(batch, devices), key)[0]) for k in knobs}
    assert len(losses) == len(knobs)
    assert len(traces) == 1


def test_equal_settings_share_functions():
    one, two = SerugclSettings(**SMALL), SerugclSettings(**SMALL)
    assert contrastive_loss(one) is contrastive_loss(two)
    assert embedder(one) is embedder(two)
    assert initializer(one, Knobs()) is initializer(two, Knobs())


@pytest.mark.parametrize(("name", "kinds"), [("proposed", ("gin", "gcn")), ("gin", ("gin",)), ("gcn", ("gcn",)),
                                             ("gcn-gin", ("gcn", "gin"))])
def test_encoders_of_a_kind_share_weights(name, kinds):
    settings = SerugclSettings(**SMALL, encoders=ENCODERS[name])
    assert settings.kinds == kinds
    # Traced only: names need no program.
    params = jax.eval_shape(initializer(settings, Knobs()), jax.random.key(0), a_batch())["params"]
    assert set(params) == {"head", *(f"encoders_{kind}" for kind in kinds)}
    assert settings.embedding_width == 8 * len(kinds)


def test_wrong_settings_are_refused():
    for wrong in ({"views": ("original",)}, {"encoders": ("gin", "gcn")}, {"norm": "batch"}, {"fgsm": "pgd"},
                  {"hidden": 0}, {"edges": "cosine"}, {"dtype": "float16"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SerugclSettings(**wrong)
