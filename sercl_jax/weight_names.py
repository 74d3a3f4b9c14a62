"""HuggingFace's names and layouts of a speech encoder's parameters, and ours.

A name of ours is HuggingFace's split at its dots, a number joined to the name before it. Of each layer's arrays
`weight` is called and laid out as Flax does: `kernel` of a dense layer [in, out] and of a convolution
[width, in / groups, out], `scale` of a norm, `embedding`. Whatever else there is keeps its name and its shape.

The kernel of the positional convolution is stored under weight normalisation over everything but the width
(Salimans and Kingma 2016): a direction v and a norm g per place, kernel = g v / |v|. Ours is the product.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import numpy as np

from sercl_jax.errors import UserError

POSITIONAL = "encoder.pos_conv_embed.conv"
# Both spellings that torch has had for (g, v).
NORMED = (("parametrizations.weight.original0", "parametrizations.weight.original1"), ("weight_g", "weight_v"))
WEIGHTS = ("kernel", "scale", "embedding")  # what torch calls "weight"
# What models for a task, and the pre-training losses, add to the encoder.
HEADS = re.compile(
    r"(quantizer|project_hid|project_q|final_proj|lm_head|projector|classifier|tdnn|objective)\..*"
    r"|layer_weights|label_embs_concat|feature_extractor\.(weight|bias)")  # the last is the x-vector model's output
SHOWN = 10  # names listed in an error


def encoder_name(name: str, model_type: str) -> str | None:
    """A checkpoint's name without the prefix that models for a task give the encoder; None for those of a head."""
    return None if HEADS.fullmatch(name) else name.removeprefix(f"{model_type}.")


def from_torch(tensors: Mapping[str, np.ndarray], expected: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The tree of our parameters, float32, from HuggingFace's arrays.

    Args:
      tensors: HuggingFace's arrays by name, without prefix and heads.
      expected: tree of what the network wants, anything with a `shape`.
      where: file or folder, for errors.

    Raises:
      UserError: lists parameters that are missing, too many or misshapen, and those that hold NaN or infinity.
    """
    with np.errstate(over="ignore"):  # of float64; infinity is told below
        tensors = fold_weight_norm({name: np.asarray(array, np.float32) for name, array in tensors.items()}, where)
    wanted = flax.traverse_util.flatten_dict(expected)
    names = {path: torch_name(path) for path in wanted}
    shapes = {name: _torch_shape(path[-1], wanted[path].shape) for path, name in names.items()}
    refuse_others(tensors, shapes, where)
    flat = {path: _transposed(path[-1], tensors[name]) for path, name in names.items()}
    refuse_not_finite({names[path]: array for path, array in flat.items()}, where)
    return flax.traverse_util.unflatten_dict(flat)


def to_torch(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """HuggingFace's arrays by name, float32, each with memory of its own in row-major order."""
    tensors = {torch_name(path): np.array(_transposed(path[-1], np.asarray(array, np.float32)), order="C")
               for path, array in flax.traverse_util.flatten_dict(params).items()}
    if f"{POSITIONAL}.weight" not in tensors:
        return tensors
    kernel = tensors.pop(f"{POSITIONAL}.weight")
    norm = _norm(kernel)
    direction = np.where(norm == 0, np.float32(1), kernel)  # 0 / 0 would not be the 0 that it is
    return tensors | dict(zip(_spelled(NORMED[0]), (norm, direction), strict=True))


def torch_name(path: Sequence[str]) -> str:
    """("encoder", "layers_0", "layer_norm", "scale") -> "encoder.layers.0.layer_norm.weight"."""
    leaf = "weight" if path[-1] in WEIGHTS else path[-1]
    return ".".join([re.sub(r"_(\d+)$", r".\1", part) for part in path[:-1]] + [leaf])


def fold_weight_norm(tensors: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """The same with the positional convolution's direction and norm, if they are there, made into its weight."""
    folded = dict(tensors)
    for spelling in map(_spelled, NORMED):
        if not all(name in folded for name in spelling):
            continue
        if f"{POSITIONAL}.weight" in folded:
            raise UserError(f"{where}: {POSITIONAL} has two weights, one as norm and direction; one is needed")
        norm, direction = (folded.pop(name) for name in spelling)
        if direction.ndim != 3 or norm.shape != (1, 1, direction.shape[2]):
            raise UserError(f"{where}: {spelling[0]} {list(norm.shape)} and {spelling[1]} {list(direction.shape)} "
                            "are not the norm and direction of one weight; use another checkpoint")
        with np.errstate(divide="ignore", invalid="ignore"):  # not finite then, which is refused with its name
            folded[f"{POSITIONAL}.weight"] = direction * (norm / _norm(direction))
    return folded


def refuse_others(tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raises UserError unless there are exactly the arrays of `shapes`."""
    missing = [name for name in shapes if name not in tensors]
    extra = [name for name in tensors if name not in shapes]
    misshapen = [f"{name} {list(tensors[name].shape)} instead of {list(shape)}"
                 for name, shape in shapes.items() if name in tensors and tensors[name].shape != shape]
    found = [f"{what}: {listed(names)}" for what, names in
             (("missing", missing), ("not of this network", extra), ("of another shape", misshapen)) if names]
    if not found:
        return
    advice = "use the config.json that belongs to these weights"
    if missing == ["masked_spec_embed"] and len(found) == 1:
        advice = ("it is what SpecAugment writes over masked frames; to do without masking, set mask_time_prob and "
                  "mask_feature_prob to 0 in config.json")
    raise UserError(f"{where}: the weights don't fit config.json; parameters {'; '.join(found)}; {advice}")


def refuse_not_finite(tensors: Mapping[str, np.ndarray], where: str) -> None:
    """Raises UserError that lists the arrays with a NaN or an infinity."""
    broken = [name for name, array in tensors.items() if not np.isfinite(array).all()]
    if broken:
        raise UserError(f"{where}: parameters that hold NaN or infinity: {listed(broken)}; use another checkpoint")


def listed(names: Sequence[str]) -> str:
    """The count and the first ten."""
    return f"{len(names)} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"


def _spelled(spelling: tuple[str, str]) -> tuple[str, str]:
    return f"{POSITIONAL}.{spelling[0]}", f"{POSITIONAL}.{spelling[1]}"


def _norm(weight: np.ndarray) -> np.ndarray:
    """Of each place of [out, in, width]: [1, 1, width] float32."""
    return np.sqrt(np.square(weight, dtype=np.float64).sum((0, 1), keepdims=True)).astype(np.float32)


def _transposed(leaf: str, array: np.ndarray) -> np.ndarray:
    """Between the layouts, either way; both reverse all axes of a kernel."""
    return np.ascontiguousarray(array.T) if leaf == "kernel" else array


def _torch_shape(leaf: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(reversed(shape)) if leaf == "kernel" else tuple(shape)
