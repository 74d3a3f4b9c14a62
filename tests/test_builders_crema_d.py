"""CREMA-D through TFDS's builder: all 7442 names with empty audio, three actors with tiny audio, what is refused."""

import sys
from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest
from tensorflow_datasets.audio import crema_d

from sercl_jax.corpora import registry
from sercl_jax.corpora.labels import canonical
from sercl_jax.errors import UserError
from tests.named_corpora import check_places, load, samples, utterances, write_tree, write_zip

EMOTIONS = {"ANG": "angry", "DIS": "disgusted", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
SENTENCES = ["IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI"]
LACKING = [*(f"{clip}_{emotion}_XX" for clip in ("1008_WSI", "1009_MTI", "1019_ITH") for emotion in EMOTIONS),
           "1002_TIE_NEU_XX", "1076_ITS_NEU_XX"]
LEFT_OUT_BY_TFDS = ["1040_ITH_SAD_XX", "1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX"]
WOMEN = (1002, 1003)
DEMOGRAPHICS = '"ActorID","Age","Sex","Race","Ethnicity"\n' + "".join(
    f'{actor},30,"{"Female" if actor in WOMEN else "Male"}","Unknown","Hispanic"\n' for actor in range(1001, 1092))


def clips(*actors: int) -> list[str]:
    names = [f"{actor}_{sentence}_{emotion}_{intensity}"
             for actor, sentence, emotion in product(actors, SENTENCES, EMOTIONS)
             for intensity in (["LO", "MD", "HI"] if sentence == "IEO" and emotion != "NEU" else ["XX"])]
    return [f"CREMA-D/AudioWAV/{name}.wav" for name in names if name not in LACKING]


ALL = clips(*range(1001, 1092))
TABLES = {"CREMA-D/VideoDemographics.csv": DEMOGRAPHICS.encode(), "CREMA-D/processedResults/summaryTable.csv": b"x"}


@pytest.fixture
def three_actors(monkeypatch) -> list[str]:
    """As if three actors were all that was published; one of them lacks a clip."""
    names = clips(1001, 1002, 1003)
    builder = registry.builder_class("crema_d")
    monkeypatch.setattr(builder, "NAMES", frozenset(name.split("/")[-1][:-4] for name in names))
    return names


def test_all_of_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as if it were not installed
    found = utterances("crema_d", write_zip(tmp_path / "crema.zip", ALL, TABLES, audio=b""), tmp_path)
    assert len(found) == 7442
    # The counts of the authors and of EmoBox.
    assert Counter(u.label for u in found) == {label: 1087 if label == "neutral" else 1271
                                               for label in EMOTIONS.values()}
    assert Counter(Counter(u.speaker for u in found).values()) == {82: 86, 81: 2, 76: 3}
    assert Counter(u.sentence for u in found) == {
        "IEO": 1456, "TIE": 545, "ITS": 545, "ITH": 540, "MTI": 540, "WSI": 540,
        **dict.fromkeys(["IOM", "IWW", "TAI", "IWL", "DFA", "TSI"], 546)}
    for u in found:
        actor, sentence, emotion, _ = u.id.split("_")
        assert (u.speaker, u.sentence, u.label) == (actor, sentence, EMOTIONS[emotion])
        assert canonical(emotion) == u.label
        assert u.gender == ("female" if int(actor) in WOMEN else "male")
    # TFDS's catalogue has 5144, 738 and 1556: its builder leaves four clips out.
    assert Counter(u.split for u in found if u.id not in LEFT_OUT_BY_TFDS) == {"train": 5144, "validation": 738,
                                                                              "test": 1556}
    splits = defaultdict(set)
    for u in found:
        splits[u.speaker].add(u.split)
    assert all(len(split) == 1 for split in splits.values())
    assert type(crema_d.tf).__name__ != "SimpleNamespace"  # as TFDS left it


def test_trees_and_archives(three_actors, tmp_path):
    corpus = check_places("crema_d", three_actors, tmp_path, TABLES)
    assert len(corpus) == 82 * 3 - 1
    assert {u.split for u in corpus.utterances} == {"train", "test"}  # three are too few for a tenth that validates
    u = [u.id for u in corpus.utterances].index("1003_IEO_ANG_HI")
    assert corpus.utterances[u].gender == "female"
    np.testing.assert_array_equal(corpus.waveform(u), samples("1003_IEO_ANG_HI.wav"))


def test_audio_alone_and_the_old_misspelling(tmp_path):
    """As most copies are: no tables, and a name that its authors mended later."""
    names = [name.replace("CREMA-D/", "").replace("1040_ITH_SAD_XX", "1040_ITH_SAD_X") for name in ALL]
    found = utterances("crema_d", write_zip(tmp_path / "AudioWAV.zip", names, audio=b""), tmp_path)
    assert {u.id for u in found} == {name.split("/")[-1][:-4] for name in ALL}
    assert {u.gender for u in found} == {""}


@pytest.mark.parametrize(("change", "complaint"), [
    (lambda names: names[:-1], "244 of 245 utterances; missing: 1003_WSI_SAD_XX"),
    (lambda names: names[:60], "60 of 245 utterances; missing: 1001_"),
    (lambda names: [*names, *clips(1004)[:2]], "247 of 245 utterances; unknown: 1004_IEO_ANG_LO, 1004_IEO_ANG_MD"),
    (lambda names: [*names, "AudioWAV/1001_IEO_BOR_XX.wav"], "has the unknown emotion code 'BOR'; CREMA-D has NEU"),
    (lambda names: [name.replace(".wav", ".mp3") for name in names], "holds nothing that looks like CREMA-D"),
], ids=["missing", "few speakers", "too many", "emotion", "mp3"])
def test_what_was_not_published_is_refused(three_actors, tmp_path, change, complaint):
    with pytest.raises(UserError, match=complaint):
        load("crema_d", write_tree(tmp_path / "tree", change(three_actors)), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


@pytest.mark.parametrize(("content", "complaint"), [
    (b"Actor,Sex\n1001,Male\n", r"VideoDemographics\.csv, line 1: the column 'ActorID' is missing; found Actor, Sex"),
    (b"ActorID,Age,Sex\n1001,51,Male\n1002\n", r"VideoDemographics\.csv, line 3: has fewer cells than the header"),
    (b"ActorID,Sex\n1001,M\xe4nnlich\n", r"VideoDemographics\.csv: is not a table in UTF-8"),
    (b"", r"VideoDemographics\.csv, line 1: the column 'ActorID' is missing; found nothing"),
], ids=["column", "cells", "encoding", "empty"])
def test_a_damaged_table(three_actors, tmp_path, content, complaint):
    place = write_zip(tmp_path / "a.zip", three_actors, {"VideoDemographics.csv": content})
    with pytest.raises(UserError, match=complaint):
        load("crema_d", place, tmp_path / "cache")


def test_a_clone_without_its_audio(three_actors, tmp_path):
    pointers = dict.fromkeys(three_actors, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match=r"is not audio but Git LFS's pointer to it; run `git lfs pull` in CREMA-D's"):
        load("crema_d", write_tree(tmp_path / "clone", [], pointers), tmp_path / "cache")
