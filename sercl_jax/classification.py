"""Embeddings, classified by an SVM on every fold, beside the same by other embeddings."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import (
    calibration,
    checkpoint,
    classify,
    evaluate,
    probes,
    published,
    resources,
    results,
    runs,
    sources,
    splits,
    workdirs,
    workers,
)
from sercl_jax.corpora import copies, joined, registry
from sercl_jax.errors import UserError
from sercl_jax.evaluate import Predictions
from sercl_jax.inference import windows
from sercl_jax.protocol_sheet import protocol_sheet
from sercl_jax.workbench import Workbench

FEW_TASKS = 4


class Classification:
    """The steps of such an experiment, with what they share; `run` returns the results."""

    def __init__(self, config: ConfigDict, workdir: Path, bench: Workbench, store: Path, quiet: bool):
        self.config, self.workdir, self.bench, self.store, self.quiet = config, workdir, bench, store, quiet
        if config.train.training not in ("transductive", "inductive"):
            raise UserError(f"training={config.train.training}: must be transductive or inductive.")
        if config.seeds < 1 or config.fold_seeds < 1:
            raise UserError(f"seeds={config.seeds}, fold_seeds={config.fold_seeds}: at least 1 of each.")
        self.corpus = bench.corpus(config)
        self.utterances = self.corpus.utterances
        self.settings = classify.SvmSettings(
            grid={kernel: tuple(values) for kernel, values in
                  (("linear", config.eval.linear_c), ("rbf", config.eval.rbf_c)) if values},
            inner_folds=config.eval.inner_folds, clip=config.eval.clip)
        self.protocol = splits.usual_protocol(self.utterances, config.eval.protocol)
        # Errors in the protocol come before hours of training.
        self.folds = {seed: splits.folds_of(self.corpus, self.protocol, folds=config.eval.folds, fold_seed=seed,
                                            emobox_dir=config.data.emobox_dir, tested=config.eval.tested)
                      for seed in self._fold_seeds()}
        # Where test folds hold unknown speakers, the classifier is chosen on unknown speakers, too.
        self.grouped = all(splits.is_speaker_disjoint(self.utterances, folds) for folds in self.folds.values())
        self.source = sources.make(config, bench, store, progress=not quiet)
        own = self.folds[config.fold_seed]
        self.warnings: list[str] = [*joined.warnings(self.corpus), *self.source.warnings,
                                    *splits.fewer_folds(own, config.eval.folds, self.protocol),
                                    *copies.warnings(self.corpus, [(fold.train, fold.test) for fold in own])]

    def _fold_seeds(self) -> list[int]:
        return splits.fold_seeds(self.protocol, self.config.fold_seed, self.config.fold_seeds)

    def _seeds(self, source: sources.Source) -> list[int]:
        return list(range(self.config.seed, self.config.seed + (self.config.seeds if source.seeded else 1)))

    def run(self) -> dict[str, Any]:
        config = self.config
        started = time.monotonic()
        ours = self.predict(self.source, self.settings, "ours")
        summary = evaluate.summarise(ours)
        baselines = self._baselines(ours)
        extra = self._probes() if config.eval.probes else {}
        calibrated = calibration.of_runs(ours)
        if config.final_model:
            self._final_model(calibrated)
        trained = getattr(self.source, "train_seconds", 0.0)
        spent = time.monotonic() - started
        results.write_predictions(self.workdir, ours)
        paper = published.serugcl(config.data.corpus) if config.method == "serugcl" else None
        return {
            "method": config.method, "corpus": self.corpus.name,
            "protocol": {"name": self.protocol, "folds": len(self.folds[config.fold_seed]),
                         "training": config.train.training, "normalise": config.normalise,
                         "embedding": self.source.label, "fold_seeds": self._fold_seeds(),
                         "seeds": self._seeds(self.source)},
            "seed": config.seed, "labels": list(self.corpus.labels), **summary,
            "warnings": [*summary["warnings"], *self.warnings],
            "baselines": baselines, "probes": extra,
            **({"calibration": dict(calibrated.facts)} if calibrated else {}),
            "protocol_sheet": protocol_sheet(self.utterances, self.folds[config.fold_seed]),
            "synthetic": registry.is_synthetic(self.corpus.name),
            **({"paper": paper._asdict()} if paper else {}),
            "seconds": {"features": self.bench.feature_seconds, "train": trained,
                        "evaluate": max(spent - trained, 0.0)},
        }

    def predict(self, source: sources.Source, settings: classify.SvmSettings, name: str) -> list[Predictions]:
        """Test predictions for every pair of seed and fold seed; what a killed run has finished is reused."""
        paths = {(seed, fold_seed): self.workdir / "predictions" / name / f"seed{seed}-folds{fold_seed}.npz"
                 for seed in self._seeds(source) for fold_seed in self.folds}
        done = {pair: found for pair, path in paths.items() if (found := runs.load(path)) is not None}
        missing = [pair for pair in paths if pair not in done]
        embeddings = {seed: self._embedding(source, seed) for seed in dict.fromkeys(seed for seed, _ in missing)}
        settings = dataclasses.replace(settings, blocks=source.blocks)
        tasks = [runs.Task(paths[pair], embeddings[pair[0]], self.utterances, self.corpus.labels, self.folds[pair[1]],
                           settings, self.grouped, *pair) for pair in missing]
        # A process takes seconds to start; trainings inside a task need this one's devices.
        alone = len(tasks) < FEW_TASKS or any(callable(embedding) for embedding in embeddings.values())
        results_of = workers.parallel_map(runs.run, tasks, workers=1 if alone else self.config.data.workers or None,
                                          description=f"Evaluating {source.label}", unit="run",
                                          progress=not self.quiet and len(tasks) > 1)
        done |= zip(missing, results_of, strict=True)
        return [done[pair] for pair in paths]

    def _embedding(self, source: sources.Source, seed: int) -> evaluate.Embeddings:
        if source.fitted and self.config.train.training == "inductive":
            return lambda fold: source.embed(fold.train, seed)
        return source.embed(np.arange(len(self.utterances)), seed)

    def _baselines(self, ours: Sequence[Predictions]) -> list[dict[str, Any]]:
        config, rows = self.config, []
        wanted: list[tuple[str, classify.SvmSettings, str]] = []
        if config.eval.untrained:
            wanted += [(kind, self.settings, "") for kind in sources.CONTROLS.get(config.embedding, ())]
        if config.eval.baseline not in ("yes", "no", "auto"):
            raise UserError(f"config.eval.baseline={config.eval.baseline}: must be yes, no or auto.")
        available = resources.installed("opensmile")
        baseline = sources.BASELINES.get(config.embedding, "IS10")
        if config.eval.baseline == "yes" or (config.eval.baseline == "auto" and available):
            wanted.append((baseline, classify.FIXED, " (linear, C = 0.01)"))
        elif config.eval.baseline == "auto":
            self.warnings.append(f"The {sources.FUNCTIONALS[baseline]} baseline was left out: openSMILE is not "
                                 "installed (pip install 'sercl_jax[opensmile]'; licensed for research).")
        for kind, settings, suffix in wanted:
            other = config.copy_and_resolve_references()
            other.embedding = kind
            source = sources.make(other, self.bench, self.store, progress=False)
            theirs = self.predict(source, settings, kind)
            rows.append({"name": source.label + suffix, "metrics": evaluate.summarise(theirs)["metrics"],
                         "difference": evaluate.compare(ours, theirs)})
        return rows

    def _probes(self) -> dict[str, Any]:
        """Speaker identification and label efficiency of the first seed's embeddings."""
        embedding = self._embedding(self.source, self.config.seed)
        folds = self.folds[self.config.fold_seed]
        found: dict[str, Any] = {"label_efficiency": probes.label_efficiency(
            embedding, self.utterances, self.corpus.labels, folds)}
        whole = self.source.embed(np.arange(len(self.utterances)), self.config.seed) \
            if callable(embedding) else embedding
        try:
            found["speaker"] = probes.speaker_probe(whole, self.utterances)
        except UserError as error:
            self.warnings.append(str(error))
        results.write_embeddings(self.workdir, self.utterances, whole)
        return found

    def _final_model(self, calibrated: calibration.Calibration | None) -> None:
        """Fits encoder and classifier on all the data, with settings chosen inside it, for `predict`."""
        final = self.source.final(self.config.seed)
        if final is None:
            return
        truth = evaluate.class_numbers(self.utterances, self.corpus.labels)
        labelled = np.flatnonzero(truth >= 0)
        speakers = [self.utterances[u].speaker for u in labelled]
        machine = classify.fit_svm(final.embeddings[labelled], truth[labelled], speakers if self.grouped else None,
                                   dataclasses.replace(self.settings, blocks=self.source.blocks))
        parts = {"svm": machine.to_arrays(), "calibration": calibrated.to_arrays() if calibrated else {}}
        checkpoint.save_model(
            self.workdir / "model", final.variables,
            {**{f"{part}/{name}": value for part, arrays in parts.items() for name, value in arrays.items()},
             **final.arrays},
            {"config": workdirs.identity(self.config), "labels": list(self.corpus.labels),
             "normalise": self.config.normalise, "corpus": self.corpus.name,
             "seconds": windows.usual_seconds([u.seconds for u in self.utterances]),
             "calibration": calibrated.words if calibrated else "", **final.facts})
