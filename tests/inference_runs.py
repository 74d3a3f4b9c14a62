"""Small finished runs to predict with, and the files that they were trained on."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax import experiment, sources
from sercl_jax.workbench import Workbench

BENCHES: dict[Path, Workbench] = {}  # what the runs of this process have read


def config_of(corpus: Path, choices: str = "", base: str = "serugcl", **knobs) -> ConfigDict:
    """A tiny config on the manifest of `small_corpus.write(corpus)`, without all that a model does not need."""
    config = config_lib.base(base, ",".join(filter(None, ["corpus=manifest,tiny", choices])))
    config.data.manifest = str(corpus / "manifest.csv")
    config.data.cache_dir = str(corpus.parent / "cache")
    config.data.workers = 1
    config.eval.baseline = "no"
    config.eval.report = config.eval.probes = config.eval.untrained = False
    config.update_from_flattened_dict(knobs)
    return config.lock()


def run(config: ConfigDict, workdir: Path) -> Path:
    """Does the whole experiment."""
    experiment.run(config, workdir, quiet=True, bench=BENCHES.setdefault(workdir, Workbench(progress=False)))
    return workdir


def embeddings(config: ConfigDict, workdir: Path) -> tuple[list[str], np.ndarray]:
    """What the final model's classifier was fitted on: paths of the files, and [U, D]."""
    bench = BENCHES[workdir]
    final = sources.make(config, bench, workdir / "train", progress=False).final(config.seed)
    assert final is not None
    folder = Path(config.data.manifest).parent
    return [str(folder / u.id) for u in bench.corpus(config).utterances], final.embeddings
