"""Whole experiments on a small corpus of real files: results, honesty of protocols, kills, shared caches."""

import csv
import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from small_corpus import command, finish, kill_at, leaves, start, write

from sercl_jax import checkpoint, classify, experiment, runs, sources, sweep
from sercl_jax import config as config_lib
from sercl_jax.errors import UserError
from sercl_jax.workbench import Workbench


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a manifest, and a cache that already holds its records and features."""
    folder = tmp_path_factory.mktemp("experiment")
    write(folder / "corpus")
    return folder


def _config(place: Path, choices: str = "", **knobs):
    config = config_lib.base("serugcl", ",".join(filter(None, ["corpus=manifest,tiny,protocol=loso", choices])))
    config.data.manifest = str(place / "corpus" / "manifest.csv")
    config.data.cache_dir = str(place / "cache")
    config.data.workers = 1
    config.eval.baseline = "no"
    config.eval.report = False
    config.update_from_flattened_dict(knobs)
    return config.lock()


def test_results_are_those_of_the_predictions(place):
    found = experiment.run(_config(place, "seeds=2"), place / "run", quiet=True)
    assert found["protocol"]["name"] == "loso"
    assert found["labels"] == ["angry", "neutral", "sad"]
    with (place / "run" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 36
    for seed in (0, 1):
        mine = [r for r in rows if r["seed"] == str(seed)]
        recalls = [np.mean([r["predicted"] == label for r in mine if r["label"] == label])
                   for label in found["labels"]]
        assert next(r["UA"] for r in found["runs"] if r["seed"] == seed) == pytest.approx(np.mean(recalls))
        assert all(r["fold"].endswith(r["speaker"]) for r in mine)
    assert {b["name"] for b in found["baselines"]} == {"SERUGCL untrained"}
    assert found["probes"]["speaker"]["chance"] == 0.25
    assert found["seconds"]["train"] > 0


def test_the_final_model_holds_all_that_predicts(place):
    config = _config(place)
    experiment.run(config, place / "final", quiet=True)
    variables, arrays, metadata = checkpoint.load_model(place / "final" / "model")
    assert metadata["labels"] == ["angry", "neutral", "sad"]
    assert list(variables) == ["encoder0"]
    machine = classify.FittedSvm.from_arrays({name.removeprefix("svm/"): value for name, value in arrays.items()
                                              if name.startswith("svm/")})
    bench = Workbench(progress=False)
    source = sources.make(config, bench, place / "final" / "train", progress=False)
    x = source.encoder(np.arange(36)).embed(variables["encoder0"])
    labels = np.array([u.label for u in bench.corpus(config).utterances])
    predicted = np.array(metadata["labels"])[machine.predict(x)]
    assert (predicted == labels).mean() > 0.6


def test_inductive_training_never_sees_its_test_fold(place, tmp_path):
    """Other audio in the test speaker's files changes neither the encoder nor the statistics of that fold."""
    config = _config(place, "training=inductive")
    bench = Workbench(progress=False)
    source = sources.make(config, bench, tmp_path / "a", progress=False)
    speakers = bench.speakers(config)
    rows = np.flatnonzero(speakers != "bob")
    before = source.embed(rows, 0)
    x = source.readout_nodes.x
    x[speakers == "bob"] += 5
    other = sources.make(config, bench, tmp_path / "b", progress=False)
    after = other.embed(rows, 0)
    np.testing.assert_array_equal(before[rows], after[rows])
    assert not np.allclose(before[speakers == "bob"], after[speakers == "bob"])
    x[speakers == "bob"] -= 5


@pytest.mark.parametrize("choices", ["normalise=speaker", "protocol=disjoint,folds=4", "protocol=sentence"])
def test_other_protocols_run(place, tmp_path, choices):
    found = experiment.run(_config(place, choices, **{"eval.untrained": False, "eval.probes": False}),
                           tmp_path / "run", quiet=True)
    assert sum(fold["n"] for fold in found["folds"]) == 36
    name = choices.partition("protocol=")[2].partition(",")[0] or "loso"
    shared = {"loso": "shared_speakers", "disjoint": "shared_speakers", "sentence": "shared_sentences"}[name]
    assert all(fold[shared] == 0 for fold in found["protocol_sheet"]["folds"])


def test_a_sweep_writes_its_table_reuses_trainings_and_resumes(place, tmp_path, capsys):
    config = config_lib.base("tables/serugcl_table4", "corpus=manifest,tiny,protocol=loso")
    config.data.update(manifest=str(place / "corpus" / "manifest.csv"), cache_dir=str(place / "cache"), workers=1)
    config.lock()
    tables = sweep.run(config, tmp_path / "table")
    assert [row.name for row in tables[0].rows] == ["S-F", "S-SE", "random signs for FGSM", "untrained", "SERUGCL"]
    assert all("UA" in row.metrics for row in tables[0].rows)
    assert "against untrained" in tables[0].rows[-1].note
    assert (tmp_path / "table" / "table.md").read_text(encoding="utf-8") in capsys.readouterr().out + "\n"
    trainings = sorted((tmp_path / "table" / "train").iterdir())
    assert len([t for t in trainings if t.is_dir()]) == 4  # the untrained row has none
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "table").glob("rows/*/results.json")}
    last = max(stamps, key=lambda p: stamps[p])
    last.unlink()
    sweep.run(config, tmp_path / "table")
    again = {p: p.stat().st_mtime_ns for p in (tmp_path / "table").glob("rows/*/results.json")}
    assert {p for p in stamps if again[p] != stamps[p]} == {last}


def _outcome(workdir: Path) -> dict[str, str]:
    """Digests of what a run ends with: results but for their seconds, predictions, embeddings, parameters."""
    results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
    del results["seconds"], results["command"]
    variables, arrays, _ = checkpoint.load_model(workdir / "model")
    with np.load(workdir / "embeddings.npz") as stored:
        embeddings = stored["embeddings"]
    digest = hashlib.sha256()
    for leaf in [*(leaf for _, leaf in leaves(variables)), *(arrays[name] for name in sorted(arrays))]:
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return {"results": json.dumps(results, sort_keys=True), "model": digest.hexdigest(),
            "embeddings": hashlib.sha256(embeddings.tobytes()).hexdigest(),
            "predictions": (workdir / "predictions.csv").read_text(encoding="utf-8")}


def test_killed_at_any_moment_and_started_again_it_ends_the_same(tmp_path):
    """kill -9 once in each part of a run, found by what it has left behind, then at a later moment each time."""
    manifest = write(tmp_path / "corpus")
    log = tmp_path / "log"
    finish(start(command(manifest, tmp_path / "cache1", tmp_path / "whole", choices="seeds=2"), log), log)
    arguments = command(manifest, tmp_path / "cache2", tmp_path / "killed", choices="seeds=2")
    signs = ["cache2/records", "cache2/features", "killed/train/*/contrastive",
             "killed/train/*/contrastive/checkpoints/*", "killed/predictions/ours/*.npz", "killed/model"]
    for sign in signs:
        kill_at(arguments, log, tmp_path, sign)
    finish(start(arguments, log), log)
    assert _outcome(tmp_path / "killed") == _outcome(tmp_path / "whole")
    assert not list(tmp_path.rglob("*.tmp"))


def test_two_runs_at_once_share_a_cache(tmp_path):
    manifest = write(tmp_path / "corpus")
    started = [(start(command(manifest, tmp_path / "cache", tmp_path / name), tmp_path / f"{name}.log"),
                tmp_path / f"{name}.log") for name in ("first", "second")]
    for process, log in started:
        finish(process, log)
    assert _outcome(tmp_path / "first") == _outcome(tmp_path / "second")


def test_a_damaged_prediction_file_is_made_again(tmp_path):
    path = tmp_path / "seed0-folds0.npz"
    path.write_bytes(b"PK\x03\x04 cut short")
    assert runs.load(path) is None
    assert runs.load(tmp_path / "absent.npz") is None


def test_unwritable_workdir_is_a_clear_error(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    manifest = write(tmp_path / "corpus")
    done = subprocess.run(command(manifest, tmp_path / "cache", blocker / "run"), capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2
    assert str(blocker) in done.stderr
    assert "Traceback" not in done.stderr




def test_an_edited_manifest_is_not_taken_for_the_old_one(tmp_path, capsys):
    """The same config and workdir, finished, and then other labels under the same name."""
    manifest = write(tmp_path / "corpus")
    config = _config(tmp_path, **{"eval.untrained": False, "eval.probes": False})
    experiment.run(config, tmp_path / "run", quiet=True)
    experiment.run(config, tmp_path / "run")
    assert "is finished" in capsys.readouterr().out
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("ann_s1_angry.wav,angry", "ann_s1_angry.wav,sad"), encoding="utf-8")
    with pytest.raises(UserError, match="manifest has changed"):
        experiment.run(config, tmp_path / "run", quiet=True)
    # Without its corpus a finished result can still be read.
    manifest.unlink()
    experiment.run(config, tmp_path / "run")
    assert "is finished" in capsys.readouterr().out
