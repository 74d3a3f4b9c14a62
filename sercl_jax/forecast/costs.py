"""What a training step takes, from shapes alone: parameters, memory, arithmetic. Nothing is compiled or run.

Memory is what the step must hold: parameters, their gradient, the optimizer's state, the batch, and what the forward
pass keeps for the backward pass. XLA keeps less of the last where it fuses, and needs room to work in besides.
Time is arithmetic over what this machine does of it in a moment's trial. Both are estimates.
"""

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax import parallel, train
from sercl_jax.types import Stage

_TRIAL = 1024  # rows and columns of the matrices that are multiplied to see how fast this machine is
_TRIALS = 3


@dataclass(frozen=True)
class Step:
    """One step of a stage.

    Attributes:
      parameters: how many numbers train.
      fixed: how many the step reads besides, and changes not.
      memory: bytes.
      products: floating-point operations of matrix products and convolutions.
      values: numbers that other operations make.
    """

    parameters: int
    fixed: int
    memory: int
    products: float
    values: float

    def seconds(self, speed: "Speed") -> float:
        """About how long it takes on a device of this speed."""
        return self.products / speed.products + self.values / speed.values


@dataclass(frozen=True)
class Speed:
    """What a device does in a second.

    Attributes:
      products: floating-point operations of large matrix products, float32.
      values: numbers that an operation on each number makes.
    """

    products: float
    values: float


def parameters(stage: Stage) -> int:
    """How many numbers a stage trains."""
    return _numbers(_variables(stage)["params"])


def _variables(stage: Stage) -> Any:
    """Shapes of what a stage starts from."""
    if stage.variables is not None:
        return jax.tree.map(_shape, dict(stage.variables))
    batch = jax.tree.map(_shape, dict(stage.batch(0)))
    return jax.eval_shape(lambda key: stage.init(key, jax.tree.map(_zeros, batch)), train.init_key(0))


def step(stage: Stage) -> Step:
    """Counts what a step of a stage takes, with the whole batch on one device."""
    batch, variables = jax.tree.map(_shape, dict(stage.batch(0))), _variables(stage)
    state = jax.eval_shape(stage.optimizer.init, variables["params"])
    program, (kept, _) = _traced(stage.loss, variables, batch)
    products, values = _counted(program.jaxpr)
    trained = _numbers(variables["params"])
    fixed = _numbers({name: tree for name, tree in variables.items() if name != "params"})
    return Step(trained, fixed, _bytes(variables) + _bytes(variables["params"]) + _bytes(state) + _bytes(batch)
                + _bytes(kept), products, values)


def _traced(loss: Callable[..., Any], variables: Any, batch: Any) -> tuple[Any, Any]:
    """The program of a loss and its gradient on one device of several, and shapes: what the backward pass needs of
    the forward pass, and the gradient.
    """
    def run(variables: Any, batch: Any) -> Any:
        fixed = {name: tree for name, tree in variables.items() if name != "params"}

        def one(part: Any) -> Any:
            value, backward = jax.vjp(lambda params: loss({**fixed, "params": params}, part, jax.random.key(0))[0],
                                      variables["params"])
            return jax.tree.leaves(backward), backward(jnp.ones_like(value))  # the leaves are what it holds

        return jax.vmap(one, axis_name=parallel.AXIS)(batch)

    part = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), batch)
    return jax.make_jaxpr(run, return_shape=True)(variables, part)


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(x), jax.dtypes.canonicalize_dtype(x.dtype))


def _zeros(shape: jax.ShapeDtypeStruct) -> Any:
    return jnp.zeros(shape.shape, shape.dtype)


def _numbers(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * _size(leaf.dtype) for leaf in jax.tree.leaves(tree))


def _size(dtype: Any) -> int:
    return 8 if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) else np.dtype(dtype).itemsize


def _counted(jaxpr: Any) -> tuple[float, float]:
    """Operations of products, and numbers that all else makes; a scan counts as often as it goes round."""
    products = values = 0.0
    for equation in jaxpr.eqns:
        inner = [_counted(one) for one in _inside(equation.params)]
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        if inner:
            choose = max if equation.primitive.name == "cond" else sum
            products += times * choose(one[0] for one in inner)
            values += times * choose(one[1] for one in inner)
            continue
        made = sum(math.prod(out.aval.shape) for out in equation.outvars if hasattr(out.aval, "shape"))
        if equation.primitive.name == "dot_general":
            (left, _), _ = equation.params["dimension_numbers"]
            products += 2 * made * math.prod(equation.invars[0].aval.shape[axis] for axis in left)
        elif equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            out_features = equation.params["dimension_numbers"].rhs_spec[0]
            products += 2 * made * math.prod(kernel) / kernel[out_features]
        else:
            values += made
    return products, values


def _inside(parameters: Mapping[str, Any]) -> Iterator[Any]:
    """The programs that an operation is made of."""
    for value in parameters.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if hasattr(one, "eqns"):
                yield one
            elif hasattr(one, "jaxpr") and hasattr(one.jaxpr, "eqns"):
                yield one.jaxpr


@functools.cache
def speed() -> Speed:
    """What the first device does in a second, by a short trial."""
    square = jnp.ones((_TRIAL, _TRIAL), jnp.float32)
    return Speed(2 * _TRIAL**3 / _fastest(jax.jit(jnp.matmul), square, square),
                 4 * _TRIAL**2 / _fastest(jax.jit(jnp.tanh), jnp.ones((4, _TRIAL, _TRIAL), jnp.float32)))


def _fastest(function: Callable[..., Any], *arguments: Any) -> float:
    jax.block_until_ready(function(*arguments))  # compiles
    found = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        found.append(time.perf_counter() - began)
    return min(found)
