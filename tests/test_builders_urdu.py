"""URDU: 400 names with as many of each speaker as are published, with tiny audio, and what is refused."""

from collections import Counter

import numpy as np
import pytest
import tensorflow_datasets as tfds

from sercl_jax.corpora import registry
from sercl_jax.errors import UserError
from tests.named_corpora import check_places, load, samples, utterances, write_tree, write_zip

EMOTIONS = {"Angry": "angry", "Happy": "happy", "Neutral": "neutral", "Sad": "sad"}
PER_SPEAKER = {"SF1": 12, "SF2": 2, "SF3": 2, "SF4": 4, "SF5": 4, "SF6": 14, "SF7": 6, "SF8": 2, "SF9": 4, "SF10": 2,
               "SF11": 4, "SM1": 22, "SM2": 28, "SM3": 12, "SM4": 48, "SM5": 80, "SM6": 14, "SM7": 28, "SM17": 2,
               "SM18": 2, "SM19": 2, "SM20": 10, "SM21": 4, "SM22": 2, "SM23": 6, "SM24": 38, "SM25": 40, "SM26": 2,
               "SM27": 4}


def names() -> list[str]:
    """Speakers one after another, a hundred utterances to an emotion, numbered within speaker and within emotion."""
    rows = [(speaker, take) for speaker, count in PER_SPEAKER.items() for take in range(1, count + 1)]
    return [f"{folder}/{speaker}_F{take}_{folder[0]}0{number + 1}.wav"
            for row, folder in enumerate(EMOTIONS) for number, (speaker, take) in enumerate(rows[100 * row:][:100])]


NAMES = names()
README = {"README.md": b"There are 38 speakers (27 male and 11 female)."}


def test_all_of_it(tmp_path):
    corpus = check_places("urdu", NAMES, tmp_path, README)
    assert len(corpus) == 400
    assert Counter(u.label for u in corpus.utterances) == dict.fromkeys(EMOTIONS.values(), 100)
    assert Counter(u.speaker for u in corpus.utterances) == PER_SPEAKER
    assert len(PER_SPEAKER) == 29
    folders = {name.partition("/")[2].removesuffix(".wav"): name.partition("/")[0] for name in NAMES}
    for u in corpus.utterances:
        assert (u.label, u.speaker) == (EMOTIONS[folders[u.id]], u.id.partition("_")[0])
        assert (u.gender, u.sentence) == ("male" if u.id[1] == "M" else "female", "")
    np.testing.assert_array_equal(corpus.waveform(7), samples(f"{corpus.utterances[7].id}.wav"))


def test_tfds_builds_the_same_records(tmp_path):
    """What the `tfds build` command calls."""
    place = write_zip(tmp_path / "manual" / "urdu.zip", NAMES)
    builder = registry.builder_class("urdu")(data_dir=str(tmp_path / "cache" / "records"))
    config = tfds.download.DownloadConfig(manual_dir=str(place.parent))
    builder.download_and_prepare(download_dir=str(tmp_path / "downloads"), download_config=config)
    assert len(builder.as_data_source(split="train")) == 400
    records = sorted((tmp_path / "cache" / "records").rglob("*.array_record*"))
    assert load("urdu", place, tmp_path / "cache").key == load("urdu", place, tmp_path / "other").key
    assert sorted((tmp_path / "cache" / "records").rglob("*.array_record*")) == records != []


def test_folders_of_speakers_make_no_difference(tmp_path):
    """The authors' README speaks of such folders."""
    deep = [f"URDU-Dataset-master/{folder}/{name.partition('_')[0]}/{name}"
            for folder, _, name in (name.partition("/") for name in NAMES)]
    expected = utterances("urdu", write_zip(tmp_path / "a.zip", NAMES), tmp_path)
    assert utterances("urdu", write_zip(tmp_path / "b.zip", deep), tmp_path) == expected


@pytest.mark.parametrize(("files", "complaint"), [
    (NAMES[:-1], "399 of 400 utterances; label: sad 99 instead of 100; speaker: SM27 3 instead of 4"),
    ([*NAMES, "Sad/SM28_F1_S0101.wav"], "401 of 400 .*label: sad 101 instead of 100; speaker: SM28 1 instead of 0"),
    ([*NAMES[1:], "Angry/SF2_F3_A01.wav"], "400 of 400 .*speaker: SF1 11 instead of 12, SF2 3 instead of 2"),
    ([*NAMES, "Sad/SM27_F5_D0101.wav"], r"SM27_F5_D0101\.wav: has the unknown emotion code 'D'; URDU has A, H"),
    ([name.replace("SM", "SPK") for name in NAMES if "SM" in name], "holds nothing that looks like URDU"),
], ids=["one missing", "one too many", "another speaker", "emotion", "nothing"])
def test_what_was_not_published_is_refused(tmp_path, files, complaint):
    with pytest.raises(UserError, match=complaint):
        load("urdu", write_tree(tmp_path / "tree", files), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.array_record*"))
