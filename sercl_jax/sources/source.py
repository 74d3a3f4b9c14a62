"""What every source of embeddings offers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ml_collections import ConfigDict

from sercl_jax.classify import standardiser
from sercl_jax.types import Variables


@dataclass(frozen=True)
class Final:
    """What embeds unseen recordings as it embeds the whole corpus.

    Attributes:
      embeddings: [U, D] of the corpus, for a classifier to be fitted on.
      variables: model variables by name.
      arrays: what is no Flax variable.
      facts: JSON-like.
    """

    embeddings: np.ndarray
    variables: Mapping[str, Variables]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def embedding_statistics(x: np.ndarray) -> dict[str, np.ndarray]:
    """Of embeddings [U, D] that are standardised for each speaker: what stands in for those of an unknown one.

    Arrays of a `Final`: mean and deviation of each column.
    """
    mean, std = standardiser(x)
    return {"embeddings/mean": mean.astype(np.float32), "embeddings/std": std.astype(np.float32)}


def cpc_of(config: ConfigDict) -> tuple[dict[str, Any], dict[str, Variables]]:
    """Settings and parameters of the CPC that `config.features` are of, by the name "cpc"; {} for other features.

    For a `Final`, which needs its pre-training no more.
    """
    if "cpc" not in config.features.split("+"):
        return {}, {}
    from sercl_jax import pretraining  # imports JAX's models, which others need not

    settings, variables = pretraining.load(Path(config.init_from), config.seed)
    return {"cpc": asdict(settings)}, {"cpc": variables}


class Source(Protocol):
    """Embeddings of a whole corpus.

    Attributes:
      label: words for tables.
      seeded: whether the model seed changes them.
      fitted: whether the training utterances change them, apart from the classifier.
      warnings: for whoever reads the result.
    """

    label: str
    seeded: bool
    fitted: bool
    warnings: tuple[str, ...]

    @property
    def blocks(self) -> tuple[int, ...]:
        """Widths of the blocks of columns that count alike; () for one."""

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """[U, D], with `rows` as the training utterances."""

    def final(self, seed: int) -> Final | None:
        """What to keep of it for use; None for what only stands beside ours."""
