"""Matrix products of narrow types, summed in float32."""

import jax
import jax.numpy as jnp
from jax import Array


def product(equation: str, x: Array, y: Array) -> Array:
    """`jnp.einsum(equation, x, y)` in float32, of operands of any one type.

    An accelerator multiplies bfloat16 as such and sums in float32. The CPU backend cannot, for some orders of
    axes; there the operands are widened first, which gives the same numbers.
    """
    def narrow(x: Array, y: Array) -> Array:
        return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)

    def widened(x: Array, y: Array) -> Array:
        return jnp.einsum(equation, x.astype(jnp.float32), y.astype(jnp.float32))

    if x.dtype == jnp.float32:
        return narrow(x, y)
    return jax.lax.platform_dependent(x, y, cpu=widened, default=narrow)
