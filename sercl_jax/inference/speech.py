"""A speech encoder with pooling and classifier, adapted to emotions: recordings to class probabilities."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax import calibration
from sercl_jax.encoders import CpcEncoder, TransformerEncoder
from sercl_jax.inference import contexts, origin
from sercl_jax.inference.card import CLASSES, Card
from sercl_jax.inference.inputs import WaveformInputs
from sercl_jax.inference.origin import Origin
from sercl_jax.inference.pipeline import EMBEDDING, PROBABILITY, Pipeline
from sercl_jax.models import cpc
from sercl_jax.models.attentive import AttentivePooling, Classifier
from sercl_jax.models.speech_config import SpeechConfig, frames_of
from sercl_jax.types import Batch, Variables

_LARGE = 512  # width of a Transformer from which on half as many windows are computed at a time
AnyEncoder = TransformerEncoder | CpcEncoder


def pipeline(workdir: Path, seed: int = 0) -> Pipeline:
    """The final model of a run of configs/supcon.py, of any arm and encoder.

    An utterance's embedding is what the attentive pooling makes of the encoder's last layer [D]; its frames are that
    layer [T, D].

    Args:
      workdir: of the run.
      seed: not used: a run has one final model.

    Raises:
      UserError: no model, or a damaged one.
    """
    del seed
    found = origin.read(workdir)
    facts = found.metadata
    encoder = encoder_of(facts["encoder"])
    classifier = Classifier(len(facts["labels"]), facts["hidden"])
    frozen, trained = encoder.split(found.variables["encoder"]["params"])
    heads = found.variables["heads"]["params"]

    def last(variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array]:
        x = encoder.features(variables["frozen"], contexts.cleared(batch), batch["samples"])
        mask = contexts.mask_of(counts(encoder, batch["samples"]), x.shape[1])
        x = jnp.where(mask[..., None], x, 0)
        return encoder.layers(variables["trained"], x, mask)[-1].astype(jnp.float32), mask

    def apply(variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        h, mask = last(variables, batch)
        pooled: Any = AttentivePooling().apply({"params": variables["pooling"]}, h, mask)
        logits: Any = classifier.apply({"params": variables["classifier"]}, pooled)
        return {PROBABILITY: calibration.probabilities(variables["calibration"], logits), EMBEDDING: pooled}

    def frames(variables: Variables, batch: Batch) -> jax.Array:
        return last(variables, batch)[0]

    given = {"frozen": frozen, "trained": trained, "pooling": heads["pooling"], "classifier": heads["classifier"],
             "calibration": _calibration(found)}
    width = heads["pooling"]["vector"].shape[0]
    return Pipeline(_card(found, encoder, width), WaveformInputs(), apply, given, frames,
                    batch_size=8 if width >= _LARGE else 16)


def encoder_of(facts: Mapping[str, Any]) -> AnyEncoder:
    """The inverse of an encoder's `facts()`."""
    if "cpc" in facts:
        return CpcEncoder(cpc.CpcSettings(**facts["cpc"]))
    return TransformerEncoder(SpeechConfig.from_dict(facts["config"], {"do_normalize": facts["normalise"]}),
                              facts["dtype"])


def counts(encoder: AnyEncoder, samples: jax.Array) -> jax.Array:
    """[B] frames of so many samples, at least 1: `Encoder.frames` on the device."""
    if isinstance(encoder, CpcEncoder):
        return jnp.maximum(samples // cpc.HOP, 1)
    return jnp.maximum(frames_of(encoder.config, samples), 1)


def grid(encoder: AnyEncoder) -> tuple[int, int]:
    """Samples between frames, and how many the first one needs."""
    if isinstance(encoder, CpcEncoder):
        return cpc.HOP, cpc.HOP
    hop, reach = 1, 1
    for kernel, stride in zip(encoder.config.conv_kernel, encoder.config.conv_stride, strict=True):
        reach += (kernel - 1) * hop
        hop *= stride
    return hop, reach


def _calibration(found: Origin) -> dict[str, np.ndarray]:
    plain = calibration.Calibration(1.0, np.zeros(len(found.metadata["labels"]))).to_arrays()
    return found.arrays_of(calibration.PREFIX) or plain


def _card(found: Origin, encoder: AnyEncoder, width: int) -> Card:
    tiny = ("Its encoder is a small network that began with random weights: what it says means nothing.",)
    hop, reach = grid(encoder)
    return Card(method="supcon", kind=CLASSES, labels=tuple(found.metadata["labels"]), corpus=found.corpus,
                embedding=width, seconds=found.seconds, trim=found.trim,
                calibration=found.metadata.get("calibration") or "not calibrated: softmax of the classifier's logits",
                notes=(*found.notes(), *tiny * (found.config["encoder"]["kind"] == "tiny")), frames=width,
                frame_hop=hop, frame_reach=reach, facts=found.facts())
