"""A speech encoder adapted to emotions on one or several corpora, and a classifier for one of them, fold by fold."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import (
    checkpoint,
    encoders,
    encodings,
    evaluate,
    files,
    metrics,
    parts,
    published,
    representations,
    results,
    runs,
    similarity,
    splits,
    train,
    workdirs,
)
from sercl_jax import config as config_lib
from sercl_jax.corpora import Corpus, registry
from sercl_jax.encoders import Params
from sercl_jax.encodings import Mixture
from sercl_jax.errors import UserError
from sercl_jax.evaluate import FoldScore, Predictions
from sercl_jax.methods import supcon, supcon_recipes
from sercl_jax.parts import Part
from sercl_jax.protocol_sheet import protocol_sheet
from sercl_jax.splits import Fold
from sercl_jax.types import Stage
from sercl_jax.workbench import Workbench, cache_directory

ARMS = {"supcon": "SupCon", "ce": "cross entropy, then classifier", "ft": "fine-tuning (FT)",
        "frozen": "classifier on the encoder as it is"}


@dataclass(frozen=True)
class Fitted:
    """What a training ends with.

    Attributes:
      encoder: parameters of the part that trains.
      heads: pooling and classifier.
      rate: the learning rate.
    """

    encoder: Params
    heads: Params
    rate: float


class Adaptation:
    """Every arm: SupCon, cross entropy and then a classifier, direct fine-tuning, and the encoder as it is."""

    def __init__(self, config: ConfigDict, workdir: Path, bench: Workbench, store: Path, quiet: bool):
        self.config, self.workdir, self.bench, self.store, self.quiet = config, workdir, bench, store, quiet
        config_lib.one_of("config.arm", config.arm, ARMS)
        config_lib.one_of("config.learn_from", config.learn_from, ("all", "target"))
        if config.seeds < 1 or config.fold_seeds < 1:
            raise UserError(f"seeds={config.seeds}, fold_seeds={config.fold_seeds}: at least 1 of each.")
        self.recipe = supcon_recipes.read(config)
        self.target = bench.corpus(config)
        self.protocol = splits.usual_protocol(self.target.utterances, config.eval.protocol)
        self.fold_seeds = splits.fold_seeds(self.protocol, config.fold_seed, config.fold_seeds)
        self.seeds = list(range(config.seed, config.seed + config.seeds))
        own = Part(self.target, self._folds(self.target, self.protocol))
        partners = bench.partners(config) if config.learn_from == "all" else []
        others = [Part(corpus, self._folds(corpus, parts.usable(corpus, self.protocol))) for corpus in partners]
        # In one order whoever is the target: the first stage is then the same for all of them.
        self.parts = sorted([own, *others], key=lambda part: (part.corpus.name, part.corpus.key))
        self.place = self.parts.index(own)
        self.own = own
        self.numbers = evaluate.class_numbers(self.target.utterances, self.target.labels)
        self.seconds = 0.0
        self._loaded: dict[int, tuple[encoders.Encoder, Params, Params, Mixture]] = {}

    def _folds(self, corpus: Corpus, protocol: str) -> dict[int, tuple[Fold, ...]]:
        return {seed: splits.make_folds(corpus.utterances, protocol, folds=self.config.eval.folds, fold_seed=seed)
                for seed in self.fold_seeds}

    def run(self) -> dict[str, Any]:
        config, started = self.config, time.monotonic()
        found = [self._predicted(seed, fold_seed) for seed in self.seeds for fold_seed in self.fold_seeds]
        # What the folds of the first seeds chose.
        rates = [score.chosen["learning_rate"] for score in found[0].folds]
        layers = self._similarity(rates) if config.eval.similarity and config.arm != "frozen" else {}
        if config.final_model:
            self._final_model(max(sorted(set(rates)), key=rates.count))
        shutil.rmtree(self._scratch, ignore_errors=True)
        results.write_predictions(self.workdir, found)
        summary = evaluate.summarise(found)
        folds = self.own.folds[self.fold_seeds[0]]
        sheet = protocol_sheet(self.target.utterances, folds)
        paper = published.supcon(self.target.name, config.encoder.kind, config.arm)  # None for most
        return {
            "method": config.method, "corpus": self.target.name,
            "protocol": {"name": self.protocol, "folds": len(folds), "setup": ARMS[config.arm],
                         "encoder": config.encoder.kind, "training": "inductive",
                         "trained on": " + ".join(part.corpus.name for part in self._trained_on),
                         "seeds": self.seeds, "fold_seeds": self.fold_seeds},
            "seed": config.seed, "labels": list(self.target.labels), **summary, "baselines": [],
            "warnings": [*summary["warnings"], *self._warnings()],
            "protocol_sheet": sheet, "synthetic": any(registry.is_synthetic(part.corpus.name) for part in self.parts),
            **({"similarity": layers} if layers else {}), **({"paper": paper} if paper else {}),
            "seconds": {"features": self.bench.feature_seconds, "train": self.seconds,
                        "evaluate": max(time.monotonic() - started - self.seconds, 0.0)}}

    @property
    def _trained_on(self) -> list[Part]:
        """The corpora that the encoder learns from."""
        return self.parts if self.config.arm in ("supcon", "ce") else [self.own]

    def _warnings(self) -> list[str]:
        if self.config.encoder.kind == "tiny":
            return ["encoder=tiny is a small network with random weights, to try the method out; its figures mean "
                    "nothing."]
        return []

    @property
    def _scratch(self) -> Path:
        """Encodings that serve one fold only."""
        return self.workdir / "scratch"

    def _predicted(self, seed: int, fold_seed: int) -> Predictions:
        """Test predictions of all folds; what a killed run has finished is reused."""
        path = self.workdir / "predictions" / "ours" / f"seed{seed}-folds{fold_seed}.npz"
        found = runs.load(path)
        if found is None:
            found = self._predict(seed, fold_seed)
            runs.save(path, found)
        return found

    def _predict(self, seed: int, fold_seed: int) -> Predictions:
        utterances, labels = self.target.utterances, self.target.labels
        predicted, fold_of = np.full(len(utterances), -1), np.full(len(utterances), -1)
        decision = np.full((len(utterances), len(labels)), np.nan)
        scores = []
        for number, fold in enumerate(self.own.folds[fold_seed]):
            fitted = self._fit(seed, self._training(fold_seed, number), self._rate(seed, fold_seed, number))
            decision[fold.test] = self._decide(seed, fitted, fold.test)
            predicted[fold.test] = decision[fold.test].argmax(1)
            fold_of[fold.test] = number
            matrix = metrics.confusion(self.numbers[fold.test], predicted[fold.test], len(labels))
            scores.append(FoldScore.of(fold.name, matrix, learning_rate=fitted.rate))
            shutil.rmtree(self._scratch, ignore_errors=True)
            if not self.quiet:
                print(f"{ARMS[self.config.arm]}, fold {fold.name}: UA {100 * scores[-1].UA:.1f} %", file=sys.stderr)
        return Predictions(labels=labels, ids=tuple(u.id for u in utterances),
                           speakers=tuple(u.speaker for u in utterances), truth=self.numbers, predicted=predicted,
                           decision=decision, fold=fold_of, folds=tuple(scores), seed=seed, fold_seed=fold_seed)

    def _training(self, fold_seed: int, number: int) -> list[np.ndarray]:
        """For each corpus, its training part in this fold."""
        return [part.fold(fold_seed, number).train for part in self.parts]

    # The learning rate, chosen inside the training part.

    def _rate(self, seed: int, fold_seed: int, number: int) -> float:
        rates = self._rates
        if len(rates) == 1:
            return rates[0]
        inner = [parts.inner(part.corpus.utterances, rows, self.protocol, fold_seed)
                 for part, rows in zip(self.parts, self._training(fold_seed, number), strict=True)]
        valid = inner[self.place][1]
        found = []
        for rate in rates:
            fitted = self._fit(seed, [rows for rows, _ in inner], rate)
            predicted = self._decide(seed, fitted, valid).argmax(1)
            matrix = metrics.confusion(self.numbers[valid], predicted, len(self.target.labels))
            found.append(float(metrics.ua(matrix)))
        return rates[int(np.argmax(found))]

    @property
    def _rates(self) -> tuple[float, ...]:
        if self.config.arm == "frozen":
            return (dict(self.recipe.classifier.optimizer)["learning_rate"],)
        return (self.recipe.contrastive if self.config.arm == "supcon" else self.recipe.finetune).rates

    # One training.

    def _fit(self, seed: int, rows: Sequence[np.ndarray], rate: float) -> Fitted:
        """The chosen arm on these utterances of each corpus."""
        encoder, _, start, mixture = self._encoder(seed)
        arm, own, first = self.config.arm, rows[self.place], mixture.first[self.place]
        settings = {"seed": seed, "start": representations.digest({"params": start}),
                    "corpora": [part.corpus.key for part in self._trained_on],
                    "frozen": [mixture.parts[self.parts.index(part)].key for part in self._trained_on]}
        trained = start
        pooling = None
        if arm == "supcon":
            stage = supcon.contrastive_stage(
                self.recipe, rate, encoder, start, mixture, rows, [part.labels for part in self.parts], seed,
                {**settings, "rows": files.digest([r.tolist() for r in rows])})
            params = self._train(stage, seed)
            trained, pooling = params["encoder"], params["pooling"]
        elif arm == "ce":
            everything = np.concatenate([begin + some for begin, some in zip(mixture.first, rows, strict=False)])
            union = sorted({label for part in self.parts for label in part.corpus.labels})
            numbers = np.concatenate([evaluate.class_numbers(part.corpus.utterances, union) for part in self.parts])
            stage = supcon.finetune_stage(self.recipe, rate, encoder, start, mixture, everything, numbers, len(union),
                                          seed, {**settings, "rows": files.digest(everything.tolist())})
            params = self._train(stage, seed)
            trained, pooling = params["encoder"], params["pooling"]
        elif arm == "ft":
            numbers = np.full(len(mixture), -1)
            numbers[first:first + len(self.numbers)] = self.numbers
            stage = supcon.finetune_stage(self.recipe, rate, encoder, start, mixture, first + own, numbers,
                                          len(self.target.labels), seed,
                                          {**settings, "rows": files.digest(own.tolist())})
            params = self._train(stage, seed)
            return Fitted(params["encoder"], {name: params[name] for name in ("pooling", "classifier")}, rate)
        frames = self._contextual(seed, trained)
        stage = supcon.classifier_stage(
            self.recipe.classifier, self.recipe.hidden, frames, encodings.lengths(encoder), own, self.numbers,
            len(self.target.labels), pooling, seed,
            {**settings, "rows": files.digest(own.tolist()), "target": self.target.key,
             "encoder": representations.digest({"params": trained}),
             "pooling": pooling and representations.digest({"params": pooling})})
        return Fitted(trained, self._train(stage, seed), rate)

    def _train(self, stage: Stage, seed: int) -> Params:
        # What a training learns from names it: a first stage on all corpora serves every target.
        directory = self.store / f"{self.config.arm}-{stage.name}-seed{seed}-{files.digest(stage.settings)}"
        found = train.run(stage, workdir=directory, seed=seed, log_every=self.config.train.log_every,
                          checkpoint_every=self.config.train.checkpoint_every, progress=not self.quiet)
        self.seconds += found.seconds
        return found.variables["params"]

    def _contextual(self, seed: int, trained: Params) -> Mixture:
        """The encoder's last layer for the target corpus."""
        encoder, _, _, mixture = self._encoder(seed)
        first = int(mixture.first[self.place])
        rows = np.arange(first, first + len(self.target))
        return Mixture([encodings.contextual(mixture, rows, encoder, trained, directory=self._scratch,
                                             progress=False)])

    def _decide(self, seed: int, fitted: Fitted, rows: np.ndarray) -> np.ndarray:
        """[len(rows), K] logits of utterances of the target corpus."""
        encoder = self._encoder(seed)[0]
        return supcon.classify(self._contextual(seed, fitted.encoder), encodings.lengths(encoder), rows, fitted.heads,
                               self.recipe.hidden, len(self.target.labels))

    def _encoder(self, seed: int) -> tuple[encoders.Encoder, Params, Params, Mixture]:
        """The encoder, its frozen and its other parameters, and what the frozen ones make of all corpora."""
        if seed not in self._loaded:
            knobs = self.config.encoder
            encoder, params = encoders.load(knobs.kind, knobs.path, seed, dtype=knobs.precision, remat=knobs.remat)
            frozen, trained = encoder.split(params)
            mixture = Mixture([encodings.frozen(part.corpus, encoder, frozen, progress=not self.quiet,
                                                cache_dir=cache_directory(self.config)) for part in self.parts])
            self._loaded = {seed: (encoder, frozen, trained, mixture)}
        return self._loaded[seed]

    # What else is told of it.

    def _similarity(self, rates: Sequence[float]) -> dict[str, Any]:
        """Fig. 4 on what no training saw: layers before and after, averaged over the folds of the first seeds."""
        seed, fold_seed = self.seeds[0], self.fold_seeds[0]
        encoder, _, start, mixture = self._encoder(seed)
        found: dict[str, list[dict[str, list[float]]]] = {"before": [], "after": []}
        for number, rate in enumerate(rates):
            fitted = self._fit(seed, self._training(fold_seed, number), rate)
            rows, labels, groups = self._held_out(mixture, fold_seed, number)
            several = groups if len(self._trained_on) > 1 else None
            for when, params in (("before", start), ("after", fitted.encoder)):
                means = encodings.layer_means(mixture, rows, encoder, params, progress=False)
                found[when].append(similarity.by_layer(means, labels, several))
            shutil.rmtree(self._scratch, ignore_errors=True)
        return {when: {name: np.mean([each[name] for each in folds if name in each], 0).tolist()
                       for name in {name: None for each in folds for name in each}}
                for when, folds in found.items()}

    def _held_out(self, mixture: Mixture, fold_seed: int, number: int) -> tuple[np.ndarray, list[str], list[str]]:
        """Rows of the mixture that this fold tests, their emotions and their corpora."""
        rows, labels, groups = [], [], []
        for part in self._trained_on:
            test = part.fold(fold_seed, number).test
            rows.append(int(mixture.first[self.parts.index(part)]) + test)
            labels.append(part.labels[test])
            groups.append(np.full(len(test), part.corpus.key))
        return np.concatenate(rows), np.concatenate(labels).tolist(), np.concatenate(groups).tolist()

    def _final_model(self, rate: float) -> None:
        """Fits on all the data."""
        seed = self.seeds[0]
        fitted = self._fit(seed, [np.flatnonzero(part.labels != "") for part in self.parts], rate)
        encoder, frozen, _, _ = self._encoder(seed)
        checkpoint.save_model(
            self.workdir / "model", {"encoder": {"params": encoder.join(frozen, fitted.encoder)},
                                     "heads": {"params": fitted.heads}}, {},
            {"config": workdirs.identity(self.config), "labels": list(self.target.labels),
             "encoder": encoder.facts(), "hidden": self.recipe.hidden, "rate": fitted.rate,
             "contrast": asdict(self.recipe.contrast)})
