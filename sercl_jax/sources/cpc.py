"""CPC's representation as a source."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import pretraining, representations
from sercl_jax.errors import UserError
from sercl_jax.evaluate import GROUPS, check_groups, group_normalise, group_warnings
from sercl_jax.models.cpc import CpcSettings
from sercl_jax.sources.source import Final, embedding_statistics
from sercl_jax.types import Variables
from sercl_jax.workbench import Workbench, cache_directory


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
        if config.normalise in GROUPS:
            check_groups(corpus.utterances, config.normalise)
            self.warnings += group_warnings(corpus.utterances, config.normalise)
        if config.embedding == "cpc":
            self.warnings += pretraining.overlap(corpus, *pretraining.corpus_of(Path(config.init_from)))
        found = pretraining.seeds(Path(config.init_from))
        lacking = [seed for seed in range(config.seed, config.seed + config.seeds) if seed not in found]
        if lacking:
            self.warnings += (f"{config.init_from} has no pre-training with seed {lacking[0]}: that of seed "
                              f"{found[0]} stands in for it.",)

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        return self._normalised(self._raw(*self._model(seed)))

    def _raw(self, settings: CpcSettings, variables: Variables) -> np.ndarray:
        return representations.mean_and_deviation(representations.contexts(
            self._bench.corpus(self._config), settings, variables, cache_dir=cache_directory(self._config),
            progress=self._progress))

    def _normalised(self, x: np.ndarray) -> np.ndarray:
        if self._config.normalise not in GROUPS:
            return x
        return group_normalise(x, self._bench.corpus(self._config).utterances, self._config.normalise)[0]

    def _model(self, seed: int) -> tuple[CpcSettings, Variables]:
        settings, variables = pretraining.load(Path(self._config.init_from), seed)
        if self._config.embedding == "cpc_untrained":
            variables = pretraining.untrained(settings, seed)
        return settings, variables

    def final(self, seed: int) -> Final:
        """CPC as it is: labels change nothing of it."""
        settings, variables = self._model(seed)
        x = self._raw(settings, variables)
        return Final(embeddings=self._normalised(x), variables={"cpc": variables},
                     arrays=embedding_statistics(x) if self._config.normalise in GROUPS else {},
                     facts={"settings": {"cpc": asdict(settings)}})
