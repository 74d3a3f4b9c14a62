"""Contrastive learning for speech emotion recognition on JAX.

    import sercl_jax
    model = sercl_jax.load("runs/mine")  # a finished workdir, or an exported bundle
    model.predict("hello.wav").label

Importing the package is cheap: nothing here imports JAX, so that worker processes start quickly.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sercl_jax.inference.model import Model

__version__ = "0.1.0"


def load(path: str | Path, *, seed: int = 0) -> "Model":
    """Opens what was trained or exported; see `sercl_jax.inference.loading.load`.

    Args:
      path: the workdir of a finished run, or a bundle of `python -m sercl_jax.export`.
      seed: of the pre-training to take, where a workdir holds several.

    Raises:
      UserError: it is neither, or damaged.
    """
    from sercl_jax.inference import loading

    return loading.load(path, seed=seed)
