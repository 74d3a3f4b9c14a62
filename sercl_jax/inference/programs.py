"""Stored programs: a pipeline's functions as StableHLO, lowered for several platforms and for any number of windows.

What a stored program may do is checked both when it is written and before it is compiled: arithmetic on the arrays it
is given, nothing else. A custom call could run any routine that is registered in the process, a Python callback among
them; but for a few that only compute, none is let through.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import export
from jax.interpreters import mlir

from sercl_jax.errors import UserError

PLATFORMS = ("cpu", "cuda", "tpu")
BATCH = "b"  # the symbol for the number of windows
_DIALECTS = ("builtin", "func", "stablehlo")
# They would wait for a partner outside the program.
_ENDPOINTS = ("stablehlo.infeed", "stablehlo.outfeed", "stablehlo.send", "stablehlo.recv")
_CUSTOM_CALL = "stablehlo.custom_call"
# What symbolic shapes need. They are resolved before the program is compiled.
_CALLS = ("shape_assertion", "stablehlo.dynamic_reduce_window", "stablehlo.dynamic_rng_bit_generator",
          "stablehlo.dynamic_top_k")

Shapes = Mapping[str, tuple[tuple[int | str, ...], str]]  # name -> shape, BATCH first, and type
Function = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]  # (weights by name, batch) -> results by name


def lower(function: Function, weights: Mapping[str, np.ndarray], inputs: Shapes,
          platforms: Sequence[str]) -> tuple[bytes, Shapes]:
    """Traces a function and lowers it for all platforms.

    Args:
      function: pure; its name becomes part of the program.
      weights: arrays by name, which stay arguments of the program.
      inputs: the batch's arrays.
      platforms: of `PLATFORMS`.

    Returns:
      The program, and its results' shapes.

    Raises:
      UserError: it needs what a stored program may not have, or depends on the number of windows.
    """
    (batch,) = export.symbolic_shape(BATCH)
    arguments = {name: jax.ShapeDtypeStruct((batch, *shape[1:]), dtype) for name, (shape, dtype) in inputs.items()}
    given = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()}
    try:
        with _no_places():
            made = export.export(jax.jit(function), platforms=tuple(platforms))(given, arguments)
        program = bytes(made.serialize())
    except Exception as error:  # whatever a function that is someone's own raises when it is traced
        raise UserError(f"the model cannot be exported: {_first_line(error)}. Its functions must be pure JAX whose "
                        "shapes follow from the batch's, without callbacks.") from error
    check(made, "the model cannot be exported")
    return program, _shapes(jax.tree.unflatten(made.out_tree, made.out_avals))


def _shapes(avals: Mapping[str, Any]) -> Shapes:
    return {name: (tuple(size if isinstance(size, int) else str(size) for size in aval.shape), aval.dtype.name)
            for name, aval in avals.items()}


@contextlib.contextmanager
def _no_places() -> Iterator[None]:
    """Programs do not tell which lines of which files, on whose disk, they come from; equal ones have equal bytes."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def read(program: bytes, where: str, weights: Mapping[str, Any], inputs: Shapes, results: Shapes) -> export.Exported:
    """A stored program, checked.

    Args:
      program: what `lower` made.
      where: its file, for messages.
      weights, inputs: what it must take.
      results: what it must give.

    Raises:
      UserError: it is no program, is for other arrays or platforms, or may not be run.
    """
    try:
        found = export.deserialize(bytearray(program))
        known = found.platforms
        (given, batch), named = jax.tree.unflatten(found.in_tree, found.in_avals)
        shapes = {name: (tuple(aval.shape), aval.dtype.name) for name, aval in given.items()}
        made = jax.tree.unflatten(found.out_tree, found.out_avals)
        fits = (shapes == {name: (tuple(array.shape), array.dtype.name) for name, array in weights.items()}
                and not named and (_shapes(batch), _shapes(made)) == (dict(inputs), dict(results)))
    except Exception as error:  # whatever its parsers make of bytes that are none
        raise UserError(f"{where}: jax {jax.__version__} cannot read the program ({_first_line(error)}); take "
                        "another copy of the bundle, or export it again.") from error
    if not fits:
        raise UserError(f"{where}: the program takes or gives other arrays than the bundle says; export it again.")
    here = export.default_export_platform()
    if here not in known:
        raise UserError(f"{where}: the bundle was exported for {', '.join(known)}, and this machine computes on "
                        f"{here}: export it again with --platforms={','.join((*known, here))}, or set "
                        f"JAX_PLATFORMS={'cpu' if 'cpu' in known else known[0]}.")
    check(found, where)
    return found


def check(program: export.Exported, where: str) -> None:
    """Raises UserError if a program does anything but compute on its arguments."""
    found: dict[str, None] = {}
    with mlir.make_ir_context():
        try:
            _walk(program.mlir_module(serialized=False).operation, found)
        except Exception as error:  # whatever its parser makes of bytes that are no module
            raise UserError(f"{where}: the program cannot be read ({_first_line(error)}); take another copy of the "
                            "bundle, or export it again.") from error
    odd = [name for name in found if name.partition(".")[0] not in _DIALECTS or name in _ENDPOINTS
           or (name.startswith(_CUSTOM_CALL) and name.partition(" ")[2] not in _CALLS)]
    if odd:
        raise UserError(f"{where}: the program does more than compute on its arguments ({', '.join(odd)}), which is "
                        "never run.")


def _walk(operation: Any, found: dict[str, None]) -> None:
    """Collects the names of all operations; of custom calls with their targets."""
    name = operation.name
    if name == _CUSTOM_CALL:
        name = f"{name} {operation.attributes['call_target_name'].value}"
    found[name] = None
    for region in operation.regions:
        for block in region:
            for inner in block:
                _walk(inner.operation, found)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
