"""One experiment: a corpus, embeddings, folds; results.json and report.html in a workdir."""

import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import (
    checkpoint,
    classify,
    evaluate,
    files,
    nodes,
    parallel,
    probes,
    provenance,
    published,
    report,
    resources,
    results,
    runs,
    sources,
    splits,
    workers,
)
from sercl_jax.errors import UserError
from sercl_jax.evaluate import Predictions
from sercl_jax.protocol_sheet import protocol_sheet
from sercl_jax.workbench import Workbench, cache_directory

FEW_TASKS = 4
# What may differ between two runs of one workdir: where things lie, how fast and how chattily they are done.
_PLACES = (("data", "cache_dir"), ("data", "manual_dir"), ("data", "manifest"), ("data", "download"),
           ("data", "workers"), ("train", "log_every"), ("eval", "report"))


def identity(config: ConfigDict) -> dict[str, Any]:
    """The part of a config that decides the result."""
    plain = json.loads(config.to_json_best_effort())
    for section, key in _PLACES:
        plain.get(section, {}).pop(key, None)
    return plain


def run(config: ConfigDict, workdir: Path, *, bench: Workbench | None = None, store: Path | None = None,
        quiet: bool = False) -> dict[str, Any]:
    """Builds what is missing, trains, evaluates and reports; returns the results.

    Run again on the same workdir it resumes or, if finished, returns what is there.

    Args:
      config: as made by a file of configs/.
      workdir: made if missing; refused if it belongs to another config.
      bench: what to share with other experiments.
      store: where trainings lie; WORKDIR/train by default.
      quiet: no progress bars, no printed result, no report.

    Raises:
      UserError: anything the user must mend.
    """
    workdir = workdir.resolve()
    bench = bench or Workbench(progress=not quiet)
    with files.locked(workdir / "run", f"run in {workdir.name}"):
        files.remove_leftovers_below(workdir)
        _claim(config, workdir)
        if (workdir / results.RESULTS).exists():
            found = results.read(workdir)
            if not quiet:
                print(f"{workdir} is finished.")
                if config.eval.report and not (workdir / "report.html").exists():
                    report.write(workdir)  # killed between the result and its report
                _print(found, workdir)
            return found
        parallel.enable_compilation_cache(cache_directory(config) / "compiled")
        found = _Experiment(config, workdir, bench, store or workdir / "train", quiet).run()
        results.write(workdir, found)
    if config.eval.report and not quiet:
        report.write(workdir)
    if not quiet:
        _print(found, workdir)
    return found


def _claim(config: ConfigDict, workdir: Path) -> None:
    """Writes the config into a new workdir; refuses one that holds another config."""
    path = workdir / "config.json"
    mine = identity(config)
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        differing = sorted(_differences(mine, theirs))
        if differing:
            raise UserError(f"{workdir}: this folder belongs to a run with another config; it differs in "
                            f"{', '.join(differing)}. Choose another --workdir, or remove this one.")
        return
    if workdir.is_dir() and any(p.name != "run.lock" for p in workdir.iterdir()):
        raise UserError(f"{workdir}: the folder is not empty and holds no run; choose another --workdir.")
    files.write_json(path, mine)


def _differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        return [name for key in a.keys() | b.keys()
                for name in _differences(a.get(key), b.get(key), f"{prefix}.{key}".lstrip("."))]
    return [] if a == b else [prefix]


class _Experiment:
    """The steps of `run`, with what they share."""

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
        # Errors in the protocol come before hours of training.
        self.folds = {seed: splits.make_folds(self.utterances, config.eval.protocol, folds=config.eval.folds,
                                              fold_seed=seed) for seed in self._fold_seeds()}
        # Where test folds hold unknown speakers, the classifier is chosen on unknown speakers, too.
        self.grouped = all(splits.is_speaker_disjoint(self.utterances, folds) for folds in self.folds.values())
        self.source = sources.make(config, bench, store, progress=not quiet)
        self.warnings: list[str] = list(self.source.warnings)

    def _fold_seeds(self) -> list[int]:
        count = self.config.fold_seeds if self.config.eval.protocol in splits.SEEDED_PROTOCOLS else 1
        return list(range(self.config.fold_seed, self.config.fold_seed + count))

    def _seeds(self, source: sources.Source) -> list[int]:
        return list(range(self.config.seed, self.config.seed + (self.config.seeds if source.seeded else 1)))

    def run(self) -> dict[str, Any]:
        config = self.config
        provenance.record(self.workdir, json.loads(config.to_json_best_effort()), seed=config.seed)
        started = time.monotonic()
        ours = self.predict(self.source, self.settings, "ours")
        summary = evaluate.summarise(ours)
        baselines = self._baselines(ours)
        extra = self._probes() if config.eval.probes else {}
        if config.final_model:
            self._final_model()
        trained = getattr(self.source, "train_seconds", 0.0)
        spent = time.monotonic() - started
        results.write_predictions(self.workdir, ours)
        paper = published.serugcl(config.data.corpus)
        return {
            "method": config.method, "corpus": config.data.corpus,
            "protocol": {"name": config.eval.protocol, "folds": len(self.folds[config.fold_seed]),
                         "training": config.train.training, "normalise": config.normalise,
                         "embedding": self.source.label, "fold_seeds": self._fold_seeds(),
                         "seeds": self._seeds(self.source)},
            "seed": config.seed, "labels": list(self.corpus.labels), **summary,
            "warnings": [*summary["warnings"], *self.warnings],
            "baselines": baselines, "probes": extra,
            "protocol_sheet": protocol_sheet(self.utterances, self.folds[config.fold_seed]),
            "synthetic": config.data.corpus == "demo",
            "command": shlex.join(["python", "-m", "sercl_jax.main", *sys.argv[1:]]),
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
        if config.eval.untrained and config.embedding == "trained":
            wanted.append(("untrained", self.settings, ""))
        if config.eval.baseline not in ("yes", "no", "auto"):
            raise UserError(f"config.eval.baseline={config.eval.baseline}: must be yes, no or auto.")
        available = resources.installed("opensmile")
        if config.eval.baseline == "yes" or (config.eval.baseline == "auto" and available):
            wanted.append(("IS10", classify.FIXED, " (linear, C = 0.01)"))
        elif config.eval.baseline == "auto":
            self.warnings.append("The openSMILE IS10 + SVM baseline was left out: openSMILE is not installed "
                                 "(pip install 'sercl_jax[opensmile]'; licensed for research).")
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
        with files.atomic_path(self.workdir / "embeddings.npz") as path, path.open("wb") as file:
            np.savez(file, ids=np.array([u.id for u in self.utterances]), embeddings=whole,
                     speakers=np.array([u.speaker for u in self.utterances]),
                     labels=np.array([u.label for u in self.utterances]))
        return found

    def _final_model(self) -> None:
        """Fits encoder and classifier on all the data, with settings chosen inside it, for `predict`."""
        if not isinstance(self.source, sources.GraphSource):
            return
        rows = np.arange(len(self.utterances))
        encoder = self.source.encoder(rows)
        members = [self.source.variables(rows, seed, encoder) for seed in self.source.seeds(self.config.seed)]
        x = self.source.assemble([encoder.embed(variables) for variables in members])
        truth = evaluate.class_numbers(self.utterances, self.corpus.labels)
        labelled = np.flatnonzero(truth >= 0)
        speakers = [self.utterances[u].speaker for u in labelled]
        machine = classify.fit_svm(x[labelled], truth[labelled], speakers if self.grouped else None,
                                   dataclasses.replace(self.settings, blocks=self.source.blocks))
        statistics = nodes.statistics(self.source.readout_nodes.x, self.source.readout_nodes.mask)
        checkpoint.save_model(
            self.workdir / "model", {f"encoder{number}": variables for number, variables in enumerate(members)},
            {f"svm/{name}": value for name, value in machine.to_arrays().items()}
            | {f"features/{name}": value for name, value in dataclasses.asdict(statistics).items()},
            {"config": identity(self.config), "labels": list(self.corpus.labels),
             "features": list(self.bench.frames(self.config).names), "normalise": self.config.normalise})


def _print(found: dict[str, Any], workdir: Path) -> None:
    protocol = found["protocol"]
    synthetic = ", synthetic data" if found.get("synthetic") else ""
    print(f"\n{found['corpus']}{synthetic}: {protocol['name']}, {protocol['folds']} folds, {protocol['training']}, "
          f"normalise={protocol['normalise']}")
    lines = [(protocol["embedding"], found["metrics"], None)]
    lines += [(b["name"], b["metrics"], b["difference"]) for b in found.get("baselines", [])]
    width = max(len(name) for name, _, _ in lines)
    for name, metrics, difference in lines:
        text = "  ".join(f"{m} {100 * metrics[m]['mean']:6.2f} % [{100 * metrics[m]['ci95'][0]:.1f}, "
                         f"{100 * metrics[m]['ci95'][1]:.1f}]" for m in ("UA", "WA"))
        gap = ""
        if difference:
            ua = difference["UA"]
            gap = (f"   ours is {100 * ua['mean']:+.2f} UA [{100 * ua['ci95'][0]:+.2f}, "
                   f"{100 * ua['ci95'][1]:+.2f}]")
        print(f"  {name:<{width}}  {text}{gap}")
    for warning in found.get("warnings", []):
        print(f"  note: {warning}")
    if (workdir / "report.html").exists():
        print(f"  report: {workdir / 'report.html'}")
