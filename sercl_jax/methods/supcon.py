"""Cross-corpus SupCon as a method (Xiang): the stages contrastive, finetune and classifier, made of typed settings.

All of them read what the frozen part of the encoder has made of the corpora, see `encodings`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax import bucketed, encodings, optim, pair_losses, parallel, resident
from sercl_jax.encoders import Encoder, Params
from sercl_jax.encodings import Mixture
from sercl_jax.graphs import utterance_keys
from sercl_jax.methods.schedules import Schedule
from sercl_jax.methods.supcon_recipes import Contrast, FineTuning, Recipe
from sercl_jax.models.attentive import AttentivePooling, Classifier
from sercl_jax.sampling import EmotionPairs, EpochBatches
from sercl_jax.types import Batch, Input, Metrics, Stage, Variables

PREDICT_BATCH = 32
_CUTS = 0x5eed  # tells the draws of cuts from those of the batches


# The first stage: pairs of utterances of all corpora.

@functools.lru_cache(maxsize=16)
def contrastive_loss(encoder: Encoder, contrast: Contrast) -> Callable[..., tuple[jax.Array, Metrics]]:
    """L_c and L_m over the whole batch of all devices, on the pooled vectors."""
    def loss(variables: Variables, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        pooled = _pooled(encoder, variables["params"], batch, key)
        x, positive, half = parallel.gather((pooled, batch["positive"], batch["half"]))
        contrasted, found = pair_losses.contrastive(x, positive, temperature=contrast.temperature)
        kept, more = pair_losses.cosine_margin(x, positive, half, alpha=contrast.alpha, margin=contrast.margin,
                                               pairing=contrast.pairing)
        return contrast.contrast_weight * contrasted + contrast.margin_weight * kept, {**more, **found}

    return loss


def _pooled(encoder: Encoder, params: Params, batch: Batch, key: jax.Array) -> jax.Array:
    layers = encoder.layers(params["encoder"], batch["x"], batch["mask"], utterance_keys(key, batch["index"]),
                            jax.random.fold_in(key, 2**32 - 1))
    pooled: Any = AttentivePooling().apply({"params": params["pooling"]}, layers[-1], batch["mask"])
    return pooled


def contrastive_stage(recipe: Recipe, rate: float, encoder: Encoder, start: Params, mixture: Mixture,
                      train: Sequence[np.ndarray], labels: Sequence[np.ndarray], seed: int,
                      settings: Mapping[str, Any]) -> Stage:
    """The trained part of an encoder, and a pooling, by contrast of emotions across corpora.

    Args:
      recipe: what to train.
      rate: the learning rate.
      encoder: the network.
      start: parameters of its trained part to begin with.
      mixture: what its frozen part has made of the corpora.
      train: for each corpus the utterances to train on, as positions in that corpus; none if it takes no part.
      labels: for each corpus the emotions of all its utterances.
      seed: draws the batches.
      settings: names the training, for resuming.
    """
    tuning = recipe.contrastive
    learns = [c for c, rows in enumerate(train) if len(rows)]
    pairs = EmotionPairs([labels[c][train[c]] for c in learns], tuning.schedule.batch_size, seed,
                         halves=recipe.halves)
    places = [mixture.first[c] + train[c] for c in learns]
    cut = _cutter(mixture, encoder, tuning.seconds, seed)

    def draw(step: int) -> dict[str, np.ndarray]:
        drawn = pairs(step)
        rows = np.array([places[c][i] for c, i in zip(drawn.corpus, drawn.row, strict=True)], np.int32)
        return {**cut(step, rows), "positive": drawn.positive, "half": drawn.half}

    per_epoch, steps = tuning.schedule.steps(sum(map(len, train)))
    return Stage(name="contrastive", steps=steps, steps_per_epoch=per_epoch,
                 batch=Input(draw, functools.partial(_read, mixture)),
                 init=_initializer(encoder, start), loss=contrastive_loss(encoder, recipe.contrast),
                 optimizer=_optimizer(tuning, rate, steps),
                 settings={**settings, "contrast": asdict(recipe.contrast), "halves": recipe.halves, "rate": rate,
                           "tuning": asdict(tuning), "encoder": encoder.facts()})


def _initializer(encoder: Encoder, start: Params, **heads: Any) -> Callable[..., dict[str, Any]]:
    """`init(key, batch)` -> {"params": encoder, pooling and heads}; heads are modules on pooled vectors."""
    def init(key: jax.Array, first: Batch) -> dict[str, Any]:
        h = encoder.layers(start, first["x"][:1], first["mask"][:1])[-1]
        return {"params": {"encoder": start, **_heads(key, h, first["mask"][:1], heads)}}

    return init


def _heads(key: jax.Array, h: jax.Array, mask: Any, heads: Mapping[str, Any]) -> dict[str, Any]:
    made = {"pooling": AttentivePooling().init(key, h, mask)["params"]}
    pooled = jnp.zeros((1, h.shape[-1]))
    return made | {name: head.init(jax.random.fold_in(key, number + 1), pooled)["params"]
                   for number, (name, head) in enumerate(heads.items())}


def _cutter(mixture: Mixture, encoder: Encoder, seconds: float,
            seed: int) -> Callable[[int, np.ndarray], dict[str, np.ndarray]]:
    """(step, rows) -> "mask", as short as holds them, "index", and "place", drawn for the step, where to cut."""
    most = encoder.frames(round(seconds * 16_000))
    allowed = [n for n in encodings.lengths(encoder) if n < most] + [most]

    def draw(step: int, rows: np.ndarray) -> dict[str, np.ndarray]:
        length = bucketed.length(int(mixture.counts[rows].max()), allowed)
        places = np.random.default_rng((seed, step, _CUTS)).random(len(rows))
        return {"mask": mixture.mask(rows, length), "index": np.asarray(rows, np.int32), "place": places}

    return draw


def _read(mixture: Mixture, drawn: Batch) -> dict[str, Any]:
    """What was drawn with a cutter, with "x"."""
    made = mixture.padded(drawn["index"], drawn["mask"].shape[1], drawn["place"])
    return {**{name: values for name, values in drawn.items() if name != "place"}, **made}


def _optimizer(tuning: FineTuning, rate: float, steps: int) -> Any:
    made = optim.make(steps=max(steps // tuning.accumulate, 1), **dict(tuning.schedule.at(rate).optimizer))
    scaled = optim.freeze(made, (("encoder/.*", tuning.encoder_rate), (".*", 1.0)))
    return optim.accumulate(scaled, tuning.accumulate)


# Cross entropy: of the encoder with its classifier, or of a classifier on what does not change any more.

@functools.lru_cache(maxsize=16)
def finetune_loss(encoder: Encoder, hidden: int, classes: int) -> Callable[..., tuple[jax.Array, Metrics]]:
    """Cross entropy of encoder, pooling and classifier."""
    def loss(variables: Variables, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        params = variables["params"]
        return _cross_entropy(Classifier(classes, hidden), params, _pooled(encoder, params, batch, key), batch)

    return loss


@functools.lru_cache(maxsize=16)
def classifier_loss(hidden: int, classes: int) -> Callable[..., tuple[jax.Array, Metrics]]:
    """Cross entropy of pooling and classifier, on frames of an encoder that does not train."""
    def loss(variables: Variables, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        del key
        params = variables["params"]
        pooled = AttentivePooling().apply({"params": params["pooling"]}, batch["x"], batch["mask"])
        return _cross_entropy(Classifier(classes, hidden), params, pooled, batch)

    return loss


def _cross_entropy(head: Classifier, params: Params, pooled: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
    """Averaged over the valid utterances of all devices."""
    logits: Any = head.apply({"params": params["classifier"]}, pooled)
    each = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, batch["class"][:, None], 1)[:, 0]
    valid = batch["valid"].astype(jnp.float32)
    right = (jnp.argmax(logits, -1) == batch["class"]) * valid
    total, count = parallel.psum((jnp.sum(each * valid), jnp.sum(valid)))
    return total / jnp.maximum(count, 1), {"accuracy": (jnp.sum(right), jnp.sum(valid))}


def finetune_stage(recipe: Recipe, rate: float, encoder: Encoder, start: Params, mixture: Mixture, rows: np.ndarray,
                   numbers: np.ndarray, classes: int, seed: int, settings: Mapping[str, Any]) -> Stage:
    """The trained part of an encoder, a pooling and a classifier, by cross entropy.

    Args:
      rows: utterances of the mixture to train on.
      numbers: [U] class of every utterance of the mixture.
      classes: how many there are.
      recipe, rate, encoder, start, mixture, seed, settings: as in `contrastive_stage`.
    """
    tuning = recipe.finetune
    cut = _cutter(mixture, encoder, tuning.seconds, seed)
    order = EpochBatches(mixture.counts[rows], tuning.schedule.batch_size, seed)

    def draw(step: int) -> dict[str, np.ndarray]:
        positions, valid = order(step)
        chosen = rows[positions]
        return {**cut(step, chosen), "class": numbers[chosen].astype(np.int32), "valid": valid}

    steps = order.steps_per_epoch * tuning.schedule.epochs
    return Stage(name="finetune", steps=steps, steps_per_epoch=order.steps_per_epoch,
                 batch=Input(draw, functools.partial(_read, mixture)),
                 init=_initializer(encoder, start, classifier=Classifier(classes, recipe.hidden)),
                 loss=finetune_loss(encoder, recipe.hidden, classes), optimizer=_optimizer(tuning, rate, steps),
                 settings={**settings, "hidden": recipe.hidden, "rate": rate, "tuning": asdict(tuning),
                           "encoder": encoder.facts()})


def classifier_stage(schedule: Schedule, hidden: int, mixture: Mixture, lengths: Sequence[int], rows: np.ndarray,
                     numbers: np.ndarray, classes: int, pooling: Params | None, seed: int,
                     settings: Mapping[str, Any]) -> Stage:
    """Pooling and classifier on the frames of an encoder that is done.

    Args:
      schedule: how long and how fast.
      hidden: width of the classifier's first layer.
      mixture: the encoder's last layer.
      lengths: what batches may be padded to.
      rows: utterances to train on.
      numbers: [U] class of every utterance.
      classes: how many there are.
      pooling: parameters to begin with; None for new ones.
      seed: draws the order of the batches and the new parameters.
      settings: names the training, for resuming.
    """
    order = EpochBatches(mixture.counts[rows], schedule.batch_size, seed)

    def draw(step: int) -> dict[str, np.ndarray]:
        positions, valid = order(step)
        chosen = rows[positions].astype(np.int32)
        length = bucketed.length(int(mixture.counts[chosen].max()), lengths)
        return {"row": chosen, "mask": mixture.mask(chosen, length), "class": numbers[chosen].astype(np.int32),
                "valid": valid}

    def read(drawn: Batch) -> dict[str, Any]:
        made = mixture.padded(drawn["row"], drawn["mask"].shape[1])
        return {**made, "class": drawn["class"], "valid": drawn["valid"]}

    def init(key: jax.Array, first: Batch) -> dict[str, Any]:
        made = _heads(key, jnp.asarray(first["x"][:1]), first["mask"][:1],
                      {"classifier": Classifier(classes, hidden)})
        return {"params": made if pooling is None else {**made, "pooling": pooling}}

    steps = order.steps_per_epoch * schedule.epochs
    return Stage(name="classifier", steps=steps, steps_per_epoch=order.steps_per_epoch, init=init,
                 batch=Input(draw, read, _classifier_batch,
                             resident.arrays(mixture.parts[0]) if len(mixture.parts) == 1 else None),
                 loss=classifier_loss(hidden, classes), optimizer=optim.make(steps=steps, **dict(schedule.optimizer)),
                 settings={**settings, "hidden": hidden, "schedule": asdict(schedule)})


def _classifier_batch(lying: Mapping[str, Any], drawn: Batch) -> dict[str, Any]:
    kept = {name: drawn[name] for name in ("mask", "class", "valid")}
    return {**kept, "x": resident.padded(lying, drawn["row"], drawn["mask"])}


def classify(mixture: Mixture, lengths: Sequence[int], rows: np.ndarray, params: Params, hidden: int,
             classes: int) -> np.ndarray:
    """[len(rows), K] logits of a classifier on the encoder's last layer."""
    def padded(chosen: np.ndarray, length: int) -> dict[str, np.ndarray]:
        return mixture.padded(rows[chosen], length)

    heads = {name: params[name] for name in ("pooling", "classifier")}
    return np.stack(list(bucketed.in_order(mixture.counts[rows], lengths, padded, _classifier(hidden, classes), heads,
                                           batch_size=PREDICT_BATCH, description="Classifying", progress=False)))


@functools.lru_cache(maxsize=16)
def _classifier(hidden: int, classes: int) -> Callable[[Params, Batch], jax.Array]:
    def predict(params: Params, batch: Batch) -> jax.Array:
        pooled = AttentivePooling().apply({"params": params["pooling"]}, batch["x"], batch["mask"])
        logits: Any = Classifier(classes, hidden).apply({"params": params["classifier"]}, pooled)
        return logits

    return predict
