"""A gated recurrent unit with PyTorch's and cuDNN's gates, and its gradient by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from sercl_jax.models.products import product


def _step(gates: Array, recurrent: Array, state: Array) -> tuple[Array, Array]:
    """r, z, n side by side [B, 3 H], and the new state; `recurrent` is state @ kernel + bias."""
    width = state.shape[-1]
    both = jax.nn.sigmoid(gates[:, :2 * width] + recurrent[:, :2 * width])
    r, z = both[:, :width], both[:, width:]
    n = jnp.tanh(gates[:, 2 * width:] + r * recurrent[:, 2 * width:])
    return jnp.concatenate([both, n], -1), n + z * (state - n)


@jax.custom_vjp
def recurrence(gates: Array, kernel: Array, bias: Array, state: Array) -> Array:
    """States of a GRU whose input projections are given; Cho et al. 2014, with the reset gate after the product:

    r = s(a_r + U_r h + b_r), z = s(a_z + U_z h + b_z), n = tanh(a_n + r (U_n h + b_n)), h' = (1 - z) n + z h.

    Automatic differentiation of the loop would add an [H, 3 H] gradient of the kernel at every frame. Here the
    backward loop yields the gradients of the gates, and the kernel's is one product of them with all states: twice
    as fast on a CPU. Products run in the kernel's type, everything else in float32.

    Args:
      gates: [T, B, 3 H] float32, the inputs' part a of r, z, n.
      kernel: [H, 3 H], U.
      bias: [3 H] float32.
      state: [B, H] float32, h before the first frame.

    Returns:
      [T, B, H] float32, h after each frame.
    """
    return _forward(gates, kernel, bias, state)[0]


def _forward(gates: Array, kernel: Array, bias: Array, state: Array) -> tuple[Array, tuple[Array, ...]]:
    width = state.shape[-1]

    def step(h: Array, a: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        recurrent = product("bh,hg->bg", h.astype(kernel.dtype), kernel) + bias[None]
        activations, h = _step(a, recurrent, h)
        return h, (h, activations, recurrent[:, 2 * width:])

    # One frame per iteration: unrolled by 2 to 8, the loops were 5 to 9 % slower on a CPU.
    _, (states, activations, candidates) = jax.lax.scan(step, state, gates)
    return states, (states, activations, candidates, kernel, state)


def _backward(saved: tuple[Array, ...], slopes: Array) -> tuple[Array, Array, Array, Array]:
    states, activations, candidates, kernel, state = saved
    width = state.shape[-1]
    before = jnp.concatenate([state[None], states[:-1]])
    transposed = kernel.T

    def step(carried: Array, given: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        slope, h, activation, candidate = given
        slope = slope + carried
        r, z, n = (activation[:, i * width:(i + 1) * width] for i in range(3))
        d_n = slope * (1 - z) * (1 - n * n)
        d_r = d_n * candidate * r * (1 - r)
        d_z = slope * (h - n) * z * (1 - z)
        d_recurrent = jnp.concatenate([d_r, d_z, d_n * r], -1)
        carried = slope * z + product("bg,gh->bh", d_recurrent.astype(kernel.dtype), transposed)
        return carried, (d_recurrent, d_n)

    d_state, (d_recurrent, d_n) = jax.lax.scan(step, jnp.zeros_like(state), (slopes, before, activations, candidates),
                                               reverse=True)
    d_gates = jnp.concatenate([d_recurrent[..., :2 * width], d_n], -1)
    d_kernel = product("tbh,tbg->hg", before.astype(kernel.dtype), d_recurrent.astype(kernel.dtype))
    return d_gates, d_kernel.astype(kernel.dtype), jnp.sum(d_recurrent, (0, 1)), d_state


recurrence.defvjp(_forward, _backward)


class Gru(nn.Module):
    """One unidirectional layer. Gates stand in the order r, z, n along the last axis of every parameter.

    The inputs' kernel is drawn with variance 1 / C, the recurrent one orthogonal for each gate; biases are 0.

    Attributes:
      width: H.
      dtype: of the matrix products; the state and the gates are float32.
    """

    width: int
    dtype: str

    @nn.compact
    def __call__(self, x: Array, state: Array) -> tuple[Array, Array]:
        """Inputs [B, T, C] and the state before them [B, H] -> all states [B, T, H] and the last, float32."""
        def orthogonal(key: Array, shape: tuple[int, int]) -> Array:
            draw = nn.initializers.orthogonal()
            return jnp.concatenate([draw(k, (shape[0], shape[0])) for k in jax.random.split(key, 3)], 1)

        shape = (self.width, 3 * self.width)
        kernel = self.param("input_kernel", nn.initializers.lecun_normal(), (x.shape[-1], shape[1]))
        recurrent = self.param("recurrent_kernel", orthogonal, shape)
        bias = self.param("input_bias", nn.initializers.zeros, shape[1:])
        recurrent_bias = self.param("recurrent_bias", nn.initializers.zeros, shape[1:])
        gates = product("btc,cg->tbg", x.astype(self.dtype), kernel.astype(self.dtype)) + bias[None, None]
        states = recurrence(gates, recurrent.astype(self.dtype), recurrent_bias, state)
        return states.swapaxes(0, 1), states[-1]
