"""Speech encoders from HuggingFace checkpoints, and back."""

import itertools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from sercl_jax.errors import UserError
from sercl_jax.files import atomic_path, write_json
from sercl_jax.models.speech_config import SpeechConfig, frames_of
from sercl_jax.models.speech_encoder import SpeechEncoder
from sercl_jax.types import SAMPLE_RATE, Variables
from sercl_jax.weight_names import encoder_name, from_torch, to_torch
from sercl_jax.weights import INDEX, SAFETENSORS, TORCH, read_json, read_weights

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"


def load_encoder(place: str, *, dtype: str = "float32", remat: bool = False,
                 revision: str | None = None) -> tuple[SpeechEncoder, Variables]:
    """A WavLM, HuBERT or wav2vec 2.0 encoder and its parameters.

    Args:
      place: a folder with config.json and the weights, as transformers saves them; otherwise an id on the
        HuggingFace hub ("microsoft/wavlm-base-plus"), fetched unless it has been before.
      dtype: of the computation; parameters are float32.
      remat: recompute each transformer layer in the backward pass.
      revision: branch, tag or commit of a hub id.

    Returns:
      The module, and {"params": tree of float32 NumPy arrays}. Heads of a checkpoint are left out.

    Raises:
      UserError: for a place that is not there, damaged files, a network that is not supported, or weights that
        do not fit it.
    """
    folder = _find(str(place), revision)
    preprocessor = read_json(folder / PREPROCESSOR) if (folder / PREPROCESSOR).is_file() else None
    try:
        config = SpeechConfig.from_dict(read_json(folder / CONFIG), preprocessor)
    except UserError as error:
        raise error if str(folder) in str(error) else UserError(f"{folder}: {error}") from error
    tensors = {}
    for name, tensor in read_weights(folder).items():
        ours = encoder_name(name, config.model_type)
        if ours in tensors:
            raise UserError(f"{folder}: the weights hold {ours} with and without the prefix {config.model_type}.; "
                            "remove one of them")
        if ours is not None:
            tensors[ours] = tensor
    if not config.masks:  # transformers' models are without, too, and still read such checkpoints
        tensors.pop("masked_spec_embed", None)
    module = SpeechEncoder(config, dtype=dtype, remat=remat)
    return module, {"params": from_torch(tensors, parameter_shapes(config), str(folder))}


def save_encoder(folder: Path, config: SpeechConfig, variables: Variables) -> None:
    """Writes model.safetensors, config.json and preprocessor_config.json, which transformers' models load.

    The folder is written whole or not at all; one that an earlier call wrote is replaced.

    Raises:
      UserError: if the folder holds anything else or cannot be written, or parameters are not `config`'s.
    """
    names = {SAFETENSORS, CONFIG, PREPROCESSOR}
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= names):
        raise UserError(f"{folder}: holds more than a saved encoder; choose a new folder")
    tensors = to_torch(jax.device_get(variables["params"]))
    from_torch(tensors, parameter_shapes(config), str(folder))  # what could not be loaded again is not written
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        try:
            safetensors.numpy.save_file(tensors, temporary / SAFETENSORS, metadata={"format": "pt"})
        except safetensors.SafetensorError as error:
            raise UserError(f"{folder}: cannot be written ({error}); nothing was changed. Free some space or choose "
                            "another folder.") from error
        write_json(temporary / CONFIG, config.to_dict())
        write_json(temporary / PREPROCESSOR, _preprocessor(config))
        shutil.copymode(temporary / CONFIG, temporary / SAFETENSORS)  # safetensors lets only its owner read it


def parameter_shapes(config: SpeechConfig) -> Mapping[str, Any]:
    """The tree of a network's parameters, each with its shape and type only."""
    return jax.eval_shape(SpeechEncoder(config).init, jax.random.key(0), *_shortest(config))["params"]


def parameter_count(config: SpeechConfig) -> int:
    """Numbers in a network's parameters; transformers' count is larger by the width of the positional kernel."""
    return sum(leaf.size for leaf in jax.tree.leaves(parameter_shapes(config)))


def random_encoder(config: SpeechConfig, seed: int) -> tuple[SpeechEncoder, Variables]:
    """A network and initial parameters, {"params": tree of float32 NumPy arrays}."""
    module = SpeechEncoder(config)
    variables = jax.jit(module.init)(jax.random.key(seed), *_shortest(config))
    return module, jax.tree.map(np.asarray, variables)


def _shortest(config: SpeechConfig) -> tuple[jax.Array, jax.Array]:
    samples = next(samples for samples in itertools.count(1) if frames_of(config, samples))
    return jnp.zeros((1, samples)), jnp.ones((1, samples), bool)


def _preprocessor(config: SpeechConfig) -> dict[str, Any]:
    return {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "sampling_rate": SAMPLE_RATE,
            "do_normalize": config.normalise, "padding_side": "right", "padding_value": 0.0,
            "return_attention_mask": config.feat_extract_norm == "layer"}


def _find(place: str, revision: str | None) -> Path:
    """The folder that `place` is, or that the hub's files of that id are in."""
    folder = Path(place).expanduser()
    if place and folder.is_dir():
        if revision is not None:
            raise UserError(f"{place}: is a folder, which has no revision {revision!r}; leave it out")
        return folder
    if place and folder.exists():
        raise UserError(f"{place}: is a file; name the folder that it is in")
    if not place or place.startswith((".", "~", os.sep)) or place.count("/") > 1:
        raise UserError(f"{place!r}: there is no such folder, and it is no id on the HuggingFace hub "
                        '("microsoft/wavlm-base-plus")')
    fetched = _fetch(place, revision, SAFETENSORS, "model-*.safetensors")
    if any((fetched / name).exists() for name in (SAFETENSORS, SAFETENSORS + INDEX)):
        return fetched
    return _fetch(place, revision, TORCH, "pytorch_model-*.bin")


def _fetch(place: str, revision: str | None, weights: str, shards: str) -> Path:
    # Many other commands never need the hub, and its client takes its time to import.
    import huggingface_hub

    wanted = [CONFIG, PREPROCESSOR, weights, weights + INDEX, shards]
    try:
        return Path(huggingface_hub.snapshot_download(place, revision=revision, allow_patterns=wanted))
    except Exception as error:  # its own, the system's, and those of an HTTP library that changes with its version
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{place}: is no folder here, and cannot be fetched from the HuggingFace hub ({reason}); "
                        "correct the path or the id, or fetch the model where there is a network and name its "
                        "folder") from error
