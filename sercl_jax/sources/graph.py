"""SERUGCL's embeddings as a source."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax import nodes
from sercl_jax.errors import UserError
from sercl_jax.evaluate import GROUPS, check_groups, group_normalise, group_warnings
from sercl_jax.methods import serugcl
from sercl_jax.sources.source import Final, cpc_of, embedding_statistics
from sercl_jax.types import Variables
from sercl_jax.workbench import Workbench

ENSEMBLE_STRIDE = 1_000_000


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
        if config.loss.negatives == "within_group" and not self._speakers.all():
            raise UserError(f"config.loss.negatives=within_group: some utterances of {config.data.corpus} have no "
                            "speaker; choose another value.")
        if config.normalise in GROUPS:
            check_groups(self._utterances, config.normalise)
            self.warnings = group_warnings(self._utterances, config.normalise)
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
        return nodes.standardise(made, rows, self._bench.groups(self._config))

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
                               serugcl.Manner.of(self._config, self._progress))

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

    @property
    def _grouped(self) -> bool:
        """Whether the embeddings, too, are standardised for each speaker or corpus."""
        return self._config.normalise in GROUPS and self._config.eval.speaker_embeddings

    def assemble(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """The functionals of the input, if wanted, and the members' embeddings, each [U, D], side by side."""
        x = self._joined(members)
        return group_normalise(x, self._utterances, self._config.normalise)[0] if self._grouped else x

    def _joined(self, members: Sequence[np.ndarray]) -> np.ndarray:
        parts = list(members)
        if self._config.encoder.input_block == "functionals":
            parts.insert(0, self._bench.own_functionals(self._config))
        return np.concatenate(parts, axis=1)

    def final(self, seed: int) -> Final:
        """The encoders trained on all utterances, with the statistics of their nodes."""
        rows = np.arange(len(self._utterances))
        encoder = self.encoder(rows)
        members = [self.variables(rows, member, encoder) for member in self.seeds(seed)]
        statistics = nodes.statistics(self._readout_nodes.x, self._readout_nodes.mask)
        embedded = [encoder.embed(variables) for variables in members]
        settings, cpc = cpc_of(self._config)
        return Final(
            embeddings=self.assemble(embedded),
            variables={f"encoder{number}": each for number, each in enumerate(members)} | cpc,
            arrays={**{f"features/{name}": value for name, value in dataclasses.asdict(statistics).items()},
                    **(embedding_statistics(self._joined(embedded)) if self._grouped else {})},
            facts={"features": list(self._bench.frames(self._config).names),
                   "settings": {"encoder": dataclasses.asdict(self._recipe.settings), **settings}})
