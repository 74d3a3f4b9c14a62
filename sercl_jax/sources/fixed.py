"""Statistics of features, which nothing trains: what our embeddings are compared with."""

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import nodes, representations
from sercl_jax.evaluate import GROUPS, group_normalise
from sercl_jax.workbench import Workbench

FUNCTIONALS = {"IS10": "openSMILE IS10 + SVM", "ComParE_2016": "openSMILE ComParE + SVM",
               "eGeMAPSv02": "openSMILE eGeMAPS + SVM"}


class Fixed:
    """Embeddings [U, D] that are what they are, perhaps standardised for each speaker or corpus."""

    seeded = False
    fitted = False
    blocks: tuple[int, ...] = ()

    def __init__(self, label: str, x: np.ndarray, config: ConfigDict, bench: Workbench):
        self.label = label
        self.warnings: tuple[str, ...] = ()
        self._x = x
        if config.normalise in GROUPS:
            self._x, self.warnings = group_normalise(x, bench.corpus(config).utterances, config.normalise)

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        del rows, seed
        return self._x

    def final(self, seed: int) -> None:
        del seed


def lld_statistics(config: ConfigDict, bench: Workbench) -> Fixed:
    """Mean and standard deviation of every low-level descriptor over an utterance's nodes."""
    x = nodes.mean_and_deviation(bench.nodes(config, config.graph.nodes))
    return Fixed("mean + std of LLDs + SVM", x, config, bench)


def frame_statistics(config: ConfigDict, bench: Workbench) -> Fixed:
    """Mean and standard deviation of the features over an utterance's frames."""
    x = representations.mean_and_deviation(bench.frames(config))
    return Fixed(f"mean + std of {config.features} + SVM", x, config, bench)


def functionals(config: ConfigDict, bench: Workbench, feature_set: str) -> Fixed:
    """openSMILE's functionals of an utterance; `feature_set` is one of FUNCTIONALS."""
    return Fixed(FUNCTIONALS[feature_set], bench.functionals(config, feature_set), config, bench)
