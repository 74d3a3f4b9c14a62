"""SERUGCL for use: features, nodes, graph encoders, SVM, probabilities. So are other networks that embed nodes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from sercl_jax.errors import UserError
from sercl_jax.inference import classifier, node_features, origin
from sercl_jax.inference.card import CLASSES, Card
from sercl_jax.inference.inputs import SPEAKER, AnyInputs, NodeInputs, WaveformInputs
from sercl_jax.inference.origin import Origin
from sercl_jax.inference.pipeline import EMBEDDING, PROBABILITY, Pipeline
from sercl_jax.inference.speaker import NODE_COUNT, NODE_MEAN, NODE_VARIANCE
from sercl_jax.models.cpc import CpcSettings
from sercl_jax.models.serugcl import SerugclSettings, embedder
from sercl_jax.types import Batch, Variables

BATCH = 16  # windows at a time
FEATURES = "features"  # statistics, by which nodes are standardised
_STAND_IN = {"is10_librosa": "is10_jax", "is10_jax": "is10_librosa"}  # the same descriptors on host and device
_PRECISION = {"is10_jax": "single", "is10_librosa": "double"}

Embed = Callable[[Variables, Batch], jax.Array]


def pipeline(workdir: Path, seed: int = 0) -> Pipeline:
    """The final model of a run of SERUGCL.

    Raises:
      UserError: there is none; or its features cannot be computed for new recordings.
    """
    del seed  # there is one model
    found = origin.read(workdir)
    knobs, embed = found.config, embedder(_settings(found))
    encoders = {name: value for name, value in found.variables.items() if name.startswith("encoder")}
    members = sorted(encoders, key=lambda name: int(name.removeprefix("encoder")))
    return of_nodes(found, knobs["graph"]["readout_nodes"] or knobs["graph"]["nodes"], encoders,
                    lambda variables, batch: jnp.concatenate([embed(variables[name], batch) for name in members], -1),
                    functionals=knobs["encoder"]["input_block"] == "functionals")


def of_nodes(found: Origin, nodes: int, variables: Variables, embed: Embed, functionals: bool = False) -> Pipeline:
    """A network that embeds an utterance's nodes, with the features before it and the SVM behind it.

    Args:
      found: its run, whose features, statistics and classifier count.
      nodes: N, the most that an utterance has.
      variables: of the network.
      embed: (those and others, {"x" [B, N, F] standardised, "mask" [B, N], "index" [B]}) -> [B, D].
      functionals: whether functionals of the input stand before the embedding.

    Raises:
      UserError: its features cannot be computed for new recordings; or it was written before all needed was kept.
    """
    features, notes = described_by(found, functionals)
    own, labels, words = classifier.variables(found)
    statistics: dict[str, Any] = {FEATURES: found.arrays_of(f"{FEATURES}/")}
    width, embedding = len(statistics[FEATURES]["mean"]), len(own[classifier.SVM]["mean"])
    grouped = found.config["normalise"] != "global"
    centred = grouped and found.config["eval"]["speaker_embeddings"]
    if centred:
        statistics |= classifier.embedding_statistics(found)
    speaker: dict[str, Any] = {"speaker": width if grouped else 0, "speaker_embedding": embedding if centred else 0}
    on_device = bool({"is10_jax", node_features.CPC} & set(features.split("+")))
    inputs: AnyInputs = (WaveformInputs(node_features.LENGTHS, **speaker) if on_device else
                         NodeInputs(features, nodes, functionals, **speaker))
    cpc = {name: value for name, value in found.variables.items() if name == node_features.CPC}
    make = node_features.maker(features, nodes, _cpc(found)) if on_device else _given
    card = Card(found.config["method"], CLASSES, labels, found.corpus, embedding, found.seconds, trim=found.trim,
                calibration=words, notes=(*found.notes(), *classifier.notes(found), *notes), facts=found.facts())
    return Pipeline(card, inputs, _apply(make, embed, functionals, grouped, centred),
                    {**variables, **cpc, **statistics, **own}, batch_size=node_features.BATCH if on_device else BATCH)


def _settings(found: Origin) -> SerugclSettings:
    if "settings" in found.metadata:
        plain: Mapping[str, Any] = found.metadata["settings"]["encoder"]
        own: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                               for name, value in plain.items()}
        return SerugclSettings(**own)
    from ml_collections import ConfigDict  # models of before need what training needs

    from sercl_jax.methods import serugcl

    return serugcl.recipe(ConfigDict(found.config)).settings


def described_by(found: Origin, functionals: bool) -> tuple[str, tuple[str, ...]]:
    """The features that describe new recordings, and what is to be said of them.

    Kinds that only the device has make all others be computed there, but functionals are the host's.

    Raises:
      UserError: they cannot be computed in one place.
    """
    kinds = found.config["features"].split("+")
    if node_features.CPC in kinds and (functionals or "is10" in kinds):
        other = "config.encoder.input_block=functionals" if functionals else "is10"
        raise UserError(f"{found.workdir}: features={found.config['features']}: cpc runs on the device and {other} "
                        "on the host, which cannot be joined for new recordings; train with is10_librosa, or without "
                        "functionals.")
    if functionals or "is10" in kinds:
        wanted = [_STAND_IN[kind] if kind == "is10_jax" else kind for kind in kinds]
    elif {"is10_jax", node_features.CPC} & set(kinds):
        wanted = [_STAND_IN[kind] if kind == "is10_librosa" else kind for kind in kinds]
    else:
        wanted = kinds
    notes = tuple(f"Trained on {before}; new recordings are described by {after}, the same in {_PRECISION[after]} "
                  "precision." for before, after in zip(kinds, wanted, strict=True) if before != after)
    return "+".join(wanted), notes


def _cpc(found: Origin) -> CpcSettings | None:
    if node_features.CPC not in found.config["features"].split("+"):
        return None
    if node_features.CPC not in found.variables:
        raise found.too_old("parameters of CPC")
    return CpcSettings(**found.metadata["settings"]["cpc"])


def _given(variables: Variables, batch: Batch) -> tuple[jax.Array, jax.Array]:
    del variables
    return batch["x"], batch["mask"]


def _apply(nodes: node_features.Nodes, embed: Embed, functionals: bool, grouped: bool,
           centred: bool) -> Callable[[Variables, Batch], dict[str, jax.Array]]:
    def apply(variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        x, mask = nodes(variables, batch)
        there = mask[..., None]
        mean, std = (variables[FEATURES][name][None, None] for name in ("mean", "std"))
        x = jnp.where(there, (x - mean) / std, 0)
        made: dict[str, Any] = {}
        if grouped:
            made = _statistics(x, there)
            mean, std = (batch[name][:, None] for name in SPEAKER)
            x = jnp.where(there, (x - mean) / std, 0)
        # An utterance's number draws the edges of a random graph, a control.
        embedding = embed(variables, {"x": x, "mask": mask, "index": jnp.zeros(x.shape[0], jnp.int32)})
        if functionals:
            embedding = jnp.concatenate([batch["functionals"], embedding], -1)
        if centred:
            embedding = classifier.centred(variables, batch, embedding)
        return {**made, EMBEDDING: embedding, PROBABILITY: classifier.probabilities(variables, embedding)}

    return apply


def _statistics(x: jax.Array, there: jax.Array) -> dict[str, jax.Array]:
    count = jnp.sum(there, 1).astype(jnp.float32)
    mean = jnp.sum(x, 1) / jnp.maximum(count, 1)
    variance = jnp.sum(jnp.where(there, jnp.square(x - mean[:, None]), 0), 1) / jnp.maximum(count, 1)
    return {NODE_COUNT: count[:, 0], NODE_MEAN: mean, NODE_VARIANCE: variance}
