"""Choosing classes and utterances of a corpus without building it again."""

import fnmatch
import math
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax import corpora
from sercl_jax.corpora import registry
from sercl_jax.corpora.choice import choose
from sercl_jax.corpora.reader import Corpus
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

LABELS = ("angry", "excited", "happy", "sad", "")


def corpus_of(utterances: list[Utterance]) -> Corpus:
    """One without records, which choosing never touches."""
    labels = tuple(sorted({utterance.label for utterance in utterances} - {""}))
    return Corpus(name="manifest", directory=Path("nowhere"), key="k", labels=labels, utterances=tuple(utterances),
                  positions=tuple(reversed(range(len(utterances)))))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of([
        Utterance(id=f"u{number:02d}", num_samples=100 + number, label=LABELS[number % 5], speaker=f"s{number % 3}",
                  session=str(number % 2), sentence=("impro01", "script01_1", "script02")[number % 3],
                  valence=math.nan if number % 2 else 2.0)
        for number in range(30)])


def test_all_and_usual_are_the_corpus_itself(corpus):
    assert choose(corpus, "all") is corpus
    assert choose(corpus) is corpus  # a manifest has no usual classes
    assert choose(corpus, "all", "speaker=s*") is corpus


def test_classes_are_kept_merged_and_left_out(corpus):
    chosen = choose(corpus, "happy+excited, sad")
    assert chosen.labels == ("happy", "sad")
    assert Counter(u.label for u in chosen.utterances) == {"happy": 12, "sad": 6}
    assert [u.id for u in chosen.utterances] == [u.id for u in corpus.utterances
                                                 if u.label in ("happy", "excited", "sad")]
    for utterance, position in zip(chosen.utterances, chosen.positions, strict=True):
        original = corpus.utterances[corpus.positions.index(position)]
        assert original.id == utterance.id
        assert (original.num_samples, original.speaker, original.sentence) == (
            utterance.num_samples, utterance.speaker, utterance.sentence)


def test_nouns_and_abbreviations_are_understood(corpus):
    assert choose(corpus, "Anger,hap").labels == ("angry", "happy")


def test_the_first_name_of_a_merger_is_its_class(corpus):
    assert choose(corpus, "excited+happy,sad").labels == ("excited", "sad")


def test_conditions_must_all_hold(corpus):
    chosen = choose(corpus, "all", "sentence=script*, session=1")
    assert {(u.sentence, u.session) for u in chosen.utterances} == {("script01_1", "1"), ("script02", "1")}
    assert len(chosen) == sum(u.sentence.startswith("script") and u.session == "1" for u in corpus.utterances)
    assert "" in {u.label for u in chosen.utterances}  # unlabelled ones stay with "all"
    assert {u.label for u in choose(corpus, "all", "label=").utterances} == {""}


def test_keys_depend_on_what_is_chosen(corpus):
    keys = {choose(corpus, *choice).key for choice in [
        ("all",), ("angry,sad",), ("angry,happy",), ("angry,happy+excited",), ("angry,excited+happy",),
        ("all", "session=1"), ("all", "session=0"), ("angry,sad", "session=1")]}
    assert len(keys) == 8
    assert choose(corpus, "sad,angry").key == choose(corpus, "angry, sadness").key
    assert choose(corpus, "all", "session=1").key == choose(corpus, "all", "session=[!0]").key


@pytest.mark.parametrize(("labels", "where", "complaint"), [
    ("angry,hapy", "", "config.data.labels='angry,hapy': corpus manifest has no class 'hapy'; did you mean 'happy'"),
    ("usaul", "", r"has no class 'usaul'; did you mean 'usual'\? Known: 'angry', 'excited'"),
    ("angry,,sad", "", "has no class ''"),
    ("angry,happy+angry", "", "the class 'angry' is named twice"),
    ("", "", "has no class ''"),
    ("all", "sentnce=impro*", r"'sentnce=impro\*' is not FIELD=PATTERN .* did you mean 'sentence'"),
    ("all", "impro*", "is not FIELD=PATTERN"),
    ("all", "valence=2.0", "is not FIELD=PATTERN"),
    ("all", "sentence=improv*", r"no utterance has a sentence like 'improv\*' .* did you mean 'impro01'"),
    ("all", "session=1,speaker=x", "no utterance has a speaker like 'x' among those chosen so far; Known: 's0'"),
])
def test_what_does_not_exist_is_named(corpus, labels, where, complaint):
    with pytest.raises(UserError, match=complaint):
        choose(corpus, labels, where)


def test_long_lists_of_values_are_cut(corpus):
    with pytest.raises(UserError, match=r"'u11', \.\.\.\.$") as error:
        choose(corpus, "all", "id=nobody")
    assert "u12" not in str(error.value)


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.sampled_from(LABELS), min_size=1, max_size=20), data=st.data())
def test_choosing_is_filtering(labels, data):
    corpus = corpus_of([Utterance(id=f"{number:03d}", num_samples=1, label=label, speaker=f"s{number % 4}")
                        for number, label in enumerate(labels)])
    kept = data.draw(st.lists(st.sampled_from(corpus.labels), min_size=1, unique=True)) if corpus.labels else None
    pattern = data.draw(st.sampled_from(["*", "s0", "s[01]", "s?"]))
    spec = "all"
    if kept is not None:
        groups = data.draw(st.lists(st.sampled_from("+,"), min_size=len(kept) - 1, max_size=len(kept) - 1))
        spec = kept[0] + "".join(mark + name for mark, name in zip(groups, kept[1:], strict=True))
    wanted = []
    for utterance in corpus.utterances:
        if kept is None:
            name = utterance.label
        elif utterance.label in kept:
            position = kept.index(utterance.label)
            while position and groups[position - 1] == "+":
                position -= 1
            name = kept[position]
        else:
            continue
        if fnmatch.fnmatch(utterance.speaker, pattern):
            wanted.append((utterance.id, name))
    if not wanted:
        with pytest.raises(UserError):
            choose(corpus, spec, f"speaker={pattern}")
        return
    chosen = choose(corpus, spec, f"speaker={pattern}")
    assert [(u.id, u.label) for u in chosen.utterances] == wanted
    assert (chosen.key == corpus.key) == (wanted == [(u.id, u.label) for u in corpus.utterances])


def test_chosen_utterances_have_their_own_samples(tmp_path):
    manifest = small_corpus.write(tmp_path / "corpus")

    def load(**choice):
        return corpora.load("manifest", cache_dir=tmp_path / "cache", manifest=manifest, workers=0, progress=False,
                            **choice)

    whole = load()
    shards = {path: path.stat().st_mtime_ns for path in whole.directory.iterdir()}
    part = load(labels="sad,angry+neutral", where="speaker=[ab]*")
    assert len(part) == 18
    assert part.labels == ("angry", "sad")
    by_id = {utterance.id: u for u, utterance in enumerate(whole.utterances)}
    copy = pickle.loads(pickle.dumps(part))
    for u, utterance in enumerate(part.utterances):
        np.testing.assert_array_equal(part.waveform(u), whole.waveform(by_id[utterance.id]))
        np.testing.assert_array_equal(copy.waveform(u), part.waveform(u))
    assert {path: path.stat().st_mtime_ns for path in whole.directory.iterdir()} == shards


def test_every_builder_names_usual_classes_that_can_be_parsed():
    for name in corpora.NAMES:
        builder = registry.builder_class(name)
        names = [part for group in filter(None, builder.USUAL_LABELS.split(",")) for part in group.split("+")]
        assert len(names) == len(set(names))
        assert (builder.USUAL_COUNT is None) or names
