"""A recognizer of activation, valence and dominance: recordings to ratings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from sercl_jax import waveforms
from sercl_jax.errors import UserError
from sercl_jax.features import jax_is10
from sercl_jax.inference import contexts, inputs, origin
from sercl_jax.inference.card import RATINGS, Card
from sercl_jax.inference.inputs import AnyInputs, FrameInputs, WaveformInputs
from sercl_jax.inference.origin import Origin
from sercl_jax.inference.pipeline import EMBEDDING, RATING, Pipeline
from sercl_jax.models.cpc import HOP, CpcSettings
from sercl_jax.models.recognizer import Recognizer, RecognizerSettings, mean_and_deviation
from sercl_jax.types import Batch, Variables

Described = Callable[[Variables, Batch], tuple[jax.Array, jax.Array]]

# Features that are made inside the program, and the samples that a number of frames need beyond that many hops.
ON_DEVICE = {"logmel": (jax_is10.log_mel, 2 * HOP), "is10_jax": (jax_is10.describe, 5 * HOP)}


def pipeline(workdir: Path, seed: int = 0) -> Pipeline:
    """The final model of a run with setup=sup, joint, mini, pre or all.

    Ratings are of the dimensions that the corpus rates, on its own scale and not clipped to it. An utterance's
    embedding is what the recognizer pools: mean and standard deviation over time of what its attention gives [2 F];
    its frames are CPC's context, if it has one.

    Args:
      workdir: of the run.
      seed: not used: a run has one final model.

    Raises:
      UserError: no model, or a damaged one, or one whose features recordings alone do not tell.
    """
    del seed
    found = origin.read(workdir)
    settings = found.metadata["settings"]
    recognizer = Recognizer(RecognizerSettings(**settings["recognizer"]))
    cpc = CpcSettings(**settings["cpc"]) if "cpc" in settings else None
    if cpc is None:
        taken, describe = _features(found)
    else:
        taken, describe = WaveformInputs(tuple(hops * HOP for hops in _lengths(_longest(found)))), _contexts(cpc)

    labels = _labels(found)
    rated = [found.metadata["targets"].index(name) for name in labels]

    def apply(variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        x, mask = describe(variables, batch)
        if "statistics" in variables["recognizer"]:
            statistics = variables["recognizer"]["statistics"]
            x = (x - statistics["mean"][None, None]) / statistics["scale"][None, None]
        predicted, pooled = recognize(recognizer, variables["recognizer"]["params"], x, mask)
        ratings = predicted * variables["targets"]["scale"][None] + variables["targets"]["mean"][None]
        return {RATING: jnp.stack([ratings[:, a] for a in rated], 1), EMBEDDING: pooled}

    def frames(variables: Variables, batch: Batch) -> jax.Array:
        return describe(variables, batch)[0]

    variables = {**found.variables, "targets": found.arrays_of("targets/")}
    return Pipeline(_card(found, labels, cpc), taken, apply, variables, None if cpc is None else frames)


def recognize(recognizer: Recognizer, params: Variables, x: jax.Array,
              mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Standardised ratings [B, A], and the mean and deviation that they are made of [B, 2 F]."""
    found: Any = recognizer.apply({"params": params}, x, mask, mutable=["intermediates"],
                                  capture_intermediates=lambda module, _: module.name == "output")
    predicted, kept = found
    mixed = kept["intermediates"]["output"]["__call__"][0].astype(jnp.float32)
    return predicted, mean_and_deviation(mixed.reshape(*mask.shape, -1), mask)


def _labels(found: Origin) -> tuple[str, ...]:
    """What it has learned: the dimensions that its corpus rates; of a model of before, all."""
    targets = found.metadata["targets"]
    return tuple(name for name in targets if name in found.metadata.get("range", targets))


def _longest(found: Origin) -> float:
    """Seconds that its training cut utterances to; only what trains with its CPC does not standardise."""
    section = "recognizer" if "statistics" in found.variables["recognizer"] else "joint"
    return float(found.config[section]["seconds"])


def _lengths(longest: float) -> list[int]:
    """Frames that batches are padded to; a recognizer knows nothing longer than its training cut utterances to."""
    most = waveforms.num_samples(longest) // HOP
    return [*(frames for frames in inputs.FRAMES if frames < most), most]


def _contexts(settings: CpcSettings) -> Described:
    made = contexts.context(settings)
    return lambda variables, batch: made(variables["cpc"], batch)


def _features(found: Origin) -> tuple[AnyInputs, Described]:
    features, lengths = found.config["features"], _lengths(_longest(found))
    if features in ON_DEVICE:
        function, rest = ON_DEVICE[features]
        return (WaveformInputs(tuple(frames * HOP + rest for frames in lengths)),
                lambda variables, batch: function(batch["waveform"], batch["samples"]))
    if "cpc" in features.split("+"):
        raise UserError(f"{found.workdir}: was trained on features={features}, whose CPC is not part of its model; "
                        "train with features=logmel, or with setup=pre.")
    return FrameInputs(features, tuple(lengths)), lambda variables, batch: (batch["x"], batch["mask"])


def _card(found: Origin, labels: tuple[str, ...], cpc: CpcSettings | None) -> Card:
    ranges = [f"; there {name} goes from {low:g} to {high:g}" for name, (low, high) in
              found.metadata.get("range", {}).items()]
    note = f"Ratings are on the scale of the training corpus and not clipped to it{''.join(ranges)}."
    width = found.variables["recognizer"]["params"]["output"]["kernel"].shape[-1]
    return Card(method="cpc", kind=RATINGS, labels=labels, corpus=found.corpus,
                embedding=2 * width, seconds=min(found.seconds, _longest(found)),
                trim=found.trim, notes=(*found.notes(), note),
                frames=cpc.context if cpc else 0, frame_hop=HOP, frame_reach=HOP, facts=found.facts())
