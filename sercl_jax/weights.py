"""Arrays from files of weights, by name: safetensors without torch, torch's own files where torch is installed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401, tells NumPy of bfloat16
import numpy as np
import safetensors

from sercl_jax.errors import UserError

SAFETENSORS = "model.safetensors"
TORCH = "pytorch_model.bin"
INDEX = ".index.json"  # after either name: which of several files holds which array
FLOATS = ("F16", "BF16", "F32", "F64")  # as safetensors calls them


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a folder's model by name, in the type it is stored in (torch's bfloat16 as float32).

    The first is read of model.safetensors, its shards, pytorch_model.bin, its shards.

    Raises:
      UserError: names the file that is not there, damaged, or no file of weights.
    """
    for name, read in ((SAFETENSORS, read_safetensors), (TORCH, read_torch)):
        if (folder / name).is_file():
            return read(folder / name)
        if (folder / (name + INDEX)).is_file():
            return _read_shards(folder / (name + INDEX), read)
    raise UserError(f"{folder}: no {SAFETENSORS}, {TORCH} or {INDEX} of either; name the folder of a model that "
                    "transformers has saved")


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Every array of a safetensors file by name."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118, no mapping
            _refuse_types({name: type_ for name, type_ in types.items() if type_ not in FLOATS}, path)
            return {name: file.get_tensor(name) for name in types}
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: no readable safetensors file ({error}); fetch it again") from error


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a state dict that torch.save wrote, by name. No code in the file is run."""
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{path}: only torch reads this format, and it is not installed; `pip install torch`, or use "
                        f"a checkpoint with {SAFETENSORS}") from error
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise almost anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: no readable file of weights ({reason}); fetch it again") from error
    if not (isinstance(tensors, Mapping) and
            all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in tensors.items())):
        raise UserError(f"{path}: holds something else than tensors by name; use a model that transformers has saved")
    _refuse_types({name: str(tensor.dtype) for name, tensor in tensors.items()
                   if not tensor.is_floating_point() or tensor.layout != torch.strided}, path)
    return {name: tensor.detach().to(torch.float32).contiguous().numpy() for name, tensor in tensors.items()}


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name the folder of a model that transformers "
                        "has saved") from error
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); fetch it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: must be a JSON object; fetch it again")
    return value


def _read_shards(index: Path, read: Any) -> dict[str, np.ndarray]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise UserError(f"{index}: no weight_map from names to files; fetch it again")
    tensors: dict[str, np.ndarray] = {}
    for path in _shards(index, weight_map):
        held = read(path)
        promised = {name for name, file in weight_map.items() if file == path.name}
        if held.keys() != promised:
            odd = sorted(held.keys() ^ promised)
            raise UserError(f"{path}: does not hold what {index.name} says, {odd[0]} for one; fetch both again")
        tensors |= held
    return tensors


def _shards(index: Path, weight_map: Mapping[str, str]) -> Iterator[Path]:
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file:
            raise UserError(f"{index}: names {file!r}, which is not a file beside it; fetch the model again")
        if not (index.parent / file).is_file():
            raise UserError(f"{index.parent / file}: is missing, {index.name} names it; fetch the model again")
        yield index.parent / file


def _refuse_types(types: Mapping[str, str], path: Path) -> None:
    for name, type_ in types.items():
        raise UserError(f"{path}: {name} is of type {type_}; needed are floats of 16, 32 or 64 bits: use a "
                        "checkpoint that is not quantised")
