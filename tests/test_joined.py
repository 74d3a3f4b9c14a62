"""Several corpora as one: names, scales of ratings, and training on some to test another."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from small_corpus import write

from sercl_jax import config as config_lib
from sercl_jax import corpora, experiment, results
from sercl_jax.corpora import Corpus, choice, joined, registry
from sercl_jax.errors import UserError
from sercl_jax.workbench import Workbench


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two corpora with the same speakers' names: the second is rated, and calls no utterance sad."""
    folder = tmp_path_factory.mktemp("joined")
    write(folder / "one", rated=True)
    write(folder / "two", seed=1, rated=True)
    return folder


@pytest.fixture(scope="module")
def parts(place) -> dict[str, Corpus]:
    one, two = (corpora.load("manifest", cache_dir=place / "cache", manifest=place / name / "manifest.csv", workers=0,
                             progress=False) for name in ("one", "two"))
    return {"a": one, "b": choice.choose(two, labels="angry,neutral")}


def test_each_utterance_is_what_it_was_and_says_whose_it_is(parts):
    both = joined.join(parts)
    assert (both.name, len(both), both.labels) == ("a+b", 36 + 24, ("angry", "neutral", "sad"))
    again = pickle.loads(pickle.dumps(both))
    u = 0
    for name, corpus in parts.items():
        for own, utterance in enumerate(corpus.utterances):
            assert both.utterances[u].corpus == name
            for field in ("id", "speaker", "sentence", "session"):
                assert getattr(both.utterances[u], field) == f"{name}/{getattr(utterance, field)}"
            assert both.utterances[u].label == utterance.label
            assert both.utterances[u].activation == utterance.activation
            np.testing.assert_array_equal(again.waveform(u), corpus.waveform(own))
            u += 1
    with pytest.raises(IndexError):
        both.waveform(u)
    assert not {u.speaker for u in both.utterances if u.corpus == "a"} & {
        u.speaker for u in both.utterances if u.corpus == "b"}


def test_its_key_tells_parts_and_names_apart(parts):
    keys = {joined.join(some).key for some in (parts, dict(reversed(parts.items())), {"a": parts["a"],
                                                                                      "c": parts["b"]})}
    assert len(keys) == 3
    assert joined.join(dict(parts)).key == joined.join(parts).key


def test_the_same_utterances_twice_are_refused(parts):
    with pytest.raises(UserError, match="a and c are the same utterances"):
        joined.join({"a": parts["a"], "c": dataclasses.replace(parts["a"])})
    with pytest.raises(UserError, match="two corpora or more"):
        joined.join({"a": parts["a"]})


def test_ratings_come_to_one_scale(parts):
    """IEMOCAP's 1 to 5 and MSP-Podcast's 1 to 7: ends on ends, the middle on the middle."""
    def rated(name: str, *values: float) -> Corpus:
        utterances = tuple(dataclasses.replace(parts["a"].utterances[n], activation=value, valence=np.nan)
                           for n, value in enumerate(values))
        return dataclasses.replace(parts["a"], name=name, key=name, utterances=utterances)

    both = joined.join({"i": rated("iemocap", 1, 3, 5), "m": rated("msp_podcast", 1, 4, 7)})
    assert [u.activation for u in both.utterances] == [1, 3, 5, 1, 3, 5]
    assert all(np.isnan(u.valence) for u in both.utterances)
    assert joined.warnings(both) == ()
    unknown = joined.join({"m": rated("msp_podcast", 1, 4, 7), "x": rated("manifest", 1, 4)})
    assert [u.activation for u in unknown.utterances] == [1, 4, 7, 1, 4]
    assert "ratings of x is unknown" in joined.warnings(unknown)[0]


def _config(place: Path, name: str, choices: str, **knobs):
    config = config_lib.base(name, f"corpus=manifest+manifest,tiny,{choices}")
    config.data.update(cache_dir=str(place / "cache"), workers=1)
    config.corpora.manifest.manifest = str(place / "one" / "manifest.csv")
    config.corpora.manifest_2.update(manifest=str(place / "two" / "manifest.csv"), labels="angry,neutral")
    config.update_from_flattened_dict(knobs)
    return config.lock()


@pytest.mark.parametrize("choices", ["training=inductive,normalise=corpus", "normalise=speaker"])
def test_serugcl_is_tested_on_each_corpus_by_training_on_the_other(place, tmp_path, choices):
    config = _config(place, "serugcl", f"protocol=auto,{choices}", **{"eval.baseline": "no"})
    found = experiment.run(config, tmp_path / "run", quiet=True)
    results.validate(found)
    assert found["corpus"] == "manifest+manifest_2"
    assert found["protocol"]["name"] == "corpus"
    assert [(fold["name"], fold["n"]) for fold in found["folds"]] == [("corpus manifest", 24),
                                                                      ("corpus manifest_2", 24)]
    for row in found["protocol_sheet"]["folds"]:
        assert row["shared_speakers"] == 0
        assert row["test_classes"] == {"angry": 12, "neutral": 12}
    assert found["metrics"]["UA"]["mean"] > 0.5  # pitch and loudness tell the emotion in both


def test_one_corpus_alone_may_be_tested_and_unknown_ones_are_named(place, tmp_path):
    knobs = {"eval.baseline": "no", "embedding": "lld_statistics", "final_model": False, "eval.probes": False}
    config = _config(place, "serugcl", "protocol=corpus", **knobs, **{"eval.tested": "manifest_2"})
    found = experiment.run(config, tmp_path / "run", quiet=True)
    assert [fold["name"] for fold in found["folds"]] == ["corpus manifest_2"]
    with pytest.raises(UserError, match=r"config\.eval\.tested"):
        experiment.run(_config(place, "serugcl", "protocol=corpus", **knobs, **{"eval.tested": "emodb"}),
                       tmp_path / "other", quiet=True)


def test_recognizers_are_tested_on_each_corpus_by_training_on_the_other(place, tmp_path):
    found = experiment.run(_config(place, "cpc", "setup=sup,protocol=corpus"), tmp_path / "run", quiet=True)
    results.validate(found)
    assert [(fold["name"], fold["n"]) for fold in found["folds"]] == [("corpus manifest", 36),
                                                                      ("corpus manifest_2", 24)]
    assert "training speakers" in found["protocol"]["validation"]
    assert any("is unknown" in text for text in found["warnings"])


def test_normalising_by_corpus_needs_several(place, tmp_path):
    config = config_lib.base("serugcl", "corpus=manifest,tiny,protocol=loso,normalise=corpus")
    config.data.update(cache_dir=str(place / "cache"), workers=1, manifest=str(place / "one" / "manifest.csv"))
    with pytest.raises(UserError, match="normalise=corpus: is for several corpora"):
        experiment.run(config.lock(), tmp_path / "run", quiet=True)


def test_sections_take_what_they_leave_empty_from_all(place):
    config = _config(place, "serugcl", "protocol=loso", **{"data.labels": "angry,sad"})
    both = Workbench(progress=False).corpus(config)
    assert {u.label for u in both.utterances if u.corpus == "manifest"} == {"angry", "sad"}
    assert {u.label for u in both.utterances if u.corpus == "manifest_2"} == {"angry", "neutral"}


def test_synthetic_is_whatever_has_a_synthetic_part():
    assert registry.is_synthetic("demo")
    assert registry.is_synthetic("emodb+demo_2")
    assert not registry.is_synthetic("emodb+ravdess")
