"""CASIA in its three layouts: the published sizes with empty files, smaller ones with audio."""

import functools
import io
import tarfile
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora, splits
from sercl_jax.corpora import registry
from sercl_jax.corpora.base import Options
from sercl_jax.errors import UserError

SPEAKERS = {"liuchanhg": "Chang.Liu", "wangzhe": "Zhe.Wang", "zhaoquanyin": "Quanyin.Zhao",
            "ZhaoZuoxiang": "Zuoxiang.Zhao"}
EMOTIONS = {"angry": "angry", "fear": "fearful", "happy": "happy", "neutral": "neutral", "sad": "sad",
            "surprise": "surprised"}
WOMEN = {"liuchanhg", "zhaoquanyin"}
SAME, OTHER = "相同文本300", "不同文本100"


@functools.cache
def wav(number: int) -> bytes:
    samples = np.random.default_rng(number).integers(-9000, 9000, 480).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV")
    return buffer.getvalue()


def public(count: int) -> list[str]:
    return [f"CASIA/{speaker.lower()}/{emotion}/{201 + number}.wav"
            for speaker in SPEAKERS for emotion in EMOTIONS for number in range(count)]


def full(same: int, other: int) -> list[str]:
    """With the names that the halves have."""
    names = [f"CASIA/{SAME}/{speaker}/{emotion}/{1 + number}.wav"
             for speaker in SPEAKERS for emotion in EMOTIONS for number in range(same)]
    return names + [f"CASIA/{OTHER}/{speaker}/{'normal' if emotion == 'neutral' else emotion}/{301 + number}.wav"
                    for speaker in SPEAKERS.values() for emotion in EMOTIONS for number in range(other)]


def flat(count: int, named: bool = False) -> list[str]:
    return [f"CASIA/{emotion}/{201 + number // 4}-{emotion}-{list(SPEAKERS)[number % 4]}.wav" if named
            else f"CASIA/{emotion}/{1 + number}.wav" for emotion in EMOTIONS for number in range(count)]


def write_tree(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(number))
    return folder


def write_zip(path: Path, names: list[str], content: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, wav(number) if content is None else content)
    return path


def load(place, tmp_path, **options):
    return corpora.load("casia", cache_dir=tmp_path / "cache", manual_dir=place, workers=0, progress=False, **options)


def sources(place: Path, tmp_path: Path):
    """What would be built, without decoding."""
    builder = registry.builder_class("casia")(data_dir=str(tmp_path / "data"), options=Options(manual_dir=place))
    return sorted((source.utterance for source in builder.sources()), key=lambda u: u.id)


@pytest.fixture
def small(monkeypatch) -> None:
    """As if 2 recordings of each speaker and emotion, and 3 and 1 in the halves, were what was published."""
    builder = registry.builder_class("casia")
    monkeypatch.setattr(builder, "PUBLISHED", {"public": {"parallel": 2}, "parallel": {"parallel": 3},
                                               "full": {"parallel": 3, "other": 1}})
    monkeypatch.setattr(builder, "FLAT", (8, 12, 16))


def test_public_part_of_tree_and_archives(small, tmp_path):
    names = public(2)
    unpacked = write_tree(tmp_path / "tree", names)
    for name in names:  # what macOS leaves behind
        (unpacked / name).with_name("._" + Path(name).name).write_bytes(b"\0\5\26\7")
        (unpacked / name).with_name(".DS_Store").write_bytes(b"\0")
    write_zip(tmp_path / "zip" / "casia.zip", names)
    with tarfile.open(tmp_path / "casia.tar.gz", "w:gz") as archive:
        archive.add(unpacked / "CASIA", "CASIA")
    with tarfile.open(tmp_path / "casia.tar", "w") as archive:
        archive.add(unpacked / "CASIA", "CASIA")
    places = [unpacked, unpacked / "CASIA", tmp_path / "zip", tmp_path / "zip" / "casia.zip",
              tmp_path / "casia.tar.gz", tmp_path / "casia.tar"]
    loaded = [load(place, tmp_path / str(number)) for number, place in enumerate(places)]
    assert len({corpus.key for corpus in loaded}) == 1
    rows = {f"{speaker.lower()}/{emotion}/{number}": (label, speaker.lower(), str(number), "")
            for speaker in SPEAKERS for emotion, label in EMOTIONS.items() for number in (201, 202)}
    assert {u.id: (u.label, u.speaker, u.sentence, u.session) for u in loaded[0].utterances} == rows
    assert {u.speaker for u in loaded[0].utterances if u.gender == "female"} == WOMEN
    assert {u.speaker for u in loaded[0].utterances if u.gender == "male"} == {"wangzhe", "zhaozuoxiang"}
    assert loaded[0].labels == ("angry", "fearful", "happy", "neutral", "sad", "surprised")
    for corpus in loaded:
        u = [one.id for one in corpus.utterances].index("wangzhe/sad/202")
        content = wav(names.index("CASIA/wangzhe/sad/202.wav"))
        np.testing.assert_array_equal(corpus.waveform(u), soundfile.read(io.BytesIO(content), dtype="int16")[0])
    assert len(splits.make_folds(loaded[0].utterances, "loso", folds=5, fold_seed=0)) == 4
    # Told where it is no more, the records that are there will do.
    assert load(None, tmp_path / "0").key == loaded[0].key


def test_halves_name_speakers_and_neutral_differently(small, tmp_path):
    corpus = load(write_tree(tmp_path / "tree", full(3, 1)), tmp_path)
    assert Counter((u.speaker, u.label) for u in corpus.utterances) == {
        (speaker.lower(), label): 4 for speaker in SPEAKERS for label in EMOTIONS.values()}
    by_id = {u.id: u for u in corpus.utterances}
    assert by_id["parallel/zhaozuoxiang/neutral/2"].sentence == "2"
    assert by_id["other/zhaozuoxiang/normal/301"].label == "neutral"
    # The other half's texts differ from emotion to emotion.
    assert by_id["other/zhaozuoxiang/normal/301"].sentence != by_id["other/zhaozuoxiang/sad/301"].sentence
    assert by_id["parallel/wangzhe/sad/2"].sentence == by_id["parallel/zhaoquanyin/angry/2"].sentence
    half = load(tmp_path / "tree" / "CASIA" / SAME, tmp_path)
    assert len(half) == 72
    assert half.directory != corpus.directory


def renamed(path: str, wrong: str, right: str) -> str:
    return path.encode(right).decode(wrong)


@pytest.mark.parametrize("change", [
    lambda name: renamed(name, "cp437", "gbk"), lambda name: renamed(name, "cp437", "utf-8"),
    lambda name: renamed(name, "latin-1", "gbk"), lambda name: unicodedata.normalize("NFD", name),
    lambda name: name.replace("CASIA", "Café"), str.upper, lambda name: name.replace("/normal/", "/Normal/"),
    lambda name: name.replace(SAME, "300").replace(OTHER, "100"),
], ids=["gbk as cp437", "utf-8 as cp437", "gbk as latin-1", "decomposed", "other folder", "upper case", "mixed case",
        "folders without Chinese"])
def test_names_that_packing_changes(small, tmp_path, change):
    expected = sources(write_zip(tmp_path / "casia.zip", full(3, 1)), tmp_path)
    assert sources(write_zip(tmp_path / "changed.zip", list(map(change, full(3, 1)))), tmp_path) == expected


class OldName(zipfile.ZipInfo):
    """Stored as a writer does that does not know of UTF-8."""

    def _encodeFilenameFlags(self):
        return self.filename.encode("gbk"), self.flag_bits


def test_gbk_names_of_a_zip_without_unicode_flag(small, tmp_path):
    """As Chinese Windows packs it; Python reads such names as code page 437."""
    place = tmp_path / "casia.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for number, name in enumerate(full(3, 1)):
            archive.writestr(OldName(name), wav(number))
    with zipfile.ZipFile(place) as archive:
        assert not any("相" in name for name in archive.namelist())
    expected = load(write_tree(tmp_path / "tree", full(3, 1)), tmp_path / "expected")
    corpus = load(place, tmp_path)
    assert corpus.utterances == expected.utterances
    np.testing.assert_array_equal(corpus.waveform(95), expected.waveform(95))


def test_the_same_speakers_in_both_halves_are_told_apart_by_the_folders(small, tmp_path):
    names = [name.replace(old, new) for name in full(3, 1) for new, old in [
        next(((new, old) for new, old in SPEAKERS.items() if f"/{old}/" in name), ("", "nothing"))]]
    assert sum("Zhe.Wang" in name for name in names) == 0
    corpus = load(write_tree(tmp_path / "tree", names), tmp_path)
    assert Counter(u.id.split("/")[0] for u in corpus.utterances) == {"parallel": 72, "other": 24}


def test_folders_of_emotions_lose_the_speaker(small, tmp_path, capsys):
    corpus = load(write_tree(tmp_path / "tree", flat(8)), tmp_path)
    assert "does not tell its speakers" in capsys.readouterr().err
    assert {(u.speaker, u.sentence, u.gender) for u in corpus.utterances} == {("", "", "")}
    assert Counter(u.label for u in corpus.utterances) == dict.fromkeys(EMOTIONS.values(), 8)
    assert "surprise/8" in {u.id for u in corpus.utterances}
    with pytest.raises(UserError, match="speaker"):
        splits.make_folds(corpus.utterances, "loso", folds=5, fold_seed=0)
    assert len(splits.make_folds(corpus.utterances, "kfold", folds=5, fold_seed=0)) == 5


def test_folders_of_emotions_whose_files_name_the_speaker(small, tmp_path, capsys):
    corpus = load(write_tree(tmp_path / "tree", flat(8, named=True)), tmp_path)
    assert capsys.readouterr().err == ""
    one = next(u for u in corpus.utterances if u.id == "fear/202-fear-zhaozuoxiang")
    assert (one.speaker, one.sentence, one.gender, one.label) == ("zhaozuoxiang", "202", "male", "fearful")
    assert len(splits.make_folds(corpus.utterances, "loso", folds=5, fold_seed=0)) == 4


def test_one_file_without_a_speaker_and_none_is_believed(small, tmp_path):
    names = flat(8, named=True)
    utterances = load(write_tree(tmp_path / "tree", [names[0].replace("liuchanhg", "x"), *names[1:]]),
                      tmp_path).utterances
    assert {(u.speaker, u.sentence) for u in utterances} == {("", "")}


def test_a_size_that_is_not_known_is_said(small, tmp_path, capsys):
    assert len(load(write_tree(tmp_path / "tree", flat(5)), tmp_path)) == 30
    assert "happy 5, neutral 5, sad 5, surprised 5, and releases of CASIA have 8, 12, 16 of each" in (
        capsys.readouterr().err)


@pytest.mark.parametrize(("names", "complaint"), [
    (public(2)[1:], r"parallel liuchanhg angry: 1 instead of 2\); known releases have 48, 72, 96"),
    (full(3, 1)[1:], "parallel liuchanhg angry: 2 instead of 3"),
    (full(3, 1)[:-1], "other zhaozuoxiang surprised: 0 instead of 1"),
    (full(0, 1), "parallel liuchanhg angry: 0 instead of 3.*; and 21 more"),
    ([name for name in public(2) if "wangzhe" not in name], "parallel wangzhe angry: 0 instead of 2"),
    ([*public(2), "copy/" + public(2)[0]], r"201\.wav: is there twice, also as .*201\.wav; give one copy"),
    ([name for name in flat(8) if "/sad/" not in name], "none of the six of CASIA with sad; found angry 8"),
    ([*flat(8)[1:], "CASIA/sad/99.wav"], r"as many files as a release of CASIA \(48\), but not as many of each"),
    (["readme.wav"], "holds nothing that looks like CASIA"),
], ids=["public", "full", "other half", "only other half", "speaker", "twice", "emotion", "uneven", "nothing"])
def test_what_is_no_release_is_refused(small, tmp_path, names, complaint):
    with pytest.raises(UserError, match=complaint):
        load(write_tree(tmp_path / "tree", names), tmp_path)
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


def test_published_sizes(tmp_path, capsys):
    for name, names in {"public": public(50), "half": full(300, 0), "full": full(300, 100), "flat": flat(200),
                        "flat, named": flat(1200, named=True)}.items():
        found = sources(write_zip(tmp_path / f"{name}.zip", names, content=b""), tmp_path)
        assert len(found) == len(names)
        assert len({u.id for u in found}) == len(names)
    assert "does not tell" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"instead of 50.*known releases have 1200, 7200, 9600"):
        sources(write_zip(tmp_path / "spoilt.zip", public(50)[1:], content=b""), tmp_path)


def test_other_corpora_with_folders_of_emotions_beside_it(small, tmp_path):
    given = write_tree(tmp_path / "given", ["URDU/Angry/SM1_F1_A1.wav", "URDU/Neutral/SM1_F1_N1.wav"])
    write_zip(given / "a_mandarin_corpus.zip", public(2))
    assert len(load(given, tmp_path)) == 48


def test_nothing_given(tmp_path):
    with pytest.raises(UserError, match=r"CASIA is not on this machine.*--config\.data\.manual_dir"):
        load(None, tmp_path)
