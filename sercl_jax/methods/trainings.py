"""Trainings of one stage on chosen utterances of a corpus, each done once and kept under a name of its own."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import data, files, train
from sercl_jax.types import Batch, Input, Stage, Variables


@dataclass(frozen=True)
class Manner:
    """How trainings are done; nothing of it changes what they end with. See `train.run`.

    Attributes:
      checkpoint_every: steps; 0 for about ten times in a training.
    """

    log_every: int
    checkpoint_every: int
    resident: str = "auto"
    steps_per_dispatch: int = 0
    progress: bool = True

    @classmethod
    def of(cls, config: ConfigDict, progress: bool) -> "Manner":
        """As `config.train` says."""
        knobs = config.train
        return cls(knobs.log_every, knobs.checkpoint_every, knobs.resident, knobs.steps_per_dispatch, progress)


class Trainings:
    """Parameters before and after training on chosen utterances.

    Trainings lie in `store` under a name made of everything that decides them, so that rows of a table that share
    one find it there, and a run that was killed goes on.

    Args:
      stage: (rows, seed, settings) -> the stage that trains on these utterances, named by the settings for resuming.
      identity: JSON-like; what decides a training beside rows and seed.
      store: folder of trainings.
      manner: how they are done.
    """

    def __init__(self, stage: Callable[[np.ndarray, int, Mapping[str, Any]], Stage], identity: Mapping[str, Any],
                 store: Path, manner: Manner):
        self._make, self._identity, self._store, self._manner = stage, dict(identity), store, manner
        self.train_seconds = 0.0

    def directory(self, rows: np.ndarray, seed: int) -> Path:
        """Where the training on these rows with this seed lies."""
        return self._store / f"seed{seed}-{files.digest(self._settings(rows, seed))}"

    def _settings(self, rows: np.ndarray, seed: int) -> dict[str, Any]:
        return {**self._identity, "rows": files.digest(rows.tolist()), "seed": seed}

    def _stage(self, rows: np.ndarray, seed: int) -> Stage:
        return self._make(rows, seed, self._settings(rows, seed))

    def trained(self, rows: np.ndarray, seed: int) -> Variables:
        """Variables after training on the rows; resumes or reuses what is in the store."""
        stage, manner = self._stage(rows, seed), self._manner
        result = train.run(stage, workdir=self.directory(rows, seed), seed=seed, log_every=manner.log_every,
                           checkpoint_every=manner.checkpoint_every or max(stage.steps // 10, 1),
                           progress=manner.progress, resident=manner.resident,
                           steps_per_dispatch=manner.steps_per_dispatch)
        self.train_seconds += result.seconds
        return result.variables

    def untrained(self, rows: np.ndarray, seed: int) -> Variables:
        """The variables that the same training starts from."""
        start = self._stage(rows, seed)
        return start.init(train.init_key(seed), start.batch(0))


def batches_of(arrays: Mapping[str, np.ndarray], rows: np.ndarray, batch_size: int, seed: int) -> Input:
    """Batches of the rows of arrays [U, ...], in shuffled epochs, with "valid" [B] for what is no padding."""
    order = data.batches(len(rows), batch_size, seed)

    def draw(step: int) -> dict[str, np.ndarray]:
        positions, valid = order(step)
        return {"row": rows[positions].astype(np.int32), "valid": valid}

    return Input(draw, functools.partial(pick, arrays), pick, arrays)


def pick(arrays: Mapping[str, Any], drawn: Batch) -> dict[str, Any]:
    """The rows "row" of all arrays, and "valid" as it is."""
    return {name: values[drawn["row"]] for name, values in arrays.items()} | {"valid": drawn["valid"]}


def arrays(x: np.ndarray, mask: np.ndarray, speakers: np.ndarray) -> dict[str, np.ndarray]:
    """What batches are cut from: nodes, mask, and the number and speaker of every utterance.

    Args:
      x: [U, N, F] standardised nodes.
      mask: [U, N].
      speakers: [U] names.
    """
    group = np.unique(speakers, return_inverse=True)[1].astype(np.int32)
    return {"x": x, "mask": mask, "index": np.arange(len(x), dtype=np.int32), "group": group}
