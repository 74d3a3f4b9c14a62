"""`python -m sercl_jax.splits`, as a process: the sheet of what a config will train and test."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import emobox_tree
import pytest
import small_corpus
from emobox_tree import Row

from sercl_jax import config as config_lib
from sercl_jax import corpora, experiment, splits
from sercl_jax.errors import UserError
from sercl_jax.splits import __main__, planned, printing
from sercl_jax.workbench import Workbench


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sercl_jax.splits", *arguments], capture_output=True, text=True,
                          check=False, cwd=cwd)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest of 36 utterances, two of which are in a file of noise that is no audio."""
    folder = tmp_path_factory.mktemp("splits")
    manifest = small_corpus.write(folder / "corpus", rated=True)
    (folder / "corpus" / "broken.wav").write_bytes(b"RIFF and nothing more")
    with manifest.open("a", encoding="utf-8") as file:
        file.write("broken.wav,angry,ann,s1,1,3,3,3\n")
    return folder


def config(place: Path, name: str = "serugcl", choices: str = "", **knobs: Any) -> Any:
    """A config of the small corpus."""
    made = config_lib.base(name, ",".join(filter(None, ["corpus=manifest,tiny", choices])))
    made.data.update({"manifest": str(place / "corpus" / "manifest.csv"), "cache_dir": str(place / "cache"),
                      "workers": 1, "on_error": "skip"})
    made.update_from_flattened_dict(knobs)
    return made.lock()


def plan(chosen: Any) -> planned.Plan:
    found, = planned.plans(chosen, Workbench(progress=False))
    return found


# The real command, on the demo corpus.


def test_the_sheet_of_the_demo(tmp_path: Path) -> None:
    cache = f"--config.data.cache_dir={tmp_path / 'cache'}"
    done = run("--config=configs/serugcl.py:protocol=loso", cache, "--json=sheet.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Corpus demo, protocol=loso: 336 utterances, 336 of them tested, 8 folds\n")
    assert "WARNING: Training and test share sentences in 8 of 8 folds" in done.stdout
    assert "share speakers" not in done.stdout
    one, = json.loads((tmp_path / "sheet.json").read_text())["plans"]
    assert [fold["name"] for fold in one["sheet"]["folds"]] == [f"speaker s0{k}" for k in range(1, 9)]
    assert one["sheet"]["folds"][2]["test_speakers"] == ["s03"]
    assert len(one["sheet"]["folds"][2]["train_speakers"]) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "sheet.json"]  # nothing was trained

    # EmoBox's folds of the same corpus: two, by speakers.
    demo = corpora.load("demo", cache_dir=tmp_path / "cache")
    rows = [Row(u.id.replace("_", "-"), f"wav/{u.id}.wav", u.label) for u in demo.utterances]
    half = [u.speaker <= "s04" for u in demo.utterances]
    parts = [[row for row, first in zip(rows, half, strict=True) if first == k] for k in (True, False)]
    emobox_tree.write(tmp_path / "EmoBox", "demo", {1: {"train": parts[0], "test": parts[1], "valid": []},
                                                    2: {"train": parts[1], "test": parts[0], "valid": []}})
    done = run("--config=configs/serugcl.py:protocol=emobox", cache, "--config.data.emobox_dir=EmoBox", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "protocol=emobox: 336 utterances, 336 of them tested, 2 folds" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["fold", "1", "168", "168", "4", "0", "6", "0"] in lines
    assert ["fold", "2", "s05,", "s06,", "s07,", "s08", "s01,", "s02,", "s03,", "s04"] in lines


def test_help_teaches_and_needs_no_jax(tmp_path: Path) -> None:
    code = ("import sys; from sercl_jax.splits.__main__ import main; "
            "sys.exit(main(['splits', '--help']) or 'jax' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in (*splits.PROTOCOLS, "auto", "--json=FILE", "emobox_dir", "speakers in both", "other takes"):
        assert words in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "words"), [
    (["--config=configs/serugcl.py:protocol=lozo"], "did you mean loso"),
    (["--config=configs/serugcl.py:protocol=emobox"], "protocol=emobox needs the published fold files"),
    ([], "--config is missing"),
])
def test_mistakes_are_answered_in_one_line(place: Path, arguments: list[str], words: str) -> None:
    rest = [argument.replace(":", ":corpus=manifest,") for argument in arguments]
    knobs = [f"--config.data.{name}={value}" for name, value in (
        ("manifest", place / "corpus" / "manifest.csv"), ("cache_dir", place / "cache"), ("on_error", "skip"))]
    done = run(*rest, *(knobs if arguments else []), cwd=place)
    assert done.returncode == 2
    assert words in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [done.stderr.splitlines()[-1]]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--json="], ["--json"], ["--json", "--config=configs/serugcl.py"]])
def test_json_needs_a_file(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["splits", *arguments]) == 2
    assert capsys.readouterr().err == "error: --json needs a file: --json=FILE.\n"


# What it is made of.


def test_recognizers_show_their_validation_part(place: Path) -> None:
    found = plan(config(place, "cpc", "setup=sup", **{"eval.protocol": "loso", "seed": 3}))
    assert (found.targets, found.protocol) == ("ratings", "loso")
    for fold in found.sheet["folds"]:
        assert (fold["train"], fold["validation"], fold["test"]) == (18, 9, 9)
        parts = [fold[f"{part}_speakers"] for part in ("train", "validation", "test")]
        assert sorted(name for part in parts for name in part) == ["ann", "bob", "cem", "dora"]
        assert fold["validation_shared_speakers"] == fold["shared_speakers"] == 0
    assert "Validation, which chooses the epoch: 1 of 3 training speakers (seed 3)." in found.notes
    shown = printing.text(found)
    assert "validation, by class" in shown
    header = next(line for line in shown.splitlines() if line.startswith("fold"))
    assert header.split()[:4] == ["fold", "training", "validation", "test"]


def test_leaks_are_warned_of(place: Path) -> None:
    shown = printing.text(plan(config(place, choices="protocol=kfold,folds=3")))
    assert "WARNING: Training and test share speakers in 3 of 3 folds" in shown
    assert "divided by utterances" in shown
    assert "training=transductive: the encoder learns from the audio of all utterances" in shown
    strict = printing.text(plan(config(place, choices="protocol=disjoint,training=inductive")))
    assert "WARNING" not in strict
    assert "transductive" not in strict
    assert "No speaker and no sentence is in both training and test part of any fold." in strict
    assert "divided by speakers" in strict


def test_what_was_skipped_is_counted_in_the_sheet(place: Path) -> None:
    """And reaches the results of a run."""
    names = sorted(path.stem for path in (place / "corpus").glob("*.wav"))
    rows = {name: Row(name, f"somewhere/{name}.wav", "angry" if name == "broken" else name.split("_")[2])
            for name in names}
    first = [row for name, row in rows.items() if name < "c"]  # ann, bob and the broken one
    second = [row for name, row in rows.items() if name > "c"]
    emobox_tree.write(place, "manifest", {1: {"train": first, "test": second}, 2: {"train": second, "test": first}})
    chosen = config(place, choices="protocol=emobox", **{
        "data.emobox_dir": str(place), "data.where": "sentence=s[12]", "embedding": "lld_statistics",
        "eval.baseline": "no", "eval.report": False, "eval.probes": False, "eval.untrained": False,
        "final_model": False})
    found = plan(chosen)
    assert [(fold["train"], fold["test"]) for fold in found.sheet["folds"]] == [(12, 12)] * 2
    assert found.sheet["notes"] == [
        f"Fold {k}: {note}" for k in (1, 2) for note in (
            "1 of EmoBox's utterances are left out, because their audio cannot be used.",
            "12 of EmoBox's utterances are left out, because they have no label, or because of config.data.labels or "
            "config.data.where.")]
    done = experiment.run(chosen, place / "run", quiet=True)
    assert done["protocol"]["name"] == "emobox"
    assert [fold["n"] for fold in done["folds"]] == [12, 12]
    assert done["protocol_sheet"]["notes"] == found.sheet["notes"]


def test_several_corpora_are_tested_in_turn(place: Path) -> None:
    chosen = config_lib.base("serugcl", "corpus=manifest+manifest,protocol=auto,tiny")
    chosen.data.update({"manifest": str(place / "corpus" / "manifest.csv"), "cache_dir": str(place / "cache"),
                        "workers": 1, "on_error": "skip"})
    first, second = chosen.corpora
    chosen.corpora[first].labels = "angry,neutral"
    found = plan(chosen)
    assert found.protocol == "corpus"
    assert [(fold["name"], fold["train"], fold["test"]) for fold in found.sheet["folds"]] == [
        (f"corpus {first}", 24, 24), (f"corpus {second}", 24, 24)]
    assert len(found.sheet["notes"]) == 2
    chosen.eval.tested = second
    assert [fold["name"] for fold in plan(chosen).sheet["folds"]] == [f"corpus {second}"]
    chosen.eval.protocol = "emobox"
    with pytest.raises(UserError, match="protocol=emobox divides one corpus, and manifest\\+manifest_2 are several"):
        plan(chosen)


def test_rows_of_a_table_that_divide_alike_are_one(place: Path) -> None:
    chosen = config_lib.base("tables/serugcl_table5", "corpus=manifest,protocol=loso,tiny").unlock()
    chosen.data.update(config(place).data)
    found = plan(chosen)
    assert len(found.rows) > 3
    assert printing.text(found).splitlines()[1] == f"  for {found.rows[0]}"


def test_each_target_of_supcon_has_a_sheet(place: Path) -> None:
    chosen = config_lib.base("supcon", "corpora=manifest+manifest,protocol=loso,tiny").unlock()
    chosen.data.update({"cache_dir": str(place / "cache"), "workers": 1, "on_error": "skip"})
    for section in chosen.corpora.values():
        section.manifest = str(place / "corpus" / "manifest.csv")
    chosen.corpora.manifest_2.where = "speaker=[abc]*"
    found = list(planned.plans(chosen, Workbench(progress=False)))
    assert [(one.corpus, len(one.sheet["folds"]), len(one.rows)) for one in found] == [
        ("manifest", 4, 2), ("manifest_2", 3, 2)]
    assert any("training parts of manifest_2 (27 utterances, protocol=loso)" in note for note in found[0].notes)
    chosen.eval.protocol = "corpus"
    across = list(planned.plans(chosen, Workbench(progress=False)))
    assert [(fold["name"], fold["train"], fold["test"]) for one in across for fold in one.sheet["folds"]] == [
        ("corpus manifest", 27, 36), ("corpus manifest_2", 36, 27)]


def test_recordings_that_are_there_twice_are_told(place: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    names = sorted(path.name for path in (place / "corpus").glob("*_s1_*.wav"))
    lines = ["path,label,speaker,text"]
    for name in names:
        shutil.copy(place / "corpus" / name, tmp_path / "corpus" / name)
        lines.append(f"{name},{name.split('_')[2][:-4]},{name.split('_')[0]},s1")
    shutil.copy(place / "corpus" / "ann_s1_sad.wav", tmp_path / "corpus" / "bob_s9_sad.wav")
    (tmp_path / "corpus" / "manifest.csv").write_text("\n".join([*lines, "bob_s9_sad.wav,sad,bob,s9"]))
    shown = printing.text(plan(config(tmp_path, choices="protocol=loso")))
    assert "WARNING: 1 recording is there several times, with the same samples (ann_s1_sad.wav = bob_s9_sad.wav)" \
        in shown
    assert "in 2 of 4 folds a tested one has its copy in training" in shown


def test_pretraining_has_no_folds(place: Path) -> None:
    with pytest.raises(UserError, match="setup=pretrain tests nothing, so it has no folds"):
        plan(config(place, "cpc", "setup=pretrain"))


def test_long_sheets_are_cut(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "MOST", 2)
    shown = printing.text(plan(config(place, choices="protocol=kfold,folds=6")))
    assert "... and 4 more folds; --json=FILE has all." in shown
    assert sum(line.startswith("1 ") for line in shown.splitlines()) == 4  # one in each block
    assert not any(line.startswith("2 ") for line in shown.splitlines())
