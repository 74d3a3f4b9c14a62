"""Embeddings of a method that has a file of its own, as a source."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from sercl_jax import data, evaluate, files, nodes, optim, parallel, workdirs
from sercl_jax.errors import UserError
from sercl_jax.evaluate import GROUPS, check_groups, group_normalise, group_warnings
from sercl_jax.methods import own, trainings
from sercl_jax.sources.source import Final, Source, cpc_of, embedding_statistics
from sercl_jax.types import Batch, Stage, Variables
from sercl_jax.workbench import Workbench

EMBED_BATCH = 64
# Sections and knobs that name no training; the corpus is named by its frames.
_ELSEWHERE = ("data", "corpora", "eval", "seed", "seeds", "fold_seed", "fold_seeds", "embedding", "final_model")


def make(config: ConfigDict, bench: Workbench, store: Path, progress: bool = True) -> Source:
    """The source that the method's file offers, or one of the method that it offers.

    Raises:
      UserError: there is no such file, or it offers neither.
    """
    if "method_file" not in config:
        raise UserError(f"config.embedding={config.embedding}: is for a method in a file of its own, whose config "
                        "is made by sercl_jax.methods.own.config.")
    text = own.text(config)
    module = own.module(text, config.method_file)
    if hasattr(module, "source"):
        made: Source = module.source(config, bench, store, progress)
        return made
    return OwnSource(own.of(module, config), text, config, bench, store, progress)


class OwnSource:
    """Embeddings of an `own.Method`, trained or not."""

    seeded = True
    fitted = True
    blocks: tuple[int, ...] = ()

    def __init__(self, method: own.Method, text: str, config: ConfigDict, bench: Workbench, store: Path,
                 progress: bool):
        for name, value, least in (("nodes", config.nodes, 1), ("train.batch_size", config.train.batch_size, 2),
                                   ("train.epochs", config.train.epochs, 1)):
            if value < least:
                raise UserError(f"config.{name}={value}: must be at least {least}.")
        self.label = config.method if config.embedding == own.OWN else f"{config.method} untrained"
        self.warnings: tuple[str, ...] = ()
        self._method, self._text, self._config, self._bench = method, text, config, bench
        self._store, self._manner = store, trainings.Manner.of(config, progress)
        corpus = bench.corpus(config)
        self._utterances = corpus.utterances
        self._nodes = bench.nodes(config, config.nodes)
        if config.normalise in GROUPS:
            check_groups(self._utterances, config.normalise)
            self.warnings += group_warnings(self._utterances, config.normalise)
        self._labels = None
        if method.labels:
            if config.train.training != "inductive":
                raise UserError(f"{config.method}: trains on labels, so that training=transductive would show it "
                                "those of tested utterances; choose training=inductive.")
            self._labels = evaluate.class_numbers(self._utterances, corpus.labels).astype(np.int32)
            self.warnings += (f"{config.method} trains on all labels of a training part: label efficiency is that of "
                              "the classifier alone, and the map shows utterances that the encoder was trained on.",)
        self.train_seconds = 0.0

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """What batches are cut from, [U, ...]; these rows standardise, and they alone have labels."""
        x = nodes.standardise(self._nodes, rows, self._bench.groups(self._config))
        made = trainings.arrays(x, self._nodes.mask, self._bench.speakers(self._config))
        if self._labels is not None:
            made["label"] = np.full_like(self._labels, -1)
            made["label"][rows] = self._labels[rows]
        return made

    def stage(self, arrays: Mapping[str, np.ndarray], rows: np.ndarray, seed: int,
              settings: Mapping[str, Any]) -> Stage:
        """The training on these rows."""
        knobs = self._config.train
        per_epoch = data.steps_per_epoch(len(rows), knobs.batch_size)
        steps = per_epoch * knobs.epochs
        return Stage(name="own", steps=steps, steps_per_epoch=per_epoch,
                     batch=trainings.batches_of(arrays, rows, knobs.batch_size, seed), init=self._init,
                     loss=self._method.loss,
                     optimizer=optim.make(steps=steps, name=knobs.optimizer, learning_rate=knobs.learning_rate,
                                          schedule=knobs.schedule, weight_decay=knobs.weight_decay,
                                          clip_norm=knobs.clip_norm),
                     settings=settings)

    def _init(self, key: Array, batch: Batch) -> Variables:
        one = {name: jnp.asarray(value)[:1] for name, value in batch.items()}
        variables: Variables = jax.jit(self._method.init)(key, one)
        if not isinstance(variables, Mapping) or "params" not in variables:
            raise UserError(f"{self._config.method_file}: init must return a dict with \"params\".")
        return variables

    def trainings(self, arrays: Mapping[str, np.ndarray]) -> trainings.Trainings:
        """Trainings on these arrays, named by the method's text, its knobs and the corpus' frames."""
        plain = workdirs.identity(self._config)
        identity = {"text": files.digest(self._text), "frames": self._bench.frames(self._config).key,
                    "labels": None if self._labels is None else files.digest(self._labels.tolist()),
                    "knobs": {name: value for name, value in plain.items() if name not in _ELSEWHERE}}
        return trainings.Trainings(lambda rows, seed, settings: self.stage(arrays, rows, seed, settings), identity,
                                   self._store, self._manner)

    def variables(self, arrays: Mapping[str, np.ndarray], rows: np.ndarray, seed: int) -> Variables:
        """Variables after (or before) training."""
        made = self.trainings(arrays)
        if self._config.embedding == own.UNTRAINED:
            return made.untrained(rows, seed)
        variables = made.trained(rows, seed)
        self.train_seconds += made.train_seconds
        return variables

    def _embedded(self, variables: Variables, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        x = self._raw(variables, arrays)
        return group_normalise(x, self._utterances, self._config.normalise)[0] if self._grouped else x

    @property
    def _grouped(self) -> bool:
        """Whether the embeddings, too, are standardised for each speaker or corpus."""
        return self._config.normalise in GROUPS and self._config.eval.speaker_embeddings

    def _raw(self, variables: Variables, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        told = {name: arrays[name] for name in ("x", "mask", "index")}
        x = parallel.apply_in_batches(self._method.embed, variables, told, EMBED_BATCH)
        if x.ndim != 2:
            raise UserError(f"{self._config.method_file}: embed must return [B, D], one row for each utterance; it "
                            f"returns {x.shape[1:]} for each.")
        return x

    def embed(self, rows: np.ndarray, seed: int) -> np.ndarray:
        arrays = self.arrays(rows)
        return self._embedded(self.variables(arrays, rows, seed), arrays)

    def final(self, seed: int) -> Final:
        """The model trained on all utterances, with the statistics of their frames and its own text."""
        rows = np.arange(len(self._utterances))
        arrays = self.arrays(rows)
        variables = self.variables(arrays, rows, seed)
        statistics = nodes.statistics(self._nodes.x, self._nodes.mask)
        settings, cpc = cpc_of(self._config)
        return Final(embeddings=self._embedded(variables, arrays), variables={"own": variables, **cpc},
                     arrays={**{f"features/{name}": value for name, value in dataclasses.asdict(statistics).items()},
                             **(embedding_statistics(self._raw(variables, arrays)) if self._grouped else {})},
                     facts={"features": list(self._bench.frames(self._config).names), "settings": settings,
                            "method_file": {"name": Path(self._config.method_file).name, "text": self._text}})
