"""SAVEE through TFDS's builder: all 480 names with tiny audio in both layouts, and what is refused."""

import sys
from collections import Counter

import numpy as np
import pytest

from sercl_jax.errors import UserError
from tests.named_corpora import check_places, load, samples, utterances, write_tree, write_zip

EMOTIONS = {"a": "angry", "d": "disgusted", "f": "fearful", "h": "happy", "n": "neutral", "sa": "sad",
            "su": "surprised"}
NAMES = [f"AudioData/{speaker}/{code}{number:02}.wav" for speaker in ("DC", "JE", "JK", "KL") for code in EMOTIONS
         for number in range(1, 31 if code == "n" else 16)]
INFO = {"AudioData/Info.txt": b"Speakers"}


def test_all_of_it(tmp_path):
    corpus = check_places("savee", NAMES, tmp_path, INFO)
    assert len(corpus) == 480
    assert Counter(u.label for u in corpus.utterances) == {label: 120 if label == "neutral" else 60
                                                           for label in EMOTIONS.values()}
    assert Counter(u.speaker for u in corpus.utterances) == dict.fromkeys(["DC", "JE", "JK", "KL"], 120)
    for u in corpus.utterances:
        speaker, sentence = u.id.split("_")
        assert (u.label, u.speaker) == (EMOTIONS[sentence[:-2]], speaker)
        assert (u.sentence, u.gender, u.fold) == (sentence, "male", "")
    # What TFDS's catalogue says of its division: two speakers, one and one.
    assert Counter(u.split for u in corpus.utterances) == {"train": 240, "validation": 120, "test": 120}
    assert len({(u.speaker, u.split) for u in corpus.utterances}) == 4
    u = [u.id for u in corpus.utterances].index("JK_su07")
    np.testing.assert_array_equal(corpus.waveform(u), samples("su07.wav"))


def test_flat_copies(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as if it were not installed
    flat = ["ALL/" + "_".join(name.split("/")[1:]) for name in NAMES]
    expected = utterances("savee", write_zip(tmp_path / "AudioData.zip", NAMES), tmp_path)
    assert utterances("savee", write_zip(tmp_path / "flat.zip", flat), tmp_path) == expected
    assert utterances("savee", write_zip(tmp_path / "lower.zip", list(map(str.lower, flat))), tmp_path) == expected
    tree = write_tree(tmp_path / "tree", NAMES)
    assert utterances("savee", tree / "AudioData", tmp_path) == expected


@pytest.mark.parametrize(("names", "complaint"), [
    ([name for name in NAMES if not name.endswith("KL/n30.wav")], "479 of 480 utterances; missing: KL_n30"),
    ([*NAMES, "AudioData/DC/su16.wav"], "481 of 480 utterances; unknown: DC_su16"),
    (NAMES[:360], "360 of 480 utterances; missing: KL_a01, KL_a02, KL_a03 and 117 more"),
    ([*NAMES, "AudioData/DC/x01.wav"], r"DC/x01\.wav: has the unknown emotion code 'x'; SAVEE has a, d, f, h, n"),
    (["AudioData/AB/a01.wav"], "holds nothing that looks like SAVEE"),
], ids=["missing", "too many", "a speaker missing", "emotion", "nothing"])
def test_what_was_not_published_is_refused(tmp_path, names, complaint):
    with pytest.raises(UserError, match=complaint):
        load("savee", write_tree(tmp_path / "tree", names), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


def test_nothing_given(tmp_path):
    with pytest.raises(UserError, match=r"SAVEE is not on this machine"):
        load("savee", None, tmp_path / "cache")
