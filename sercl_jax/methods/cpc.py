"""CPC as a method (Li et al. 2021): the stages pretrain, recognizer and joint, made of typed settings."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np

from sercl_jax import data, losses, metrics, optim, parallel, resident, waveforms
from sercl_jax.graphs import utterance_keys
from sercl_jax.methods.cpc_recipes import Pretraining, Recognition
from sercl_jax.models import cpc as model
from sercl_jax.models.recognizer import Recognizer, RecognizerSettings
from sercl_jax.padded import PaddedFrames
from sercl_jax.types import Batch, Frames, Input, Metrics, Stage, Variables

PREDICT_BATCH = 32
HELD_OUT_MOST = 256  # utterances that follow a pre-training; more would only take time


@dataclass(frozen=True)
class Targets:
    """Ratings of a whole corpus.

    Attributes:
      values: [U, A] float32, NaN where unrated.
      mean, scale: [A] of the training utterances; the network learns (values - mean) / scale, which changes no CCC.
    """

    values: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, train: np.ndarray) -> "Targets":
        """Takes the statistics of the rows `train`; a dimension without a rating there stays as it is."""
        mean, deviation = np.zeros(values.shape[1]), np.ones(values.shape[1])
        for a, column in enumerate(values[train].T):
            rated = column[np.isfinite(column)]
            if len(rated):
                mean[a], deviation[a] = rated.mean(), rated.std() or 1.0
        return cls(values.astype(np.float32), mean.astype(np.float32), deviation.astype(np.float32))

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """"target" [B, A], standardised and 0 where unrated, and "rated" [B, A] bool."""
        target = (self.values[rows] - self.mean) / self.scale
        rated = np.isfinite(target)
        return {"target": np.where(rated, target, 0.0).astype(np.float32), "rated": rated}

    def restore(self, predicted: np.ndarray) -> np.ndarray:
        """[U, A] from standardised to the corpus' own scale."""
        return predicted * self.scale + self.mean


# Pre-training.

def pretrain_stage(recipe: Pretraining, corpus: waveforms.Waveforms, train: np.ndarray, held_out: np.ndarray,
                   seed: int, settings: Mapping[str, Any]) -> Stage:
    """Contrastive predictive coding on unlabelled waveforms.

    Args:
      recipe: what to train.
      corpus: where waveforms come from.
      train: utterances to train on.
      held_out: utterances, best of other speakers, by which training is followed and the best epoch is chosen; the
        log has the share of identified steps on them. May be empty: then the last step counts.
      seed: draws the order of the batches.
      settings: names the training, for resuming.
    """
    schedule = recipe.schedule
    per_epoch, steps = schedule.steps(len(train))
    batch = waveforms.batches(corpus, train, batch_size=schedule.batch_size, seconds=recipe.seconds,
                              crop=recipe.crop, seed=seed)
    validate = None
    if len(held_out):
        arrays = identification_batch(corpus, spread(held_out), recipe.seconds)

        def validate(variables: Variables) -> dict[str, float]:
            by_step = np.nanmean(identified(recipe.settings, variables, arrays).astype(np.float64), 0)
            return {"score": float(by_step.mean()), "held_out_identified_1": float(by_step[0]),
                    "held_out_identified": float(by_step.mean())}

    return Stage(name="pretrain", steps=steps, steps_per_epoch=per_epoch, batch=batch,
                 init=model.initializer(recipe.settings), loss=model.cpc_loss(recipe.settings),
                 optimizer=optim.make(steps=steps, **dict(schedule.optimizer)), validate=validate,
                 validate_every=per_epoch, settings={**settings, "pretraining": asdict(recipe)})


def spread(rows: np.ndarray, most: int = HELD_OUT_MOST) -> np.ndarray:
    """At most so many of these rows, at even distances: the first of them would be those of a few speakers."""
    return rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]


def identification_batch(corpus: waveforms.Waveforms, rows: np.ndarray, seconds: float) -> dict[str, np.ndarray]:
    """The beginnings of these utterances as one batch, for `identified`."""
    samples = waveforms.num_samples(seconds)
    made = [waveforms.fit(corpus.waveform(int(u)), samples) for u in rows]
    return {"waveform": np.stack([waveform for waveform, _ in made]),
            "frames": np.array([frames for _, frames in made], np.int32),
            "index": np.asarray(rows, np.int32), "valid": np.ones(len(rows), bool)}


def identified(settings: model.CpcSettings, variables: Variables, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """[U, K] how often the frame k steps ahead is told from the negatives; NaN where an utterance has none."""
    return parallel.apply_in_batches(model.identifier(settings), variables, arrays, PREDICT_BATCH)


# Recognizers of ratings.

@functools.lru_cache(maxsize=16)
def recognizer_loss(settings: RecognizerSettings) -> Callable[..., tuple[jax.Array, Metrics]]:
    """CCC loss over the whole batch of all devices; dropout is drawn by utterance."""
    recognizer = Recognizer(settings)

    def loss(variables: Variables, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        x = _standardised(variables, batch["x"])
        predicted: Any = recognizer.apply({"params": variables["params"]}, x, batch["mask"],
                                          utterance_keys(key, batch["index"]))
        return _global_ccc(predicted, batch)

    return loss


@functools.lru_cache(maxsize=16)
def recognizer_predictor(settings: RecognizerSettings) -> Callable[[Variables, Batch], jax.Array]:
    """(variables, batch of "x" [B, T, F] and "mask" [B, T]) -> [B, A] standardised ratings."""
    recognizer = Recognizer(settings)

    def predict(variables: Variables, batch: Batch) -> jax.Array:
        x = _standardised(variables, batch["x"])
        predicted: Any = recognizer.apply({"params": variables["params"]}, x, batch["mask"])
        return predicted

    return predict


def _standardised(variables: Variables, x: jax.Array) -> jax.Array:
    statistics = variables["statistics"]
    return (x - statistics["mean"][None, None]) / statistics["scale"][None, None]


def _global_ccc(predicted: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
    everywhere = parallel.gather({"predicted": predicted, "target": batch["target"],
                                  "rated": batch["rated"] & batch["valid"][:, None]})
    return losses.ccc_loss(**everywhere)


def recognizer_stage(recipe: Recognition, frames: Frames, targets: Targets, train: np.ndarray, valid: np.ndarray,
                     seed: int, settings: Mapping[str, Any], *, standardise: bool) -> Stage:
    """A recognizer on frames that don't change: log mel energies, or the context of a frozen CPC.

    Args:
      recipe: what to train.
      frames: of the whole corpus.
      targets: ratings of the whole corpus.
      train: utterances to train on.
      valid: those by which the best epoch is chosen, by CCC averaged over the rated dimensions.
      seed: draws the order of the batches.
      settings: names the training, for resuming.
      standardise: whether frames are standardised by mean and deviation of the training utterances.
    """
    schedule = recipe.schedule
    per_epoch, steps = schedule.steps(len(train))
    order = data.batches(len(train), schedule.batch_size, seed)
    padded = PaddedFrames(frames, recipe.seconds)
    recognizer = Recognizer(recipe.settings)
    mean, scale = padded.statistics(train) if standardise else (np.zeros(padded.width), np.ones(padded.width))
    statistics = {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}

    def draw(step: int) -> dict[str, np.ndarray]:
        positions, whole = order(step)
        rows = train[positions]
        return {"mask": padded.mask(rows), **targets.batch(rows), "index": rows.astype(np.int32), "valid": whole}

    def read(drawn: Batch) -> dict[str, Any]:
        return {**drawn, **padded.batch(drawn["index"])}

    def init(key: jax.Array, first: Batch) -> dict[str, Any]:
        return {**recognizer.init(key, first["x"][:1], first["mask"][:1], None), "statistics": statistics}

    def validate(variables: Variables) -> float:
        return agreement(targets, valid, recognize(recipe, variables, frames, targets, valid))

    return Stage(name="recognizer", steps=steps, steps_per_epoch=per_epoch, init=init,
                 batch=Input(draw, read, _recognizer_batch, resident.arrays(frames)),
                 loss=recognizer_loss(recipe.settings), optimizer=optim.make(steps=steps, **dict(schedule.optimizer)),
                 validate=validate, validate_every=per_epoch,
                 settings={**settings, "recognition": asdict(recipe), "standardise": standardise})


def _recognizer_batch(lying: Mapping[str, Any], drawn: Batch) -> dict[str, Any]:
    return {**drawn, "x": resident.padded(lying, drawn["index"], drawn["mask"])}


def recognize(recipe: Recognition, variables: Variables, frames: Frames, targets: Targets,
              rows: np.ndarray) -> np.ndarray:
    """[len(rows), A] predicted ratings on the corpus' own scale."""
    arrays = PaddedFrames(frames, recipe.seconds).columns(rows)
    return targets.restore(parallel.apply_in_batches(recognizer_predictor(recipe.settings), variables, arrays,
                                                     PREDICT_BATCH))


def agreement(targets: Targets, rows: np.ndarray, predicted: np.ndarray) -> float:
    """CCC of these rows, averaged over the dimensions that any of them is rated in; 0 if there is none."""
    truth = targets.values[rows]
    found = [metrics.ccc(truth[:, a], predicted[:, a]) for a in range(truth.shape[1])
             if np.isfinite(truth[:, a]).any()]
    return float(np.mean(found)) if found else 0.0


# CPC and recognizer end to end.

@functools.lru_cache(maxsize=16)
def joint_loss(cpc: model.CpcSettings, settings: RecognizerSettings,
               weight: float) -> Callable[..., tuple[jax.Array, Metrics]]:
    """CCC loss of the recognizer on CPC's context, plus CPC's own loss times a weight."""
    network, recognizer = model.Cpc(cpc), Recognizer(settings)

    def loss(variables: Variables, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        params = variables["params"]
        made: Any = network.apply({"params": params["cpc"]}, model.samples(batch), batch["frames"],
                                  utterance_keys(key, batch["index"]), method="compare_and_context")
        sums, c = made
        predicted: Any = recognizer.apply({"params": params["recognizer"]}, c, _real(batch, c.shape[1]),
                                          utterance_keys(jax.random.fold_in(key, 1), batch["index"]))
        value, found = _global_ccc(predicted, batch)
        own, told = model.global_loss(cpc, sums, batch["valid"])
        return value + weight * own, {**found, **told}

    return loss


@functools.lru_cache(maxsize=16)
def joint_predictor(cpc: model.CpcSettings, settings: RecognizerSettings) -> Callable[[Variables, Batch], jax.Array]:
    """(variables, batch of "waveform" [B, S] and "frames" [B]) -> [B, A] standardised ratings."""
    network, recognizer = model.Cpc(cpc), Recognizer(settings)

    def predict(variables: Variables, batch: Batch) -> jax.Array:
        params = variables["params"]
        made: Any = network.apply({"params": params["cpc"]}, model.samples(batch))
        predicted: Any = recognizer.apply({"params": params["recognizer"]}, made[1], _real(batch, made[1].shape[1]))
        return predicted

    return predict


def _real(batch: Batch, length: int) -> jax.Array:
    """[B, T] bool: the frames of the utterance itself, without its repeats."""
    return jax.numpy.arange(length)[None, :] < batch["frames"][:, None]


def joint_stage(recipe: Recognition, cpc: model.CpcSettings, crop: str, corpus: waveforms.Waveforms,
                targets: Targets, train: np.ndarray, valid: np.ndarray, seed: int, settings: Mapping[str, Any], *,
                start: Variables | None = None) -> Stage:
    """CPC and recognizer trained together on labelled waveforms.

    Args:
      cpc: settings of the network.
      crop: where longer utterances are cut, see `waveforms.batches`.
      corpus: where waveforms come from.
      start: a pre-trained CPC to go on with; None for a new one.
      recipe, targets, train, valid, seed, settings: as in `recognizer_stage`.
    """
    schedule = recipe.schedule
    per_epoch, steps = schedule.steps(len(train))
    waves = waveforms.batches(corpus, train, batch_size=schedule.batch_size, seconds=recipe.seconds, crop=crop,
                              seed=seed)
    recognizer = Recognizer(recipe.settings)

    def read(drawn: Batch) -> dict[str, Any]:
        return {**waves.read(drawn), **targets.batch(drawn["index"])}

    def init(key: jax.Array, first: Batch) -> dict[str, Any]:
        network = model.initializer(cpc)(key, first) if start is None else start
        c = np.zeros((1, 1, cpc.context), np.float32)
        own = recognizer.init(jax.random.fold_in(key, 1), c, np.ones((1, 1), bool), None)["params"]
        return {"params": {"cpc": network["params"], "recognizer": own}}

    def validate(variables: Variables) -> float:
        return agreement(targets, valid, recognize_jointly(recipe, cpc, variables, corpus, targets, valid))

    return Stage(name="joint", steps=steps, steps_per_epoch=per_epoch, batch=Input(waves.draw, read), init=init,
                 loss=joint_loss(cpc, recipe.settings, recipe.cpc_weight),
                 optimizer=optim.make(steps=steps, **dict(schedule.optimizer)), validate=validate,
                 validate_every=per_epoch,
                 settings={**settings, "recognition": asdict(recipe), "cpc": asdict(cpc), "crop": crop})


def recognize_jointly(recipe: Recognition, cpc: model.CpcSettings, variables: Variables,
                      corpus: waveforms.Waveforms, targets: Targets, rows: np.ndarray) -> np.ndarray:
    """[len(rows), A] predicted ratings on the corpus' own scale, of the beginning of each utterance."""
    arrays = waveforms.columns(corpus, rows, recipe.seconds)
    predict = joint_predictor(cpc, recipe.settings)
    return targets.restore(parallel.apply_in_batches(predict, variables, arrays, PREDICT_BATCH))
