"""Finished runs on a small corpus whose records are really there: its SVM is real, only its encoder is a draw."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sercl_jax import corpora, evaluate, ratings, results
from sercl_jax.classify import SvmSettings
from sercl_jax.ratings import RatingFold, RatingPredictions
from sercl_jax.splits import Fold

SPEAKERS = tuple(f"sp{number}" for number in range(8))
SENTENCES = ("t1", "t2", "t3")
EMOTIONS = ("angry", "neutral", "sad")


def write_corpus(folder: Path) -> Path:
    """72 recordings of noise, a fifth of a second each, with emotions and ratings; returns their manifest."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    rows = []
    for speaker in SPEAKERS:
        for sentence in SENTENCES:
            for emotion in EMOTIONS:
                name = f"{speaker}_{sentence}_{emotion}"
                soundfile.write(folder / f"{name}.wav", draw.uniform(-0.5, 0.5, 3200), 16_000, subtype="PCM_16")
                rows.append({"path": f"{name}.wav", "id": name, "label": emotion, "speaker": speaker,
                             "text": sentence, **{dimension: f"{draw.uniform(1, 5):.2f}"
                                                  for dimension in ratings.DIMENSIONS}})
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return manifest


def opened(manifest: Path, cache: Path) -> corpora.Corpus:
    return corpora.load("manifest", cache_dir=cache, manifest=manifest, workers=0, progress=False)


def folds(corpus: corpora.Corpus, count: int, fold_seed: int = 0) -> list[Fold]:
    """Folds of utterances at random."""
    which = np.random.default_rng(fold_seed).permutation(len(corpus)) % count
    return [Fold(str(f), np.flatnonzero(which != f), np.flatnonzero(which == f)) for f in range(count)]


def class_run(workdir: Path, corpus: corpora.Corpus, cache: Path, *, noise: float, seeds: Sequence[int] = (0,),
              fold_seeds: Sequence[int] = (0,), count: int = 6, changes: Mapping[str, Any] | None = None) -> Path:
    """A run of classes in that many folds, the noisier the worse."""
    workdir.mkdir(parents=True)
    centres = 2.0 * np.eye(3, 6)
    labels = [EMOTIONS.index(u.label) for u in corpus.utterances]
    runs = []
    for seed in seeds:
        x = centres[labels] + noise * np.random.default_rng(seed + int(100 * noise)).normal(size=(len(corpus), 6))
        for fold_seed in fold_seeds:
            runs.append(evaluate.evaluate(
                x, corpus.utterances, corpus.labels, folds(corpus, count, fold_seed), group_inner=False, seed=seed,
                settings=SvmSettings(grid={"linear": (1.0,)}, inner_folds=2), fold_seed=fold_seed))
    results.write_predictions(workdir, runs)
    _finish(workdir, corpus, cache, {
        "method": "serugcl", "labels": list(corpus.labels), **evaluate.summarise(runs),
        "protocol": {"name": "kfold", "folds": count, "training": "inductive", "seeds": list(seeds),
                     "fold_seeds": list(fold_seeds)}, **(changes or {})}, {"noise": noise})
    return workdir


def rating_run(workdir: Path, corpus: corpora.Corpus, cache: Path, *, noise: float,
               seeds: Sequence[int] = (0,)) -> Path:
    """A run of ratings in six folds."""
    workdir.mkdir(parents=True)
    truth = ratings.ratings_of(corpus.utterances)
    fold = np.arange(len(corpus)) % 6
    runs = []
    for seed in seeds:
        predicted = truth + noise * np.random.default_rng(seed + int(100 * noise)).normal(size=truth.shape)
        each = tuple(RatingFold.of(str(f), 3, truth[fold == f], predicted[fold == f]) for f in range(6))
        runs.append(RatingPredictions(tuple(u.id for u in corpus.utterances),
                                      tuple(u.speaker for u in corpus.utterances), truth, predicted, fold, each,
                                      seed))
    results.write_ratings(workdir, runs)
    _finish(workdir, corpus, cache, {
        "method": "cpc", "labels": list(ratings.DIMENSIONS), **ratings.summarise(runs),
        "protocol": {"name": "kfold", "folds": 6, "setup": "sup", "seeds": list(seeds)}}, {"noise": noise})
    return workdir


def _finish(workdir: Path, corpus: corpora.Corpus, cache: Path, found: dict[str, Any], knobs: dict[str, Any]) -> None:
    results.write(workdir, {"corpus": corpus.name, "seed": 0, "seconds": {"train": 1.0},
                            "command": f"python -m sercl_jax.main --workdir={workdir.name}", **found})
    data = {"corpus": "manifest", "labels": "usual", "where": "", "trim": False, "cache_dir": str(cache)}
    (workdir / "run.json").write_text(json.dumps({"config": {"data": data, **knobs}}), encoding="utf-8")
    (workdir / "config.json").write_text(json.dumps({"data": {"corpus": "manifest"}, **knobs}), encoding="utf-8")
    (workdir / "corpora.json").write_text(json.dumps({"manifest": corpus.key}), encoding="utf-8")
