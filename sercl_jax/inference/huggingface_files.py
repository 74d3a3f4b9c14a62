"""A run's speech encoder in HuggingFace's format."""

from collections.abc import Callable
from pathlib import Path

from sercl_jax import pretrained
from sercl_jax.encoders import TransformerEncoder
from sercl_jax.errors import UserError
from sercl_jax.inference import origin, speech

FOLDER = "huggingface"


def writer(workdir: Path) -> Callable[[Path], None]:
    """What writes `FOLDER` into a bundle: config.json, preprocessor_config.json and model.safetensors.

    Raises:
      UserError: the run has no WavLM, HuBERT or wav2vec 2.0 encoder.
    """
    found = origin.read(workdir)
    encoder = speech.encoder_of(found.metadata["encoder"]) if "encoder" in found.metadata else None
    if not isinstance(encoder, TransformerEncoder):
        raise UserError(f"{workdir}: method={found.config['method']}: only runs of configs/supcon.py with a WavLM, "
                        "HuBERT or wav2vec 2.0 encoder go out in HuggingFace's format; export it without "
                        "--huggingface.")
    config, variables = encoder.config, found.variables["encoder"]
    return lambda folder: pretrained.save_encoder(folder / FOLDER, config, variables)
