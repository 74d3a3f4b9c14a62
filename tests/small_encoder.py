"""Checkpoints of small speech encoders, as transformers writes them, with drawn weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from drawn_weights import drawn

from sercl_jax.models.speech_config import SpeechConfig
from sercl_jax.pretrained import parameter_shapes
from sercl_jax.weight_names import to_torch


def torch_weights(config: SpeechConfig) -> dict[str, np.ndarray]:
    """HuggingFace's names and shapes, as we save them, with drawn values."""
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), parameter_shapes(config))
    return {name: drawn(name, array.shape) for name, array in to_torch(empty).items()}


def write_settings(folder: Path, config: Mapping[str, Any], normalise: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalise}))


def write_checkpoint(folder: Path, config: Mapping[str, Any], normalise: bool,
                     tensors: Mapping[str, np.ndarray]) -> Path:
    """One model.safetensors and its settings; returns the folder."""
    write_settings(folder, config, normalise)
    safetensors.numpy.save_file(dict(tensors), folder / "model.safetensors")
    return folder
