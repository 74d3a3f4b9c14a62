"""Graph encoders: GIN and GCN over fixed-shape `jraph.GraphsTuple`s."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jax import Array

from sercl_jax.graphs import adjacency, features, node_mask

KINDS = ("gin", "gcn")
NORMS = ("layer", "none")
AGGREGATES = ("dense", "segment")

# Nodes stay in one [B * N, D] matrix between aggregations: a CPU multiplies it by a [D, D] kernel, and above all
# differentiates that, twice as fast as [B, N, D].
Spread = Callable[[Array], Array]  # [B * N, D] -> [B * N, D]: the weighted sum over senders


@jax.custom_vjp
def _symmetric_product(weight: Array, h: Array) -> Array:
    """`weight @ h` for symmetric weights [B, N, N] without gradient, and h [B, N, D].

    Written with the transpose in both directions, which a CPU runs about twice as fast.
    """
    return jnp.einsum("bji,bjd->bid", weight, h)


_symmetric_product.defvjp(lambda weight, h: (_symmetric_product(weight, h), weight),
                          lambda weight, slope: (jnp.zeros_like(weight), _symmetric_product(weight, slope)))


def spread_dense(weight: Array) -> Spread:
    """Sums messages by a batched matrix product with [B, N, N] weights: symmetric, and a constant to gradients."""
    def spread(h: Array) -> Array:
        return _symmetric_product(weight, h.reshape(*weight.shape[:2], -1)).reshape(h.shape)

    return spread


def spread_segment(graph: jraph.GraphsTuple, weight: Array) -> Spread:
    """Sums messages along the GraphsTuple's own senders and receivers; `weight` is [B, N, N].

    Equal to `spread_dense` and much slower where every pair is an edge; the reference that dense is tested against.
    """
    def spread(h: Array) -> Array:
        messages = h[graph.senders] * weight.reshape(-1, 1)
        return jax.ops.segment_sum(messages, graph.receivers, h.shape[0])

    return spread


class GinLayer(nn.Module):
    """h'_i = MLP((1 + eps) h_i + sum_j A_ij h_j), eps learnable (Xu et al. 2019, equation 4.1)."""

    hidden: int
    dtype: str

    @nn.compact
    def __call__(self, h: Array, spread: Spread) -> Array:
        eps = self.param("eps", nn.initializers.zeros, ())
        h = spread(h) + (1 + eps).astype(h.dtype) * h
        h = nn.relu(nn.Dense(self.hidden, dtype=self.dtype)(h))
        return nn.Dense(self.hidden, dtype=self.dtype)(h)


class GcnLayer(nn.Module):
    """H' = D^-1/2 (A + I) D^-1/2 H W + b (Kipf and Welling 2017, eq. 2); `spread` holds the normalised matrix."""

    hidden: int
    dtype: str

    @nn.compact
    def __call__(self, h: Array, spread: Spread) -> Array:
        return nn.Dense(self.hidden, dtype=self.dtype)(spread(h))


@jax.custom_vjp
def _norm_relu(x: Array, scale: Array, bias: Array) -> Array:
    """relu(LayerNorm(x)) of rows [V, D] in float32, in the dtype of x.

    The written-out gradient passes over memory half as often as the derived one.
    """
    scaled = _normalise(x, scale, bias)[2]
    return nn.relu(scaled).astype(x.dtype)


def _normalise(x: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
    """1 / deviation [V, 1], normalised and scaled rows [V, D]."""
    x = x.astype(jnp.float32)
    mean = jnp.mean(x, -1, keepdims=True)
    variance = jnp.maximum(jnp.mean(jnp.square(x), -1, keepdims=True) - jnp.square(mean), 0)
    shrink = jax.lax.rsqrt(variance + 1e-6)
    unit = (x - mean) * shrink
    return shrink, unit, unit * scale[None] + bias[None]


def _norm_relu_backward(kept: tuple[Array, Array, Array], slope: Array) -> tuple[Array, Array, Array]:
    x, scale, _ = kept
    shrink, unit, scaled = _normalise(*kept)
    slope = jnp.where(scaled > 0, slope.astype(jnp.float32), 0)
    inward = slope * scale[None]
    back = shrink * (inward - jnp.mean(inward, -1, keepdims=True)
                     - unit * jnp.mean(inward * unit, -1, keepdims=True))
    return back.astype(x.dtype), jnp.sum(slope * unit, 0), jnp.sum(slope, 0)


# The forward pass calls the function itself, so that a gradient of a gradient's forward pass comes here, too.
_norm_relu.defvjp(lambda x, scale, bias: (_norm_relu(x, scale, bias), (x, scale, bias)), _norm_relu_backward)


class NormRelu(nn.Module):
    """LayerNorm, then ReLU; parameters as `flax.linen.LayerNorm` has them."""

    @nn.compact
    def __call__(self, h: Array) -> Array:
        scale = self.param("scale", nn.initializers.ones, h.shape[-1:])
        return _norm_relu(h, scale, self.param("bias", nn.initializers.zeros, h.shape[-1:]))


LAYERS: dict[str, type[GinLayer] | type[GcnLayer]] = {"gin": GinLayer, "gcn": GcnLayer}


def gcn_weights(weight: Array, mask: Array) -> Array:
    """D^-1/2 (A + I) D^-1/2 over existing nodes, [B, N, N]; rows and columns of padding are 0."""
    n = mask.shape[1]
    looped = weight + jnp.eye(n, dtype=weight.dtype)[None] * mask[:, None, :]
    degree = jnp.sum(looped, -1)
    scale = jnp.where(degree > 0, jax.lax.rsqrt(jnp.maximum(degree, 1.0)), 0.0)
    return scale[:, :, None] * looped * scale[:, None, :]


class GraphEncoder(nn.Module):
    """L graph layers, each followed by LayerNorm and ReLU; the outputs of all layers side by side.

    Attributes:
      kind: "gin" or "gcn".
      hidden: width of each layer.
      layers: L, at least 1.
      norm: "layer" normalises each node over its channels; "none". (A norm over the batch would let graphs and
        padding touch each other.)
      aggregate: "dense", a batched matrix product; "segment", a sum along the edge list. Equal results.
      dtype: of the computation; parameters and outputs are float32.
    """

    kind: str = "gin"
    hidden: int = 128
    layers: int = 3
    norm: str = "layer"
    aggregate: str = "dense"
    dtype: str = "float32"

    def __call__(self, graph: jraph.GraphsTuple) -> Array:
        """A `dense_graph` with features [B, N, F] -> nodes [B, N, L * hidden] float32, 0 at padding."""
        return jnp.where(node_mask(graph)[..., None], jnp.concatenate(self.outputs(graph), -1), 0)

    @nn.compact
    def outputs(self, graph: jraph.GraphsTuple) -> list[Array]:
        """Each layer's nodes, L times [B, N, hidden] float32; what stands at padding means nothing.

        Pooled one by one, they need not be copied side by side: a tenth of a training step's memory traffic.
        """
        for name, value, known in (("kind", self.kind, KINDS), ("norm", self.norm, NORMS),
                                   ("aggregate", self.aggregate, AGGREGATES)):
            if value not in known:
                raise ValueError(f"{name}={value!r}; known: {', '.join(known)}")
        mask, weight = node_mask(graph), adjacency(graph)
        if self.kind == "gcn":
            weight = gcn_weights(weight, mask)
        weight = weight.astype(self.dtype)
        spread = spread_dense(weight) if self.aggregate == "dense" else spread_segment(graph, weight)
        h = jnp.where(mask[..., None], features(graph), 0).astype(self.dtype)
        h = h.reshape(-1, h.shape[-1])
        outputs = []
        for layer in range(self.layers):
            h = LAYERS[self.kind](self.hidden, self.dtype)(h, spread)
            h = NormRelu(name=f"LayerNorm_{layer}")(h) if self.norm == "layer" else nn.relu(h)
            outputs.append(h.astype(jnp.float32))
        return [h.reshape(*mask.shape, -1) for h in outputs]
