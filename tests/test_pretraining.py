"""Who is held out of a pre-training, and what a pre-training leaves for others."""

import numpy as np
import pytest
from small_corpus import write

import sercl_jax
from sercl_jax import config as config_lib
from sercl_jax import experiment, pretraining, recognition, results, workdirs
from sercl_jax.errors import UserError
from sercl_jax.methods import cpc, cpc_recipes
from sercl_jax.types import Utterance
from sercl_jax.workbench import Workbench


def _utterances(speakers):
    return [Utterance(id=f"u{n:03d}", num_samples=16000, speaker=speaker) for n, speaker in enumerate(speakers)]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("count", "share", "held"), [(60, 0.1, 6), (3, 0.1, 1), (8, 0.25, 2)])
def test_whole_speakers_are_held_out(count, share, held, seed):
    utterances = _utterances([f"s{n % count}" for n in range(4 * count)])
    parts = pretraining.hold_out(utterances, share, seed)
    assert sorted(np.concatenate(parts)) == list(range(4 * count))
    names = [{utterances[u].speaker for u in part} for part in parts]
    assert [len(n) for n in names] == [count - 2 * held, held, held]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert not names[1] & names[2]


def test_utterances_are_held_out_where_speakers_are_unknown():
    rows, valid, test = pretraining.hold_out(_utterances(["", "a", "b", "c", "a", "b", "c", "a", "b", "c"]), 0.2, 0)
    assert [len(rows), len(valid), len(test)] == [6, 2, 2]


def test_nothing_is_held_out_if_so_asked():
    rows, valid, test = pretraining.hold_out(_utterances("abc"), 0.0, 0)
    assert [len(rows), len(valid), len(test)] == [3, 0, 0]


@pytest.mark.parametrize("share", [-0.1, 0.4])
def test_a_share_out_of_range_is_an_error(share):
    with pytest.raises(UserError, match="held_out"):
        pretraining.hold_out(_utterances("abc"), share, 0)


def test_a_folder_without_a_pre_training_is_named(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        pretraining.load(tmp_path, 0)


def test_an_unfinished_pre_training_is_refused(tmp_path):
    """Later seeds would change what was built on the first."""
    (tmp_path / "models" / "seed0").mkdir(parents=True)
    (tmp_path / "models" / "seed0" / "model.json").write_text("{}")
    with pytest.raises(UserError, match="has not finished"):
        pretraining.key(tmp_path)


@pytest.mark.parametrize("count", [0, 3, 256, 257, 2800])
def test_those_that_follow_a_training_are_of_all_speakers(count):
    """Utterances come in the order of their ids, and so speaker by speaker."""
    rows = np.arange(count) * 2
    chosen = cpc.spread(rows)
    assert len(chosen) == len(set(chosen)) == min(count, 256)
    assert set(chosen) <= set(rows)
    if count > 256:
        assert set(chosen // 2 // 112) == set(range(-(-count // 112)))


@pytest.mark.parametrize(("knob", "value", "named"), [
    ("pretrain.optimizer", "adm", "config.pretrain: optimizer='adm'"),
    ("recognizer.schedule", "up", "config.recognizer: schedule='up'"),
    ("pretrain.crop", "middle", "config.pretrain.crop=middle"),
    ("pretrain.seconds", 0.333, "config.pretrain.seconds"),
    ("recognizer.seconds", 0.0051, "config.recognizer.seconds"), ("joint.seconds", -1.0, "config.joint.seconds"),
    ("joint.seconds", 0.1, "config.joint.seconds=0.1: must be longer")])
def test_a_bad_knob_of_a_recipe_is_named_before_any_training(knob, value, named):
    config = config_lib.base("cpc", "tiny")
    config.update_from_flattened_dict({knob: value})
    with pytest.raises(UserError, match=named):
        _ = [read(config) for read in (cpc_recipes.pretraining, cpc_recipes.recognition, cpc_recipes.joint)]


@pytest.mark.parametrize(("choices", "knob", "value"), [
    ("setup=sup", "fold_seeds", 2), ("setup=all", "normalise", "speaker"), ("setup=sup", "train.training", "partly"),
    ("setup=sup", "setup", "mine"), ("setup=pretrain", "init_from", "runs/cpc"), ("setup=pretrain", "seeds", 0)])
def test_a_knob_that_a_set_up_would_ignore_is_refused(place, tmp_path, choices, knob, value):
    config = _config(place, choices, **{knob: value})
    made = pretraining.Pretraining if config.setup == "pretrain" else recognition.Recognition
    with pytest.raises(UserError, match="runs" if knob == "seeds" else knob):
        made(config, tmp_path, Workbench(progress=False), tmp_path, True)


def test_a_corpus_to_pre_train_on_is_named_by_its_own_flags_and_lies_beside_the_other(place, tmp_path):
    config = _config(place, "setup=pre,pretrain_corpus=librispeech")
    config.data.cache_dir = str(tmp_path)
    with pytest.raises(UserError, match=r"--config.pretrain_data.manual_dir=.*init_from"):
        Workbench(progress=False).pretrain_corpus(config)
    config.pretrain_data.update(corpus="manifest", manifest=config.data.manifest)
    assert Workbench(progress=False).pretrain_corpus(config).directory.is_relative_to(tmp_path)
    keys = Workbench(progress=False).corpus_keys(config)
    assert set(keys) == {"manifest", "manifest (pretrain_data)"}


def test_a_pre_training_that_has_moved_is_the_same(place, tmp_path):
    config = _config(place, "setup=probe", init_from="here")
    workdirs.claim(config, tmp_path / "run")
    workdirs.claim(_config(place, "setup=probe", init_from="/there"), tmp_path / "run")
    with pytest.raises(UserError, match="init_from"):
        workdirs.claim(_config(place, "setup=probe"), tmp_path / "run")


def test_a_pre_training_on_the_tested_corpus_is_told(place):
    corpus = Workbench(progress=False).corpus(_config(place, "setup=probe"))
    assert len(pretraining.overlap(corpus, "manifest", corpus.key)) == 1
    assert not pretraining.overlap(corpus, "manifest", "another")
    assert not pretraining.overlap(corpus, "librispeech", "another")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    write(folder / "corpus")
    return folder


def _config(place, choices, **knobs):
    config = config_lib.base("cpc", f"corpus=manifest,tiny,{choices}")
    config.data.update(manifest=str(place / "corpus" / "manifest.csv"), cache_dir=str(place / "cache"), workers=1)
    config.pretrain.seconds = 0.4
    config.eval.report = False
    config.update_from_flattened_dict(knobs)
    return config.lock()


def test_a_pre_training_is_found_by_what_is_built_on_it(place):
    config = _config(place, "setup=pretrain,runs=2")
    found = experiment.run(config, place / "cpc", quiet=True)
    results.validate(found)
    assert found["protocol"]["speakers"] == 1
    assert set(found["metrics"]) == {"identified_1", "identified"}
    identified = found["pretraining"]["identified"]
    for k, metrics in (("k", found["metrics"]), ("untrained", found["baselines"][0]["metrics"])):
        assert len(identified[k]) == 12
        assert identified[k][0] == pytest.approx(metrics["identified_1"]["mean"])
    assert pretraining.seeds(place / "cpc") == [0, 1]
    models = [pretraining.load(place / "cpc", seed) for seed in (0, 1, 7)]
    settings, variables = models[0]
    assert settings.channels == 16
    kernel = variables["params"]["predictors"]
    assert not np.array_equal(kernel, models[1][1]["params"]["predictors"])
    assert np.array_equal(kernel, models[2][1]["params"]["predictors"])
    assert pretraining.corpus_of(place / "cpc") == ("manifest", Workbench(progress=False).corpus(config).key)
    assert any("1 speaker" in text for text in found["warnings"])
    assert str(place) not in (place / "cpc" / "models" / "seed0" / "model.json").read_text(encoding="utf-8")
    start = pretraining.untrained(settings, 0)["params"]["predictors"]
    assert not np.array_equal(kernel, start)
    # One epoch at this rate moves a parameter by at most steps x rate.
    np.testing.assert_allclose(kernel, start, atol=0.01)


def test_the_probe_tells_trained_from_untrained(place):
    experiment.run(_config(place, "setup=pretrain,runs=2"), place / "cpc", quiet=True)
    config = _config(place, "setup=probe,protocol=loso,runs=2", **{
        "init_from": str(place / "cpc"), "eval.baseline": "no", "eval.probes": False})
    found = experiment.run(config, place / "probe", quiet=True)
    assert found["protocol"]["embedding"] == "CPC"
    assert found["protocol"]["seeds"] == [0, 1]
    assert [b["name"] for b in found["baselines"]] == ["CPC untrained", "mean + std of logmel + SVM"]
    assert found["metrics"]["UA"]["mean"] > 0.5  # tones of different pitch; chance is a third
    # Its model is enough to classify a recording.
    model = sercl_jax.load(place / "probe")
    corpus = Workbench(progress=False).corpus(config)
    told = model.predict([corpus.waveform(u) for u in range(len(corpus))])
    assert np.mean([prediction.label == u.label for prediction, u in zip(told, corpus.utterances, strict=True)]) > 0.6


def test_without_a_pre_training_the_probe_says_what_it_needs(place, tmp_path):
    with pytest.raises(UserError, match="init_from"):
        experiment.run(_config(place, "setup=probe"), tmp_path / "probe", quiet=True)


def test_contexts_can_be_nodes_of_graphs(place):
    experiment.run(_config(place, "setup=pretrain,runs=2"), place / "cpc", quiet=True)
    config = config_lib.base("serugcl", "corpus=manifest,tiny")
    config.data.update(manifest=str(place / "corpus" / "manifest.csv"), cache_dir=str(place / "cache"), workers=1)
    config.init_from = str(place / "cpc")
    bench = Workbench(progress=False)
    parts = {}
    for kind in ("logmel", "cpc", "logmel+cpc"):
        config.features = kind
        parts[kind] = bench.frames(config)
    both = parts["logmel+cpc"]
    assert both.names == (*parts["logmel"].names, *parts["cpc"].names)
    for u in range(len(both)):
        count = min(len(parts["logmel"][u]), len(parts["cpc"][u]))
        assert np.array_equal(both[u], np.concatenate([parts[k][u][:count] for k in ("logmel", "cpc")], 1))
