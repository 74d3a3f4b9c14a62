"""Parts of the predict command: what is found, decoded, chosen and written, with a model that is a table."""

import csv
import io
import json
import os
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from sercl_jax.errors import UserError
from sercl_jax.inference.card import Card
from sercl_jax.inference.prediction import Prediction, Window, combine
from sercl_jax.inference.recording import Recording
from sercl_jax.predicting import answers, decoding, session, writing
from sercl_jax.predicting.finding import find
from sercl_jax.predicting.streaming import predictions
from sercl_jax.predicting.table import clock
from sercl_jax.predicting.writer import Shape

LABELS = ("angry", "neutral", "sad")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.wav", "a.FLAC", "notes.txt", "deep/er/c.opus", "deep/call.dat", ".hidden.wav", ".trash/d.wav",
                 "odd[1].wav", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"audio")
    return tmp_path


@pytest.mark.parametrize(("given", "expected"), [
    (["."], ["a.FLAC", "b.wav", "odd[1].wav", "deep/er/c.opus"]),
    (["deep"], ["deep/er/c.opus"]),
    (["notes.txt", "b.wav", "./b.wav", "deep/../b.wav"], ["notes.txt", "b.wav"]),
    (["*.wav"], ["b.wav", "odd[1].wav"]),
    (["*"], ["a.FLAC", "b.wav", "deep/er/c.opus", "odd[1].wav"]),
    (["**/*.opus"], ["deep/er/c.opus"]),
    (["deep/*.dat"], ["deep/call.dat"]),
    (["odd[1].wav"], ["odd[1].wav"]),  # the file, not what the pattern matches
    (["-", "b.wav", "-"], ["-", "b.wav"]),
    (["b.wav", "absent.wav", "empty", "none*"], ["b.wav", "absent.wav", "empty", "none*"])])
def test_what_is_found(here, given, expected):
    assert [str(path) for path in find(given)] == expected


def test_links_to_folders_are_followed_once(here):
    (here / "deep" / "loop").symlink_to(here)
    (here / "elsewhere").symlink_to(here / "deep" / "er")
    found = [os.path.relpath(path.resolve(), here.resolve()) for path in find(["deep", "elsewhere", "."])]
    assert sorted(found) == ["a.FLAC", "b.wav", "deep/er/c.opus", "odd[1].wav"]


@pytest.mark.parametrize(("given", "reason"), [
    ("absent.wav", "absent.wav: there is no such file or folder"), ("empty", "empty: holds no audio files"),
    ("none*", "none*: nothing matches this pattern"), ("b.wav/x", "b.wav/x: "), ("x" * 300, "xxx: cannot be read")])
def test_nothing_found(here, given, reason):
    with pytest.raises(UserError) as error:
        find([given])
    assert reason in str(error.value)


def test_a_file_whose_name_is_a_dash(here):
    (here / "-").write_bytes(b"audio")
    assert find(["./-"])[0].read_bytes() == b"audio"


def _tone(seconds=0.5, rate=16_000):
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)


def test_recordings_come_in_order_with_reasons_in_their_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"{n:02}.wav" for n in range(20)]
    for n, name in enumerate(names):
        soundfile.write(name, _tone(0.1 + 0.01 * n), 16_000)
    (tmp_path / "05.wav").write_bytes(b"RIFF")
    (tmp_path / "06.wav").unlink()
    (tmp_path / "07.wav").write_bytes(np.arange(3000, dtype=np.int16).tobytes())
    (tmp_path / "07.wav").rename(tmp_path / "07.raw")
    names[7] = "07.raw"
    made = list(decoding.decoded([*map(tmp_path.__class__, names)], threads=3))
    assert [one.name for one in made if isinstance(one, Recording)] == names[:5] + names[8:]
    assert [len(one.waveform) for one in made if isinstance(one, Recording)][-1] == 4640
    reasons = [str(one) for one in made if isinstance(one, UserError)]
    assert "05.wav" in reasons[0]
    assert "06.wav: there is no such file" in reasons[1]
    assert "sox -t raw" in reasons[2]
    assert not any("on_error" in reason for reason in reasons)


def test_decoding_stays_a_little_ahead(tmp_path, monkeypatch):
    """Of many recordings only a few are decoded before they are asked for."""
    soundfile.write(tmp_path / "a.wav", _tone(), 16_000)
    decodings = []
    decode = decoding.audio.decode
    monkeypatch.setattr(decoding.audio, "decode", lambda *a, **k: decodings.append(1) or decode(*a, **k))
    stream = decoding.decoded([tmp_path / "a.wav"] * 100, threads=2)
    for taken in range(1, 10):
        next(stream)
        assert len(decodings) <= taken + 4
    stream.close()
    assert len(decodings) < 20


def test_a_pipe_is_read_once(tmp_path):
    read, write = os.pipe()
    content = io.BytesIO()
    soundfile.write(content, _tone(0.2), 16_000, format="WAV")
    os.write(write, content.getvalue())
    os.close(write)
    try:
        made, = decoding.decoded(find([f"/dev/fd/{read}"]), threads=1)
    finally:
        os.close(read)
    assert made.waveform.shape == (3200,)


def test_a_terminal_is_no_recording(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    made, = decoding.decoded(find(["-"]), threads=1)
    assert "is a terminal" in str(made)


def _prediction(name="call.wav", rows=((0.5, 0.2, 0.3), (0.1, 0.8, 0.1)), labels=LABELS, kind="classes"):
    windows = tuple(Window(1.5 * n, 1.5 * n + 3, dict(zip(labels, row, strict=True))) for n, row in enumerate(rows))
    return Prediction(name, 4.5, combine(windows), windows, kind)


def test_labels_are_named_and_the_nearest_is_told():
    assert answers.chosen("", LABELS) == LABELS
    assert answers.chosen(" sad , angry,", LABELS) == ("angry", "sad")
    with pytest.raises(UserError, match=r"'angy'. Did you mean 'angry'\?"):
        answers.chosen("sad,angy", LABELS)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda p: sum(p) > 0.01),
       st.sets(st.sampled_from(LABELS), min_size=1))
def test_restricted_probabilities_sum_to_one_and_keep_their_ratios(row, kept):
    whole = _prediction(rows=[tuple(p / sum(row) for p in row)])
    part = answers.restricted(whole, [label for label in LABELS if label in kept])
    for values, before in ((part.values, whole.values), (part.windows[0].values, whole.windows[0].values)):
        assert set(values) == kept
        assert sum(values.values()) == pytest.approx(1)
        for a in kept:
            for b in kept:
                assert values[a] * before[b] == pytest.approx(values[b] * before[a], abs=1e-12)


def test_restricted_to_what_is_impossible_is_even():
    part = answers.restricted(_prediction(rows=[(1.0, 0.0, 0.0)]), ["neutral", "sad"])
    assert part.values == {"neutral": 0.5, "sad": 0.5}


def test_restricted_ratings_stay_as_they_are():
    part = answers.restricted(_prediction(rows=[(2.5, 3.0, -1.0)], labels=("a", "v", "d"), kind="ratings"), ["d"])
    assert part.values == {"d": -1.0}


def _written(form, *predictions, failures=(), **shape):
    file = io.StringIO()
    shape = {"labels": LABELS, "kind": "classes", "names": [p.source for p in predictions], **shape}
    writer = writing.writer(form, file, Shape(**shape))
    writer.begin()
    for failure in failures:
        writer.failure(*failure)
    for prediction in predictions:
        writer.result(prediction)
    writer.end()
    return file.getvalue()


FAILED = ("bad.wav", "bad.wav: the file is empty")


def test_json_and_its_lines_hold_the_same():
    odd = os.fsdecode(b"caf\xe9\n\"x\".wav")
    made = _prediction(), _prediction(odd, rows=[(0.25, 0.25, 0.5)]), _prediction("Gespräch.wav")
    whole = json.loads(_written("json", *made, failures=[FAILED]))
    lines = _written("jsonl", *made, failures=[FAILED])
    assert [json.loads(line) for line in lines.splitlines()] == whole
    assert whole[0] == {"path": "bad.wav", "error": "bad.wav: the file is empty"}
    assert whole[1] == {
        "path": "call.wav", "seconds": 4.5, "label": "neutral", "probability": 0.5,
        "probabilities": {"angry": 0.3, "neutral": 0.5, "sad": 0.2}, "windows": [
            {"start": 0.0, "end": 3.0, "label": "angry", "probability": 0.5,
             "probabilities": {"angry": 0.5, "neutral": 0.2, "sad": 0.3}},
            {"start": 1.5, "end": 4.5, "label": "neutral", "probability": 0.8,
             "probabilities": {"angry": 0.1, "neutral": 0.8, "sad": 0.1}}]}
    assert whole[2]["path"] == odd
    assert "Gespräch.wav" in lines


def test_nothing_is_an_array_too_and_what_was_interrupted_is_none():
    assert json.loads(_written("json")) == []
    file = io.StringIO()
    writer = writing.writer("json", file, Shape(LABELS, "classes", ["call.wav"]))
    writer.begin()
    writer.result(_prediction())
    with pytest.raises(json.JSONDecodeError):
        json.loads(file.getvalue())


def test_top_keeps_the_most_probable():
    told = json.loads(_written("jsonl", _prediction(), top=2))
    assert told["probabilities"] == {"angry": 0.3, "neutral": 0.5}
    assert told["windows"][0]["probabilities"] == {"angry": 0.5, "sad": 0.3}
    row, = csv.DictReader(io.StringIO(_written("csv", _prediction(), top=1)))
    assert (row["label"], row["neutral"], row["angry"], row["sad"]) == ("neutral", "0.5", "", "")
    assert "sad" not in _written("table", _prediction(), top=2, windows=False)


def test_csv_of_recordings_and_of_windows():
    name = 'a "call", later.wav'
    rows = list(csv.DictReader(io.StringIO(_written("csv", _prediction(name), _prediction(), failures=[FAILED]))))
    assert rows[0] == {"path": name, "seconds": "4.5", "label": "neutral", "probability": "0.5", "angry": "0.3",
                       "neutral": "0.5", "sad": "0.2"}
    assert len(rows) == 2
    rows = list(csv.DictReader(io.StringIO(_written("csv", _prediction(name), windows=True))))
    assert [(row["path"], row["start"], row["end"], row["label"]) for row in rows] == [
        (name, "0.0", "3.0", "angry"), (name, "1.5", "4.5", "neutral")]


def test_a_full_disk_is_told_by_the_name_of_the_file(tmp_path):
    path = tmp_path / "x.csv"
    with path.open("w") as file, path.open("rb") as other, open(os.devnull, "wb") as sink:
        os.dup2(other.fileno(), file.fileno())  # now every write fails
        with pytest.raises(UserError, match=r"x\.csv: cannot be written"):
            writing.writer("csv", file, Shape(LABELS, "classes", [])).begin()
        os.dup2(sink.fileno(), file.fileno())


def test_ratings_in_every_format():
    dimensions = ("activation", "valence")
    one = _prediction(rows=[(3.25, 4.5), (2.25, 5.5)], labels=dimensions, kind="ratings")
    shape = {"labels": dimensions, "kind": "ratings"}
    told = json.loads(_written("jsonl", one, **shape))
    assert told["ratings"] == {"activation": 2.75, "valence": 5.0}
    assert told["windows"][0] == {"start": 0.0, "end": 3.0, "ratings": {"activation": 3.25, "valence": 4.5}}
    assert not {"label", "probability", "probabilities"} & told.keys()
    row, = csv.DictReader(io.StringIO(_written("csv", one, **shape)))
    assert row == {"path": "call.wav", "seconds": "4.5", "activation": "2.75", "valence": "5.0"}
    head, line, *windows = _written("table", one, **shape).splitlines()
    assert head.split() == ["file", "seconds", "activation", "valence"]
    assert line.split() == ["call.wav", "4.50", "2.75", "5.00"]
    assert windows[0].split() == ["0:00.0", "-", "0:03.0", "3.25", "4.50"]


def test_the_table_is_aligned():
    made = [_prediction("録音.wav", rows=[(0.9, 0.06, 0.04)]),
            *(_prediction(name) for name in ("e\u0301te\u0301.wav", "x\x1b[2J\n.wav"))]
    lines = _written("table", *made).splitlines()
    assert len(lines) == 1 + 1 + 3 + 3  # windows where there are several
    assert lines[1].endswith("90 %  neutral 6 %, sad 4 %")
    assert not any("\x1b" in line for line in lines)
    column = lines[0].index("label")
    plain = [line.replace("録音", "abcd").replace("\u0301", "") for line in lines[1:]]
    assert [line[column:].split()[0] for line in plain] == [
        "angry", "neutral", "angry", "neutral", "neutral", "angry", "neutral"]
    assert plain[1].split()[:2] == ["ete.wav", "4.50"]
    assert plain[2].startswith("  0:00.0 - 0:03.0 ")
    assert len(_written("table", *made, windows=False).splitlines()) == 4
    assert len(_written("table", *made, windows=True).splitlines()) == 1 + 2 + 3 + 3


@pytest.mark.parametrize(("seconds", "told"), [
    (0, "0:00.0"), (59.96, "1:00.0"), (61.25, "1:01.2"), (3599.9, "59:59.9"), (3600, "1:00:00.0"),
    (45296.7, "12:34:56.7")])
def test_times(seconds, told):
    assert clock(seconds) == told


class _Told:
    """A model that says how loud a recording is."""

    def predict_each(self, items, *, window, overlap, together):
        for item in items:
            if isinstance(item, UserError):
                yield item
            else:
                loud = float(np.abs(item.waveform).max() / 32768)
                yield _prediction(item.name, rows=[(loud, 1 - loud, 0.0)])


def test_outcomes_have_the_names_of_their_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for n in (1, 2, 4):
        soundfile.write(f"{n}.wav", n * _tone() / 2, 16_000)
    paths = find(["1.wav", "3.wav", "2.wav", "4.wav"])
    found = list(predictions(_Told(), paths))
    assert [name for name, _ in found] == ["1.wav", "3.wav", "2.wav", "4.wav"]
    assert isinstance(found[1][1], UserError)
    assert [round(outcome.values["angry"], 2) for _, outcome in found if isinstance(outcome, Prediction)] == [
        0.15, 0.3, 0.6]


def test_a_model_is_described():
    card = Card("serugcl", "classes", LABELS, "demo", 8, 3.0, calibration="by temperature",
                notes=("trained on synthetic speech",))
    assert session.about(card).splitlines() == [
        "model: serugcl, trained on demo; classes: angry, neutral, sad", "probabilities: by temperature",
        "note: trained on synthetic speech"]


def test_a_device_that_is_not_there():
    with pytest.raises(UserError, match="--device=tpu: JAX finds none here"):
        session.use("tpu")
