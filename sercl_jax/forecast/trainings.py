"""Every training of a run, as the stages that it would run, with stand-ins for what they would read."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from sercl_jax import encoders, encodings, experiment, files, parts, pretraining
from sercl_jax.adaptation import Adaptation
from sercl_jax.classification import Classification
from sercl_jax.encodings import Mixture
from sercl_jax.forecast.preview import Preview, Unseen, stand_in
from sercl_jax.methods import cpc, cpc_recipes, own, serugcl, supcon, trainings
from sercl_jax.models.cpc import CpcSettings
from sercl_jax.models.speech_encoder import SpeechEncoder
from sercl_jax.recognition import Recognition
from sercl_jax.sources.own import OwnSource
from sercl_jax.types import SAMPLE_RATE, Stage

HELD_OUT = np.arange(0)  # a stage that follows nothing makes no batch of what it would follow


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
      name: words for tables.
      key: equal ones are one training, however many rows of a table, or folds, ask for it.
      stage: what is trained.
    """

    name: str
    key: str
    stage: Stage


def planned(config: ConfigDict, bench: Preview) -> Iterator[Training]:
    """The trainings of one run; some may be named several times.

    Raises:
      Unseen: something that they start from is not there.
      UserError: anything that the run would refuse.
    """
    if "init_from" in config and config.init_from and not Path(config.init_from).expanduser().exists():
        raise Unseen(f"config.init_from={config.init_from} is not there")
    procedure: Any = experiment.procedure_of(config)(config, Path(), bench, Path(), True)
    if isinstance(procedure, Classification):
        yield from _embedding(config, procedure)
    elif isinstance(procedure, Recognition):
        yield from _recognition(config, procedure, bench)
    elif isinstance(procedure, Adaptation):
        yield from _adaptation(config, procedure)
    elif isinstance(procedure, pretraining.Pretraining):
        for seed in range(config.seed, config.seed + config.seeds):
            yield _pretraining(config, procedure.corpus, procedure.parts[0], seed)


def _key(*parts: Any) -> str:
    return files.digest([part.tolist() if isinstance(part, np.ndarray) else part for part in parts])


# An encoder without labels, then a classifier.

def _embedding(config: ConfigDict, procedure: Classification) -> Iterator[Training]:
    source = procedure.source
    make = _own_stage(source) if isinstance(source, OwnSource) else _graph_stage(config, procedure)
    if make is None or not source.fitted or config.embedding in ("untrained", own.UNTRAINED):
        return
    everything = np.arange(len(procedure.utterances))
    seeds = range(config.seed, config.seed + config.seeds)
    needed = [(everything, seed) for seed in seeds]
    if config.train.training == "inductive":
        folds = [fold.train for some in procedure.folds.values() for fold in some]
        needed = [(rows, seed) for seed in seeds for rows in folds]
        needed += [(everything, config.seed)] if config.final_model or config.eval.probes else []
    knobs = {name: value for name, value in config.to_dict().items() if name not in ("eval", "data", "final_model")}
    for rows, seed in needed:
        for member in getattr(source, "seeds", lambda seed: [seed])(seed):
            stage = make(rows, member)
            yield Training(stage.name, _key(repr(knobs), procedure.corpus.key, rows, member), stage)


def _graph_stage(config: ConfigDict, procedure: Classification) -> Callable[[np.ndarray, int], Stage] | None:
    if config.embedding not in ("trained", "untrained"):
        return None
    made = procedure.bench.nodes(config, config.graph.nodes)
    arrays = trainings.arrays(made.x, made.mask, procedure.bench.speakers(config))
    recipe = serugcl.recipe(config)
    return lambda rows, seed: serugcl.stage(recipe, arrays, rows, seed, {})


def _own_stage(source: OwnSource) -> Callable[[np.ndarray, int], Stage]:
    return lambda rows, seed: source.stage(source.arrays(rows), rows, seed, {})


# CPC.

def _pretraining(config: ConfigDict, corpus: Any, rows: np.ndarray, seed: int) -> Training:
    recipe = cpc_recipes.pretraining(config)
    stage = cpc.pretrain_stage(recipe, _Silence(), rows, HELD_OUT, seed, {})
    return Training("CPC's pre-training", _key(repr(recipe), corpus.key, rows, seed), stage)


class _Silence:
    """Waveforms of a corpus that nobody has read."""

    def waveform(self, u: int) -> np.ndarray:
        del u
        return np.zeros(160, np.int16)


def _recognition(config: ConfigDict, procedure: Recognition, bench: Preview) -> Iterator[Training]:
    divisions = [(one.train, one.valid) for one in procedure.divisions]
    for name in procedure.names:
        for seed in procedure.seeds:
            for train, valid in divisions:
                yield from _set_up(config, procedure, bench, name, seed, train, valid)
    if config.final_model:
        yield from _set_up(config, procedure, bench, procedure.main, config.seed, *procedure.final_parts())


def _set_up(config: ConfigDict, procedure: Recognition, bench: Preview, name: str, seed: int, train: np.ndarray,
            valid: np.ndarray) -> Iterator[Training]:
    start = None
    if name == "mini":
        own = np.arange(len(procedure.utterances)) if config.train.training == "transductive" else train
        start = _pretraining(config, procedure.corpus, own, seed)
    elif name == "pre" and not config.init_from:
        corpus = bench.pretrain_corpus(config)
        rows = pretraining.hold_out(corpus.utterances, config.pretrain.held_out, config.seed)[0]
        start = _pretraining(config, corpus, rows, config.seed)
    if start is not None:
        yield start
    network = pretraining.load(Path(config.init_from), seed)[0] if name == "pre" and config.init_from else \
        procedure.pretraining.settings
    targets = cpc.Targets.of(procedure.ratings, train)
    key = _key(name, repr(config.to_dict()["recognizer"]), procedure.corpus.key, train, valid, seed,
               start.key if start else config.init_from)
    if name == "joint" or (name != "sup" and not config.recognizer.freeze_cpc):
        stage = cpc.joint_stage(procedure.joint, network, procedure.pretraining.crop, _Silence(), targets, train,
                                valid, seed, {})
        yield Training("CPC and recognizer, jointly", key, stage)
        return
    frames = bench.frames(config) if name == "sup" else _context(procedure, network)
    stage = cpc.recognizer_stage(procedure.recognition, frames, targets, train, valid, seed, {}, standardise=False)
    yield Training("recognizer on log mel energies" if name == "sup" else "recognizer on CPC's context", key, stage)


def _context(procedure: Recognition, network: CpcSettings) -> Any:
    return stand_in([u.num_samples // 160 for u in procedure.utterances], network.context, 0.01)


# SupCon.

def _adaptation(config: ConfigDict, procedure: Adaptation) -> Iterator[Training]:
    encoder, params = _encoder(config)
    ground, (frozen, start) = procedure.ground, encoder.split(params)
    second = jax.ShapeDtypeStruct((1, SAMPLE_RATE), np.float32), jax.ShapeDtypeStruct((1,), np.int32)
    features = jax.eval_shape(encoder.features, frozen, *second)
    layers = jax.eval_shape(encoder.layers, start, features, jax.ShapeDtypeStruct(features.shape[:2], np.bool_))
    counts = [[encoder.frames(u.num_samples) for u in corpus.utterances] for corpus in ground.corpora]
    first, last = (Mixture([stand_in(count, x.shape[-1], encoder.hop) for count in counts])
                   for x in (features, layers[-1]))
    keys = [corpus.key for corpus in ground.corpora]
    for seed, rate, rows in _fits(config, procedure):
        learned = {keys[c]: some.tolist() for c, some in enumerate(rows)}
        own = {keys[c]: rows[c].tolist() for c in ground.classifies}
        for stage in _arm(config, procedure, encoder, start, first, last, rows, seed):
            # A first stage on all corpora serves every target.
            read = [own] if config.arm in ("ft", "frozen") else [learned]
            read += [own, config.target] if stage.name == "classifier" else []
            yield Training(f"{stage.name} ({config.arm})", _key(
                stage.name, config.arm, repr(procedure.recipe), repr(encoder.facts()), seed, rate, read), stage)


def _fits(config: ConfigDict, procedure: Adaptation) -> Iterator[tuple[int, str, Sequence[np.ndarray]]]:
    """Seed, learning rate and utterances of each corpus, for every fit; the rates are chosen by the first ones."""
    ground, rates = procedure.ground, procedure.rates
    for seed in procedure.seeds:
        for fold_seed, rounds in ground.rounds.items():
            for fold in rounds:
                for rate in rates if len(rates) > 1 else ():
                    yield seed, str(rate), [
                        parts.inner(corpus.utterances, rows, ground.protocol, fold_seed)[0] if len(rows) else rows
                        for corpus, rows in zip(ground.corpora, fold.train, strict=True)]
                yield seed, "chosen", fold.train
    if config.final_model:
        yield procedure.seeds[0], "chosen", ground.everything


def _encoder(config: ConfigDict) -> tuple[encoders.Encoder, Any]:
    """The network, and shapes of its parameters: published weights need not be here."""
    knobs = config.encoder
    if knobs.kind != "cpc":
        return _transformer(knobs.kind, knobs.precision, knobs.remat)
    if knobs.path and not Path(knobs.path).expanduser().exists():
        raise Unseen(f"config.encoder.path={knobs.path} is not there")
    return encoders.load("cpc", knobs.path, config.seed)


@functools.cache
def _transformer(kind: str, precision: str, remat: bool) -> tuple[encoders.Encoder, Any]:
    network = encoders.network(kind)
    shapes = (jax.ShapeDtypeStruct((1, SAMPLE_RATE), kind) for kind in (np.float32, np.bool_))
    made: Any = jax.eval_shape(SpeechEncoder(network).init, jax.random.key(0), *shapes)
    return encoders.TransformerEncoder(network, precision, remat), made["params"]


def _arm(config: ConfigDict, procedure: Adaptation, encoder: encoders.Encoder, start: Any, first: Mixture,
         last: Mixture, rows: Sequence[np.ndarray], seed: int) -> Iterator[Stage]:
    """The stages of one fit."""
    recipe, ground, rate = procedure.recipe, procedure.ground, procedure.rates[0]
    placed = [first.first[c] + some for c, some in enumerate(rows)]
    own = np.concatenate([placed[c] for c in ground.classifies])
    own = own[procedure.classes[own] >= 0]
    if config.arm == "supcon":
        emotions = [ground.emotions(c) for c in range(len(ground.corpora))]
        yield _begun(start, lambda params: supcon.contrastive_stage(
            recipe, rate, encoder, params, first, rows, emotions, seed, {}))
    elif config.arm in ("ce", "ft"):
        all_labels = {label for corpus in ground.corpora for label in corpus.labels}
        some, classes = (own, len(ground.labels)) if config.arm == "ft" else (np.concatenate(placed), len(all_labels))
        yield _begun(start, lambda params: supcon.finetune_stage(
            recipe, rate, encoder, params, first, some, np.zeros(len(first), np.int64), classes, seed, {}))
    if config.arm != "ft":
        yield supcon.classifier_stage(recipe.classifier, recipe.hidden, last, encodings.lengths(encoder), own,
                                      procedure.classes, len(ground.labels), None, seed, {})


def _begun(start: Any, make: Callable[[Any], Stage]) -> Stage:
    """A stage that starts from parameters of which only the shapes are known."""
    def init(key: Any, batch: Any) -> Any:
        return make(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), start)).init(key, batch)

    return dataclasses.replace(make(start), init=init)
