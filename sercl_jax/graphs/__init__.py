"""Utterances as graphs of frames, in fixed-shape `jraph.GraphsTuple`s, and their augmented views.

An utterance graph is small (about 120 nodes), so a batch carries *all* N * N ordered node pairs of each graph as
edges, each with a weight in {0, 1}. Shapes are then fixed, and undirecting, dropping or adding edges is arithmetic
on masks; aggregation is a batched matrix product. It remains an ordinary GraphsTuple that every jraph function
takes. See `build.dense_graph` for the layout.
"""

from sercl_jax.graphs.build import (
    EDGES,
    adjacency,
    dense_graph,
    features,
    node_mask,
    similarity_graph,
    utterance_keys,
)
from sercl_jax.graphs.views import fgsm_view, perturb_edges, random_direction, random_walk_subgraph

__all__ = ["EDGES", "adjacency", "dense_graph", "features", "fgsm_view", "node_mask", "perturb_edges",
           "random_direction", "random_walk_subgraph", "similarity_graph", "utterance_keys"]
