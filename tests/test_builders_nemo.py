"""nEMO: all 4481 rows with empty audio, one speaker's worth with tiny audio, and what is refused."""

from collections import Counter

import numpy as np
import pytest

from sercl_jax.corpora import registry
from sercl_jax.errors import UserError
from tests.named_corpora import check_places, load, samples, utterances, write_tree, write_zip

EMOTIONS = {"anger": "angry", "fear": "fearful", "happiness": "happy", "neutral": "neutral", "sadness": "sad",
            "surprised": "surprised"}
WOMEN = ("EB0", "IC0", "KD0", "MK0")
SPEAKERS = (*WOMEN, "KS0", "MP0", "SM0", "TP0", "WR0")
# How many of the 90 sentences there are, in the order of `EMOTIONS`, where it is not all of them.
FEWER = {"EB0": (90, 90, 90, 90, 90, 89), "MK0": (90, 90, 90, 90, 90, 0), "MP0": (29, 17, 30, 90, 49, 41),
         "SM0": (90, 89, 89, 90, 90, 90), "TP0": (90, 90, 90, 90, 90, 89), "WR0": (90, 90, 90, 89, 90, 90)}
HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"


def files(*speakers: str) -> list[str]:
    return [f"samples/{speaker}_{emotion}_{sentence}.wav" for speaker in speakers
            for emotion, count in zip(EMOTIONS, FEWER.get(speaker, (90,) * 6), strict=True)
            for sentence in range(1, count + 1)]


def row(name: str) -> str:
    speaker, emotion, sentence = name.removeprefix("samples/").removesuffix(".wav").split("_")
    # The blanks and the quotation marks are those of the original.
    return "\t".join((name.removeprefix("samples/"), emotion, f"„Żołwica” {sentence}.", f"żołwica {sentence}",
                      f"        {speaker}", "female" if speaker in WOMEN else "male", "23"))


def listing(names: list[str], ending: str = "\n") -> dict[str, bytes]:
    return {"data.tsv": (ending.join([HEADER, *map(row, names)]) + ending).encode()}


@pytest.fixture
def one_speaker(monkeypatch) -> list[str]:
    """As if the speaker with the fewest recordings were all that was published."""
    names = files("MP0")
    builder = registry.builder_class("nemo")
    monkeypatch.setattr(builder, "COUNTS", {"label": dict(zip(EMOTIONS.values(), FEWER["MP0"], strict=True)),
                                            "speaker": {"MP0": 256}, "gender": {"male": 256}})
    return names


def test_all_of_it(tmp_path):
    names = files(*SPEAKERS)
    found = utterances("nemo", write_zip(tmp_path / "nEMO.zip", names, listing(names), audio=b""), tmp_path)
    assert len(found) == 4481
    assert Counter(u.label for u in found) == {"neutral": 809, "sad": 769, "happy": 749, "angry": 749, "fearful": 736,
                                               "surprised": 669}
    assert Counter(u.speaker for u in found) == {
        "EB0": 539, "IC0": 540, "KD0": 540, "KS0": 540, "MK0": 450, "MP0": 256, "SM0": 538, "TP0": 539, "WR0": 539}
    assert Counter(u.gender for u in found) == {"male": 2412, "female": 2069}
    assert {u.sentence for u in found} == {str(number) for number in range(1, 91)}
    for u in found:
        speaker, emotion, sentence = u.id.split("_")
        assert (u.speaker, u.label, u.sentence) == (speaker, EMOTIONS[emotion], sentence)


def test_trees_and_archives(one_speaker, tmp_path):
    corpus = check_places("nemo", one_speaker, tmp_path, listing(one_speaker))
    np.testing.assert_array_equal(corpus.waveform(9), samples(f"{corpus.utterances[9].id}.wav"))
    assert {u.gender for u in corpus.utterances} == {"male"}


def test_the_list_as_a_spreadsheet_saves_it(one_speaker, tmp_path):
    expected = utterances("nemo", write_zip(tmp_path / "a.zip", one_speaker, listing(one_speaker)), tmp_path)
    windows = {"data.tsv": b"\xef\xbb\xbf" + listing(one_speaker, "\r\n")["data.tsv"]}
    assert utterances("nemo", write_zip(tmp_path / "b.zip", one_speaker, windows), tmp_path) == expected


@pytest.mark.parametrize(("names", "rows", "complaint"), [
    (slice(1, None), slice(None), "255 of 256 utterances; missing: MP0_anger_1"),
    (slice(None), slice(1, None), "256 of 255 utterances; unknown: MP0_anger_1"),
    (slice(1, None), slice(1, None), "255 of 256 utterances; label: angry 28 instead of 29; speaker: MP0 255"),
], ids=["file", "row", "both"])
def test_files_and_rows_must_agree(one_speaker, tmp_path, names, rows, complaint):
    place = write_tree(tmp_path / "tree", one_speaker[names], listing(one_speaker[rows]))
    with pytest.raises(UserError, match=complaint):
        load("nemo", place, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


@pytest.mark.parametrize(("change", "complaint"), [
    (lambda text: text.replace("emotion\t", "emo\t", 1), r"data\.tsv, line 1: the column 'emotion' is missing;"),
    (lambda text: text.replace("\tmale\t23", "", 1), r"data\.tsv, line 2: has fewer cells than the header"),
    (lambda text: text.replace("_1.wav\tanger", "_1.wav\trage", 1), "label: angry 28 instead of 29, rage 1 instead"),
    (lambda text: text.replace("\tmale", "\tmann", 1), "gender: male 255 instead of 256, mann 1 instead of 0"),
], ids=["column", "cells", "label", "gender"])
def test_a_damaged_list(one_speaker, tmp_path, change, complaint):
    text = change(listing(one_speaker)["data.tsv"].decode())
    place = write_zip(tmp_path / "a.zip", one_speaker, {"data.tsv": text.encode()})
    with pytest.raises(UserError, match=complaint):
        load("nemo", place, tmp_path / "cache")


def test_no_list(one_speaker, tmp_path):
    with pytest.raises(UserError, match=r"holds nothing that looks like nEMO \(no file matches data\[\.\]tsv"):
        load("nemo", write_tree(tmp_path / "tree", one_speaker), tmp_path / "cache")


def test_an_unknown_code(one_speaker, tmp_path):
    names = [*one_speaker, "samples/MP0_rage_1.wav"]
    with pytest.raises(UserError, match=r"MP0_rage_1\.wav: has the unknown emotion code 'rage'; nEMO has anger"):
        load("nemo", write_tree(tmp_path / "tree", names, listing(names)), tmp_path / "cache")
