"""`results.json` and `predictions.csv`: whole, checked, and read back as they were."""

import copy
import csv
import dataclasses
import json
import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sercl_jax import results
from sercl_jax.classify import FIXED
from sercl_jax.errors import UserError
from sercl_jax.evaluate import Predictions, compare, evaluate, summarise
from sercl_jax.splits import make_folds
from sercl_jax.types import Utterance

LABELS = ("angry", "neutral", "sad")


def predictions(fold_seed: int = 0, seed: int = 0) -> Predictions:
    utterances = [Utterance(f"{s}, \"{k}\"-{label}", 16_000, label, speaker=f"s{s}")
                  for s in range(4) for k in range(5) for label in LABELS] + [Utterance("none", 1)]
    x = np.random.default_rng(seed).normal(size=(61, 5))
    x[np.arange(60), np.arange(60) % 3] += 1.5
    return evaluate(x, utterances, LABELS, make_folds(utterances, "kfold", folds=3, fold_seed=fold_seed),
                    settings=FIXED, group_inner=False, seed=seed, fold_seed=fold_seed)


@pytest.fixture
def good() -> dict[str, Any]:
    ours, theirs = [predictions(0, s) for s in (0, 1)], [predictions(0, 9)]
    return {"method": "serugcl", "corpus": "demo", "protocol": {"name": "kfold", "folds": 3}, "seed": 0,
            "labels": list(LABELS), "seconds": {"features": 1.5, "train": 2.0, "evaluate": 0.5}, **summarise(ours),
            "baselines": [{"name": "mean + std", "metrics": summarise(theirs)["metrics"],
                           "difference": compare(ours, theirs)}],
            "probes": {}, "notes": ["a note"], "synthetic": True}


def test_what_is_written_is_read_back(tmp_path: Path, good: dict[str, Any]) -> None:
    path = results.write(tmp_path, good)
    assert path == tmp_path / "results.json"
    assert results.read(tmp_path) == good
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_regression_results_have_ccc_and_no_confusion(tmp_path: Path, good: dict[str, Any]) -> None:
    figure = {"mean": -0.1, "std": 0.0, "ci95": [-0.2, 0.3]}
    regression = {**{k: good[k] for k in ("method", "corpus", "protocol", "seed", "seconds")}, "labels": [],
                  "confusion": [], "folds": [], "metrics": {f"CCC_{n}": figure for n in ("act", "val", "dom", "avg")}}
    results.write(tmp_path, regression)
    assert results.read(tmp_path) == regression


def put(value: Any, *path: Any) -> Any:
    def change(good: dict[str, Any]) -> None:
        at: Any = good
        for key in path[:-1]:
            at = at[key]
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value
    return change


@pytest.mark.parametrize(("change", "message"), [
    (put(None, "seed"), "seed: it is missing"),
    (put("0", "seed"), "seed: expected int, found str"),
    (put(True, "seed"), "seed: expected int, found bool"),
    (put({"deep": [math.nan]}, "extra"), "extra.deep.0: nan is not a finite number"),
    (put("no", "synthetic"), "synthetic: expected bool, found str"),
    (put({}, "metrics"), "metrics: it is empty"),
    (put(87.9, "metrics", "UA", "mean"), "metrics.UA.mean: 87.9 is not in .0, 1.; figures are fractions"),
    (put(None, "metrics", "WA", "ci95"), "metrics.WA: it needs mean, std and ci95"),
    (put([0.5, 0.4], "metrics", "WA", "ci95"), "metrics.WA.ci95: .0.5, 0.4. is not an interval"),
    (put([0.5], "metrics", "WA", "ci95"), "metrics.WA.ci95: .0.5. is not an interval"),
    (put(math.nan, "metrics", "F1", "std"), "metrics.F1.std: nan is not a finite number"),
    (put(math.inf, "folds", 2, "UA"), "folds.2.UA: inf is not a finite number"),
    (put(1.5, "folds", 2, "UA"), "folds.2.UA: 1.5 is not in"),
    (put(None, "folds", 1, "n"), "folds.1: it needs a name and a number"),
    (put([[1, 2, 3]], "confusion"), "confusion: it must be 3 x 3"),
    (put(None, "baselines", 0, "difference"), "baselines.0: it needs name, metrics and difference"),
    (put(-2, "baselines", 0, "metrics", "UA", "mean"), "baselines.0.metrics.UA.mean: -2 is not in"),
])
def test_what_is_wrong_is_named_and_nothing_is_written(tmp_path: Path, good: dict[str, Any], change: Any,
                                                       message: str) -> None:
    results.write(tmp_path, good)
    bad = copy.deepcopy(good)
    change(bad)
    with pytest.raises(UserError, match=message):
        results.write(tmp_path, bad)
    assert results.read(tmp_path) == good
    (tmp_path / "results.json").write_text(json.dumps(bad))
    with pytest.raises(UserError, match=f"results.json: {message}"):
        results.read(tmp_path)


def test_unreadable_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"results.json: cannot be read \(No such file"):
        results.read(tmp_path)
    (tmp_path / "results.json").write_text('{"method": "ser')
    with pytest.raises(UserError, match=r"results.json: it is not JSON"):
        results.read(tmp_path)
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(UserError, match="expected an object, found list"):
        results.read(tmp_path)


def test_predictions_are_a_plain_table(tmp_path: Path) -> None:
    run = predictions(seed=2)
    run.decision[3, 1] = np.nan  # as for a class that a training part lacks
    with results.write_predictions(tmp_path, [run]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    for u, row in enumerate(rows):
        assert (row["id"], row["speaker"]) == (run.ids[u], run.speakers[u])
        assert (row["label"], row["predicted"]) == (LABELS[run.truth[u]], LABELS[run.predicted[u]])
        assert (row["fold"], row["seed"], row["fold_seed"]) == (run.folds[run.fold[u]].name, "2", "0")
        scores = [float(row[f"score_{label}"] or "nan") for label in LABELS]
        np.testing.assert_allclose(scores, run.decision[u], atol=1e-6)


def test_a_full_disk_leaves_the_old_files(tmp_path: Path, good: dict[str, Any]) -> None:
    results.write(tmp_path, good)
    script = f"""
import resource, signal
from pathlib import Path
from sercl_jax import results
from sercl_jax.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
good = results.read(Path({str(tmp_path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))
try:
    results.write(Path({str(tmp_path)!r}), good)
except UserError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "results.json: cannot be written (File too large); nothing was changed" in told.stdout
    assert results.read(tmp_path) == good
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_runs_of_other_labels_do_not_share_a_table(tmp_path: Path) -> None:
    run = predictions()
    other = dataclasses.replace(run, labels=("angry", "neutral", "happy"))
    with pytest.raises(ValueError, match="same labels"):
        results.write_predictions(tmp_path, [run, other])
    assert list(tmp_path.iterdir()) == []
