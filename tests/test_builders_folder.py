"""A user's own recordings whose names tell the emotions: what names say, what is refused, and small corpora."""

import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax import corpora, splits
from sercl_jax.corpora import labels, naming
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance


def named(*paths, pattern=""):
    return naming.named([PurePosixPath(path) for path in paths], pattern)


def told(*paths, pattern=""):
    found = named(*paths, pattern=pattern)
    assert not found.failures, found.failures
    return [(row["label"], row["speaker"]) for row in found.rows]


def every(template, **values):
    """Paths for all combinations: every("{s}/{e}/{i}.wav", s=..., e=..., i="12")."""
    paths = [template]
    for name, options in values.items():
        paths = [path.replace("{" + name + "}", option) for path in paths for option in options]
    return paths


@pytest.mark.parametrize("template", [
    "{s}/{e}/{i}.wav", "{e}/{s}/{i}.wav", "{s}/{e}_{i}.flac", "{e}/{s}_{i}.ogg", "{s}_{e}_{i}.wav",
    "{e}-{s}-{i}.wav", "data/v1/{s}/{e}/{i}.wav", "neutral_room/{s}/{e}{i}.wav", "{s} {e} ({i}).WAV"])
def test_emotions_and_speakers_are_found_wherever_they_stand(template):
    paths = every(template, s=("anna", "ben"), e=("angry", "sad"), i="123")
    assert told(*paths) == [("angry" if "angry" in path else "sad", "anna" if "anna" in path else "ben")
                            for path in paths]


@pytest.mark.parametrize(("word", "label"), [
    ("ANGER", "angry"), ("Happiness", "happy"), ("wut", "angry"), ("Freude", "happy"), ("traurig", "sad"),
    ("ang", "angry"), ("neu", "neutral"), ("tristesse", "sad"), ("miedo", "fearful"), ("paura", "fearful"),
    ("Pleasant_surprise", "surprised"), ("veryHappy2", "happy"), ("Überraschung", "surprised")])
def test_words_of_several_languages_and_abbreviations(word, label):
    assert told(f"{word}/1.wav", "calm/1.wav")[0][0] == label


def test_camel_case_and_digits_divide_words():
    paths = every("{s}{e}{i}.wav", s=("Anna", "Ben"), e=("Happy", "Wut"), i=("01", "02"))
    assert told(*paths)[0] == ("happy", "Anna")
    assert naming.words("OAFAngry_03b") == ["oaf", "angry", "b"]


def test_what_is_not_understood_says_why():
    found = named("angry/1.wav", "misc/2.wav", "not_happy/3.wav", "sad/happy_4.wav")
    assert [row["path"] for row in found.rows] == ["angry/1.wav"]
    assert found.failures == {"misc/2.wav": "tells no emotion", "not_happy/3.wav": "tells no emotion",
                              "sad/happy_4.wav": "says both happy and sad"}


def test_words_win_over_abbreviations():
    # "tri" abbreviates Italian's sadness, and is also how many voices a trio has.
    assert told("tri_angry_1.wav", "tri_calm_2.wav") == [("angry", ""), ("calm", "")]


@pytest.mark.parametrize(("template", "values"), [
    ("{e}/{i}.wav", {"i": "123456"}),  # numbers
    ("s{i}-{e}.wav", {"i": "123"}),  # sentences, perhaps
    ("{s}_{t}_{e}.wav", {"s": ("ann", "bob"), "t": ("one", "two", "six")}),  # two places that could name them
    ("{e}/take{i}.wav", {"i": "1234"})])
def test_speakers_stay_unknown_where_they_are_not_certain(template, values):
    found = named(*every(template, e=("angry", "sad"), **values))
    assert {row["speaker"] for row in found.rows} == {""}
    assert found.speakers == ""


def test_a_class_of_one_speaker_keeps_speakers_from_being_left_out():
    paths = [*every("{s}/{e}/{i}.wav", s=("anna", "ben"), e=("angry", "sad"), i="12"), "anna/calm/1.wav"]
    assert {speaker for _, speaker in told(*paths)} == {""}


def test_what_is_called_actor_goes_before_other_places():
    paths = every("{t}_actor_{s}_{e}.wav", t=("dogs", "kids"), s=("01", "02"), e=("angry", "sad"))
    assert {speaker for _, speaker in told(*paths)} == {"actor_01", "actor_02"}


def test_folders_called_train_and_test_are_the_official_partition():
    found = named(*every("{p}/{e}/{i}.wav", p=("train", "test", "dev"), e=("angry", "sad"), i="123"))
    assert {row["path"].split("/")[0]: row["split"] for row in found.rows} == {
        "train": "train", "test": "test", "dev": "validation"}


@pytest.mark.parametrize(("pattern", "path", "label", "speaker"), [
    ("{speaker}_{label}_*.wav", "x/anna_angry_1_b.WAV", "angry", "anna"),
    ("{label}/*", "data/Wut/1.wav", "angry", ""), ("{speaker}/{label}/*.wav", "a/b/anna/L/1.wav", "l", "anna"),
    ("{label}*", "sad01.wav", "sad", ""), ("???{label}?.wav", "03aW2.wav", "w", ""),
    ("{speaker}-{label}", "anna-happy.flac", "happy", "anna"), ("*", "x.wav", "", "")])
def test_a_pattern_says_what_names_mean(pattern, path, label, speaker):
    assert told(path, pattern=pattern) == [(label, speaker)]


@pytest.mark.parametrize(("pattern", "complaint"), [
    ("{speakr}_*", "Did you mean 'speaker'"), ("{label}{speaker}", "must stand between the fields label and speaker"),
    ("{label}_{label}", "the field label is there twice")])
def test_wrong_patterns_are_told(pattern, complaint):
    with pytest.raises(UserError, match=complaint):
        named("a.wav", pattern=pattern)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1,
                                 max_size=8).filter(lambda part: part not in (".", "..")), min_size=1, max_size=3),
                min_size=1, max_size=8))
def test_any_names_give_a_row_or_a_reason(parts):
    paths = list(dict.fromkeys(PurePosixPath(*part) for part in parts))
    found = naming.named(paths)
    assert sorted([*(row["path"] for row in found.rows), *found.failures]) == sorted(map(str, paths))
    assert {row["label"] for row in found.rows} <= set(labels.EMOTIONS)


# The builder.

@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve recordings of two speakers in two emotions, at 8 kHz."""
    rng = np.random.default_rng(0)
    for path in every("{s}/{e}/{i}.wav", s=("anna", "ben"), e=("angry", "Freude"), i="123"):
        place = tmp_path / "mine" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, rng.integers(-9000, 9000, 800).astype(np.int16), 8_000)
    return tmp_path / "mine"


def load(folder, **options):
    return corpora.load("folder", cache_dir=folder.parent / "cache", manual_dir=folder, workers=0, **options)


def test_a_folder_becomes_a_corpus_and_says_what_it_understood(folder, capsys):
    corpus = load(folder)
    assert [(u.label, u.speaker) for u in corpus.utterances] == [
        ("happy", "anna")] * 3 + [("angry", "anna")] * 3 + [("happy", "ben")] * 3 + [("angry", "ben")] * 3
    assert corpus.utterances[0].id == "anna/Freude/1.wav"
    assert len(corpus.waveform(0)) == 1600
    said = capsys.readouterr().err
    for words in ("12 recordings", "2 classes: angry 6, happy 6", "anna, ben", "anna/Freude/1.wav: happy"):
        assert words in said
    again = load(folder, progress=False)
    assert (again.key, again.directory) == (corpus.key, corpus.directory)


def test_other_labels_or_other_audio_are_other_records(folder):
    first = load(folder, progress=False)
    (folder / "ben" / "angry" / "3.wav").rename(folder / "ben" / "Freude" / "4.wav")
    second = load(folder, progress=False)
    assert second.directory != first.directory
    assert sum(u.label == "happy" for u in second.utterances) == 7


def test_an_archive_of_a_folder_says_the_same(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for path in sorted(folder.rglob("*.wav")):
            archive.write(path, path.relative_to(folder))
    packed, plain = load(tmp_path / "mine.zip", progress=False), load(folder, progress=False)
    assert packed.utterances == plain.utterances or [repr(u) for u in packed.utterances] == [
        repr(u) for u in plain.utterances]
    np.testing.assert_array_equal(packed.waveform(5), plain.waveform(5))


def test_what_is_not_understood_is_listed_or_left_out(folder, capsys):
    (folder / "x.wav").write_bytes((folder / "anna" / "angry" / "1.wav").read_bytes())
    (folder / "angry.m4a").write_bytes(b"x")
    with pytest.raises(UserError) as error:
        load(folder)
    for words in ("2 of 14 recordings", "x.wav: tells no emotion", "angry.m4a: .m4a cannot be read", "on_error=skip",
                  "config.data.pattern"):
        assert words in str(error.value)
    assert not list(folder.parent.rglob("*.array_record*"))
    corpus = load(folder, on_error="skip")
    assert len(corpus) == 12
    assert "2 more not understood" in capsys.readouterr().err
    assert "x.wav" in (corpus.directory / "skipped.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("place", "complaint"), [
    ("none", "there is no such file or folder"), ("empty", "holds no recordings"),
    (None, r"config\.data\.manual_dir")])
def test_without_recordings(tmp_path, place, complaint):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=complaint):
        corpora.load("folder", cache_dir=tmp_path / "cache", manual_dir=place and tmp_path / place)


def test_other_corpora_take_no_pattern(tmp_path):
    with pytest.raises(UserError, match=r"config\.data\.pattern is for corpus=folder"):
        corpora.load("demo", cache_dir=tmp_path, pattern="{label}/*")


# Small corpora.

def few(**counts):
    return [Utterance(id=f"{label}{n}", num_samples=16_000, label=label) for label, count in counts.items()
            for n in range(count)]


@pytest.mark.parametrize(("counts", "folds"), [({"angry": 30, "sad": 12}, 10), ({"angry": 30, "sad": 3}, 3),
                                               ({"angry": 2, "sad": 2}, 2)])
def test_folds_are_as_many_as_the_smallest_class_has_utterances(counts, folds):
    made = splits.make_folds(few(**counts), "kfold", folds=0, fold_seed=0)
    assert len(made) == folds
    assert all({u.label for u in few(**counts)} == {few(**counts)[i].label for i in fold.train} for fold in made)
    told = splits.fewer_folds(made, 0, "kfold")
    assert bool(told) == (folds < 10)
    assert splits.fewer_folds(made, folds, "kfold") == []


def test_a_class_of_one_and_a_single_class_are_errors():
    with pytest.raises(UserError, match="'sad' has fewer utterances"):
        splits.make_folds(few(angry=9, sad=1), "kfold", folds=0, fold_seed=0)
    with pytest.raises(UserError, match="the one class 'angry'"):
        splits.make_folds(few(angry=9), "kfold", folds=0, fold_seed=0)
