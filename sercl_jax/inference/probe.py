"""An SVM on what CPC makes of a waveform (configs/cpc.py:setup=probe), for use."""

from collections.abc import Callable
from pathlib import Path

import jax

from sercl_jax.inference import classifier, contexts, origin
from sercl_jax.inference.card import CLASSES, Card
from sercl_jax.inference.inputs import WaveformInputs
from sercl_jax.inference.pipeline import EMBEDDING, PROBABILITY, Pipeline
from sercl_jax.models.cpc import CpcSettings
from sercl_jax.types import Batch, Variables

CPC = "cpc"


def pipeline(workdir: Path, seed: int = 0) -> Pipeline:
    """The final model of a probe.

    Raises:
      UserError: there is none.
    """
    del seed  # there is one model
    found = origin.read(workdir)
    if CPC not in found.variables:
        raise found.too_old("parameters of CPC")
    settings = CpcSettings(**found.metadata["settings"]["cpc"])
    own, labels, words = classifier.variables(found)
    embedding = len(own[classifier.SVM]["mean"])
    grouped = found.config["normalise"] != "global"
    statistics = classifier.embedding_statistics(found) if grouped else {}
    context = contexts.context(settings)
    card = Card("cpc", CLASSES, labels, found.corpus, embedding, found.seconds, trim=found.trim, calibration=words,
                notes=(*found.notes(), *classifier.notes(found)), frames=settings.context, facts=found.facts())
    return Pipeline(card, WaveformInputs(speaker_embedding=embedding if grouped else 0), _apply(context, grouped),
                    {CPC: found.variables[CPC], **statistics, **own},
                    frames=lambda variables, batch: context(variables[CPC], batch)[0])


def _apply(context: Callable[[Variables, Batch], tuple[jax.Array, jax.Array]],
           grouped: bool) -> Callable[[Variables, Batch], dict[str, jax.Array]]:
    def apply(variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        embedding = contexts.mean_and_deviation(*context(variables[CPC], batch))
        if grouped:
            embedding = classifier.centred(variables, batch, embedding)
        return {EMBEDDING: embedding, PROBABILITY: classifier.probabilities(variables, embedding)}

    return apply
