"""Recognizers of activation, valence and dominance under the paper's set-ups, on every fold, with several seeds."""

import dataclasses
import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import (
    checkpoint,
    files,
    pretraining,
    published,
    ratings,
    representations,
    results,
    splits,
    train,
    validation,
    workdirs,
)
from sercl_jax import config as config_lib
from sercl_jax.corpora import copies, joined, registry
from sercl_jax.errors import UserError
from sercl_jax.inference import windows
from sercl_jax.methods import cpc, cpc_recipes
from sercl_jax.models.cpc import CpcSettings
from sercl_jax.protocol_sheet import protocol_sheet
from sercl_jax.ratings import RatingFold, RatingPredictions
from sercl_jax.types import Frames, Stage, Variables
from sercl_jax.workbench import Workbench, cache_directory

Model = tuple[CpcSettings, Variables]
SETUPS = ("sup", "joint", "mini", "pre")
MAIN = "pre"  # what setup=all sets beside the others


@dataclass(frozen=True)
class Division:
    """One fold: positions of utterances, and words for how the validation part was chosen."""

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    words: str


@dataclass(frozen=True)
class Fitted:
    """A trained recognizer.

    Attributes:
      predict: rows -> [len(rows), 3] ratings on the corpus' own scale.
      variables: everything it is made of, by name.
      best_epoch: which was kept, from 1.
      cpc: settings of the CPC among them, or None.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    variables: dict[str, Variables]
    best_epoch: int
    cpc: CpcSettings | None


class Recognition:
    """setup=sup, joint, mini, pre or all."""

    def __init__(self, config: ConfigDict, workdir: Path, bench: Workbench, store: Path, quiet: bool):
        self.config, self.workdir, self.bench, self.store, self.quiet = config, workdir, bench, store, quiet
        self.corpus = bench.corpus(config)
        self.utterances = self.corpus.utterances
        self.seeds = list(range(config.seed, config.seed + config.seeds))
        if config.seeds < 1:
            raise UserError(f"runs={config.seeds}: at least 1.")
        config_lib.one_of("config.setup", config.setup, (*SETUPS, "all"))
        if config.train.training not in ("transductive", "inductive"):
            raise UserError(f"config.train.training={config.train.training}: must be inductive or transductive.")
        for knob, value, only in (("fold_seeds", config.fold_seeds, 1), ("normalise", config.normalise, "global")):
            if value != only:
                raise UserError(f"{knob}={value}: is for setup=probe; setup={config.setup} knows {knob}={only} only.")
        self.names = SETUPS if config.setup == "all" else (config.setup,)
        self.ratings = ratings.ratings_of(self.utterances)
        if not np.isfinite(self.ratings).any():
            other = "setup=probe for emotion classes" if self.corpus.labels else "setup=pretrain for speech alone"
            raise UserError(f"corpus {self.corpus.name} has no ratings of activation, valence or dominance, which "
                            f"setup={config.setup} needs; choose {other}.")
        self.protocol = splits.usual_protocol(self.utterances, config.eval.protocol)
        folds = splits.folds_of(self.corpus, self.protocol, folds=config.eval.folds, fold_seed=config.fold_seed,
                                targets="ratings", emobox_dir=config.data.emobox_dir, tested=config.eval.tested)
        table = splits.Table(self.utterances)
        carved = [validation.carve_fold(table, fold, seed=config.seed) for fold in folds]
        self.sheet = protocol_sheet(table, folds, targets="ratings", carved=carved)
        self.divisions = [Division(fold.name, part.train, part.validation, fold.test, part.words)
                          for fold, part in zip(folds, carved, strict=True)]
        # Errors in the recipes come before hours of training.
        self.pretraining = cpc_recipes.pretraining(config)
        self.recognition = cpc_recipes.recognition(config)
        self.joint = cpc_recipes.joint(config)
        self.seconds = 0.0
        self._models: dict[int, Model] = {}  # pre-trained, by seed
        self._told: dict[str, Any] = {}  # of the pre-training, for the report
        self._warnings: tuple[str, ...] = (
            *joined.warnings(self.corpus), *copies.warnings(self.corpus, [(fold.train, fold.test) for fold in folds]))

    def run(self) -> dict[str, Any]:
        started = time.monotonic()
        found = {name: self.predict(name) for name in self.names}
        main = self.main
        summary = ratings.summarise(found[main])
        results.write_ratings(self.workdir, found[main])
        self._embeddings(main)
        if self.config.final_model:
            self._final_model(main)
        return {
            "method": self.config.method, "corpus": self.corpus.name,
            "protocol": {"name": self.protocol, "folds": len(self.divisions), "setup": main,
                         "training": self.config.train.training,
                         "validation": "; ".join(dict.fromkeys(d.words for d in self.divisions)),
                         "seeds": self.seeds, "targets": list(ratings.DIMENSIONS)},
            "seed": self.config.seed, "labels": list(ratings.DIMENSIONS), **summary,
            "warnings": [*summary["warnings"], *dict.fromkeys(self._warnings)],
            "baselines": [{"name": name, "metrics": ratings.summarise(theirs)["metrics"],
                           "difference": ratings.compare(found[main], theirs), **_paper(self.corpus.name, name)}
                          for name, theirs in found.items() if name != main],
            "protocol_sheet": self.sheet, "synthetic": registry.is_synthetic(self.corpus.name),
            **_paper(self.corpus.name, main), **({"pretraining": self._told} if self._told else {}),
            "seconds": {"features": self.bench.feature_seconds, "train": self.seconds,
                        "evaluate": max(time.monotonic() - started - self.seconds, 0.0)}}

    @property
    def main(self) -> str:
        """The set-up that the others stand beside, and whose model is kept."""
        return MAIN if MAIN in self.names else self.names[0]

    def predict(self, name: str) -> list[RatingPredictions]:
        """Test predictions of every seed; what a killed run has finished is reused."""
        runs = []
        for seed in self.seeds:
            path = self.workdir / "predictions" / name / f"seed{seed}.npz"
            found = ratings.load(path)
            if found is None:
                found = self._predict(name, seed)
                ratings.save(path, found)
            self._tell(name, seed, found)
            runs.append(found)
        return runs

    def _predict(self, name: str, seed: int) -> RatingPredictions:
        predicted = np.full(self.ratings.shape, np.nan)
        fold_of, best = np.full(len(self.utterances), -1), []
        for number, division in enumerate(self.divisions):
            fitted = self.fit(name, seed, division.train, division.valid)
            predicted[division.test] = fitted.predict(division.test)
            fold_of[division.test] = number
            best.append(fitted.best_epoch)
            shutil.rmtree(self._scratch, ignore_errors=True)
        folds = [RatingFold.of(d.name, epoch, self.ratings[d.test], predicted[d.test])
                 for d, epoch in zip(self.divisions, best, strict=True)]
        return RatingPredictions(ids=tuple(u.id for u in self.utterances),
                                 speakers=tuple(u.speaker for u in self.utterances), truth=self.ratings,
                                 predicted=predicted, fold=fold_of, folds=tuple(folds), seed=seed)

    def _tell(self, name: str, seed: int, found: RatingPredictions) -> None:
        if not self.quiet:
            metrics = ratings.summarise([found])["metrics"]
            print(f"{published.SETUPS[name]}, seed {seed}: "
                  + "  ".join(f"{metric} {value['mean']:.3f}" for metric, value in metrics.items()),
                  file=sys.stderr, flush=True)

    def fit(self, name: str, seed: int, rows: np.ndarray, valid: np.ndarray) -> Fitted:
        """Trains one set-up on some utterances; the others choose the epoch."""
        targets = cpc.Targets.of(self.ratings, rows)
        settings = {"corpus": self.corpus.key, "rows": files.digest(rows.tolist()),
                    "valid": files.digest(valid.tolist()), "seed": seed}
        model = self._model(name, seed, rows, valid)
        if name == "joint" or (model is not None and not self.config.recognizer.freeze_cpc):
            return self._fit_jointly(name, seed, rows, valid, targets, settings, model)
        frames = self._frames(name, model)
        stage = cpc.recognizer_stage(self.recognition, frames, targets, rows, valid, seed,
                                     {**settings, "frames": frames.key},
                                     standardise=self.config.recognizer.standardise)
        trained = self._train(name, stage, seed)
        parts = {"recognizer": trained.variables} | ({} if model is None else {"cpc": model[1]})
        return Fitted(lambda test: cpc.recognize(self.recognition, trained.variables, frames, targets, test), parts,
                      _epoch(trained, stage), model and model[0])

    def _fit_jointly(self, name: str, seed: int, rows: np.ndarray, valid: np.ndarray, targets: cpc.Targets,
                     settings: dict[str, Any], model: Model | None) -> Fitted:
        """CPC trains, too: from nothing with its own loss beside, or from a pre-training on."""
        recipe, network, start = self.joint, self.pretraining.settings, None
        if model is not None:
            network, start = model
            recipe = dataclasses.replace(recipe, cpc_weight=0.0)
            settings = {**settings, "start": representations.digest(start)}
        stage = cpc.joint_stage(recipe, network, self.pretraining.crop, self.corpus, targets, rows, valid, seed,
                                settings, start=start)
        trained = self._train(name, stage, seed)
        parts: dict[str, Variables] = {part: {"params": trained.variables["params"][part]}
                                       for part in ("cpc", "recognizer")}
        return Fitted(lambda test: cpc.recognize_jointly(recipe, network, trained.variables, self.corpus, targets,
                                                         test), parts, _epoch(trained, stage), network)

    def _train(self, name: str, stage: Stage, seed: int) -> train.TrainResult:
        directory = self.store / f"{name}-seed{seed}-{files.digest(stage.settings)}"
        trained = train.run(stage, workdir=directory, seed=seed, log_every=self.config.train.log_every,
                            checkpoint_every=self.config.train.checkpoint_every, progress=not self.quiet,
                            resident=self.config.train.resident,
                            steps_per_dispatch=self.config.train.steps_per_dispatch)
        self.seconds += trained.seconds
        return trained

    @property
    def _scratch(self) -> Path:
        """Contexts of models that serve one fold only: a corpus has gigabytes of them."""
        return self.workdir / "scratch"

    def _model(self, name: str, seed: int, rows: np.ndarray, valid: np.ndarray) -> Model | None:
        """The pre-trained CPC of mini and pre; None for the others."""
        if name == "pre":
            return self._pretrained(seed)
        if name != "mini":
            return None
        if self.config.train.training == "transductive":
            rows, valid = np.arange(len(self.utterances)), np.arange(0)
        trained = pretraining.pretrain(self.config, self.corpus, rows, valid, seed, self.store, not self.quiet)
        self.seconds += trained.seconds
        return self.pretraining.settings, trained.variables

    def _frames(self, name: str, model: Model | None) -> Frames:
        """What a recognizer reads: the model's context, or without one log mel energies."""
        if model is None:
            return self.bench.frames(self.config)
        return representations.contexts(self.corpus, *model, progress=not self.quiet,
                                        cache_dir=cache_directory(self.config) if name == "pre" else self._scratch)

    def _pretrained(self, seed: int) -> Model:
        """The model of init_from with this seed, or one that is pre-trained now and serves all seeds."""
        seed = seed if self.config.init_from else self.config.seed
        if seed not in self._models:
            self._models[seed] = self._given(seed) if self.config.init_from else self._pretrain()
        return self._models[seed]

    def _given(self, seed: int) -> Model:
        place = Path(self.config.init_from)
        self._told = pretraining.told(place)
        self._warnings += pretraining.overlap(self.corpus, *pretraining.corpus_of(place))
        model = pretraining.load(place, seed)
        if model[0] != self.pretraining.settings:
            self._warnings += (f"config.cpc is another network than that of {place}; the pre-trained one counts.",)
        return model

    def _pretrain(self) -> Model:
        config = self.config
        corpus = self.bench.pretrain_corpus(config)
        self._warnings += pretraining.overlap(self.corpus, corpus.name, corpus.key)
        rows, valid, test = pretraining.hold_out(corpus.utterances, config.pretrain.held_out, config.seed)
        trained = pretraining.pretrain(config, corpus, rows, valid, config.seed, self.store, not self.quiet)
        self.seconds += trained.seconds
        self._told = pretraining.describe(config, corpus, rows, test, trained.variables)
        return self.pretraining.settings, trained.variables

    def _embeddings(self, name: str) -> None:
        """Utterance-level representations for Fig. 1, of what does not depend on the fold."""
        if name != "pre" and name != "sup":
            return
        frames = self._frames(name, self._model(name, self.config.seed, np.arange(0), np.arange(0)))
        results.write_embeddings(self.workdir, self.utterances, representations.mean_and_deviation(frames))

    def final_parts(self) -> tuple[np.ndarray, np.ndarray]:
        """What the model to keep is trained on, and what chooses its epoch."""
        rated = np.flatnonzero(np.isfinite(self.ratings).any(1))
        # An official validation part stays one.
        free = np.array([u for u in rated if self.utterances[u].split not in splits.HELD_OUT], np.int64)
        rows, valid, _ = validation.carve(self.utterances, free if len(free) > 1 else rated, np.arange(0),
                                          seed=self.config.seed)
        return rows, valid

    def _final_model(self, name: str) -> None:
        """Fits on everything that is rated, but for the validation part by which its epoch is chosen."""
        rows, valid = self.final_parts()
        fitted = self.fit(name, self.config.seed, rows, valid)
        targets = cpc.Targets.of(self.ratings, rows)
        settings = {"recognizer": asdict(self.recognition.settings)}
        if fitted.cpc is not None:
            settings["cpc"] = asdict(fitted.cpc)
        checkpoint.save_model(self.workdir / "model", fitted.variables,
                              {"targets/mean": targets.mean, "targets/scale": targets.scale},
                              {"config": workdirs.identity(self.config), "setup": name, "settings": settings,
                               "targets": list(ratings.DIMENSIONS), "range": self._range(rows),
                               "seconds": windows.usual_seconds([self.utterances[u].seconds for u in rows])})
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _range(self, rows: np.ndarray) -> dict[str, tuple[float, float]]:
        """The lowest and the highest rating of these utterances, of each dimension that is rated."""
        columns = {name: self.ratings[rows, a] for a, name in enumerate(ratings.DIMENSIONS)}
        return {name: (float(np.nanmin(values)), float(np.nanmax(values)))
                for name, values in columns.items() if np.isfinite(values).any()}


def _epoch(trained: train.TrainResult, stage: Stage) -> int:
    return math.ceil((trained.best_step or trained.step) / stage.steps_per_epoch)


def _paper(corpus: str, setup: str) -> dict[str, Any]:
    found = published.cpc(corpus, setup)
    return {"paper": found} if found else {}
