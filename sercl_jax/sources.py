"""Where embeddings come from: a trained encoder, or one of the things it is compared with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax import nodes, pretraining, representations
from sercl_jax.errors import UserError
from sercl_jax.evaluate import speaker_normalise, speaker_warnings
from sercl_jax.methods import serugcl
from sercl_jax.types import Variables
from sercl_jax.workbench import Workbench, cache_directory

ENSEMBLE_STRIDE = 1_000_000
FUNCTIONALS = {"IS10": "openSMILE IS10 + SVM", "ComParE_2016": "openSMILE ComParE + SVM",
               "eGeMAPSv02": "openSMILE eGeMAPS + SVM"}
KINDS = ("trained", "untrained", "lld_statistics", "cpc", "cpc_untrained", "frame_statistics", *FUNCTIONALS)
# What each is set beside: the same network untrained, and simpler things made of the same audio.
CONTROLS = {"trained": ("untrained",), "cpc": ("cpc_untrained", "frame_statistics")}
BASELINES = {"cpc": "eGeMAPSv02"}  # openSMILE's set; IS10 for the others


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


class GraphSource:
    """SERUGCL's embeddings, trained or not: an ensemble's encoders side by side and, as another block of columns,
    perhaps functionals of the input.
    """

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
        self._nodes = bench.nodes(config, config.graph.nodes)
        self._readout_nodes = bench.nodes(config, config.graph.readout_nodes or config.graph.nodes)
        self._speakers = bench.speakers(config)
        self._utterances = bench.corpus(config).utterances
        config_lib.one_of("config.encoder.input_block", config.encoder.input_block, ("none", "functionals"))
        if config.encoder.ensemble < 1:
            raise UserError(f"config.encoder.ensemble={config.encoder.ensemble}: at least 1 encoder is needed.")
        for knob, value, wanted in (("normalise", config.normalise, "speaker"),
                                    ("config.loss.negatives", config.loss.negatives, "within_group")):
            if value == wanted and not self._speakers.all():
                raise UserError(f"{knob}={value}: some utterances of {config.data.corpus} have no speaker; "
                                "choose another value.")
        if config.normalise == "speaker":
            self.warnings = speaker_warnings(self._utterances)
        self.train_seconds = 0.0

    @property
    def readout_nodes(self) -> nodes.Nodes:
        """What is embedded, not standardised."""
        return self._readout_nodes

    @property
    def blocks(self) -> tuple[int, ...]:
        """Widths of the blocks of columns of an embedding; () for a single one."""
        if self._config.encoder.input_block == "none":
            return ()
        return (self._bench.own_functionals(self._config).shape[1],
                self._recipe.settings.embedding_width * self._config.encoder.ensemble)

    def seeds(self, seed: int) -> list[int]:
        """The ensemble's own seeds; those of different model seeds never meet."""
        return [seed + ENSEMBLE_STRIDE * member for member in range(self._config.encoder.ensemble)]

    def _standardised(self, made: nodes.Nodes, rows: np.ndarray) -> np.ndarray:
        by_speaker = self._config.normalise == "speaker"
        return nodes.standardise(made, rows, self._speakers if by_speaker else None)

    def encoder(self, rows: np.ndarray) -> serugcl.Encoder:
        """Trains and embeds with these rows as the training utterances."""
        arrays = serugcl.arrays(self._standardised(self._nodes, rows), self._nodes.mask, self._speakers)
        readout = arrays
        if self._readout_nodes is not self._nodes:
            readout = serugcl.arrays(self._standardised(self._readout_nodes, rows), self._readout_nodes.mask,
                                     self._speakers)
        identity = {"frames": self._bench.frames(self._config).key, "normalise": self._config.normalise,
                    "nodes": self._config.graph.nodes}
        return serugcl.Encoder(self._recipe, arrays, readout, identity, self._store,
                               log_every=self._config.train.log_every,
                               checkpoint_every=self._config.train.checkpoint_every, progress=self._progress)

    def variables(self, rows: np.ndarray, seed: int, encoder: serugcl.Encoder) -> Variables:
        """Model variables after (or before) training."""
        if self._config.embedding == "untrained":
            return encoder.untrained(rows, seed)
        before = encoder.train_seconds
        variables = encoder.trained(rows, seed)
        self.train_seconds += encoder.train_seconds - before
        return variables

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        encoder = self.encoder(rows)
        members = [encoder.embed(self.variables(rows, member, encoder)) for member in self.seeds(seed)]
        return self.assemble(members)

    def assemble(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """The functionals of the input, if wanted, and the members' embeddings, each [U, D], side by side."""
        parts = list(members)
        if self._config.encoder.input_block == "functionals":
            parts.insert(0, self._bench.own_functionals(self._config))
        x = np.concatenate(parts, axis=1)
        if self._config.normalise == "speaker" and self._config.eval.speaker_embeddings:
            x, _ = speaker_normalise(x, self._utterances)
        return x


class LldStatistics:
    """Mean and standard deviation of every low-level descriptor over an utterance's nodes."""

    label = "mean + std of LLDs + SVM"
    seeded = False
    fitted = False
    blocks: tuple[int, ...] = ()

    def __init__(self, config: ConfigDict, bench: Workbench):
        self.warnings: tuple[str, ...] = ()
        self._x = nodes.mean_and_deviation(bench.nodes(config, config.graph.nodes))
        if config.normalise == "speaker":
            self._x, self.warnings = speaker_normalise(self._x, bench.corpus(config).utterances)

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        return self._x


class FrameStatistics:
    """Mean and standard deviation of the features over an utterance's frames."""

    seeded = False
    fitted = False
    blocks: tuple[int, ...] = ()

    def __init__(self, config: ConfigDict, bench: Workbench):
        self.label = f"mean + std of {config.features} + SVM"
        self.warnings: tuple[str, ...] = ()
        self._x = representations.mean_and_deviation(bench.frames(config))
        if config.normalise == "speaker":
            self._x, self.warnings = speaker_normalise(self._x, bench.corpus(config).utterances)

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        return self._x


class CpcSource:
    """Mean and standard deviation of CPC's context over an utterance, of a model pre-trained elsewhere, or untrained.

    Seed n takes the pre-training with seed n, and the parameters that this very pre-training started from.
    """

    seeded = True
    fitted = False
    blocks: tuple[int, ...] = ()

    def __init__(self, config: ConfigDict, bench: Workbench, progress: bool):
        if not config.init_from:
            raise UserError(f"embedding={config.embedding} needs --config.init_from=WORKDIR of a run with "
                            "setup=pretrain.")
        self.label = "CPC" if config.embedding == "cpc" else "CPC untrained"
        self.warnings: tuple[str, ...] = ()
        self._config, self._bench, self._progress = config, bench, progress
        corpus = bench.corpus(config)
        if config.normalise == "speaker":
            self.warnings += speaker_warnings(corpus.utterances)
        if config.embedding == "cpc":
            self.warnings += pretraining.overlap(corpus, *pretraining.corpus_of(Path(config.init_from)))
        found = pretraining.seeds(Path(config.init_from))
        lacking = [seed for seed in range(config.seed, config.seed + config.seeds) if seed not in found]
        if lacking:
            self.warnings += (f"{config.init_from} has no pre-training with seed {lacking[0]}: that of seed "
                              f"{found[0]} stands in for it.",)

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        settings, variables = pretraining.load(Path(self._config.init_from), seed)
        if self._config.embedding == "cpc_untrained":
            variables = pretraining.untrained(settings, seed)
        corpus = self._bench.corpus(self._config)
        x = representations.mean_and_deviation(representations.contexts(
            corpus, settings, variables, cache_dir=cache_directory(self._config), progress=self._progress))
        if self._config.normalise == "speaker":
            x, _ = speaker_normalise(x, corpus.utterances)
        return x


class Functionals:
    """openSMILE's functionals of an utterance."""

    seeded = False
    fitted = False
    blocks: tuple[int, ...] = ()

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
    if config.embedding == "frame_statistics":
        return FrameStatistics(config, bench)
    if config.embedding in ("cpc", "cpc_untrained"):
        return CpcSource(config, bench, progress)
    if config.embedding in FUNCTIONALS:
        return Functionals(config, bench, config.embedding)
    return GraphSource(config, bench, store, progress)
