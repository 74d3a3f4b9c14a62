"""SERUGCL's device side: settings, knobs, the model, its contrastive loss (METHODS.md 1)."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jax import Array

from sercl_jax import graphs, parallel
from sercl_jax.losses import FORMS, nt_xent
from sercl_jax.models.graph_encoder import AGGREGATES, KINDS, NORMS, GraphEncoder
from sercl_jax.models.heads import ProjectionHead
from sercl_jax.models.pooling import POOLINGS, statistics_pool, weighted_pool
from sercl_jax.types import Batch, Metrics, Variables

VIEWS = ("original", "fgsm", "subgraph")

# Table 6: which encoder sees which view, (original, fgsm, subgraph). The paper doesn't say which way round its
# "GCN-GIN" is; here it is the reverse of the proposed assignment.
ENCODERS: dict[str, tuple[str, str, str]] = {
    "proposed": ("gin", "gcn", "gcn"),
    "gin": ("gin", "gin", "gin"),
    "gcn": ("gcn", "gcn", "gcn"),
    "gcn-gin": ("gcn", "gin", "gin"),
}


@dataclass(frozen=True)
class Knobs:
    """Numbers that may change without a new compilation; they live in `variables["knobs"]`.

    Attributes:
      fgsm_eps: strength of the FGSM view, in units of the (standardised) features.
      node_ratio: share of nodes that the subgraph view keeps.
      edge_ratio: share of the subgraph's edges that are replaced.
      temperature: of NT-Xent.
      pool_weights: (max, mean, soft, sum); `POOLINGS` has the paper's.
    """

    fgsm_eps: float = 0.5
    node_ratio: float = 0.8
    edge_ratio: float = 0.2
    temperature: float = 0.2
    pool_weights: tuple[float, float, float, float] = POOLINGS["B"]

    def arrays(self) -> dict[str, Array]:
        """The Flax collection: float32 scalars, and `pool_weights` [4]."""
        return {name: jnp.asarray(value, jnp.float32) for name, value in vars(self).items()}


@dataclass(frozen=True)
class SerugclSettings:
    """What a compiled step depends on. Equal settings share one.

    Attributes:
      encoders: "gin" or "gcn" for each of the views original, fgsm, subgraph; encoders of a kind share weights.
      views: which views are contrasted; "original" and at least one other.
      hidden, layers, norm, aggregate, dtype: of the encoders, see `GraphEncoder`.
      projection: width of the projection head.
      pooling: "weighted", the paper's, by `Knobs.pool_weights`; or "statistics": mean, deviation and maximum side by
        side.
      readout: "both" reads the original graph out with every encoder that is trained, "original" with its own.
      edges, neighbours, threshold: the original graph, see `graphs.similarity_graph`.
      fgsm: "gradient", or the control "random" (random signs).
      loss_form: "symmetric" or "graphcl", see `losses.nt_xent`.
      negatives: "all", or "within_group": only utterances of the anchor's own group (speaker).
    """

    encoders: tuple[str, str, str] = ENCODERS["proposed"]
    views: tuple[str, ...] = VIEWS
    hidden: int = 128
    layers: int = 3
    norm: str = "layer"
    aggregate: str = "dense"
    dtype: str = "float32"
    projection: int = 128
    pooling: str = "weighted"
    readout: str = "both"
    edges: str = "knn"
    neighbours: int = 10
    threshold: float = 0.5
    fgsm: str = "gradient"
    loss_form: str = "symmetric"
    negatives: str = "all"

    def __post_init__(self) -> None:
        choices = {"norm": NORMS, "aggregate": AGGREGATES,
                   "pooling": ("weighted", "statistics"), "readout": ("both", "original"), "edges": graphs.EDGES,
                   "fgsm": ("gradient", "random"), "loss_form": FORMS, "negatives": ("all", "within_group"),
                   "dtype": ("float32", "bfloat16")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}; known: {', '.join(known)}")
        if len(self.encoders) != len(VIEWS) or not set(self.encoders) <= set(KINDS):
            raise ValueError(f"encoders={self.encoders!r}; one of {KINDS} for each of {VIEWS}")
        if (set(self.views) - set(VIEWS) or "original" not in self.views or len(self.views) < 2
                or len(set(self.views)) < len(self.views)):
            raise ValueError(f"views={self.views!r}; 'original' and one or both of 'fgsm', 'subgraph'")
        if self.layers < 1 or self.hidden < 1 or self.projection < 1:
            raise ValueError("layers, hidden and projection must be at least 1")

    def encoder(self, view: str) -> str:
        """The kind of encoder that sees a view."""
        return self.encoders[VIEWS.index(view)]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of encoder that are trained; the original view's comes first."""
        return tuple(dict.fromkeys(self.encoder(view) for view in VIEWS if view in self.views))

    @property
    def embedding_width(self) -> int:
        """D of `Serugcl.embed`."""
        pooled = self.layers * self.hidden * (3 if self.pooling == "statistics" else 1)
        return pooled * (len(self.kinds) if self.readout == "both" else 1)


def original_graph(settings: SerugclSettings, batch: Batch) -> jraph.GraphsTuple:
    """The original view of a batch {"x": [B, N, F], "mask": [B, N], "index": [B]}.

    Random edges are drawn from the utterance's number alone, so that training and embedding see one graph.
    """
    keys = graphs.utterance_keys(jax.random.key(0), batch["index"]) if settings.edges == "random" else None
    return graphs.similarity_graph(batch["x"], batch["mask"], edges=settings.edges, k=settings.neighbours,
                                   threshold=settings.threshold, keys=keys)


class Serugcl(nn.Module):
    """Graph encoders, weighted pooling and a projection head. Collections: "params", and "knobs" (`Knobs`)."""

    settings: SerugclSettings

    def setup(self) -> None:
        s = self.settings
        self.encoders = {kind: GraphEncoder(kind, s.hidden, s.layers, s.norm, s.aggregate, s.dtype)
                         for kind in s.kinds}
        self.head = ProjectionHead(s.projection)
        self.knobs = {name: self.variable("knobs", name, lambda value=value: value)
                      for name, value in Knobs().arrays().items()}

    def readout(self, graph: jraph.GraphsTuple, kind: str) -> Array:
        """One encoder's pooled nodes, [B, L * hidden], three times that for "statistics"."""
        layers, mask = self.encoders[kind].outputs(graph), graphs.node_mask(graph)
        if self.settings.pooling == "statistics":
            return jnp.concatenate([statistics_pool(h, mask) for h in layers], -1)
        weights = self.knobs["pool_weights"].value
        return jnp.concatenate([weighted_pool(h, mask, weights) for h in layers], -1)

    def project(self, graph: jraph.GraphsTuple, kind: str) -> Array:
        """What the loss compares: the head's output for one encoder's readout, [B, projection]."""
        return self.head(self.readout(graph, kind))

    def embed(self, batch: Batch) -> Array:
        """What the classifier sees: the original graph's readout, [B, D], D = settings.embedding_width."""
        graph = original_graph(self.settings, batch)
        kinds = self.settings.kinds if self.settings.readout == "both" else self.settings.kinds[:1]
        return jnp.concatenate([self.readout(graph, kind) for kind in kinds], -1)

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """Every encoder's projection of the original graph; for initialisation."""
        graph = original_graph(self.settings, batch)
        return {kind: self.project(graph, kind) for kind in self.settings.kinds}


@functools.lru_cache
def initializer(settings: SerugclSettings, knobs: Knobs) -> Callable[[Array, Batch], Variables]:
    """`init(key, batch)` -> {"params", "knobs"}; the parameters depend on settings, key and F only."""
    def init(key: Array, batch: Batch) -> Variables:
        one = {name: jnp.asarray(value)[:1] for name, value in batch.items()}
        variables = jax.jit(Serugcl(settings).init)(key, one)
        return {"params": variables["params"], "knobs": knobs.arrays()}

    return init


@functools.lru_cache
def embedder(settings: SerugclSettings) -> Callable[[Variables, Batch], Array]:
    """`embed(variables, batch)` -> [B, D]; the same function object for equal settings."""
    model = Serugcl(settings)

    def embed(variables: Variables, batch: Batch) -> Array:
        return model.apply(variables, batch, method="embed")  # type: ignore[return-value]

    return embed


@functools.lru_cache
def contrastive_loss(settings: SerugclSettings) -> Callable[[Variables, Batch, Array], tuple[Array, Metrics]]:
    """`loss(variables, batch, key)` -> (loss of the global batch, metrics), to be run under `parallel.AXIS`.

    The batch, on each device: "x" [B, N, F] float32, "mask" [B, N] bool, "index" [B] int32 (the utterance's number in
    the corpus, which fixes its random draws), "valid" [B] bool (false: padding of the batch), "group" [B] int32
    (speaker). Metrics as `losses.nt_xent` has them. Equal settings give the same function object, hence one compiled
    step.

    The FGSM view needs a gradient in X of the original view's projection. That backward pass starts from the very
    forward pass that the loss uses, so a step costs, with g the forward products of the GIN and c those of the GCN:
    g + 2 c forward, about g for the gradient in X, and about 2 (g + 2 c) for the gradient in the parameters.
    """
    model = Serugcl(settings)

    def loss(variables: Variables, batch: Batch, key: Array) -> tuple[Array, Metrics]:
        knobs: Mapping[str, Any] = variables["knobs"]
        valid, group = parallel.gather((batch["valid"], batch["group"]))

        def compare(*projections: Array) -> tuple[Array, Metrics]:
            return nt_xent(parallel.gather(projections), valid, temperature=knobs["temperature"],
                           group=group if settings.negatives == "within_group" else None, form=settings.loss_form)

        def project(graph: jraph.GraphsTuple, kind: str) -> Array:
            return model.apply(variables, graph, kind, method="project")  # type: ignore[return-value]

        keys = graphs.utterance_keys(key, batch["index"])
        walk_keys, edge_keys, noise_keys = jax.vmap(lambda k: jax.random.split(k, 3), out_axes=1)(keys)
        graph = original_graph(settings, batch)
        kind = settings.encoder("original")

        projections = {}
        if "subgraph" in settings.views:
            sample = graphs.random_walk_subgraph(walk_keys, graph, knobs["node_ratio"])
            sample = graphs.perturb_edges(edge_keys, sample, knobs["edge_ratio"])
            projections["subgraph"] = project(sample, settings.encoder("subgraph"))

        if "fgsm" in settings.views and settings.fgsm == "gradient":
            # gx1 of the paper's box: the subgraph view; without one, the other view's encoder on G.
            other = projections["subgraph"] if "subgraph" in settings.views else project(
                graph, settings.encoder("fgsm"))
            other = jax.lax.stop_gradient(other)
            projections["original"], pull = jax.vjp(
                lambda x: project(graph._replace(nodes={**graph.nodes, "x": x}), kind), graph.nodes["x"])
            slope = jax.grad(lambda z: compare(z, other)[0])(projections["original"])
            direction = jax.lax.stop_gradient(pull(slope)[0]).reshape(batch["x"].shape)
        else:
            projections["original"] = project(graph, kind)
            direction = graphs.random_direction(noise_keys, batch["x"].shape[1:])
        if "fgsm" in settings.views:
            adversary = graphs.fgsm_view(graph, direction, knobs["fgsm_eps"])
            projections["fgsm"] = project(adversary, settings.encoder("fgsm"))
        return compare(*(projections[view] for view in VIEWS if view in settings.views))

    return loss
