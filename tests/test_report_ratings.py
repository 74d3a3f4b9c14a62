"""Pages of runs that predict ratings and of pre-trainings, from workdirs written by the code that writes them."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from pages import Page

from sercl_jax import metrics, published, ratings, report, results
from sercl_jax.errors import UserError
from sercl_jax.ratings import RatingFold, RatingPredictions
from sercl_jax.report import inputs

EMOTIONS = np.array(["angry", "happy", "neutral", "sad"])


def predictions(seed: int = 0, noise: float = 0.5, utterances: int = 60) -> RatingPredictions:
    """Ratings from 1 to 5 in steps of a half, some of them missing, and predictions near them, in five folds."""
    draw = np.random.default_rng(7)
    truth = np.round(draw.uniform(1, 5, (utterances, 3)) * 2) / 2
    truth[5, 1] = np.nan
    fold = np.arange(utterances) % 5
    fold[3] = -1
    predicted = np.nan_to_num(truth, nan=3.0) + noise * np.random.default_rng(seed).normal(size=truth.shape)
    predicted[3] = np.nan
    folds = tuple(RatingFold.of(f"session {f + 1}", 11 + f, truth[fold == f], predicted[fold == f]) for f in range(5))
    return RatingPredictions(tuple(f"u{i:02}" for i in range(utterances)),
                             tuple(f"s{i % 10}" for i in range(utterances)), truth, predicted, fold, folds, seed)


def make_results(own: list[RatingPredictions], /, **changes: Any) -> dict[str, Any]:
    """What setup=all leaves behind, on IEMOCAP unless told otherwise."""
    others = {name: [predictions(run.seed + 100, noise, len(run.ids)) for run in own]
              for name, noise in (("sup", 0.9), ("joint", 1.4))}
    return {
        "method": "cpc", "corpus": "iemocap", "seed": 0, "labels": list(ratings.DIMENSIONS),
        "protocol": {"name": "session", "folds": 5, "setup": "pre", "validation": "the next session",
                     "seeds": [run.seed for run in own], "targets": list(ratings.DIMENSIONS)},
        **ratings.summarise(own),
        "baselines": [{"name": name, "metrics": ratings.summarise(theirs)["metrics"],
                       "difference": ratings.compare(own, theirs), "paper": published.cpc("iemocap", name)}
                      for name, theirs in others.items()],
        "seconds": {"features": 1.0, "train": 20.0, "evaluate": 0.5}, "synthetic": False,
        "command": "python -m sercl_jax.main --config=configs/cpc.py:corpus=iemocap",
        "paper": published.cpc("iemocap", "pre"),
        "pretraining": {"corpus": "librispeech", "hours": 0.95, "identified": {
            "k": [float(0.6 - 0.03 * k) for k in range(12)], "untrained": [0.03] * 12, "chance": 1 / 51}},
        **changes}


def log(path: Path, lines: list[dict[str, float]]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def make_logs(workdir: Path) -> None:
    """Two pre-trainings on the corpus, two recognizers, one joint training: ten epochs of two steps each."""
    for seed in range(2):
        log(workdir / "train" / f"cpc-seed{seed}-ab12" / "pretrain" / "metrics.jsonl", [
            {"step": step, "epoch": step / 2, "loss": 3.9 - 0.1 * step, "identified_1": 0.02 * step,
             "identified": 0.01 * step,
             **({"score": 0.008 * step, "held_out_identified_1": 0.015 * step, "held_out_identified": 0.008 * step}
                if step % 2 == 0 else {})} for step in range(1, 21)])
        log(workdir / "train" / f"recognizer-seed{seed}-cd34" / "recognizer" / "metrics.jsonl", [
            {"step": step, "epoch": step / 2, "loss": 1 - 0.03 * step, "ccc_act": 0.03 * step, "ccc_val": 0.02 * step,
             "ccc_dom": 0.04 * step, **({"score": 0.025 * step + 0.1 * seed} if step % 2 == 0 else {})}
            for step in range(1, 21)])
    log(workdir / "train" / "joint-seed0-ef56" / "joint" / "metrics.jsonl", [
        {"step": step, "epoch": step / 2, "loss": 4.8 - 0.1 * step, "ccc_act": 0.02 * step, "ccc_val": 0.01 * step,
         "ccc_dom": 0.03 * step, "identified_1": 0.01 * step, "identified": 0.005 * step} for step in range(1, 21)])


def make_workdir(workdir: Path, found: dict[str, Any], runs: list[RatingPredictions]) -> Path:
    """A workdir with every file that such a run writes."""
    results.write(workdir, found)
    results.write_ratings(workdir, runs)
    make_logs(workdir)
    draw = np.random.default_rng(1)
    emotions, speakers = draw.integers(0, 4, 48), draw.integers(0, 10, 48)
    np.savez(workdir / "embeddings.npz", ids=np.array([f"u{i:02}" for i in range(48)]), labels=EMOTIONS[emotions],
             speakers=np.array([f"s{s}" for s in speakers]), embeddings=draw.normal(size=(48, 8)) + emotions[:, None])
    return workdir


FIGURES = {"scores", "ratings", "speakers", "pretraining", "identified", "recognition", "tsne"}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page, dict[str, Any]]:
    """A report of everything, its page and its results."""
    runs = [predictions(seed) for seed in range(2)]
    found = make_results(runs)
    workdir = make_workdir(tmp_path_factory.mktemp("ratings"), found, runs)
    return workdir, Page(report.write(workdir).read_text(encoding="utf-8")), found


def test_every_figure_is_on_the_page_and_on_disk_and_there_is_no_confusion_matrix(full):
    workdir, page, _ = full
    assert {path.stem for path in (workdir / "figures").iterdir()} == FIGURES
    assert {figure["id"] for figure in page.all("figure")} == {f"figure-{name}" for name in FIGURES}
    for path in (workdir / "figures").iterdir():
        height, width = imread(path).shape[:2]
        assert width > 400
        assert height > 150
    words = page.words()
    assert "Confusion" not in words
    assert "recall" not in words.lower()
    assert "percentage points" not in words
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_scores_stand_beside_the_paper_s_and_the_other_set_ups(full):
    _, page, found = full
    words = page.words()
    ours = found["metrics"]["CCC_avg"]
    assert (f"CCC_avg {ours['mean']:.3f} (95 % interval {ours['ci95'][0]:.3f} to {ours['ci95'][1]:.3f})."
            in words)
    assert "above the paper's 0.731 ± 0.003, whose folds and validation parts are its own." in words
    assert "The paper's folds and validation parts are its own" in words
    assert "protocol is not stated" not in words
    lines = [("This run (pre)", ours, "0.731 ± 0.003")]
    lines += [(baseline["name"], baseline["metrics"]["CCC_avg"], printed)
              for baseline, printed in zip(found["baselines"], ("0.664 ± 0.007", "0.562 ± 0.012"), strict=True)]
    for name, score, printed in lines:
        low, high = score["ci95"]
        assert f"{name} {score['mean']:.3f} ± {score['std']:.3f} [{low:.3f}, {high:.3f}] {printed}" in words
    for baseline in found["baselines"]:
        gap = baseline["difference"]["CCC_dom"]
        sign = "+" if gap["mean"] > 0 else "−"
        assert f"{baseline['name']} CCC_dom paired {sign}{abs(gap['mean']):.3f} [" in words
        assert f"above {baseline['name']} on the same folds; the interval of that difference" in words


def test_folds_have_their_best_epoch(full):
    _, page, found = full
    words = page.words()
    first = found["folds"][0]
    assert "best epoch" in words
    assert (f"session 1 12 11 {first['CCC_avg']:.3f} {first['CCC_act']:.3f} {first['CCC_val']:.3f} "
            f"{first['CCC_dom']:.3f} 0") in words.replace("−", "-")
    assert words.count("session 5 12 15") == 2  # of two seeds


def test_scatter_shows_the_first_seed_s_agreement_in_each_dimension(full):
    workdir, page, found = full
    run = predictions(0)
    rows = run.tested
    words = page.words()
    for a, name in enumerate(ratings.DIMENSIONS):
        score = metrics.ccc(run.truth[rows, a], run.predicted[rows, a])
        count = int(np.isfinite(run.truth[rows, a]).sum())
        assert f"{name}: CCC {score:.3f} over {count} utterances;" in words
        assert words.count(f"CCC {score:.3f}") >= 2  # in the corner, and in the alternative text
        np.testing.assert_allclose(score, found["runs"][0][ratings.METRICS[a]], atol=1e-9)
    assert "Seed 0: 59 test utterances." in words
    read = inputs.read_ratings(workdir / "predictions.csv")
    assert read is not None
    np.testing.assert_allclose(read.predicted, run.predicted[rows], atol=1e-6)
    np.testing.assert_array_equal(read.truth, run.truth[rows])


def test_training_curves_name_chance_and_where_they_end(full):
    words = full[1].words()
    assert "chance, 1.96 %" in words
    # Steps 1 of epoch 0 and 20 of epoch 10, which has one step; held out, epoch 1 (step 2) is the first.
    assert "Next step identified, % (cpc) in training: from 2.0 to 40.0" in words
    assert "Next step identified, % (cpc) on held-out speech: from 3.0 to 30.0" in words
    assert "Identified, mean of all steps, % (joint) in training: from 0.5 to 10.0" in words
    assert "CCC of valence (recognizer) goes from 0.020 to 0.400" in words
    assert "CCC in validation (recognizer) goes from 0.100 to 0.550" in words  # means of two seeds
    assert "CCC of dominance (joint) goes from 0.030 to 0.600" in words


def test_the_map_is_coloured_by_emotion_and_by_speaker(full):
    words = full[1].words()
    assert "By emotion" in words
    assert "By speaker" in words
    assert "coloured by 4 emotions and by 10 speakers" in words
    assert "No emotion class was used in training." in words


def test_what_was_pre_trained_on_is_told(full):
    words = full[1].words()
    assert "corpus librispeech hours 0.95" in words
    assert "k = 1: 60.0 %" in words
    assert "k = 12: 27.0 %; chance 1.96 %" in words


def test_figures_follow_the_colour_scheme(full):
    text = (full[0] / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:fill|stroke): #[0-9a-f]{3,6}", text[text.index("<svg"):])


def test_every_figure_of_synthetic_data_says_so(tmp_path):
    runs = [predictions()]
    workdir = make_workdir(tmp_path, make_results(runs, synthetic=True, corpus="demo", paper={}), runs)
    text = report.write(workdir).read_text(encoding="utf-8")
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.DOTALL)
    assert len(figures) == len(FIGURES)
    for figure in figures:
        assert "Synthetic data." in figure[figure.index("<figcaption>"):]
        assert "Synthetic data." in figure[:figure.index("</title>")]
    assert "the paper's" not in Page(text).words()


def test_many_points_are_thinned_but_all_of_them_counted(tmp_path):
    run = predictions(utterances=2500)
    results.write(tmp_path, make_results([run], baselines=[]))
    results.write_ratings(tmp_path, [run])
    words = Page(report.write(tmp_path).read_text(encoding="utf-8")).words()
    assert "2000 of 2499 test utterances are drawn; CCC is that of all of them." in words
    score = metrics.ccc(run.truth[run.tested, 0], run.predicted[run.tested, 0])
    assert f"activation: CCC {score:.3f} over 2499 utterances" in words


def test_a_dimension_that_nobody_rated_has_no_panel(tmp_path):
    run = predictions()
    run.truth[:, 2] = np.nan
    results.write_ratings(tmp_path, [run])
    results.write(tmp_path, make_results([predictions()]))
    words = Page(report.write(tmp_path).read_text(encoding="utf-8")).words()
    assert "valence: CCC" in words
    assert "dominance: CCC" not in words


@pytest.mark.parametrize("change", [
    lambda text: text.replace("seed,", "sead,", 1), lambda text: text.replace("predicted_valence", "predicted_v", 1),
    lambda text: text + "u99,s1,session 1,0,high,2,3,1,2,3\n", lambda text: text + "u99,s1,session 1,0\n"])
def test_unreadable_predictions_are_left_out_and_named(tmp_path, change):
    runs = [predictions()]
    results.write(tmp_path, make_results(runs))
    path = results.write_ratings(tmp_path, runs)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    words = Page(report.write(tmp_path).read_text(encoding="utf-8")).words()
    assert "predictions.csv: cannot be read" in words
    assert not (tmp_path / "figures" / "ratings.png").exists()


@pytest.mark.parametrize(("pretraining", "config", "chance"), [
    ({"identified": {"k": [], "chance": 0.04}}, {"cpc": {"negatives": 50}}, "chance, 4.00 %"),
    ({}, {"cpc": {"negatives": 9}}, "chance, 10.00 %"), ({}, {"cpc": 3}, None), ({}, {}, None)])
def test_chance_is_that_of_the_results_or_of_the_config(tmp_path, pretraining, config, chance):
    results.write(tmp_path, make_results([predictions()], baselines=[], pretraining=pretraining))
    (tmp_path / "config.json").write_text(json.dumps(config))
    log(tmp_path / "train" / "cpc-seed0" / "pretrain" / "metrics.jsonl", [{"step": 5, "identified_1": 0.5}])
    words = Page(report.write(tmp_path).read_text(encoding="utf-8")).words()
    assert "Next step identified, % in training: from 50.0 to 50.0" in words
    assert (re.findall(r"chance, [\d.]+ %", words) or [None])[0] == chance


def test_a_pre_training_has_a_page_without_ratings(tmp_path):
    share = {"mean": 0.41, "std": 0.01, "ci95": [0.38, 0.44]}
    found = make_results([predictions()], baselines=[], folds=[], runs=[], labels=[], paper={}, protocol={
        "name": "held-out speakers", "setup": "pretrain", "seeds": [0]},
        metrics={"identified_1": share, "identified": share})
    results.write(tmp_path, found)
    make_logs(tmp_path)
    words = Page(report.write(tmp_path).read_text(encoding="utf-8")).words()
    assert "Next step identified 41.0 % (95 % interval 38.0 to 44.0)." in words
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {
        "scores", "identified", "pretraining", "recognition"}


def test_a_pre_training_with_nothing_held_out_says_so(tmp_path):
    found = make_results([predictions()], baselines=[], folds=[], runs=[], labels=[], paper={}, metrics={},
                         pretraining={"corpus": "demo", "identified": {"k": [], "chance": 0.02}})
    results.write(tmp_path, found)
    page = Page(report.write(tmp_path).read_text(encoding="utf-8"))
    assert "nothing was held out to test it on" in page.words()
    assert page.all("figure") == []


def test_ratings_are_a_plain_table(tmp_path: Path) -> None:
    runs = [predictions(seed) for seed in (0, 3)]
    with results.write_ratings(tmp_path, runs).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 59
    assert list(rows[0]) == ["id", "speaker", "fold", "seed", "activation", "valence", "dominance",
                             "predicted_activation", "predicted_valence", "predicted_dominance"]
    at = iter(rows)
    for run in runs:
        for u in np.flatnonzero(run.fold >= 0):
            row = next(at)
            assert (row["id"], row["speaker"], row["seed"]) == (run.ids[u], run.speakers[u], str(run.seed))
            assert row["fold"] == f"session {u % 5 + 1}"
            given = [float(row[name] or "nan") for name in ratings.DIMENSIONS]
            np.testing.assert_array_equal(given, run.truth[u])
            predicted = [float(row[f"predicted_{name}"]) for name in ratings.DIMENSIONS]
            np.testing.assert_allclose(predicted, run.predicted[u], atol=1e-6)


def put(value: Any, *path: Any) -> Any:
    def change(good: dict[str, Any]) -> None:
        at: Any = good
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
    return change


@pytest.mark.parametrize(("change", "message"), [
    (put(-1.2, "metrics", "CCC_val", "mean"), "metrics.CCC_val.mean: -1.2 is not in .-1, 1."),
    (put([[1]], "confusion"), "confusion: ratings have no confusion matrix"),
    (put(1.01, "folds", 0, "CCC_dom"), "folds.0.CCC_dom: 1.01 is not in"),
    (put("0.5", "runs", 1, "CCC_act"), "runs.1.CCC_act: '0.5' is not a number"),
    (put({"mean": 73.1, "std": 0.3}, "paper", "CCC_avg"), "paper.CCC_avg: 73.1 is not in"),
    (put(2, "baselines", 1, "paper", "CCC_avg"), "baselines.1.paper.CCC_avg: 2 is not in"),
    (put([0.5, 51], "pretraining", "identified", "k"), "pretraining.identified.k.1: 51 is not in"),
    (put(1.96, "pretraining", "identified", "chance"), "pretraining.identified.chance: 1.96 is not in"),
    (put({"chance": 0.1}, "pretraining", "identified"), "pretraining.identified: it needs a list k"),
])
def test_wrong_ratings_are_named_and_not_written(tmp_path, change, message):
    good = make_results([predictions(seed) for seed in range(2)])
    results.validate(good)
    change(good)
    with pytest.raises(UserError, match=message):
        results.write(tmp_path, good)
    assert list(tmp_path.iterdir()) == []


# Tables.

PAPER = published.Reported(0.731, 0.003)


def test_a_table_of_correlations_has_three_decimals_and_the_paper_s_deviations(tmp_path):
    rows = [report.Row("preCPC", {"CCC_avg": (0.7412, 0.004, (0.7, 0.78))}, {"CCC_avg": PAPER}),
            report.Row("Sup", {"CCC_avg": (-0.0004, 0.0, (-0.1, 0.1))}, {"CCC_avg": 0.664})]
    report.write_table(tmp_path, report.Table("Table 1", "Corpus iemocap.", ("CCC_avg",), rows))
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "|  | CCC_avg | 95 % interval | paper | difference |" in text
    assert "| preCPC | 0.741 ± 0.004 | [0.700, 0.780] | 0.731 ± 0.003 | +0.010 |" in text
    assert "| Sup | 0.000 | [-0.100, 0.100] | 0.664 | -0.664 |" in text
    assert "percentage points" not in text
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        line = next(csv.DictReader(file))
    assert (float(line["CCC_avg_paper"]), float(line["CCC_avg_paper_std"])) == (0.731, 0.003)
    assert float(line["CCC_avg_difference"]) == 0.7412 - 0.731


def test_a_paper_s_values_for_another_corpus_have_no_difference(tmp_path):
    rows = [report.Row("preCPC", {"CCC_avg": (0.61, 0.004, (0.58, 0.64))}, {"CCC_avg": PAPER})]
    table = report.Table("Table 1", "Corpus demo (synthetic speech).", ("CCC_avg",), rows, synthetic=True,
                         paper_corpus="iemocap")
    report.write_table(tmp_path, table)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "|  | CCC_avg | 95 % interval | paper (iemocap) |" in text
    assert "| preCPC | 0.610 ± 0.004 | [0.580, 0.640] | 0.731 ± 0.003 |" in text
    assert "difference" not in text
    assert "the paper's values on iemocap" in Page((tmp_path / "table.html").read_text(encoding="utf-8")).words()
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["CCC_avg_difference"] == ""
