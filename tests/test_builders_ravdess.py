"""RAVDESS: complete actors with tiny audio, all 1440 names, what is refused, and the real archive."""

import functools
import io
import tarfile
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

LABELS = {1: "neutral", 2: "calm", 3: "happy", 4: "sad", 5: "angry", 6: "fearful", 7: "disgusted", 8: "surprised"}
PER_ACTOR = {label: 4 if label == "neutral" else 8 for label in LABELS.values()}


def names(*actors: int, channel: int = 1) -> list[str]:
    """As published: neutral has one intensity, everything else two."""
    return [f"Actor_{actor:02d}/03-{channel:02d}-{emotion:02d}-{intensity:02d}-{statement:02d}-{take:02d}-"
            f"{actor:02d}.wav"
            for actor in actors for emotion in LABELS for intensity in ((1,) if emotion == 1 else (1, 2))
            for statement in (1, 2) for take in (1, 2)]


@functools.cache
def wav(name: str) -> bytes:
    samples = np.random.default_rng(sum(map(ord, name))).integers(-9000, 9000, 480).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV")
    return buffer.getvalue()


def write_tree(folder: Path, files: list[str]) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(path.name))
    return folder


def write_zip(path: Path, files: list[str], content: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in files:
            archive.writestr(name, wav(Path(name).name) if content is None else content)
    return path


def load(place, tmp_path, **options):
    return corpora.load("ravdess", cache_dir=tmp_path / "cache", manual_dir=place, workers=0, progress=False,
                        **options)


def sources(place: Path, tmp_path: Path):
    """What would be built, without decoding."""
    builder = registry.builder_class("ravdess")(data_dir=str(tmp_path / "data"), options=Options(manual_dir=place))
    return [source.utterance for source in builder.sources()]


def test_complete_actors_of_tree_and_archives(tmp_path, capsys):
    unpacked = write_tree(tmp_path / "tree", names(3, 12))
    (unpacked / "Actor_03" / "._03-01-01-01-01-01-03.wav").write_bytes(b"\0\5\26\7")
    (unpacked / "Actor_03" / ".DS_Store").write_bytes(b"\0")
    write_zip(tmp_path / "zip" / "speech.zip", names(3, 12))
    write_zip(tmp_path / "zip" / "another.zip", ["wav/03a01Fa.wav", "Actor/1.wav"])
    for mode, ending in (("w", "tar"), ("w:gz", "tar.gz")):
        with tarfile.open(tmp_path / f"speech.{ending}", mode) as archive:
            archive.add(unpacked, "audio")
    places = [unpacked, tmp_path / "zip", tmp_path / "zip" / "speech.zip", tmp_path / "speech.tar",
              tmp_path / "speech.tar.gz"]
    loaded = [load(place, tmp_path / str(number)) for number, place in enumerate(places)]
    assert len({corpus.key for corpus in loaded}) == 1
    corpus = loaded[1]
    assert "has 2 of RAVDESS's 24 actors (03, 12), each of them complete" in capsys.readouterr().err
    assert [u.id for u in corpus.utterances] == sorted(Path(name).stem for name in names(3, 12))
    for u in corpus.utterances:
        emotion, statement, actor = (int(u.id.split("-")[place]) for place in (2, 4, 6))
        assert (u.label, u.sentence, u.speaker) == (LABELS[emotion], f"{statement:02d}", f"{actor:02d}")
        assert (u.gender, u.session, u.split, u.fold) == ("male" if actor == 3 else "female", "", "", "")
    content = io.BytesIO(wav(f"{corpus.utterances[77].id}.wav"))
    np.testing.assert_array_equal(corpus.waveform(77), soundfile.read(content, dtype="int16")[0])
    assert len(splits.make_folds(corpus.utterances, "loso", folds=5, fold_seed=0)) == 2


def test_all_of_it(tmp_path, capsys):
    found = sources(write_zip(tmp_path / "all.zip", names(*range(1, 25)), content=b""), tmp_path)
    assert len(found) == 1440
    assert Counter(u.label for u in found) == {"neutral": 96, "calm": 192, "happy": 192, "sad": 192, "angry": 192,
                                               "fearful": 192, "disgusted": 192, "surprised": 192}
    assert Counter(u.speaker for u in found) == {f"{actor:02d}": 60 for actor in range(1, 25)}
    assert Counter(u.gender for u in found) == {"male": 720, "female": 720}
    assert capsys.readouterr().err == ""


def test_other_actors_are_other_records(tmp_path):
    one, two = (load(write_tree(tmp_path / f"{actor}", names(actor)), tmp_path) for actor in (1, 2))
    assert one.directory != two.directory
    assert {u.speaker for u in two.utterances} == {"02"}
    with pytest.raises(UserError, match="there are records of 2 variants of RAVDESS"):
        load(None, tmp_path)


def test_song_and_video_are_left_out_and_said_so(tmp_path, capsys):
    place = write_tree(tmp_path / "tree", names(1))
    key = load(place, tmp_path).key
    videos = [f"Actor_01/{modality}-01-01-01-01-01-01.mp4" for modality in ("01", "02")]
    write_tree(place, [*names(1, channel=2), *videos])
    corpus = load(place, tmp_path / "again")
    assert corpus.key == key
    assert "62 files of song or video are left out" in capsys.readouterr().err
    # An archive of song alone is passed over for one of speech.
    given = tmp_path / "given"
    write_zip(given / "Audio_Song_Actors_01-24.zip", names(1, channel=2))
    write_zip(given / "ravdess.zip", names(1))
    assert load(given, tmp_path).key == key


def test_a_copy_that_holds_everything_twice(tmp_path):
    """As one well-known site packs it."""
    twice = [*names(5), *(f"audio_speech_actors_01-24/{name}" for name in names(5))]
    place = write_zip(tmp_path / "archive.zip", twice)
    corpus = load(place, tmp_path)
    assert len(corpus) == 60
    assert corpus.key == load(write_tree(tmp_path / "tree", names(5)), tmp_path / "once").key
    spoilt = write_zip(tmp_path / "spoilt.zip", twice)
    with zipfile.ZipFile(spoilt, "a") as archive:
        archive.writestr(f"other/{names(5)[0]}", wav("something else"))
    with pytest.raises(UserError, match=r"is there twice with another content, also as .*; give one copy"):
        load(spoilt, tmp_path / "spoilt")


@pytest.mark.parametrize(("files", "complaint"), [
    (names(1, 2)[:-1], r"actor 02 has 59 of the 60 recordings .*03-01-08-02-02-02-02\.wav for one is missing"),
    ([*names(1), "Actor_01/03-01-09-01-01-01-01.wav"], r"03-01-09-01-01-01-01\.wav: RAVDESS has no such recording"),
    ([*names(1), "Actor_01/03-01-01-02-01-01-01.wav"], "neutral has no strong intensity"),
    ([*names(1), "Actor_01/03-01-02-01-03-01-01.wav"], r"02-01-03-01-01\.wav: RAVDESS has no such recording"),
    ([*names(1), "Actor_01/03-01-01-01-01-01-02.wav"], "ends in the actor 02, which RAVDESS does not have in this"),
    (names(1, 25), "ends in the actor 25"),
    (names(1, channel=2), "holds nothing that looks like RAVDESS"),
    (["Actor_01/hello.wav"], "holds nothing that looks like RAVDESS"),
], ids=["missing", "emotion", "strong neutral", "statement", "wrong folder", "actor", "song only", "nothing"])
def test_what_was_not_published_is_refused(tmp_path, files, complaint):
    with pytest.raises(UserError, match=complaint):
        load(write_tree(tmp_path / "tree", files), tmp_path)
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


def test_nothing_given(tmp_path):
    with pytest.raises(UserError, match=r"RAVDESS is not on this machine.*--config\.data\.manual_dir"):
        load(None, tmp_path)


def test_the_real_archive(shared_corpora, tmp_path):
    """Twelve actors, in a folder with archives of other corpora."""
    archive = shared_corpora / "ravdess-actors01-12-16khz.zip"
    if not archive.exists():
        pytest.skip(f"NOT tested: real RAVDESS, because {archive} is not there")
    corpus = load(shared_corpora, tmp_path)
    assert Counter(u.label for u in corpus.utterances) == {label: 12 * count for label, count in PER_ACTOR.items()}
    assert Counter(u.speaker for u in corpus.utterances) == {f"{actor:02d}": 60 for actor in range(1, 13)}
    assert sum(u.num_samples for u in corpus.utterances) == 42_576_097
    with zipfile.ZipFile(archive) as content:
        for u in (0, 333):
            name = corpus.utterances[u].id
            file = io.BytesIO(content.read(f"Actor_{name[-2:]}/{name}.wav"))
            np.testing.assert_array_equal(corpus.waveform(u), soundfile.read(file, dtype="int16")[0])
