"""Cross-corpus SupCon from end to end on two small corpora of real files, whole, killed and continued."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_corpus import finish, kill_at, leaves, start, write

from sercl_jax import checkpoint, encoders, experiment, results, sweep
from sercl_jax import config as config_lib
from sercl_jax.adaptation import ARMS, Adaptation
from sercl_jax.corpora import Corpus
from sercl_jax.errors import UserError
from sercl_jax.parts import usable
from sercl_jax.types import Utterance
from sercl_jax.workbench import Workbench

CHOICES = "corpora=manifest+manifest,encoder=tiny,tiny,folds=2,protocol=speakers"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two corpora: the second has other speakers, and calls no utterance sad."""
    folder = tmp_path_factory.mktemp("adaptation")
    write(folder / "one")
    write(folder / "two", seed=1)
    return folder


def _config(place: Path, choices: str = "target=manifest", **knobs):
    config = config_lib.base("supcon", f"{CHOICES},{choices}")
    config.data.update(cache_dir=str(place / "cache"), workers=1)
    config.corpora.manifest.manifest = str(place / "one" / "manifest.csv")
    config.corpora.manifest_2.manifest = str(place / "two" / "manifest.csv")
    config.corpora.manifest_2.labels = "angry,neutral"
    for stage in (config.contrastive, config.finetune, config.classifier):
        stage.update(batch_size=8)
    config.update_from_flattened_dict(knobs)
    return config.lock()


@pytest.fixture(scope="module")
def table(place):
    """The default: every corpus, FT beside SupCon."""
    sweep.run(_table(place), place / "table")
    return place / "table"


def _table(place):
    config = _config(place, "").unlock()
    config.eval.report = False
    return config.lock()


def _rows(table: Path) -> dict[str, dict]:
    found = [results.read(path.parent) for path in sorted(table.glob("rows/*/results.json"))]
    return {f"{len(one['labels'])} {one['protocol']['setup']}": one for one in found}


def test_every_corpus_is_tested_by_every_arm(table):
    rows = _rows(table)
    assert rows.keys() == {f"{n} {ARMS[arm]}" for n in (2, 3) for arm in ("ft", "supcon")}
    for found in rows.values():
        results.validate(found)
        assert found["protocol"]["folds"] == 2
        assert sum(fold["n"] for fold in found["folds"]) == (36 if len(found["labels"]) == 3 else 24)
        assert found["protocol_sheet"]["folds"][0]["shared_speakers"] == 0
    text = (table / "table.md").read_text(encoding="utf-8")
    assert text.count("| SupCon |") == 2
    assert "against FT" in text


def test_the_first_stage_is_trained_once_for_all_targets(table):
    # Two folds and the final model: each once, though two corpora are tested.
    assert len(list((table / "train").glob("supcon-contrastive-*"))) == 3
    assert len(list((table / "train").glob("supcon-classifier-*"))) == 6
    assert len(list((table / "train").glob("ft-finetune-*"))) == 4


def test_similarity_is_told_for_every_layer_and_across_corpora(table):
    found = _rows(table)[f"3 {ARMS['supcon']}"]["similarity"]
    for when in ("before", "after"):
        assert found[when].keys() == {"positive", "negative", "positive_across", "negative_across"}
        assert {len(values) for values in found[when].values()} == {3}  # what the Transformer is given, two layers
    assert found["before"] != found["after"]
    alone = _rows(table)[f"3 {ARMS['ft']}"]["similarity"]
    assert alone["after"].keys() == {"positive", "negative"}


def test_the_final_model_keeps_the_frozen_part_bit_for_bit(table):
    models = list(table.glob("rows/*supcon*/model"))
    assert len(models) == 2
    _, start_params = encoders.load("tiny", "", 0)
    frozen = {name for name, _ in leaves(start_params) if name.startswith("/feature_")}
    assert frozen
    for model in models:
        variables, _, facts = checkpoint.load_model(model)
        ours, theirs = dict(leaves(variables["encoder"]["params"])), dict(leaves(start_params))
        assert ours.keys() == theirs.keys()
        same = {name for name in ours if np.array_equal(ours[name], theirs[name])}
        assert frozen <= same
        assert any(name.startswith("/encoder/layers_1") for name in ours.keys() - same)
        assert facts["labels"] in (["angry", "neutral"], ["angry", "neutral", "sad"])
        assert variables["heads"]["params"].keys() == {"pooling", "classifier"}


def test_a_finished_run_is_not_run_again(place, table, capsys):
    before = {path: path.stat().st_mtime_ns for path in (table / "train").rglob("*") if path.is_file()}
    sweep.run(_table(place), table)
    assert before == {path: path.stat().st_mtime_ns for path in (table / "train").rglob("*") if path.is_file()}
    assert "SupCon" in capsys.readouterr().out


@pytest.mark.parametrize("arm", ["ce", "frozen"])
def test_the_other_arms_run(place, tmp_path, arm):
    config = _config(place, f"target=manifest,arm={arm}", final_model=False)
    found = experiment.run(config, tmp_path / arm, quiet=True)
    results.validate(found)
    assert found["protocol"]["setup"] == ARMS[arm]
    assert ("similarity" in found) == (arm == "ce")


def test_supcon_on_the_target_alone_needs_no_other_corpus(place, tmp_path):
    found = experiment.run(_config(place, "target=manifest", learn_from="target", final_model=False), tmp_path / "a",
                           quiet=True)
    assert found["protocol"]["trained on"] == "manifest"
    assert found["similarity"]["after"].keys() == {"positive", "negative"}


@pytest.mark.parametrize("arm", ["supcon", "ft"])
def test_across_corpora_nothing_of_the_target_is_learned(place, tmp_path, arm):
    """Tested whole, on the emotions that both have; its own labels change no parameter."""
    config = _config(place, f"target=manifest,arm={arm},protocol=corpus")
    found = experiment.run(config, tmp_path / "run", quiet=True)
    results.validate(found)
    assert found["labels"] == ["angry", "neutral"]
    assert found["protocol"]["trained on"] == "manifest"
    assert found["protocol"]["folds"] == 1
    [fold] = found["folds"]
    assert fold["n"] == 24  # of 36, a third is sad
    [row] = found["protocol_sheet"]["folds"]
    assert (row["test"], row["train"], row["shared_speakers"]) == (24, 24, 0)
    procedures = [Adaptation(config, tmp_path / f"w{n}", Workbench(progress=False), tmp_path / "run" / "train", True)
                  for n in range(2)]
    target = procedures[1].ground.place
    procedures[1].classes[procedures[1]._rows(0, {target: np.arange(36)})] = 0
    for procedure in procedures:
        [fold] = procedure.ground.rounds[0]
        assert not len(fold.train[target])
        assert not len(fold.test[1 - target])
    one, other = (dict(leaves(p._fit(0, p.ground.rounds[0][0].train, 1e-3).heads)) for p in procedures)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    stages = {"supcon": {"contrastive", "classifier"}, "ft": {"finetune"}}[arm]
    trained = {path.name.split("-")[1] for path in (tmp_path / "run" / "train").iterdir()}
    assert trained == stages


def test_the_learning_rate_is_chosen_inside_the_training_part(place, tmp_path):
    """Other labels of the tested part change neither the choice nor a parameter."""
    trained, rates = [], []
    for change in (False, True):
        config = _config(place, "target=manifest,arm=ft", **{"finetune.rates": (1e-2, 1e-5)})
        procedure = Adaptation(config, tmp_path / f"w{change}", Workbench(progress=False), tmp_path / f"s{change}",
                               True)
        fold = procedure.ground.rounds[0][0]
        test = procedure._rows(0, {procedure.ground.place: fold.test[procedure.ground.place]})
        if change:
            procedure.classes[test] = (procedure.classes[test] + 1) % 3
        rates.append(procedure._rate(0, fold.train, 0))
        trained.append(procedure._fit(0, fold.train, rates[-1]))
    assert rates[0] == rates[1]
    for part in ("encoder", "heads"):
        a, b = (dict(leaves(getattr(fitted, part))) for fitted in trained)
        assert all(np.array_equal(a[name], b[name]) for name in a)
    inner = [path for path in (tmp_path / "sTrue").iterdir() if path.name.startswith("ft-finetune")]
    assert len(inner) == 3  # two rates inside, one on the whole training part


@pytest.mark.parametrize("sign", ["train/supcon-contrastive-*/contrastive/checkpoints/*",
                                  "train/supcon-classifier-*/classifier/metrics.jsonl"])
def test_a_killed_run_ends_as_one_that_was_not(place, tmp_path, sign):
    def arguments(workdir):
        flags = [
            f"--config=configs/supcon.py:{CHOICES},target=manifest", f"--config.data.cache_dir={place / 'cache'}",
            "--config.data.workers=1", f"--config.corpora.manifest.manifest={place / 'one' / 'manifest.csv'}",
            f"--config.corpora.manifest_2.manifest={place / 'two' / 'manifest.csv'}",
            "--config.contrastive.batch_size=8", "--config.train.checkpoint_every=1", "--config.eval.report=False",
            "--config.final_model=False"]
        return [sys.executable, "-m", "sercl_jax.main", *flags, f"--workdir={workdir}"]

    finish(start(arguments(tmp_path / "whole"), tmp_path / "log"), tmp_path / "log")
    kill_at(arguments(tmp_path / "killed"), tmp_path / "log2", tmp_path / "killed", sign)
    assert not (tmp_path / "killed" / "results.json").exists()
    finish(start(arguments(tmp_path / "killed"), tmp_path / "log2"), tmp_path / "log2")
    tables = []
    for name in ("whole", "killed"):
        with (tmp_path / name / "predictions.csv").open(encoding="utf-8", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    assert tables[0] == tables[1]
    one, other = (results.read(tmp_path / name) for name in ("whole", "killed"))
    assert one["similarity"] == other["similarity"]
    assert not (tmp_path / "killed" / "scratch").exists()


@pytest.mark.parametrize(("choices", "knobs", "words"), [
    ("target=manifest_3", {}, "config.target=manifest_3: is not among the corpora"),
    ("target=manifest,arm=supcom", {}, "Did you mean 'supcon'"),
    ("target=manifest", {"learn_from": "others"}, "config.learn_from=others"),
    ("target=manifest", {"seeds": 0}, "seeds=0"),
    ("target=manifest,protocol=corpus", {"learn_from": "target"}, "is the only corpus to learn from"),
    ("target=manifest", {"corpora.manifest_2.manifest": ""}, "config.corpora.manifest_2.manifest=FILE"),
    ("target=manifest", {"contrastive.batch_size": 9}, "quarters")])
def test_what_cannot_be_is_named_before_anything_trains(place, tmp_path, choices, knobs, words):
    with pytest.raises(UserError, match=words):
        experiment.run(_config(place, choices, **knobs), tmp_path / "x", quiet=True)
    assert not (tmp_path / "x" / "train").exists()


def _corpus(**fields) -> Corpus:
    utterances = tuple(Utterance(id=str(n), num_samples=1, label="sad", **{k: v[n] for k, v in fields.items()})
                       for n in range(2))
    return replace(Corpus("x", Path(), "", (), (), ()), utterances=utterances)


@pytest.mark.parametrize(("protocol", "fields", "expected"), [
    ("kfold", {"speaker": "ab"}, "kfold"), ("graphcl", {}, "kfold"), ("speakers", {"speaker": "ab"}, "speakers"),
    ("session", {"speaker": "ab"}, "speakers"), ("session", {"session": "12"}, "session"),
    ("loso", {"speaker": "a" * 2}, "kfold"), ("disjoint", {"speaker": "ab"}, "speakers"), ("loso", {}, "kfold")])
def test_a_partner_is_divided_as_like_the_target_as_it_can_be(protocol, fields, expected):
    assert usable(_corpus(**fields), protocol) == expected
