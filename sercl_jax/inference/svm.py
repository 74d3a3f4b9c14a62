"""The classifier's decision on the device: what `classify.FittedSvm` decides, from the arrays that store it."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax.types import Variables

PREFIX = "svm/"  # of the names of a final model's arrays
_EXACT = jax.lax.Precision.HIGHEST


def variables(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """float32 arrays for `decision`, of `classify.FittedSvm.to_arrays()`.

    A linear machine becomes one matrix, computed in double precision; only an rbf one keeps its support vectors. The
    mean is in two parts, as a column may vary by little about a large one.
    """
    own = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
    mean = own["mean"].astype(np.float32)
    made = {"mean": mean, "mean_rest": own["mean"] - mean, "scale": own["scale"], "factors": own["factors"],
            "intercepts": own["intercepts"], "clip": own["clip"] if own["clip"] else np.array(np.inf)}
    if own["gamma"]:
        vectors = own["vectors"]
        made |= {"vectors": vectors, "squares": (vectors ** 2).sum(1), "weights": own["weights"],
                 "gamma": own["gamma"]}
    else:
        made["planes"] = own["vectors"].T @ own["weights"]
    return {name: np.asarray(value, np.float32) for name, value in made.items()}


def decision(machine: Variables, x: jax.Array) -> jax.Array:
    """[B, D] embeddings -> [B, K] votes plus squashed sums of the pairs' decisions, as `FittedSvm.decision`."""
    rows = ((x - machine["mean"][None]) - machine["mean_rest"][None]) / machine["scale"][None]
    rows = jnp.clip(rows, -machine["clip"], machine["clip"]) * machine["factors"][None]
    if "planes" in machine:
        pairs = jnp.matmul(rows, machine["planes"], precision=_EXACT)
    else:
        linear = jnp.matmul(rows, machine["vectors"].T, precision=_EXACT)
        distances = jnp.sum(rows ** 2, -1, keepdims=True) + machine["squares"][None] - 2 * linear
        gram = jnp.exp(-machine["gamma"] * jnp.maximum(distances, 0))
        pairs = jnp.matmul(gram, machine["weights"], precision=_EXACT)
    pairs = pairs + machine["intercepts"][None]
    first, second = _pairs(machine["intercepts"].shape[0])
    sums = jnp.matmul(pairs, first - second, precision=_EXACT)
    wins = (pairs >= 0).astype(jnp.float32)
    votes = jnp.matmul(wins, first, precision=_EXACT) + jnp.matmul(1 - wins, second, precision=_EXACT)
    return votes + sums / (3 * (jnp.abs(sums) + 1))


def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of P = K (K - 1) / 2 pairs of classes, which is the first and which the second, each [P, K] of 0 and 1."""
    classes = (1 + round((1 + 8 * count) ** 0.5)) // 2
    numbers = np.triu_indices(classes, 1)
    first, second = (np.eye(classes, dtype=np.float32)[each] for each in numbers)
    return first, second
