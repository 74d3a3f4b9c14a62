"""Several runs on one page: what is paired and what is not, what the page says, what is refused."""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reported
from pages import Page

from sercl_jax import corpora, evaluate, metrics, ratings, significance
from sercl_jax.report import __main__ as program
from sercl_jax.report import compare, mistakes, paired
from sercl_jax.report import run as runs

NOISE = {"good": 0.9, "fair": 1.2, "poor": 2.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def corpus(place: Path) -> corpora.Corpus:
    return reported.opened(reported.write_corpus(place / "audio"), place / "cache")


@pytest.fixture(scope="module")
def workdirs(place: Path, corpus: corpora.Corpus) -> dict[str, Path]:
    """Three runs of classes, one of which has more seeds; the best has embeddings and a log."""
    found = {name: reported.class_run(place / name, corpus, place / "cache", noise=noise, fold_seeds=(0, 1),
                                      seeds=(0, 1) if name == "fair" else (0,),
                                      changes={"warnings": ["Eight speakers."], "notes": [f"Note of {name}."]})
             for name, noise in NOISE.items()}
    np.savez(found["good"] / "embeddings.npz", labels=np.array([u.label for u in corpus.utterances]),
             speakers=np.array([u.speaker for u in corpus.utterances]),
             embeddings=np.random.default_rng(0).normal(size=(len(corpus), 5)))
    for number, name in enumerate(("good", "poor")):
        log = found[name] / "train" / f"seed0-{number}" / "contrastive" / "metrics.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text("".join(json.dumps({"step": step, "epoch": step, "loss": 2.0 + number - step / 10}) + "\n"
                               for step in range(8)), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def rated(place: Path, corpus: corpora.Corpus) -> dict[str, Path]:
    return {name: reported.rating_run(place / name, corpus, place / "cache", noise=noise)
            for name, noise in (("near", 0.5), ("far", 1.1))}


@pytest.fixture(scope="module")
def loaded(workdirs: dict[str, Path]) -> list[runs.Run]:
    return [runs.load(workdir, name) for name, workdir in workdirs.items()]


@pytest.fixture(scope="module")
def out(place: Path, loaded: list[runs.Run]) -> Path:
    compare.write(loaded, place / "out", worst=6)
    return place / "out"


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "report.html").read_text(encoding="utf-8"))


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_it_has_every_section(page, out):
    assert {figure["id"] for figure in page.all("figure")} == {f"figure-{name}" for name in (
        "scores", "confusion-1", "confusion-2", "confusion-3", "speakers", "sentences", "training", "tsne-1")}
    assert {path.stem for path in (out / "figures").iterdir()} == {
        (figure["id"] or "").removeprefix("figure-") for figure in page.all("figure")}
    words = page.words()
    for text in ("3 runs on a manifest's corpus", "good is highest: UA", "Differences to good",
                 "All runs: Eight speakers.", "good: Note of good.", "python -m sercl_jax.main --workdir=poor",
                 "Knobs in which the runs differ.",
                 "noise 0.9 1.2 2", "Contrastive loss (good) goes from 2.000 to 1.300",
                 "Contrastive loss (poor) goes from 3.000 to 2.300", "Shared by all runs"):
        assert text in words, text


def test_every_table_of_the_page_is_there_as_csv_and_latex(page, out):
    names = {path.stem for path in (out / "tables").iterdir()}
    assert names == {"scores", "overview", "differences", "tests", "recalls", "speakers", "sentences", "settings",
                     "mistakes_shared", "mistakes_1", "mistakes_2", "mistakes_3"}
    assert len(page.all("table")) == len(names)
    for name in names:
        lines = (out / "tables" / f"{name}.tex").read_text(encoding="utf-8").splitlines()
        columns = re.search(r"\{tabular\}\{(\w+)\}", "\n".join(lines))
        assert columns is not None
        body = [line for line in lines if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {len(columns.group(1))}
        assert len(body) == len(rows(out / "tables" / f"{name}.csv"))


def test_scores_are_those_of_the_runs(out, workdirs):
    found = [json.loads((workdir / "results.json").read_text(encoding="utf-8"))["metrics"]
             for workdir in workdirs.values()]
    header, *lines = rows(out / "tables" / "scores.csv")
    assert header[:5] == ["run", "UA % mean", "UA % std", "UA, 95 % interval low", "UA, 95 % interval high"]
    assert [line[0] for line in lines] == list(NOISE)
    for line, each in zip(lines, found, strict=True):
        expected = [value for metric in ("UA", "WA", "F1") for value in (
            each[metric]["mean"], each[metric]["std"], *each[metric]["ci95"])]
        assert [float(cell) / 100 for cell in line[1:]] == pytest.approx(expected)


def test_differences_and_tests_are_those_of_the_predictions(out, loaded):
    header, *lines = rows(out / "tables" / "differences.csv")
    assert header == ["run", "metric", "comparison", "difference", "95 % interval low", "95 % interval high"]
    expected = {run.name: evaluate.compare(run.tested, loaded[0].tested) for run in loaded[1:]}
    for run, metric, how, *numbers in lines:
        gap = expected[run][metric]
        assert how == "paired"
        assert [float(number) / 100 for number in numbers] == pytest.approx([gap["mean"], *gap["ci95"]])
    assert len(lines) == 6

    header, *lines = rows(out / "tables" / "tests.csv")
    table = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    p = {run.name: significance.exchange_p(*evaluate.paired_confusions(run.tested, loaded[0].tested), metrics.ua)
         for run in loaded[1:]}
    assert {name: float(row["p, permutation"]) for name, row in table.items()} == pytest.approx(p)
    assert [float(row["permutation, Holm"]) for row in table.values()] == pytest.approx(
        significance.holm(list(p.values())))
    assert {(row["speakers"], row["folds"]) for row in table.values()} == {("8", "12")}
    # Over folds, by hand: 6 folds of 12 utterances each, two divisions.
    poor, good = ([[metrics.ua(metrics.confusion(one.truth[one.fold == f], one.predicted[one.fold == f], 3))
                    for f in range(6)] for one in run.tested] for run in (loaded[2], loaded[0]))
    differences = (np.array(poor) - np.array(good)).ravel()
    t = significance.corrected_t_p(differences, 12 / 60)
    assert float(table["poor"]["p, folds"]) == pytest.approx(t)
    # Over speakers.
    speakers = np.array(loaded[0].tested[0].speakers)
    by_speaker = [[np.mean([metrics.ua(metrics.confusion(one.truth[speakers == name], one.predicted[speakers == name],
                                                         3)) for one in run.tested])
                   for name in reported.SPEAKERS] for run in (loaded[2], loaded[0])]
    assert float(table["poor"]["p, Wilcoxon"]) == pytest.approx(
        significance.signed_rank_p(np.subtract(*by_speaker)))


def test_mistakes_of_all_runs_come_first_and_each_recording_is_there_once(page, out, loaded):
    found = [{one.id for one in mistakes.of(run.tested)} for run in loaded]
    common = set.intersection(*found)
    _, *lines = rows(out / "tables" / "mistakes_shared.csv")
    assert {line[0] for line in lines} <= common
    assert len(lines) == min(6, len(common)) > 0
    sounds = [sound["src"] for sound in page.all("audio")]
    assert len(sounds) == len(set(sounds))
    listed = [line[0] for name in ("shared", "1", "2", "3")
              for line in rows(out / "tables" / f"mistakes_{name}.csv")[1:]]
    assert len(sounds) == len(set(listed))
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = [(link["href"] or "")[1:] for link in page.all("a")]
    assert len(links) == len(listed) - len(set(listed)) > 0
    assert set(links) <= ids


def test_the_page_needs_nothing_and_can_be_read_by_all(page, out):
    text = (out / "report.html").read_text(encoding="utf-8")
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        for name in ("src", "href", "data", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:audio/flac;base64,"))
    assert "http://" not in text
    assert "https://" not in text
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.all("html") == [{"lang": "en"}]
    assert all(cell.get("scope") for cell in page.all("th"))
    assert all("aria-label" in sound for sound in page.all("audio"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert [radio["id"] for radio in page.all("input")] == ["scheme-auto", "scheme-light", "scheme-dark"]
    assert not re.findall(r"(?:fill|stroke): #[0-9a-f]{3,6}", text[text.index("<svg"):])


def test_it_is_the_same_bytes_again_and_only_there(loaded, out, workdirs, place, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    (tmp_path / "again" / "tables").mkdir(parents=True)
    (tmp_path / "again" / "tables" / "old.csv").touch()
    (tmp_path / "again" / "report.html").touch()  # an earlier comparison, which gives way
    compare.write(loaded, tmp_path / "again", worst=6)
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == before
    assert sorted(path.relative_to(out) for path in out.rglob("*")) == sorted(
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*"))
    for path in out.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(out)).read_bytes()


def test_ratings_are_compared_by_concordance(rated, tmp_path):
    both = [runs.load(workdir, name) for name, workdir in rated.items()]
    compare.write(both, tmp_path / "out", audio="no")
    words = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).words()
    assert "near is highest: CCC_avg" in words
    assert "Predicted and given ratings" in words
    assert "percentage points" not in words
    assert "Confusion" not in words
    expected = ratings.compare(both[1].tested, both[0].tested)["CCC_avg"]
    lines = {line[1]: line for line in rows(tmp_path / "out" / "tables" / "differences.csv")}
    assert [float(cell) for cell in lines["CCC_avg"][3:]] == pytest.approx([expected["mean"], *expected["ci95"]])
    header, line = rows(tmp_path / "out" / "tables" / "tests.csv")
    assert header == ["run", "metric", "speakers", "folds", "p, permutation", "p, Wilcoxon", "p, folds"]
    assert line[:4] == ["far", "CCC_avg", "8", "6"]
    assert all(0 < float(p) < 0.05 for p in line[4:])


def without(run: runs.Run, keep: list[int]) -> runs.Run:
    """The same run, but some utterances were not tested."""
    return dataclasses.replace(run, tested=[dataclasses.replace(
        one, ids=tuple(one.ids[u] for u in keep), speakers=tuple(one.speakers[u] for u in keep),
        truth=one.truth[keep], predicted=one.predicted[keep], decision=one.decision[keep], fold=one.fold[keep])
        for one in run.tested])


def test_runs_on_other_utterances_folds_or_classes_are_not_paired(loaded):
    good, fair, _ = loaded
    fewer = paired.compare(without(fair, list(range(60))), good)
    assert fewer.unpaired == "other utterances (60 and 72, of which 60 have the same ids)"
    assert fewer.difference["UA"].ci is None
    assert fewer.exchange == fewer.signed_rank == fewer.corrected_t == ""

    other = dataclasses.replace(fair, tested=[dataclasses.replace(one, fold_seed=one.fold_seed + 5)
                                              for one in fair.tested])
    assert paired.compare(other, good).unpaired == "the same utterances, but divided into other folds"
    moved = dataclasses.replace(fair, tested=[dataclasses.replace(one, fold=np.roll(one.fold, 1))
                                              for one in fair.tested])
    assert paired.compare(moved, good).unpaired == "the same utterances, but divided into other folds"
    renamed = dataclasses.replace(fair, tested=[dataclasses.replace(one, labels=("a", "b", "c"))
                                                for one in fair.tested])
    assert paired.compare(renamed, good).unpaired == "other classes"
    assert paired.compare(dataclasses.replace(fair, tested=[]), good).unpaired == "fair has no predictions.csv"


def test_fold_seeds_that_one_lacks_are_left_out(loaded):
    good, _, poor = loaded
    half = dataclasses.replace(poor, tested=[one for one in poor.tested if one.fold_seed == 1])
    found = paired.compare(half, good)
    assert found.note == "fold seeds that only one of them has are left out (1 runs)"
    expected = evaluate.compare(half.tested, [one for one in good.tested if one.fold_seed == 1])
    assert found.difference["UA"].mean == expected["UA"]["mean"]
    assert found.folds == 6


def test_few_speakers_or_folds_have_no_p_value(loaded):
    good, fair, _ = loaded
    keep = [u for u, name in enumerate(good.tested[0].speakers) if name < "sp5"]
    few = paired.compare(without(fair, keep), without(good, keep))
    assert few.exchange == few.signed_rank == "5 speakers are too few for a test; 6 are needed."
    assert few.difference["UA"].ci is not None
    assert isinstance(few.corrected_t, float)
    two = [dataclasses.replace(run, tested=[dataclasses.replace(
        one, fold=one.fold % 2, folds=one.folds[:2]) for one in run.tested[:1]]) for run in (fair, good)]
    assert paired.compare(*two).corrected_t == "2 folds are too few for a test; 5 are needed."


def test_unknown_speakers_count_as_one_each_and_are_not_ranked(loaded):
    unknown = [dataclasses.replace(run, tested=[dataclasses.replace(one, speakers=("",) * len(one.ids))
                                                for one in run.tested]) for run in loaded[:2]]
    found = paired.compare(*unknown)
    assert found.speakers == 72
    assert found.signed_rank == "speakers are unknown"
    assert found.note == "unknown speakers count as one each"


def test_a_page_without_pairs_says_why_and_has_no_test(loaded, tmp_path):
    good, fair, _ = loaded
    compare.write([good, without(fair, list(range(60)))], tmp_path / "out", audio="no", worst=0)
    words = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).words()
    assert "fair and good are not paired: other utterances (60 and 72" in words
    assert "below good (not paired)." in words
    assert "Two-sided tests" not in words
    assert "p =" not in words
    assert not (tmp_path / "out" / "tables" / "tests.csv").exists()


EVIL = '<script>alert("1")</script> & $\\frac$ _x'


def test_hostile_names_are_escaped(loaded, tmp_path):
    evil = [dataclasses.replace(run, name=f"{EVIL} {number}", problems=[EVIL], identity={EVIL: number}, curves=[],
                                embeddings=None) for number, run in enumerate(loaded[:2])]
    compare.write(evil, tmp_path / "out", audio="no")
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert Page(text).words().count(EVIL) > 15
    tex = (tmp_path / "out" / "tables" / "scores.tex").read_text(encoding="utf-8")
    assert r"\textless{}script\textgreater{}" in tex
    assert r"\& \$\textbackslash{}frac\$ \_x 1 & " in tex
    assert rows(tmp_path / "out" / "tables" / "scores.csv")[1][0] == f"{EVIL} 0"


# The command line.

def run(*arguments: str | Path) -> int:
    return program.main([str(argument) for argument in arguments])


def test_the_command_compares_and_prints_where(workdirs, tmp_path):
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-m", "sercl_jax.report", *workdirs.values(),
                           "--audio=no", "--names=A,B,C", "--worst=0", f"--out={tmp_path / 'out'}"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "out" / "report.html")), done.stderr
    words = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).words()
    assert "A is highest: UA" in words


def test_one_run_s_report_is_written_anew(workdirs, tmp_path, capsys):
    workdir = shutil.copytree(workdirs["poor"], tmp_path / "poor")
    assert run(workdir, "--worst=3") == 0
    assert capsys.readouterr().out.strip() == str(workdir / "report.html")
    assert len(Page((workdir / "report.html").read_text(encoding="utf-8")).all("audio")) == 3


def test_a_comparison_goes_to_a_dated_folder_under_runs(rated, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*rated.values(), "--audio=no", "--worst=0") == 0
    written = Path(capsys.readouterr().out.strip())
    assert re.fullmatch(r"runs/compare-\d{4}-\d\d-\d\d_\d{6}/report\.html", written.as_posix())
    assert (tmp_path / written).exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["good", "nowhere"], "nowhere: there is no such folder"),
    (["good", "unfinished"], "unfinished: the run has not finished (results.json is not found)"),
    (["table"], "table: the folder holds no run (results.json is not found); it is a table's, whose runs are in"),
    (["audio"], "audio: the folder holds no run (results.json is not found)."),
    (["good", "near"], "these runs have no score in common: good predicts classes, near predicts ratings."),
    (["good", "good"], "good: is there twice"),
    (["good", "poor", "--names=A"], "--names=A: 2 different names are needed"),
    (["good", "poor", "--names=A,A"], "--names=A,A: 2 different names are needed"),
    (["good", "--names=A"], "--out and --names are for several runs"),
    (["good", "poor", "--worst=-1"], "--worst=-1: is negative"),
    (["good", "poor", "--out=poor"], "holds something else; choose a new folder"),
    (["good", "poor", "--out=audio"], "holds something else; choose a new folder"),
    (["good", "poor", "--out=audio/manifest.csv"], "holds something else; choose a new folder")])
def test_what_cannot_be_reported_is_named(arguments, message, place, workdirs, rated, monkeypatch, capsys):
    (place / "unfinished").mkdir(exist_ok=True)
    (place / "unfinished" / "config.json").write_text("{}", encoding="utf-8")
    (place / "table" / "rows" / "one").mkdir(parents=True, exist_ok=True)
    (place / "table" / "rows" / "one" / "results.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(place)
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_the_help_names_what_a_comparison_has(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    text = capsys.readouterr().out
    for word in ("permutation", "Holm", "--audio", "--names", "runs/compare-DATE", "Exit status"):
        assert word in text


def test_runs_are_called_by_as_much_of_their_paths_as_tells_them_apart():
    names = program.names_of
    assert names([Path("/r/a"), Path("/r/b")], None) == ["a", "b"]
    assert names([Path("/x/a"), Path("/y/a"), Path("/y/b")], None) == ["x/a", "y/a", "b"]
    assert names([Path("/t/gin-0123456789abcdef"), Path("/t/gcn-0123456789abcdef")], None) == ["gin", "gcn"]
    assert names([Path("/t/gin-0123456789abcdef"), Path("/t/gin-1123456789abcdef")], None) == [
        "/t/gin-0123456789abcdef", "/t/gin-1123456789abcdef"]
    assert names([Path("/r/a"), Path("/r/b")], " GIN , GCN") == ["GIN", "GCN"]
