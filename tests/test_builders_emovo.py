"""EMOVO: all 588 names with tiny audio, and what is refused."""

from collections import Counter

import numpy as np
import pytest

from sercl_jax.corpora.labels import canonical
from sercl_jax.errors import UserError
from tests.named_corpora import check_places, load, samples, utterances, write_tree, write_zip

EMOTIONS = {"dis": "disgusted", "gio": "happy", "neu": "neutral", "pau": "fearful", "rab": "angry",
            "sor": "surprised", "tri": "sad"}
SENTENCES = ["b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2"]
NAMES = [f"EMOVO/{speaker}/{emotion}-{speaker}-{sentence}.wav" for speaker in ("f1", "f2", "f3", "m1", "m2", "m3")
         for emotion in EMOTIONS for sentence in SENTENCES]
DOCUMENTS = {"EMOVO/documents/LA STRUTTURA DI EMOVO.pdf": b"%PDF"}


def test_all_of_it(tmp_path):
    corpus = check_places("emovo", NAMES, tmp_path, DOCUMENTS)
    assert len(corpus) == 588
    assert Counter(u.label for u in corpus.utterances) == dict.fromkeys(EMOTIONS.values(), 84)
    assert Counter(u.speaker for u in corpus.utterances) == dict.fromkeys(["f1", "f2", "f3", "m1", "m2", "m3"], 98)
    assert Counter(u.sentence for u in corpus.utterances) == dict.fromkeys(SENTENCES, 42)
    for u in corpus.utterances:
        emotion, speaker, sentence = u.id.split("-")
        assert (u.label, u.speaker, u.sentence) == (EMOTIONS[emotion], speaker, sentence)
        assert canonical(emotion) == u.label  # as EmoBox and manifests may call it
        assert (u.gender, u.session, u.split) == ("female" if speaker[0] == "f" else "male", "", "")
    np.testing.assert_array_equal(corpus.waveform(100), samples(f"{corpus.utterances[100].id}.wav"))


def test_names_in_another_case_and_a_tree_packed_twice(tmp_path):
    expected = utterances("emovo", write_zip(tmp_path / "a.zip", NAMES), tmp_path)
    # Audio of its own in each file, which a change of case must not change.
    upper = write_zip(tmp_path / "b.zip", [name.upper() for name in NAMES], audio=b"RIFF")
    assert utterances("emovo", upper, tmp_path) == expected
    twice = write_zip(tmp_path / "c.zip", [*NAMES, *(f"EMOVO/{name}" for name in NAMES)])
    assert utterances("emovo", twice, tmp_path) == expected


@pytest.mark.parametrize(("names", "complaint"), [
    (NAMES[:-2], r"586 of 588 utterances; missing: tri-m3-d1, tri-m3-d2"),
    ([*NAMES, "EMOVO/m3/tri-m3-d3.wav"], r"589 of 588 utterances; unknown: tri-m3-d3"),
    (NAMES[:98], r"98 of 588 utterances; missing: dis-f2-b1, dis-f2-b2, dis-f2-b3 and 487 more"),
    ([*NAMES, "EMOVO/m3/ira-m3-d1.wav"], r"ira-m3-d1\.wav: has the unknown emotion code 'ira'; EMOVO has rab, dis"),
    (["EMOVO/m3/hello.wav"], "holds nothing that looks like EMOVO"),
], ids=["two missing", "one too many", "one speaker", "emotion", "nothing"])
def test_what_was_not_published_is_refused(tmp_path, names, complaint):
    with pytest.raises(UserError, match=complaint):
        load("emovo", write_tree(tmp_path / "tree", names), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


def test_two_files_of_one_name_and_stand_ins(tmp_path):
    place = write_tree(tmp_path / "tree", NAMES)
    copy = tmp_path / "tree" / "old" / "dis-f1-b1.wav"
    copy.parent.mkdir()
    copy.write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"dis-f1-b1\.wav: is there twice with another content, also as .*; give one"):
        load("emovo", place, tmp_path / "cache")
    copy.unlink()
    (tmp_path / "tree" / NAMES[5]).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match="is not audio but Git LFS's pointer to it; run `git lfs pull`"):
        load("emovo", place, tmp_path / "cache")


def test_nothing_given(tmp_path):
    with pytest.raises(UserError, match=r"EMOVO is not on this machine.*--config\.data\.manual_dir"):
        load("emovo", None, tmp_path / "cache")
