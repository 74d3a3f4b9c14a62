"""Speakers, sentences and mistakes in the report of one run; its tables as files; recordings in the page."""

import base64
import csv
import dataclasses
import io
import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import reported
import soundfile
from pages import Page

from sercl_jax import corpora, metrics, report, results
from sercl_jax.errors import UserError
from sercl_jax.report import details, groups, mistakes, recordings, tested
from sercl_jax.report import run as runs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("details")


@pytest.fixture(scope="module")
def corpus(place: Path) -> corpora.Corpus:
    return reported.opened(reported.write_corpus(place / "audio"), place / "cache")


@pytest.fixture(scope="module")
def classes(place: Path, corpus: corpora.Corpus) -> Path:
    workdir = reported.class_run(place / "classes", corpus, place / "cache", noise=1.4, seeds=(0, 1, 2))
    report.write(workdir, audio="auto", worst=5)
    return workdir


@pytest.fixture(scope="module")
def rated(place: Path, corpus: corpora.Corpus) -> Path:
    workdir = reported.rating_run(place / "rated", corpus, place / "cache", noise=0.7, seeds=(0, 1))
    report.write(workdir, audio="auto", worst=5)
    return workdir


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def page(workdir: Path) -> Page:
    return Page((workdir / "report.html").read_text(encoding="utf-8"))


def test_predictions_are_read_as_they_were_written(classes):
    labels = json.loads((classes / "results.json").read_text(encoding="utf-8"))["labels"]
    found = tested.read(classes / "predictions.csv", labels)
    written = rows(classes / "predictions.csv")
    assert [run.seed for run in found] == [0, 1, 2]
    for run in found:
        own = {row["id"]: row for row in written if int(row["seed"]) == run.seed}
        assert run.ids == tuple(sorted(own))
        assert run.speakers == tuple(own[name]["speaker"] for name in run.ids)
        assert [run.labels[k] for k in run.predicted] == [own[name]["predicted"] for name in run.ids]
        assert [run.folds[f].name for f in run.fold] == [own[name]["fold"] for name in run.ids]
        np.testing.assert_array_equal(run.decision[:, 1], [float(own[name]["score_neutral"]) for name in run.ids])


def test_speakers_and_sentences_are_scored_by_their_own_utterances(classes):
    written = rows(classes / "predictions.csv")
    for name, group_of in (("speakers", lambda row: row["speaker"]), ("sentences", lambda row: row["id"][4:6])):
        scores: dict[str, list[float]] = defaultdict(list)
        for seed in "012":
            by_group: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
            for row in written:
                if row["seed"] == seed:
                    by_group[group_of(row)][row["label"]].append(row["label"] == row["predicted"])
            for group, recalls in by_group.items():
                scores[group].append(float(np.mean([np.mean(right) for right in recalls.values()])))
        table = rows(classes / "tables" / f"{name}.csv")
        assert {row[name[:-1]]: float(row["UA %"]) for row in table} == pytest.approx(
            {group: 100 * np.mean(each) for group, each in scores.items()})
        assert [float(row["UA %"]) for row in table] == sorted(float(row["UA %"]) for row in table)
        assert {int(row["utterances"]) for row in table} == {9 if name == "speakers" else 24}


def test_ratings_of_a_speaker_are_scored_by_their_concordance(rated):
    written = rows(rated / "predictions.csv")
    table = {row["speaker"]: float(row["CCC_avg"]) for row in rows(rated / "tables" / "speakers.csv")}
    for speaker, score in table.items():
        each = []
        for seed in "01":
            own = [row for row in written if row["speaker"] == speaker and row["seed"] == seed]
            each += [metrics.ccc(*(np.array([float(row[before + name]) for row in own])
                                   for before in ("", "predicted_")))
                     for name in ("activation", "valence", "dominance")]
        assert score == pytest.approx(np.mean(each))
    assert len(table) == 8


def test_the_worst_mistakes_are_the_most_confident_ones(classes):
    margins: dict[str, list[float]] = defaultdict(list)
    wrong: dict[str, int] = defaultdict(int)
    for row in rows(classes / "predictions.csv"):
        gap = float(row[f"score_{row['predicted']}"]) - float(row[f"score_{row['label']}"])
        margins[row["id"]].append(max(gap, 0))
        wrong[row["id"]] += row["predicted"] != row["label"]
    expected = sorted((name for name in margins if wrong[name] >= 1.5),
                      key=lambda name: (-np.mean(margins[name]), name))
    table = rows(classes / "tables" / "mistakes.csv")
    assert [row["utterance"] for row in table] == expected[:5]
    for row in table:
        assert float(row["margin"]) == pytest.approx(np.mean(margins[row["utterance"]]))
        assert row["wrong in"] == f"{wrong[row['utterance']]} of 3"
        assert row["true"] == row["utterance"].split("_")[2]
        assert row["sentence"] == row["utterance"][4:6]
        assert row["taken for"] != row["true"]


def test_the_worst_ratings_are_the_farthest_off(rated):
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    for row in rows(rated / "predictions.csv"):
        errors[row["id"]].append(np.array([float(row[f"predicted_{name}"]) - float(row[name])
                                           for name in ("activation", "valence", "dominance")]))
    size = {name: np.abs(np.mean(found, 0)).mean() for name, found in errors.items()}
    table = rows(rated / "tables" / "mistakes.csv")
    assert [row["utterance"] for row in table] == sorted(size, key=lambda name: (-size[name], name))[:5]
    assert [float(row["error"]) for row in table] == pytest.approx(sorted(size.values(), reverse=True)[:5])
    assert " → " in table[0]["valence"]


@pytest.mark.parametrize("kind", ["classes", "rated"])
def test_the_recordings_in_the_page_are_those_of_the_records(kind, request, corpus):
    workdir = request.getfixturevalue(kind)
    sounds = page(workdir).all("audio")
    table = rows(workdir / "tables" / "mistakes.csv")
    assert [sound["aria-label"] for sound in sounds] == [f"Recording {row['utterance']}" for row in table]
    numbers = {u.id: number for number, u in enumerate(corpus.utterances)}
    for sound, row in zip(sounds, table, strict=True):
        start, content = (sound["src"] or "").split(",")
        assert start == "data:audio/flac;base64"
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="int16")
        assert rate == 16_000
        np.testing.assert_array_equal(samples, corpus.waveform(numbers[row["utterance"]]))


def test_the_page_has_the_new_sections_and_their_figures(classes):
    found = page(classes)
    assert {"figure-speakers", "figure-sentences"} <= {figure["id"] for figure in found.all("figure")}
    assert (classes / "figures" / "speakers.png").stat().st_size > 1000
    words = found.words()
    assert "The worst mistakes" in words
    assert "UA % by speaker: sp" in words
    assert {path.name for path in (classes / "tables").iterdir()} == {
        f"{name}.{ending}" for ending in ("csv", "tex")
        for name in ("scores", "runs", "folds", "speakers", "sentences", "mistakes")}


def test_tables_hold_full_precision(classes):
    found = json.loads((classes / "results.json").read_text(encoding="utf-8"))
    first = rows(classes / "tables" / "scores.csv")[0]
    assert first == {"Metric": "UA %", "System": "This run", "mean": repr(100 * found["metrics"]["UA"]["mean"]),
                     "std": repr(100 * found["metrics"]["UA"]["std"]),
                     "95 % interval low": repr(100 * found["metrics"]["UA"]["ci95"][0]),
                     "95 % interval high": repr(100 * found["metrics"]["UA"]["ci95"][1])}
    assert [float(row["UA %"]) for row in rows(classes / "tables" / "folds.csv")] == [
        100 * fold["UA"] for fold in found["folds"]]


def test_the_usual_report_has_no_recordings_and_says_how_to_get_them(classes, tmp_path):
    workdir = shutil.copytree(classes, tmp_path / "run")
    report.write(workdir)
    found = page(workdir)
    assert found.all("audio") == []
    assert "To hear them: python -m sercl_jax.report" in found.words()
    assert len(rows(workdir / "tables" / "mistakes.csv")) == report.WORST


def test_without_records_there_are_no_sentences_and_no_recordings(classes, tmp_path):
    workdir = shutil.copytree(classes, tmp_path / "run")
    report.write(workdir, audio="yes", cache_dir=tmp_path)
    found = page(workdir)
    assert found.all("audio") == []
    assert "No players: no records of manifest in" in found.words()
    assert not (workdir / "tables" / "sentences.csv").exists()
    assert (workdir / "tables" / "speakers.csv").exists()
    assert "sentence" not in rows(workdir / "tables" / "mistakes.csv")[0]


@pytest.mark.parametrize(("file", "change", "reason"), [
    ("corpora.json", '{"manifest": "0123456789abcdef"}', "have changed since the run"),
    ("run.json", "{}", "the run does not say what its corpus was"),
    ("predictions.csv", None, "1 tested utterances, such as 'stranger', are not among them")])
def test_records_of_another_corpus_are_not_believed(classes, tmp_path, file, change, reason):
    workdir = shutil.copytree(classes, tmp_path / "run")
    if change is None:
        change = (workdir / file).read_text(encoding="utf-8").replace(
            rows(workdir / file)[0]["id"] + ",", "stranger,")
        (workdir / "corpora.json").unlink()
    if file == "run.json":
        (workdir / "config.json").unlink()
    (workdir / file).write_text(change, encoding="utf-8")
    found = runs.load(workdir)
    assert found.corpus is None
    assert reason in found.no_corpus


def test_recordings_of_corpora_given_on_agreement_are_left_out_unless_asked_for(classes, monkeypatch, tmp_path):
    workdir = shutil.copytree(classes, tmp_path / "run")
    monkeypatch.setattr(recordings, "BY_AGREEMENT", ("manifest",))
    report.write(workdir, audio="auto")
    assert page(workdir).all("audio") == []
    assert "recordings of manifest are given on agreement only; --audio=yes embeds them" in page(workdir).words()
    report.write(workdir, audio="yes", worst=2)
    assert len(page(workdir).all("audio")) == 2
    assert "licence" not in page(workdir).words()  # the manifest's recordings are the user's own


def test_the_licence_of_somebody_s_corpus_is_called_to_mind(classes):
    run = runs.load(classes)
    assert recordings.owners(run.corpus) == []
    theirs = dataclasses.replace(run, corpus=dataclasses.replace(run.corpus, name="emodb"))
    players = details.Players("auto")
    assert len(players.of(theirs, [run.corpus.utterances[0].id], "x")) == 1
    assert players.notes == ["The licence of emodb goes for its recordings in this page, too."]


def test_a_page_holds_so_much_audio_and_no_more(classes, monkeypatch):
    run = runs.load(classes)
    ids = [u.id for u in run.corpus.utterances[:4]]
    one = len(recordings.player(run.corpus, 0)[0])
    monkeypatch.setattr(details, "MOST_AUDIO", int(2.5 * one))
    players = details.Players("yes")
    assert [bool(sound) for sound in players.of(run, ids, "x")] == [True, True, False, False]
    assert players.notes == ["Only the first recordings are here: the page holds 0 MiB of audio at most."]
    assert players.of(run, ids[:1], "y") == ["#x-0"]


def test_of_a_long_recording_the_beginning_is_heard(classes, monkeypatch):
    run = runs.load(classes)
    monkeypatch.setattr(recordings, "SECONDS", 0)
    players = details.Players("yes")
    players.of(run, [run.corpus.utterances[0].id], "x")
    assert players.notes == ["Of recordings longer than 0 s only the beginning is here."]


def test_sentences_that_are_hardly_ever_repeated_are_not_listed(classes, corpus):
    run = runs.load(classes)
    single = [dataclasses.replace(u, sentence=u.id) for u in corpus.utterances]
    assert groups.by_sentence(run.tested, single) == {}
    assert groups.by_sentence(run.tested, [dataclasses.replace(u, sentence="") for u in corpus.utterances]) == {}
    assert list(groups.by_sentence(run.tested, corpus.utterances)) == list(reported.SENTENCES)


def test_a_class_that_training_lacked_counts_as_the_lowest_score(tmp_path):
    (tmp_path / "predictions.csv").write_text(
        "id,speaker,label,fold,seed,fold_seed,predicted,score_a,score_b,score_c\n"
        "u1,s,a,0,0,0,b,,2.0,-1.0\nu2,s,a,0,0,0,b,1.5,2.0,-1.0\nu3,s,b,0,0,0,b,0.0,2.0,1.0\n", encoding="utf-8")
    found = mistakes.of(tested.read(tmp_path / "predictions.csv", ["a", "b", "c"]))
    assert [(one.id, one.size) for one in found] == [("u1", 3.0), ("u2", 0.5)]


@pytest.mark.parametrize(("text", "reason"), [
    ("id,speaker,label,fold,seed,fold_seed,predicted,score_a\nu1,s,z,0,0,0,a,1\n", "'z' is unknown"),
    ("id,speaker,label,fold,seed,fold_seed,predicted,score_a\nu1,s,a,0,0,0,a,1\nu1,s,a,0,0,0,a,1\n", "there twice"),
    ("id,speaker\nu1,s\n", "'seed' is unknown"),
    ("id,speaker,label,fold,seed,fold_seed,predicted,score_a\nu1,s,a,0,one,0,a,1\n", "invalid literal"),
    ("id,speaker,label,fold,seed,fold_seed,predicted,score_a\nu1,s,a\n", "cannot be read")])
def test_predictions_that_are_none_are_named_and_left_out(tmp_path, text, reason):
    (tmp_path / "results.json").write_text(json.dumps({
        "method": "serugcl", "corpus": "mine", "protocol": {}, "labels": ["a"], "metrics": {"UA": {"mean": 0.5}}}))
    (tmp_path / "predictions.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"predictions\.csv: cannot be read"):
        tested.read(tmp_path / "predictions.csv", ["a"])
    report.write(tmp_path)
    words = page(tmp_path).words()
    assert "predictions.csv: cannot be read" in words
    assert reason in words
    assert "The worst mistakes" not in words


def test_hostile_names_of_speakers_are_escaped(tmp_path):
    evil = '<script>alert("1")</script> & $\\frac$ _x'
    quoted = evil.replace('"', '""')
    lines = "".join(f'u{u},"{quoted} {u % 2}",a,0,0,0,{"ab"[u % 3 == 0]},1,{2 * (u % 3 == 0)}\n' for u in range(9))
    (tmp_path / "predictions.csv").write_text(
        f"id,speaker,label,fold,seed,fold_seed,predicted,score_a,score_b\n{lines}", encoding="utf-8")
    (tmp_path / "results.json").write_text(json.dumps({
        "method": "serugcl", "corpus": "mine", "protocol": {}, "labels": ["a", "b"],
        "metrics": {"UA": {"mean": 0.5}}}), encoding="utf-8")
    text = report.write(tmp_path).read_text(encoding="utf-8")
    assert "<script" not in text
    assert Page(text).words().count(evil) >= 5
    assert r"\& \$\textbackslash{}frac\$ \_x" in (tmp_path / "tables" / "speakers.tex").read_text(encoding="utf-8")
    assert rows(tmp_path / "tables" / "speakers.csv")[0]["speaker"].startswith(evil)


def test_it_is_the_same_bytes_again(classes, tmp_path):
    found = []
    for name in ("one", "two"):
        workdir = shutil.copytree(classes, tmp_path / name / "run")
        report.write(workdir, audio="yes")
        found.append({path.relative_to(workdir): path.read_bytes() for path in sorted(workdir.rglob("*"))
                      if path.is_file()})
    assert found[0] == found[1]
    assert results.RESULTS in {path.name for path in found[0]}
