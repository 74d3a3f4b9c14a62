"""Stages of each method on random data in memory, for what is measured of the training loop itself."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sercl_jax.types import Stage

SEED = 0
MANY = 10**6  # epochs: a stage must not end before its benchmark
KINDS = ("serugcl", "recognizer", "cpc", "supcon")
SIZES: dict[str, dict[str, dict[str, int]]] = {
    # SERUGCL: utterances, nodes, width of the encoders. Recognizer: frames of 40 numbers. CPC: channels and context.
    "tiny": {"serugcl": {"utterances": 32, "batch": 8, "nodes": 12, "hidden": 8},
             "recognizer": {"utterances": 32, "batch": 8, "frames": 25, "hidden": 8},
             "cpc": {"utterances": 32, "batch": 8, "milliseconds": 200, "hidden": 8},
             "supcon": {"utterances": 32, "batch": 8, "frames": 20}},
    "small": {"serugcl": {"utterances": 256, "batch": 16, "nodes": 40, "hidden": 32},
              "recognizer": {"utterances": 256, "batch": 16, "frames": 100, "hidden": 32},
              "cpc": {"utterances": 64, "batch": 8, "milliseconds": 1000, "hidden": 32},
              "supcon": {"utterances": 64, "batch": 8, "frames": 50}},
    "full": {"serugcl": {"utterances": 512, "batch": 64, "nodes": 120, "hidden": 128},
             "recognizer": {"utterances": 512, "batch": 64, "frames": 400, "hidden": 128},
             "cpc": {"utterances": 128, "batch": 64, "milliseconds": 10_000, "hidden": 256},
             "supcon": {"utterances": 128, "batch": 16, "frames": 200}},
}


def make(kind: str, size: dict[str, int]) -> "Stage":
    """A stage that never validates.

    Args:
      kind: one of `KINDS`.
      size: see `SIZES`.
    """
    makers: dict[str, Callable[..., Stage]] = {"serugcl": _serugcl, "recognizer": _recognizer, "cpc": _cpc,
                                               "supcon": _supcon}
    return makers[kind](**size)


def _schedule(batch: int) -> Any:
    from sercl_jax.methods.schedules import Schedule

    return Schedule(batch, MANY, (("learning_rate", 1e-3), ("name", "adam")))


def _serugcl(utterances: int, batch: int, nodes: int, hidden: int) -> "Stage":
    from sercl_jax.methods import serugcl
    from sercl_jax.models.serugcl import Knobs, SerugclSettings

    x = np.random.default_rng(SEED).normal(size=(utterances, nodes, 76)).astype(np.float32)
    arrays = serugcl.arrays(x, np.ones((utterances, nodes), bool), np.array([""] * utterances))
    schedule = _schedule(batch)
    recipe = serugcl.Recipe(SerugclSettings(hidden=hidden, projection=hidden), Knobs(), batch, MANY,
                            schedule.optimizer)
    return serugcl.stage(recipe, arrays, np.arange(utterances), SEED, {})


def _frames(utterances: int, count: int, width: int) -> Any:
    from sercl_jax.types import Frames

    values = np.random.default_rng(SEED).normal(size=(utterances * count, width)).astype(np.float32)
    return Frames(values, np.arange(utterances + 1, dtype=np.int64) * count, tuple(map(str, range(width))), 0.01, "")


def _recognizer(utterances: int, batch: int, frames: int, hidden: int) -> "Stage":
    import dataclasses

    from sercl_jax.methods import cpc
    from sercl_jax.methods.cpc_recipes import Recognition
    from sercl_jax.models.recognizer import RecognizerSettings

    rows = np.arange(utterances)
    targets = cpc.Targets.of(np.random.default_rng(SEED).normal(size=(utterances, 3)), rows)
    recipe = Recognition(RecognizerSettings(hidden=hidden), _schedule(batch), frames * 0.01)
    stage = cpc.recognizer_stage(recipe, _frames(utterances, frames, 40), targets, rows, rows, SEED, {},
                                 standardise=False)
    return dataclasses.replace(stage, validate=None, validate_every=0)


class _Noise:
    def __init__(self, utterances: int, samples: int):
        self._values = np.random.default_rng(SEED).integers(-3000, 3000, (utterances, samples), np.int16)

    def waveform(self, u: int) -> np.ndarray:
        found: np.ndarray = self._values[u]
        return found


def _cpc(utterances: int, batch: int, milliseconds: int, hidden: int) -> "Stage":
    from sercl_jax.methods import cpc
    from sercl_jax.methods.cpc_recipes import Pretraining
    from sercl_jax.models.cpc import CpcSettings

    settings = CpcSettings(channels=max(hidden // 2, 4), context=hidden)
    recipe = Pretraining(settings, _schedule(batch), milliseconds / 1000, "random")
    corpus = _Noise(utterances, milliseconds * 16)
    return cpc.pretrain_stage(recipe, corpus, np.arange(utterances), np.arange(0), SEED, {})


def _supcon(utterances: int, batch: int, frames: int) -> "Stage":
    from sercl_jax import encoders
    from sercl_jax.encodings import Mixture
    from sercl_jax.methods import supcon
    from sercl_jax.methods.supcon_recipes import Contrast, FineTuning, Recipe

    encoder, params = encoders.load("tiny", "", SEED, dtype="float32", remat=False)
    _, trained = encoder.split(params)
    width: int = encoder.config.hidden_size  # type: ignore[attr-defined]
    tuning = FineTuning(schedule=_schedule(batch), rates=(1e-3,), encoder_rate=1.0, seconds=frames / 50, accumulate=1)
    recipe = Recipe(contrastive=tuning, finetune=tuning, classifier=_schedule(batch), contrast=Contrast(),
                    halves="corpus", hidden=8)
    labels = np.array(["angry", "sad"] * (utterances // 2))
    return supcon.contrastive_stage(recipe, 1e-3, encoder, trained, Mixture([_frames(utterances, frames, width)]),
                                    [np.arange(utterances)], [labels], SEED, {})
