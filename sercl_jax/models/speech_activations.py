"""Activations of speech encoders, exactly as their checkpoints were trained with."""

from collections.abc import Callable, Mapping

import jax
from jax import Array


def gelu(x: Array) -> Array:
    """x times the normal distribution function at x (Hendrycks and Gimpel 2016), not its tanh approximation."""
    return 0.5 * x * (1 + jax.lax.erf(x * 0.5 ** 0.5))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {"gelu": gelu, "relu": jax.nn.relu}
