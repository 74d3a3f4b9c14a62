"""SERUGCL as a method: the config's knobs to typed settings, nodes to batches, one contrastive stage."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax import data, optim, parallel
from sercl_jax.errors import UserError
from sercl_jax.methods.trainings import Manner, Trainings, arrays, batches_of
from sercl_jax.models import serugcl as model
from sercl_jax.models.pooling import POOLINGS
from sercl_jax.types import Stage, Variables

__all__ = ["Encoder", "Manner", "Recipe", "arrays", "parameter_count", "recipe", "stage"]

EMBED_BATCH = 64


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained encoder, apart from the utterances and the seed.

    Attributes:
      settings: what the compiled step depends on.
      knobs: numbers that may change without compiling again.
      batch_size: utterances per step, over all devices.
      epochs: passes over the training utterances.
      optimizer: keyword arguments of `optim.make`, apart from the number of steps.
    """

    settings: model.SerugclSettings
    knobs: model.Knobs
    batch_size: int
    epochs: int
    optimizer: tuple[tuple[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-like, for names and for checkpoints."""
        return {"settings": asdict(self.settings), "knobs": asdict(self.knobs), "batch_size": self.batch_size,
                "epochs": self.epochs, "optimizer": dict(self.optimizer)}


def recipe(config: ConfigDict) -> Recipe:
    """Reads the config's knobs, the only place that does.

    Raises:
      UserError: a value that is unknown or out of range, with the knob's name.
    """
    one_of = config_lib.one_of
    views = tuple(one_of("config.views.use", view, model.VIEWS[1:]) for view in config.views.use.split("+"))
    for name, value, least in (("graph.nodes", config.graph.nodes, 1), ("graph.k", config.graph.k, 1),
                               ("train.batch_size", config.train.batch_size, 2),
                               ("train.epochs", config.train.epochs, 1)):
        if value < least:
            raise UserError(f"config.{name}: must be at least {least}.")
    for name in ("node_ratio", "edge_ratio"):
        if not 0 <= config.views[name] <= 1:
            raise UserError(f"config.views.{name}={config.views[name]}: a share, from 0 to 1.")
    if config.loss.temperature <= 0:
        raise UserError(f"config.loss.temperature={config.loss.temperature}: must be positive.")
    pooling = one_of("config.encoder.pooling", config.encoder.pooling, [*POOLINGS, "statistics"])
    try:
        settings = model.SerugclSettings(
            encoders=(config.encoder.original, config.encoder.fgsm, config.encoder.subgraph),
            views=("original", *views), hidden=config.encoder.hidden, layers=config.encoder.layers,
            norm=config.encoder.norm, aggregate=config.encoder.aggregate, dtype=config.encoder.precision,
            projection=config.encoder.projection, readout=config.encoder.readout,
            pooling="statistics" if pooling == "statistics" else "weighted", edges=config.graph.edges,
            neighbours=config.graph.k, threshold=config.graph.threshold, fgsm=config.views.fgsm_sign,
            loss_form=config.loss.form, negatives=config.loss.negatives)
    except ValueError as error:
        raise UserError(f"config: {error}.") from error
    knobs = model.Knobs(fgsm_eps=config.views.fgsm_eps, node_ratio=config.views.node_ratio,
                        edge_ratio=config.views.edge_ratio, temperature=config.loss.temperature,
                        pool_weights=POOLINGS.get(pooling, POOLINGS["B"]))
    optimizer = {"name": config.train.optimizer, "learning_rate": config.train.learning_rate,
                 "schedule": config.train.schedule, "weight_decay": config.train.weight_decay,
                 "clip_norm": config.train.clip_norm}
    return Recipe(settings, knobs, config.train.batch_size, config.train.epochs, tuple(sorted(optimizer.items())))


def stage(recipe: Recipe, arrays: Mapping[str, np.ndarray], rows: np.ndarray, seed: int,
          settings: Mapping[str, Any]) -> Stage:
    """The contrastive stage.

    Args:
      recipe: what to train.
      arrays: "x" [U, N, F], "mask" [U, N], "index" [U], "group" [U] of the whole corpus.
      rows: the utterances to train on.
      seed: draws the order of the batches.
      settings: names the training, for resuming.
    """
    per_epoch = data.steps_per_epoch(len(rows), recipe.batch_size)
    steps = per_epoch * recipe.epochs
    return Stage(name="contrastive", steps=steps, steps_per_epoch=per_epoch,
                 batch=batches_of(arrays, rows, recipe.batch_size, seed),
                 init=model.initializer(recipe.settings, recipe.knobs), loss=model.contrastive_loss(recipe.settings),
                 optimizer=optim.make(steps=steps, **dict(recipe.optimizer)), settings=settings)


class Encoder(Trainings):
    """Trains encoders on chosen utterances of a corpus and embeds all of it.

    Args:
      recipe: what to train.
      arrays: see `arrays`; what is trained on.
      readout: the same for what is embedded, perhaps with more nodes.
      identity: JSON-like; what made the arrays.
      store, manner: see `Trainings`.
    """

    def __init__(self, recipe: Recipe, arrays: Mapping[str, np.ndarray], readout: Mapping[str, np.ndarray],
                 identity: Mapping[str, Any], store: Path, manner: Manner):
        super().__init__(lambda rows, seed, settings: stage(recipe, arrays, rows, seed, settings),
                         {**recipe.as_dict(), **identity}, store, manner)
        self._recipe = recipe
        self.readout = readout

    def embed(self, variables: Variables) -> np.ndarray:
        """Embeddings of the whole corpus, [U, D] float32."""
        arrays = {name: self.readout[name] for name in ("x", "mask", "index")}
        return parallel.apply_in_batches(model.embedder(self._recipe.settings), variables, arrays, EMBED_BATCH)


def parameter_count(variables: Variables) -> int:
    """How many numbers are trained."""
    return parallel.numbers_in(variables["params"])
