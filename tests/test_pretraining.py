"""Who is held out of a pre-training, and what a pre-training leaves for others."""

import numpy as np
import pytest

from sercl_jax import config as config_lib
from sercl_jax import experiment, pretraining, results
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance
from sercl_jax.workbench import Workbench
from small_corpus import write


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
    assert len(found["pretraining"]["identified"]["k"]) == 12
    assert pretraining.seeds(place / "cpc") == [0, 1]
    models = [pretraining.load(place / "cpc", seed) for seed in (0, 1, 7)]
    settings, variables = models[0]
    assert settings.channels == 16
    kernel = variables["params"]["predictors"]
    assert not np.array_equal(kernel, models[1][1]["params"]["predictors"])
    assert np.array_equal(kernel, models[2][1]["params"]["predictors"])
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
