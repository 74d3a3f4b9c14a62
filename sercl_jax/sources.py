"""Where embeddings come from: a trained encoder, or one of the things it is compared with."""

from pathlib import Path
from typing import Protocol

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax import nodes
from sercl_jax.errors import UserError
from sercl_jax.evaluate import speaker_normalise
from sercl_jax.methods import serugcl
from sercl_jax.types import Variables
from sercl_jax.workbench import Workbench

FUNCTIONALS = {"IS10": "openSMILE IS10 + SVM", "ComParE_2016": "openSMILE ComParE + SVM",
               "eGeMAPSv02": "openSMILE eGeMAPS + SVM"}
KINDS = ("trained", "untrained", "lld_statistics", *FUNCTIONALS)


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

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """[U, D], with `rows` as the training utterances."""


class GraphSource:
    """SERUGCL's embeddings, trained or not."""

    seeded = True
    fitted = True

    def __init__(self, config: ConfigDict, bench: Workbench, store: Path, progress: bool = True):
        self.label = "SERUGCL" if config.embedding == "trained" else "SERUGCL untrained"
        self.warnings: tuple[str, ...] = ()
        self._config = config
        self._bench = bench
        self._store = store
        self._progress = progress
        self._recipe = serugcl.recipe(config)
        self._nodes = bench.nodes(config)
        self._speakers = bench.speakers(config)
        if config.normalise == "speaker" and not self._speakers.all():
            raise UserError(f"normalise=speaker: some utterances of {config.data.corpus} have no speaker; "
                            "choose normalise=global.")
        if config.loss.negatives == "within_group" and not self._speakers.all():
            raise UserError(f"config.loss.negatives=within_group: some utterances of {config.data.corpus} have no "
                            "speaker; choose all.")
        if config.normalise == "speaker":
            self.warnings = speaker_normalise(np.zeros((len(self._speakers), 1)), bench.corpus(config).utterances)[1]
        self.train_seconds = 0.0

    @property
    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """[U, N, F] and mask [U, N], not standardised."""
        return self._nodes.x, self._nodes.mask

    def standardised(self, rows: np.ndarray) -> np.ndarray:
        """[U, N, F], by the config's normalisation."""
        by_speaker = self._config.normalise == "speaker"
        return nodes.standardise(self._nodes, rows, self._speakers if by_speaker else None)

    def encoder(self, rows: np.ndarray) -> serugcl.Encoder:
        """Trains and embeds with these rows as the training utterances."""
        arrays = serugcl.arrays(self.standardised(rows), self._nodes.mask, self._speakers)
        identity = {"frames": self._bench.frames(self._config).key, "normalise": self._config.normalise,
                    "nodes": self._config.graph.nodes}
        return serugcl.Encoder(self._recipe, arrays, identity, self._store,
                               log_every=self._config.train.log_every,
                               checkpoint_every=self._config.train.checkpoint_every, progress=self._progress)

    def variables(self, rows: np.ndarray, seed: int, encoder: serugcl.Encoder) -> Variables:
        """Model variables after (or before) training."""
        if self._config.embedding == "untrained":
            return encoder.untrained(rows, seed)
        variables = encoder.trained(rows, seed)
        self.train_seconds += encoder.train_seconds
        return variables

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        encoder = self.encoder(rows)
        return encoder.embed(self.variables(rows, seed, encoder))


class LldStatistics:
    """Mean and standard deviation of every low-level descriptor over an utterance's nodes."""

    label = "mean + std of LLDs + SVM"
    seeded = False
    fitted = False

    def __init__(self, config: ConfigDict, bench: Workbench):
        self.warnings: tuple[str, ...] = ()
        self._x = nodes.mean_and_deviation(bench.nodes(config))
        if config.normalise == "speaker":
            self._x, self.warnings = speaker_normalise(self._x, bench.corpus(config).utterances)

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        return self._x


class Functionals:
    """openSMILE's functionals of an utterance."""

    seeded = False
    fitted = False

    def __init__(self, config: ConfigDict, bench: Workbench, feature_set: str):
        self.label = FUNCTIONALS[feature_set]
        self.warnings: tuple[str, ...] = ()
        self._x = bench.functionals(config, feature_set)
        if config.normalise == "speaker":
            self._x, self.warnings = speaker_normalise(self._x, bench.corpus(config).utterances)

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        return self._x


def make(config: ConfigDict, bench: Workbench, store: Path, progress: bool = True) -> Source:
    """The source that `config.embedding` names.

    Raises:
      UserError: an unknown name.
    """
    config_lib.one_of("config.embedding", config.embedding, KINDS)
    config_lib.one_of("normalise", config.normalise, ("global", "speaker"))
    if config.embedding == "lld_statistics":
        return LldStatistics(config, bench)
    if config.embedding in FUNCTIONALS:
        return Functionals(config, bench, config.embedding)
    return GraphSource(config, bench, store, progress)
