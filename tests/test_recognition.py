"""The paper's set-ups from end to end on a small corpus of real files, whole, killed and continued."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_corpus import command, finish, kill_at, leaves, start, write

from sercl_jax import checkpoint, experiment, metrics, pretraining, representations, results
from sercl_jax import config as config_lib
from sercl_jax.errors import UserError
from sercl_jax.methods import cpc
from sercl_jax.ratings import RatingFold, RatingPredictions
from sercl_jax.recognition import SETUPS, Fitted, Recognition
from sercl_jax.train import TrainResult
from sercl_jax.workbench import Workbench

DIMENSIONS = ("activation", "valence", "dominance")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recognition")
    write(folder / "corpus", rated=True)
    return folder


def _config(place: Path, choices: str, **knobs):
    config = config_lib.base("cpc", f"corpus=manifest,tiny,{choices}")
    for section in (config.data, config.pretrain_data):
        section.update(corpus="manifest", manifest=str(place / "corpus" / "manifest.csv"),
                       cache_dir=str(place / "cache"), workers=1)
    config.pretrain.update(seconds=0.4, held_out=0.25, batch_size=8)
    config.joint.seconds = 0.4
    config.recognizer.update(batch_size=8, heads=2, head_dim=8, hidden=16, epochs=2, learning_rate=3e-3)
    config.eval.report = False
    config.update_from_flattened_dict(knobs)
    return config.lock()


@pytest.fixture(scope="module")
def all_setups(place):
    return experiment.run(_config(place, "setup=all"), place / "all", quiet=True)


def test_all_set_ups_stand_side_by_side_on_the_same_folds(place, all_setups):
    results.validate(all_setups)
    assert all_setups["protocol"]["name"] == "session"
    assert all_setups["protocol"]["setup"] == "pre"
    assert [b["name"] for b in all_setups["baselines"]] == ["sup", "joint", "mini"]
    assert {fold["n"] for fold in all_setups["folds"]} == {18}
    with (place / "all" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    for name, short in zip(DIMENSIONS, ("act", "val", "dom"), strict=True):
        truth, predicted = (np.array([float(row[key]) for row in rows]) for key in (name, f"predicted_{name}"))
        assert all_setups["metrics"][f"CCC_{short}"]["mean"] == pytest.approx(metrics.ccc(truth, predicted), abs=1e-4)


def test_the_final_model_predicts_ratings(place, all_setups):
    del all_setups
    variables, arrays, facts = checkpoint.load_model(place / "all" / "model")
    assert set(variables) == {"cpc", "recognizer"}
    assert facts["targets"] == list(DIMENSIONS)
    procedure = Recognition(_config(place, "setup=all"), place / "x", Workbench(progress=False), place / "all", True)
    settings = procedure.pretraining.settings
    frames = representations.contexts(procedure.corpus, settings, variables["cpc"], cache_dir=place / "cache",
                                      progress=False)
    targets = cpc.Targets(procedure.ratings.astype(np.float32), arrays["targets/mean"], arrays["targets/scale"])
    made = cpc.recognize(procedure.recognition, variables["recognizer"], frames, targets, np.arange(36))
    assert made.shape == (36, 3)
    # On the corpus' own scale, around its own means.
    np.testing.assert_allclose(made.mean(0), procedure.ratings.mean(0), atol=1.5)


@pytest.mark.parametrize("setup", SETUPS)
def test_the_test_part_changes_nothing_that_is_trained(place, tmp_path, setup):
    """Other ratings of the tested session leave every parameter as it was."""
    trained = []
    for change in (False, True):
        bench = Workbench(progress=False)
        config = _config(place, f"setup={setup}")
        procedure = Recognition(config, tmp_path / str(change), bench, tmp_path / setup, True)
        division = procedure.divisions[0]
        if change:
            procedure.ratings[division.test] = 5 - procedure.ratings[division.test]
        # In a store of its own, or the second would find the first.
        procedure.store = tmp_path / setup / str(change)
        fitted = procedure.fit(setup, 0, division.train, division.valid)
        trained.append(fitted.variables["recognizer"]["params"])
    a, b = (dict(leaves(x)) for x in trained)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[k], b[k]) for k in a)


def test_parts_of_a_fold_are_disjoint_and_validation_is_never_tested(place, tmp_path):
    procedure = Recognition(_config(place, "setup=sup,protocol=loso"), tmp_path, Workbench(progress=False), tmp_path,
                            True)
    assert len(procedure.divisions) == 4
    for division in procedure.divisions:
        parts = [set(division.train), set(division.valid), set(division.test)]
        assert all(parts)
        assert len(set.union(*parts)) == sum(map(len, parts)) == 36
        speakers = [{procedure.utterances[u].speaker for u in part} for part in parts]
        assert not speakers[0] & speakers[2]
        assert not speakers[1] & speakers[2]


def test_a_finished_pre_training_serves_many_recognizers(place, tmp_path):
    experiment.run(_config(place, "setup=pretrain"), place / "cpc", quiet=True)
    config = _config(place, "setup=pre", init_from=str(place / "cpc"))
    experiment.run(config, tmp_path / "pre", quiet=True)
    variables, _, _ = checkpoint.load_model(tmp_path / "pre" / "model")
    _, given = pretraining.load(place / "cpc", 0)
    assert np.array_equal(variables["cpc"]["params"]["predictors"], given["params"]["predictors"])
    assert not list((tmp_path / "pre" / "train").glob("cpc-*"))
    other = _config(place, "setup=pre", **{"init_from": str(place / "cpc"), "cpc.channels": 24})
    procedure = Recognition(other, tmp_path, Workbench(progress=False), tmp_path / "train", True)
    assert procedure._pretrained(0)[0].channels == 16
    assert any("another network" in text for text in procedure._warnings)


def test_a_pre_trained_model_may_go_on_training(place, tmp_path):
    """From the parameters of the pre-training, and no further than the rate and the number of steps allow."""
    experiment.run(_config(place, "setup=pretrain"), place / "cpc", quiet=True)
    config = _config(place, "setup=pre", **{"init_from": str(place / "cpc"), "recognizer.freeze_cpc": False})
    procedure = Recognition(config, tmp_path, Workbench(progress=False), tmp_path / "train", True)
    division = procedure.divisions[0]
    fitted = procedure.fit("pre", 0, division.train, division.valid)
    after = fitted.variables["cpc"]["params"]["gru"]["recurrent_kernel"]
    before = pretraining.load(place / "cpc", 0)[1]["params"]["gru"]["recurrent_kernel"]
    assert not np.array_equal(after, before)
    np.testing.assert_allclose(after, before, atol=0.05)
    assert np.isfinite(fitted.predict(division.test)).all()


def test_a_corpus_without_ratings_is_refused(tmp_path):
    write(tmp_path / "corpus")
    config = _config(tmp_path, "setup=sup")
    with pytest.raises(UserError, match="no ratings"):
        experiment.run(config, tmp_path / "run", quiet=True)


def _arguments(place: Path, cache: Path, workdir: Path) -> list[str]:
    knobs = {"pretrain.seconds": 0.4, "joint.seconds": 0.4, "pretrain.batch_size": 8, "recognizer.batch_size": 8,
             "recognizer.heads": 2, "recognizer.head_dim": 8, "recognizer.epochs": 2, "eval.report": False,
             "pretrain_data.corpus": "manifest", "pretrain_data.manifest": place / "corpus" / "manifest.csv",
             "pretrain_data.cache_dir": cache}
    flags = [f"--config.{name}={value}" for name, value in knobs.items()]
    return [a.replace("protocol=loso", "protocol=session").replace("--config.eval.baseline=no", "--config.seed=3")
            for a in command(place / "corpus" / "manifest.csv", cache, workdir, *flags, config="configs/cpc.py")]


def _outcome(workdir: Path):
    found = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
    del found["seconds"], found["command"]
    variables, arrays, _ = checkpoint.load_model(workdir / "model")
    return found, {k: v.tobytes() for k, v in [*leaves(variables), *sorted(arrays.items())]}, (
        workdir / "predictions.csv").read_text(encoding="utf-8")


def test_killed_at_any_moment_and_started_again_it_ends_the_same(place, tmp_path):
    """kill -9 in the pre-training, between set-ups and in the last recognizer, then the same command again."""
    log = tmp_path / "log"
    finish(start(_arguments(place, tmp_path / "cache1", tmp_path / "whole"), log), log)
    arguments = _arguments(place, tmp_path / "cache2", tmp_path / "killed")
    for sign in ("predictions/sup/*.npz", "train/cpc-*/pretrain/checkpoints/*", "predictions/pre/*"):
        kill_at(arguments, log, tmp_path, f"killed/{sign}")
    finish(start(arguments, log), log)
    assert _outcome(tmp_path / "killed") == _outcome(tmp_path / "whole")
    assert not (tmp_path / "killed" / "scratch").exists()


@pytest.mark.parametrize("official", [True, False])
def test_the_final_model_leaves_an_official_validation_part_to_choose_its_epoch(place, tmp_path, official):
    procedure = Recognition(_config(place, "setup=sup"), tmp_path, Workbench(progress=False), tmp_path, True)
    if official:
        procedure.utterances = tuple(replace(u, split="validation" if u.speaker == "dora" else "train")
                                     for u in procedure.utterances)
    parts = []

    def fit(name, seed, rows, valid):
        parts.extend([name, seed, rows, valid])
        return Fitted(lambda test: np.zeros((len(test), 3)), {"recognizer": {"params": {"x": np.ones(1)}}}, 1, None)

    procedure.fit = fit
    procedure._final_model("sup")
    names = [{procedure.utterances[u].speaker for u in part} for part in parts[2:]]
    assert parts[:2] == ["sup", 0]
    assert sum(map(len, names)) == 4
    assert not names[0] & names[1]
    assert not official or names[1] == {"dora"}
    assert checkpoint.load_model(tmp_path / "model")[2]["setup"] == "sup"


def test_ratings_of_a_model_pre_trained_on_the_same_corpus_come_with_a_warning(place, tmp_path, monkeypatch):
    procedure = Recognition(_config(place, "setup=pre"), tmp_path, Workbench(progress=False), tmp_path, True)
    monkeypatch.setattr(pretraining, "pretrain", lambda *_: TrainResult({}, 1, 0.0, [], None))
    monkeypatch.setattr(pretraining, "describe", lambda *_: {"corpus": "manifest"})
    monkeypatch.setattr(procedure, "predict", lambda name: [_perfect(procedure)])
    monkeypatch.setattr(procedure, "_embeddings", lambda name: procedure._pretrained(0))
    monkeypatch.setattr(procedure, "_final_model", lambda name: None)
    assert any("transductive" in text for text in procedure.run()["warnings"])


def _perfect(procedure) -> RatingPredictions:
    truth = procedure.ratings
    return RatingPredictions(ids=tuple(u.id for u in procedure.utterances),
                             speakers=tuple(u.speaker for u in procedure.utterances), truth=truth, predicted=truth,
                             fold=np.zeros(len(truth), int), folds=(RatingFold.of("all", 1, truth, truth),))
