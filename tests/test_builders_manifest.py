"""A user's own corpus from a CSV or JSON-lines file."""

import json
import math
import os

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora
from sercl_jax.corpora.labels import canonical
from sercl_jax.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A folder with a.wav, b.wav and sub/c.wav, each 0.1 s of noise."""
    random = np.random.default_rng(0)
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.integers(-9000, 9000, 1600).astype(np.int16), 16_000)
    return tmp_path / "data"


def load(folder, text, name="m.csv", encoding="utf-8", **options):
    (folder / name).write_bytes(text.encode(encoding))
    return corpora.load("manifest", cache_dir=folder.parent / "cache", manifest=folder / name, workers=0,
                        progress=False, **options)


CSV = "path,label,speaker\na.wav,Anger,1\nsub/c.wav,JOY,2\nb.wav,,1\n"


@pytest.mark.parametrize("text", [
    CSV, CSV.replace(",", ";"), CSV.replace(",", "\t"), CSV.replace("\n", "\r\n"), CSV + "\n\n", CSV.rstrip(),
    CSV.replace("path,label", "Path , LABEL"), CSV.replace("a.wav", '"a.wav"'),
    "".join(json.dumps({"path": p, "label": label, "speaker": s}) + "\n"
            for p, label, s in [("a.wav", "Anger", 1), ("sub/c.wav", "JOY", "2"), ("b.wav", None, 1)]),
])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_all_dialects_mean_the_same(folder, text, encoding):
    corpus = load(folder, text, encoding=encoding)
    assert [(u.id, u.label, u.speaker, u.num_samples) for u in corpus.utterances] == [
        ("a.wav", "angry", "1", 1600), ("b.wav", "", "1", 1600), ("sub/c.wav", "happy", "2", 1600)]
    assert corpus.labels == ("angry", "happy")
    for u, utterance in enumerate(corpus.utterances):
        samples, _ = soundfile.read(folder / utterance.id, dtype="int16")
        np.testing.assert_array_equal(corpus.waveform(u), samples)


def test_optional_columns(folder):
    corpus = load(folder, "path;label;speaker;id;session;split;fold;"
                          "activation;valence;dominance;start;end;text;gender;x\n"
                          "a.wav;sad;1;one;S1;train;3;0,5;-1;2e-1;0,02;0,08;Hallo;F;ignored\n"
                          "b.wav;sad;2;two;;;;;;;;;;;\n")
    one, two = corpus.utterances
    assert (one.id, one.session, one.split, one.fold, one.sentence, one.gender) == (
        "one", "S1", "train", "3", "Hallo", "female")
    assert (one.activation, one.valence, one.dominance) == pytest.approx((0.5, -1.0, 0.2))
    assert one.num_samples == 960
    samples, _ = soundfile.read(folder / "a.wav", dtype="int16")
    np.testing.assert_array_equal(corpus.waveform(0), samples[320:1280])
    assert math.isnan(two.activation)
    assert math.isnan(two.dominance)


def test_segments_of_one_file_get_ids_of_their_own(folder):
    corpus = load(folder, "path,label,speaker,start,end\na.wav,sad,1,0,0.05\na.wav,sad,1,.05,\n")
    assert [u.id for u in corpus.utterances] == ["a.wav#0-0.05", "a.wav#0.05-"]


def test_labels():
    assert [canonical(word) for word in ("Anger", " happiness", "joy", "Sadness", "FEAR", "disgust", "boredom",
                                         "surprise", "neutral", "Amused", "")] == [
        "angry", "happy", "happy", "sad", "fearful", "disgusted", "bored", "surprised", "neutral", "amused", ""]


@pytest.mark.parametrize(("text", "complaint"), [
    ("", "m.csv: lists no utterances"),
    ("path,label,speaker\n", "m.csv: lists no utterances"),
    ("path,label\na.wav,sad\n", "line 1: the column 'speaker' is missing; found path, label"),
    ("file,label,speaker\na.wav,sad,1\n", "line 1: the column 'path' is missing"),
    ("path,label,speaker,sesion\na.wav,sad,1,2\n", "line 1: the column 'sesion' is unknown; did you mean 'session'"),
    ("path,label,speaker,label\na.wav,sad,1,2\n", "line 1: the column 'label' is there twice"),
    ("path,label,speaker\na.wav,sad\n", "line 2: has 2 cells where the header has 3"),
    ("path,label,speaker\na.wav,sad,1\na.wav,sad,1\n", "line 3, column id: 'a.wav' is already the id of .*line 2"),
    ("path,label,speaker,valence\na.wav,sad,1,high\n", "line 2, column valence: 'high' is not a finite number"),
    ("path,label,speaker,valence\na.wav,sad,1,nan\n", "line 2, column valence: 'nan' is not a finite number"),
    ("path,label,speaker,start,end\na.wav,sad,1,.05,.05\n", "line 2, column end: 0.05 s is not after the start"),
    ("path,label,speaker,start,end\na.wav,sad,1,-1,.05\n", "line 2, column start: -1 s is negative"),
    ("path,label,speaker,start,end\na.wav,sad,1,0,9\n", r"a.wav \(.*line 2\): the segment 0-9 s lies outside"),
    ("path,label,speaker\n,sad,1\n", "line 2, column path: is empty"),
    ("path,label,speaker\n\nnone.wav,sad,1\n", "line 3, column path: there is no audio file .*none.wav"),
    ('path,label,speaker\n"a.wav,sad,1\n', "line 2: is not CSV"),
    ('{"path": "a.wav", "label": "sad"}\n', "line 1: the column 'speaker' is missing"),
    ('{"path": "a.wav", "label": "sad", "speaker": 1}\n{"path": \n', "line 2: is not JSON"),
    ('{"path": "a.wav", "label": ["sad"], "speaker": 1}\n', "line 1, column label: .*neither text"),
    ('[{"path": "a.wav"}]\n', "line 1: is not a JSON object"),
])
def test_errors_name_file_line_and_column(folder, text, complaint):
    with pytest.raises(UserError, match=complaint) as error:
        load(folder, text)
    assert str(folder / "m.csv") in str(error.value)
    assert not list((folder.parent).rglob("*.array_record*"))


def test_manifest_that_is_not_utf_8(folder):
    with pytest.raises(UserError, match=r"m\.csv, line 2: is not UTF-8"):
        load(folder, "path,label,speaker\na.wav,Ärger,1\n", encoding="latin-1")


def test_missing_manifest(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: the manifest cannot be read"):
        corpora.load("manifest", cache_dir=tmp_path, manifest=tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"--config\.data\.manifest"):
        corpora.load("manifest", cache_dir=tmp_path)


@pytest.mark.parametrize("escape", ["../outside.wav", "sub/../../outside.wav", "link.wav", "linked/outside.wav",
                                    "ABSOLUTE"])
def test_audio_outside_the_folder_needs_leave(folder, escape):
    outside = folder.parent / "outside.wav"
    outside.write_bytes((folder / "a.wav").read_bytes())
    (folder / "link.wav").symlink_to(outside)
    (folder / "linked").symlink_to(folder.parent)
    text = f"path,label,speaker\n{outside if escape == 'ABSOLUTE' else escape},sad,1\n"
    with pytest.raises(UserError, match=r"line 2, column path: .* leads outside the manifest's folder"):
        load(folder, text)
    assert len(load(folder, text, allow_outside=True)) == 1


def test_two_manifests_never_share_records(folder):
    first = load(folder, CSV, name="m1.csv")
    second = load(folder, CSV.replace("Anger", "Sad"), name="m2.csv")
    assert first.directory != second.directory
    assert first.key != second.key
    assert [c.utterances[0].label for c in (first, second)] == ["angry", "sad"]


def test_equal_manifests_over_different_audio_never_share_records(folder, tmp_path):
    twin = tmp_path / "twin"
    (twin / "sub").mkdir(parents=True)
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        data = bytearray((folder / name).read_bytes())
        data[-2:] = b"\x01\x02"
        (twin / name).write_bytes(data)
        state = (folder / name).stat()
        os.utime(twin / name, ns=(state.st_atime_ns, state.st_mtime_ns))
    first, second = load(folder, CSV), load(twin, CSV)
    assert first.key != second.key
    assert (first.waveform(0) != second.waveform(0)).sum() == 1


def test_edited_audio_is_built_again_and_unchanged_is_not(folder):
    first = load(folder, CSV)
    assert load(folder, CSV).directory == first.directory
    path = folder / "a.wav"
    state = path.stat()
    samples, _ = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples[::-1], 16_000)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # as some copying tools do
    second = load(folder, CSV)
    np.testing.assert_array_equal(second.waveform(0), samples[::-1])
    assert first.key != second.key


def test_skipping_counts_and_tells(folder, capsys):
    (folder / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"b\.wav \(.*m\.csv, line 4\): is not audio"):
        load(folder, CSV)
    corpus = load(folder, CSV, on_error="skip")
    assert [u.id for u in corpus.utterances] == ["a.wav", "sub/c.wav"]
    assert "1 utterances were left out" in capsys.readouterr().err
    (skipped,) = json.loads((corpus.directory / "skipped.json").read_text(encoding="utf-8"))
    assert skipped["id"] == "b.wav"
    assert "is not audio" in skipped["reason"]
    # Records with gaps do not satisfy a run that wants everything, and survive its failure.
    with pytest.raises(UserError, match="is not audio"):
        load(folder, CSV)
    assert len(load(folder, CSV, on_error="skip")) == 2


def test_skipping_everything_is_an_error(folder):
    (folder / "a.wav").write_bytes(b"")
    with pytest.raises(UserError, match="not one of its 1 utterances can be used"):
        load(folder, "path,label,speaker\na.wav,sad,1\n", on_error="skip")
