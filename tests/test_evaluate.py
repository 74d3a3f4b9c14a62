"""Fold by fold evaluation: nothing leaks, summaries and differences are what loops over predictions say."""

import dataclasses
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sercl_jax.classify import FIXED, FittedSvm, SvmSettings, fit_svm
from sercl_jax.errors import UserError
from sercl_jax.evaluate import Predictions, compare, evaluate, group_normalise, summarise
from sercl_jax.splits import Fold, make_folds
from sercl_jax.types import Utterance

LABELS = ("angry", "neutral", "sad")
TUNED = SvmSettings(grid={"linear": (0.001, 0.1), "rbf": (1.0, 10.0)}, inner_folds=3)


def corpus(speakers: int = 6, takes: int = 8) -> tuple[list[Utterance], np.ndarray]:
    """Utterances, the last two unlabelled, and embeddings that carry emotion and speaker."""
    rng = np.random.default_rng(0)
    utterances = [Utterance(f"{s}-{k}-{label}", 16_000, label, speaker=f"s{s}", sentence=f"t{k % 4}")
                  for s in range(speakers) for k in range(takes) for label in LABELS]
    utterances += [Utterance(f"z{n}", 16_000, speaker="s0") for n in range(2)]
    x = rng.normal(size=(len(utterances), 10))
    for u, utterance in enumerate(utterances):
        x[u, int(utterance.speaker[1:])] += 2
        if utterance.label:
            x[u, 6 + LABELS.index(utterance.label)] += 1.3
    return utterances, x


def run(protocol: str = "kfold", settings: SvmSettings = FIXED, fold_seed: int = 0, noise: int = 0,
        **fields: int) -> Predictions:
    utterances, x = corpus()
    x = x + noise * 0.5 * np.random.default_rng(noise).normal(size=x.shape)
    folds = make_folds(utterances, protocol, folds=4, fold_seed=fold_seed)
    predictions = evaluate(x, utterances, LABELS, folds, settings=settings, group_inner=protocol == "loso",
                           fold_seed=fold_seed)
    return dataclasses.replace(predictions, **fields)


def test_pooled_predictions_are_those_of_a_scikit_learn_loop() -> None:
    utterances, x = corpus()
    folds = make_folds(utterances, "loso", folds=0, fold_seed=0)
    ours = evaluate(x, utterances, LABELS, folds, settings=FIXED, group_inner=True, seed=3, fold_seed=5)
    y = np.array([LABELS.index(u.label) if u.label else -1 for u in utterances])
    np.testing.assert_array_equal(ours.truth, y)
    for number, fold in enumerate(folds):
        peer = make_pipeline(StandardScaler(), SVC(C=0.01, kernel="linear")).fit(x[fold.train], y[fold.train])
        expected = peer.predict(x[fold.test])
        np.testing.assert_array_equal(ours.predicted[fold.test], expected)
        np.testing.assert_allclose(ours.decision[fold.test], peer.decision_function(x[fold.test]), atol=1e-9)
        assert (ours.fold[fold.test] == number).all()
        score = ours.folds[number]
        assert (score.name, score.n, score.chosen) == (fold.name, len(fold.test), {"kernel": "linear", "C": 0.01})
        assert pytest.approx(balanced_accuracy_score(y[fold.test], expected)) == score.UA
        assert pytest.approx(np.mean(y[fold.test] == expected)) == score.WA
    assert ours.tested.tolist() == [True] * 144 + [False] * 2
    assert ours.predicted[-2:].tolist() == [-1, -1]
    assert np.isnan(ours.decision[-2:]).all()
    assert (ours.seed, ours.fold_seed) == (3, 5)


@pytest.mark.parametrize("protocol", ["kfold", "loso"])
def test_test_labels_never_choose_or_fit(protocol: str) -> None:
    utterances, x = corpus()
    folds = make_folds(utterances, protocol, folds=4, fold_seed=0)[:1]
    honest = evaluate(x, utterances, LABELS, folds, settings=TUNED, group_inner=protocol == "loso")
    test = folds[0].test
    shuffled = list(utterances)
    for u, other in zip(test, np.roll(test, 1), strict=True):
        shuffled[u] = dataclasses.replace(utterances[u], label=utterances[other].label)
    false = evaluate(x, shuffled, LABELS, folds, settings=TUNED, group_inner=protocol == "loso")
    assert (false.truth != honest.truth).sum() > len(test) / 2
    assert false.folds[0].chosen == honest.folds[0].chosen
    np.testing.assert_array_equal(false.decision, honest.decision)
    np.testing.assert_array_equal(false.predicted, honest.predicted)


def test_one_test_row_never_changes_anothers_prediction() -> None:
    utterances, x = corpus()
    folds = make_folds(utterances, "kfold", folds=4, fold_seed=0)
    honest = evaluate(x, utterances, LABELS, folds[:1], settings=TUNED, group_inner=False)
    broken = x.copy()
    broken[folds[0].test[0]] *= 1000
    again = evaluate(broken, utterances, LABELS, folds[:1], settings=TUNED, group_inner=False)
    rest = folds[0].test[1:]
    np.testing.assert_array_equal(again.decision[rest], honest.decision[rest])


@pytest.mark.parametrize("grouped", [False, True])
def test_inner_folds_get_the_training_speakers_when_asked(grouped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    utterances, x = corpus()
    folds = make_folds(utterances, "loso", folds=0, fold_seed=0)
    seen: list[Sequence[str] | None] = []

    def spy(rows: np.ndarray, y: np.ndarray, groups: Sequence[str] | None, settings: SvmSettings) -> FittedSvm:
        seen.append(groups)
        return fit_svm(rows, y, groups, settings)

    monkeypatch.setattr("sercl_jax.evaluate.fit_svm", spy)
    evaluate(x, utterances, LABELS, folds, settings=TUNED, group_inner=grouped)
    assert seen == [[utterances[u].speaker for u in fold.train] if grouped else None for fold in folds]


def test_embeddings_may_differ_by_fold() -> None:
    utterances, x = corpus()
    folds = make_folds(utterances, "kfold", folds=4, fold_seed=0)
    asked: list[str] = []

    def embed(fold: Fold) -> np.ndarray:
        asked.append(fold.name)
        return x * (1 + int(fold.name))

    ours = evaluate(embed, utterances, LABELS, folds, settings=FIXED, group_inner=False)
    assert asked == ["0", "1", "2", "3"]
    for fold in folds:
        alone = evaluate(embed(fold), utterances, LABELS, [fold], settings=FIXED, group_inner=False)
        np.testing.assert_array_equal(ours.predicted[fold.test], alone.predicted[fold.test])


def test_bad_input_is_refused() -> None:
    utterances, x = corpus()
    folds = make_folds(utterances, "kfold", folds=4, fold_seed=0)

    def go(embed: np.ndarray, some: list[Utterance] = utterances, parts: tuple[Fold, ...] = folds) -> Predictions:
        return evaluate(embed, some, LABELS, parts, settings=FIXED, group_inner=False)

    with pytest.raises(ValueError, match=r"must be \[146, D\]"):
        go(x[:-1])
    with pytest.raises(UserError, match="'0-0-angry' is labelled 'furious', which is not among angry, neutral, sad"):
        go(x, [dataclasses.replace(utterances[0], label="furious"), *utterances[1:]])
    with pytest.raises(ValueError, match="what another fold tests"):
        go(x, parts=(*folds, folds[0]))
    with pytest.raises(ValueError, match="what it trains on"):
        go(x, parts=(Fold("", folds[0].train, folds[0].train[:1]),))
    for u in (folds[0].train[0], folds[0].test[0]):
        broken = x.copy()
        broken[u, 0] = np.nan
        with pytest.raises(UserError, match="NaN"):
            go(broken, parts=folds[:1])


def test_group_normalise_is_each_speakers_own_and_unlabelled() -> None:
    utterances, x = corpus()
    x = x.astype(np.float32)
    x[:, 4] = 7
    ours, warnings = group_normalise(x, utterances, "speaker")
    assert warnings == ()
    for name in {u.speaker for u in utterances}:
        own = [u for u in range(len(utterances)) if utterances[u].speaker == name]
        expected = StandardScaler().fit_transform(x[own].astype(np.float64))
        np.testing.assert_allclose(ours[own], expected, atol=1e-9)
        assert (ours[own, 4] == 0).all()
    unlabelled = [dataclasses.replace(u, label="") for u in utterances]
    np.testing.assert_array_equal(group_normalise(x, unlabelled, "speaker")[0], ours)


def test_group_normalise_warns_where_it_erases_emotion() -> None:
    utterances, x = corpus()
    odd = [dataclasses.replace(u, label="sad") if u.speaker == "s2" else u for u in utterances]
    odd.append(Utterance("lone", 1, "sad", speaker="s9"))
    normalised, (few, single) = group_normalise(np.vstack([x, x[:1]]), odd, "speaker")
    assert "1 speakers have only one or two emotions, such as s2 (sad)" in few
    two = [dataclasses.replace(u, label="sad") if u.speaker == "s3" and u.label == "angry" else u for u in odd]
    assert "2 speakers have only one or two emotions" in group_normalise(np.vstack([x, x[:1]]), two, "speaker")[1][0]
    assert "1 speakers have a single utterance, such as s9" in single
    assert (normalised[-1] == 0).all()
    with pytest.raises(UserError, match="1 utterances have no speaker, such as 'lone'"):
        group_normalise(np.vstack([x, x[:1]]), [*odd[:-1], dataclasses.replace(odd[-1], speaker="")],
                        "speaker")


def test_a_summary_is_what_scikit_learn_says_of_the_pooled_predictions() -> None:
    runs = [run(fold_seed=f, noise=s, seed=s) for s in (1, 2) for f in (0, 1, 2)]
    summary = summarise(runs)
    rows = runs[0].tested
    for name, score in (("UA", lambda t, p: balanced_accuracy_score(t, p)), ("WA", lambda t, p: np.mean(t == p)),
                        ("F1", lambda t, p: f1_score(t, p, average="macro"))):
        values = [score(r.truth[rows], r.predicted[rows]) for r in runs]
        assert [r[name] for r in summary["runs"]] == pytest.approx(values)
        figure = summary["metrics"][name]
        assert figure["mean"] == pytest.approx(np.mean(values))
        assert figure["std"] == pytest.approx(np.std(values))
        assert figure["ci95"][0] < figure["mean"] < figure["ci95"][1]
    recalls = np.mean([recall_score(r.truth[rows], r.predicted[rows], average=None) for r in runs], axis=0)
    assert list(summary["per_class"].values()) == pytest.approx(recalls)
    assert np.sum(summary["confusion"]) == pytest.approx(144)
    assert np.sum(summary["confusion"], axis=1) == pytest.approx([48, 48, 48])
    assert [(r["seed"], r["fold_seed"]) for r in summary["runs"]] == [(s, f) for s in (1, 2) for f in (0, 1, 2)]
    assert len(summary["folds"]) == 24
    assert set(summary["folds"][0]) == {"name", "n", "UA", "WA", "kernel", "C", "seed", "fold_seed"}
    assert len(summary["warnings"]) == 1
    assert "6 speakers" in summary["warnings"][0]


def test_one_run_has_no_spread_and_whole_counts() -> None:
    summary = summarise([run()])
    assert summary["metrics"]["UA"]["std"] == 0
    assert all(isinstance(v, int) for row in summary["confusion"] for v in row)


def test_a_class_that_is_never_tested_has_no_recall() -> None:
    alone = run()
    absent = dataclasses.replace(alone, labels=(*LABELS, "bored"))
    summary = summarise([absent])
    assert summary["per_class"]["bored"] is None
    assert summary["metrics"] == summarise([alone])["metrics"]


def test_unknown_speakers_are_told() -> None:
    known = run()
    unknown = dataclasses.replace(known, speakers=("",) * len(known.speakers))
    warning, = summarise([unknown])["warnings"]
    assert "Some speakers are unknown" in warning


def test_a_difference_is_paired_by_seeds_and_is_antisymmetric() -> None:
    ours = [run(fold_seed=f, noise=s, seed=s) for s in (1, 2) for f in (0, 1)]
    theirs = [run(fold_seed=f, noise=9, seed=0) for f in (0, 1)]
    there, back = compare(ours, theirs), compare(theirs, ours)
    rows = ours[0].tested

    def score(r: Predictions) -> float:
        return float(balanced_accuracy_score(r.truth[rows], r.predicted[rows]))

    differences = [score(a) - score(theirs[a.fold_seed]) for a in ours]
    assert there["UA"]["mean"] == pytest.approx(np.mean(differences))
    assert there["UA"]["std"] == pytest.approx(np.std(differences))
    assert there["UA"]["ci95"][0] < there["UA"]["mean"] < there["UA"]["ci95"][1]
    for name in ("UA", "WA", "F1"):
        assert back[name]["mean"] == pytest.approx(-there[name]["mean"])
        assert back[name]["ci95"] == pytest.approx([-v for v in there[name]["ci95"][::-1]])
    assert compare(ours, ours)["WA"] == {"mean": 0, "std": 0, "ci95": [0, 0]}


def test_what_is_not_comparable_is_refused() -> None:
    one = run()
    with pytest.raises(ValueError, match="no run with fold_seed=0"):
        compare([one], [run(fold_seed=1)])
    with pytest.raises(ValueError, match="same utterances"):
        compare([one], [dataclasses.replace(one, ids=("other", *one.ids[1:]))])
    with pytest.raises(ValueError, match="no runs"):
        summarise([])


def test_evaluation_can_run_in_a_worker_without_jax() -> None:
    code = ("import sys, sercl_jax.results, sercl_jax.probes\n"
            "print(sorted({'jax', 'flax', 'tensorflow'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
