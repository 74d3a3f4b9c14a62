"""A speech encoder adapted to emotions on one or several corpora, and a classifier for one of them, fold by fold."""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import (
    calibration,
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
    train,
    workdirs,
)
from sercl_jax import config as config_lib
from sercl_jax.corpora import copies, registry
from sercl_jax.encoders import Params
from sercl_jax.encodings import Mixture
from sercl_jax.errors import UserError
from sercl_jax.evaluate import FoldScore, Predictions
from sercl_jax.inference import windows
from sercl_jax.methods import supcon, supcon_recipes
from sercl_jax.parts import Ground, Round
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
        self.seeds = list(range(config.seed, config.seed + config.seeds))
        self.ground = self._ground()
        self.target, self.labels = self.ground.target, self.ground.labels
        self.fold_seeds = list(self.ground.rounds)
        self.classes = np.concatenate([self.ground.classes(c) for c in range(len(self.ground.corpora))])
        self.seconds = 0.0
        self._loaded: dict[int, tuple[encoders.Encoder, Params, Params, Mixture]] = {}

    def _ground(self) -> Ground:
        config = self.config
        target = self.bench.target(config)
        partners = self.bench.partners(config) if config.learn_from == "all" else {}
        if config.eval.protocol == parts.ACROSS:
            return parts.across(config.target, target, partners, fold_seed=config.fold_seed)
        return parts.within(target, partners, config.eval.protocol, folds=config.eval.folds,
                            fold_seed=config.fold_seed, fold_seeds=config.fold_seeds,
                            emobox_dir=config.data.emobox_dir)

    def run(self) -> dict[str, Any]:
        config, started = self.config, time.monotonic()
        found = [self._predicted(seed, fold_seed) for seed in self.seeds for fold_seed in self.fold_seeds]
        # What the folds of the first seeds chose.
        rates = [score.chosen["learning_rate"] for score in found[0].folds]
        layers = self._similarity(rates) if config.eval.similarity and config.arm != "frozen" else {}
        if config.final_model:
            self._final_model(max(sorted(set(rates)), key=rates.count), found)
        shutil.rmtree(self._scratch, ignore_errors=True)
        results.write_predictions(self.workdir, found)
        summary = evaluate.summarise(found)
        paper = published.supcon(self.target.name, config.encoder.kind, config.arm)  # None for most
        return {
            "method": config.method, "corpus": self.target.name,
            "protocol": {"name": self.ground.protocol, "folds": len(self.ground.rounds[self.fold_seeds[0]]),
                         "setup": ARMS[config.arm],
                         "encoder": config.encoder.kind, "training": "inductive",
                         "trained on": " + ".join(self.ground.corpora[c].name for c in self._learns),
                         "seeds": self.seeds, "fold_seeds": self.fold_seeds},
            "seed": config.seed, "labels": list(self.labels), **summary, "baselines": [],
            "warnings": [*summary["warnings"], *self._warnings()],
            "protocol_sheet": dict(self.ground.sheet),
            "synthetic": any(registry.is_synthetic(corpus.name) for corpus in self.ground.corpora),
            **({"similarity": layers} if layers else {}), **({"paper": paper} if paper else {}),
            "seconds": {"features": self.bench.feature_seconds, "train": self.seconds,
                        "evaluate": max(time.monotonic() - started - self.seconds, 0.0)}}

    @property
    def _learns(self) -> list[int]:
        """The corpora that the encoder learns from."""
        if self.config.arm in ("supcon", "ce"):
            return [c for c, rows in enumerate(self.ground.everything) if len(rows)]
        return list(self.ground.classifies)

    def _warnings(self) -> list[str]:
        rounds = self.ground.rounds[self.fold_seeds[0]]
        told = list(copies.warnings(self.ground.target, [
            (part.train[self.ground.place], part.test[self.ground.place]) for part in rounds]))
        if self.config.encoder.kind == "tiny":
            told.append("encoder=tiny is a small network with random weights, to try the method out; its figures "
                        "mean nothing.")
        return told

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
        utterances, labels = self.target.utterances, self.labels
        truth = self.ground.classes(self.ground.place)
        predicted, fold_of = np.full(len(utterances), -1), np.full(len(utterances), -1)
        decision = np.full((len(utterances), len(labels)), np.nan)
        scores = []
        for number, fold in enumerate(self.ground.rounds[fold_seed]):
            test = fold.test[self.ground.place]
            fitted = self._fit(seed, fold.train, self._rate(seed, fold.train, fold_seed))
            decision[test] = self._decide(seed, fitted, self._rows(seed, {self.ground.place: test}))
            predicted[test] = decision[test].argmax(1)
            fold_of[test] = number
            scores.append(FoldScore.of(fold.name, metrics.confusion(truth[test], predicted[test], len(labels)),
                                       learning_rate=fitted.rate))
            shutil.rmtree(self._scratch, ignore_errors=True)
            if not self.quiet:
                print(f"{ARMS[self.config.arm]}, fold {fold.name}: UA {100 * scores[-1].UA:.1f} %", file=sys.stderr)
        return Predictions(labels=labels, ids=tuple(u.id for u in utterances),
                           speakers=tuple(u.speaker for u in utterances), truth=truth, predicted=predicted,
                           decision=decision, fold=fold_of, folds=tuple(scores), seed=seed, fold_seed=fold_seed)

    def _rows(self, seed: int, rows: Mapping[int, np.ndarray]) -> np.ndarray:
        """Utterances of some corpora as utterances of the mixture of all."""
        first = self._encoder(seed)[3].first
        return np.concatenate([first[c] + some for c, some in rows.items()])

    def _classified(self, seed: int, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Those of the mixture, of these of each corpus, that a classifier learns from."""
        found = self._rows(seed, {c: rows[c] for c in self.ground.classifies})
        return found[self.classes[found] >= 0]

    # The learning rate, chosen inside the training part.

    def _rate(self, seed: int, train: Sequence[np.ndarray], fold_seed: int) -> float:
        rates = self.rates
        if len(rates) == 1:
            return rates[0]
        inner = [parts.inner(corpus.utterances, rows, self.ground.protocol, fold_seed) if len(rows) else (rows, rows)
                 for corpus, rows in zip(self.ground.corpora, train, strict=True)]
        valid = self._classified(seed, [rows for _, rows in inner])
        found = []
        for rate in rates:
            fitted = self._fit(seed, [rows for rows, _ in inner], rate)
            predicted = self._decide(seed, fitted, valid).argmax(1)
            found.append(float(metrics.ua(metrics.confusion(self.classes[valid], predicted, len(self.labels)))))
        return rates[int(np.argmax(found))]

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates to choose from."""
        if self.config.arm == "frozen":
            return (dict(self.recipe.classifier.optimizer)["learning_rate"],)
        return (self.recipe.contrastive if self.config.arm == "supcon" else self.recipe.finetune).rates

    # One training.

    def _fit(self, seed: int, rows: Sequence[np.ndarray], rate: float) -> Fitted:
        """The chosen arm on these utterances of each corpus."""
        encoder, _, start, mixture = self._encoder(seed)
        arm, own = self.config.arm, self._classified(seed, rows)
        settings = {"seed": seed, "start": representations.digest({"params": start}),
                    "corpora": [self.ground.corpora[c].key for c in self._learns],
                    "frozen": [mixture.parts[c].key for c in self._learns]}
        classified = {**settings, "rows": files.digest(own.tolist()), "classes": list(self.labels)}
        trained = start
        pooling = None
        if arm == "supcon":
            stage = supcon.contrastive_stage(
                self.recipe, rate, encoder, start, mixture, rows,
                [self.ground.emotions(c) for c in range(len(self.ground.corpora))], seed,
                {**settings, "rows": files.digest([r.tolist() for r in rows])})
            params = self._train(stage, seed)
            trained, pooling = params["encoder"], params["pooling"]
        elif arm == "ce":
            everything = self._rows(seed, dict(enumerate(rows)))
            union = sorted({label for corpus in self.ground.corpora for label in corpus.labels})
            numbers = np.concatenate([evaluate.class_numbers(corpus.utterances, union)
                                      for corpus in self.ground.corpora])
            stage = supcon.finetune_stage(self.recipe, rate, encoder, start, mixture, everything, numbers, len(union),
                                          seed, {**settings, "rows": files.digest(everything.tolist())})
            params = self._train(stage, seed)
            trained, pooling = params["encoder"], params["pooling"]
        elif arm == "ft":
            stage = supcon.finetune_stage(self.recipe, rate, encoder, start, mixture, own, self.classes,
                                          len(self.labels), seed, classified)
            params = self._train(stage, seed)
            return Fitted(params["encoder"], {name: params[name] for name in ("pooling", "classifier")}, rate)
        frames, region = self._contextual(seed, trained)
        stage = supcon.classifier_stage(
            self.recipe.classifier, self.recipe.hidden, frames, encodings.lengths(encoder),
            np.searchsorted(region, own), self.classes[region], len(self.labels), pooling, seed,
            {**classified, "target": self.target.key, "encoder": representations.digest({"params": trained}),
             "pooling": pooling and representations.digest({"params": pooling})})
        return Fitted(trained, self._train(stage, seed), rate)

    def _train(self, stage: Stage, seed: int) -> Params:
        # What a training learns from names it: a first stage on all corpora serves every target.
        directory = self.store / f"{self.config.arm}-{stage.name}-seed{seed}-{files.digest(stage.settings)}"
        found = train.run(stage, workdir=directory, seed=seed, log_every=self.config.train.log_every,
                          checkpoint_every=self.config.train.checkpoint_every, progress=not self.quiet,
                          resident=self.config.train.resident,
                          steps_per_dispatch=self.config.train.steps_per_dispatch)
        self.seconds += found.seconds
        return found.variables["params"]

    def _contextual(self, seed: int, trained: Params) -> tuple[Mixture, np.ndarray]:
        """The encoder's last layer of all that a classifier sees, and which utterances of the mixture these are."""
        encoder, _, _, mixture = self._encoder(seed)
        region = self._rows(seed, {c: np.arange(len(self.ground.corpora[c])) for c in self.ground.used})
        return Mixture([encodings.contextual(mixture, region, encoder, trained, directory=self._scratch,
                                             progress=False)]), region

    def _decide(self, seed: int, fitted: Fitted, rows: np.ndarray) -> np.ndarray:
        """[len(rows), K] logits of utterances of the mixture."""
        frames, region = self._contextual(seed, fitted.encoder)
        return supcon.classify(frames, encodings.lengths(self._encoder(seed)[0]), np.searchsorted(region, rows),
                               fitted.heads, self.recipe.hidden, len(self.labels))

    def _encoder(self, seed: int) -> tuple[encoders.Encoder, Params, Params, Mixture]:
        """The encoder, its frozen and its other parameters, and what the frozen ones make of all corpora."""
        if seed not in self._loaded:
            knobs = self.config.encoder
            encoder, params = encoders.load(knobs.kind, knobs.path, seed, dtype=knobs.precision, remat=knobs.remat)
            frozen, trained = encoder.split(params)
            mixture = Mixture([encodings.frozen(corpus, encoder, frozen, progress=not self.quiet,
                                                cache_dir=cache_directory(self.config))
                               for corpus in self.ground.corpora])
            self._loaded = {seed: (encoder, frozen, trained, mixture)}
        return self._loaded[seed]

    # What else is told of it.

    def _similarity(self, rates: Sequence[float]) -> dict[str, Any]:
        """Fig. 4 on what no training saw: layers before and after, averaged over the folds of the first seeds."""
        seed, fold_seed = self.seeds[0], self.fold_seeds[0]
        encoder, _, start, mixture = self._encoder(seed)
        found: dict[str, list[dict[str, list[float]]]] = {"before": [], "after": []}
        for fold, rate in zip(self.ground.rounds[fold_seed], rates, strict=True):
            fitted = self._fit(seed, fold.train, rate)
            rows, labels, groups = self._held_out(seed, fold)
            several = groups if len(set(groups)) > 1 else None
            for when, params in (("before", start), ("after", fitted.encoder)):
                means = encodings.layer_means(mixture, rows, encoder, params, progress=False)
                found[when].append(similarity.by_layer(means, labels, several))
            shutil.rmtree(self._scratch, ignore_errors=True)
        return {when: {name: np.mean([each[name] for each in folds if name in each], 0).tolist()
                       for name in {name: None for each in folds for name in each}}
                for when, folds in found.items()}

    def _held_out(self, seed: int, fold: Round) -> tuple[np.ndarray, list[str], list[str]]:
        """Rows of the mixture that this fold tests, their emotions and their corpora."""
        learned = [c for c in self._learns if len(fold.test[c])]
        tests = {c: fold.test[c] for c in learned or [self.ground.place]}
        labels = [self.ground.emotions(c)[rows] for c, rows in tests.items()]
        groups = [np.full(len(rows), self.ground.corpora[c].key) for c, rows in tests.items()]
        return self._rows(seed, tests), np.concatenate(labels).tolist(), np.concatenate(groups).tolist()

    def _final_model(self, rate: float, found: Sequence[Predictions]) -> None:
        """Fits on all the data; where the target is tested whole, on all but the target.

        Args:
          rate: the learning rate.
          found: what the folds predicted, for the calibration of probabilities.
        """
        seed, ground = self.seeds[0], self.ground
        fitted = self._fit(seed, ground.everything, rate)
        encoder, frozen, _, _ = self._encoder(seed)
        calibrated = calibration.of_runs(found)
        arrays = {} if calibrated is None else calibrated.to_arrays()
        seconds = [ground.corpora[c].utterances[u].seconds for c in ground.classifies for u in ground.everything[c]]
        checkpoint.save_model(
            self.workdir / "model", {"encoder": {"params": encoder.join(frozen, fitted.encoder)},
                                     "heads": {"params": fitted.heads}},
            {f"{calibration.PREFIX}{name}": value for name, value in arrays.items()},
            {"config": workdirs.identity(self.config), "labels": list(self.labels),
             "encoder": encoder.facts(), "hidden": self.recipe.hidden, "rate": fitted.rate,
             "contrast": asdict(self.recipe.contrast), "seconds": windows.usual_seconds(seconds),
             "calibration": "" if calibrated is None else calibrated.words})
