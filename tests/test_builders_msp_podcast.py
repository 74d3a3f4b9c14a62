"""MSP-Podcast: both spellings, CSV and JSON, partitions in a file or a column, and what one release's sizes are."""

import csv
import functools
import io
import json
import math
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora
from sercl_jax.corpora import registry
from sercl_jax.corpora.base import Options
from sercl_jax.errors import UserError

COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
ROWS = [  # file, class, activation, valence, dominance, speaker, gender, partition as the releases spell it
    ("0001_0008", "N", 4.0, 4.2, 4.4, "127", "Male", "Train"),
    ("0001_0019", "H", 5.0, 6.0, 4.0, "127", "Male", "Train"),
    ("0003_0048", "A", 6.2, 1.0, 7.0, "Unknown", "Unknown", "Train"),
    ("0023_0048_0001", "X", 4.0, 4.0, 4.0, "unknown", "Female", "Development"),
    ("0023_0049", "S", 2.0, 2.0, 2.0, "22", "Female", "Validation"),
    ("0101_0001", "U", 5.5, 4.5, 4.5, "31", "Female", "Test"),
    ("0101_0002", "F", 5.5, 2.5, 2.5, "31", "Female", "Test1"),
    ("0102_0001", "D", 3.0, 2.0, 5.0, "32", "Male", "Test2"),
    ("0102_0002", "C", 3.0, 2.0, 5.0, "32", "Male", "Test2"),
    ("0102_0003", "O", 3.0, 3.0, 3.0, "32", "Male", "Test2"),
    ("1023_0235", "N", 4.0, 4.0, 4.0, "700", "Male", "Train"),  # not to be used: stereo, 44.1 kHz
]
LABELS = {"N": "neutral", "H": "happy", "A": "angry", "X": "", "S": "sad", "U": "surprised", "F": "fearful",
          "D": "disgusted", "C": "contempt", "O": "other"}
SPLITS = {"Train": "train", "Development": "validation", "Validation": "validation", "Test": "test", "Test1": "test",
          "Test2": "test2"}


def file_name(stem: str) -> str:
    return f"MSP-PODCAST_{stem}.wav"


def samples(name: str) -> np.ndarray:
    return np.random.default_rng(sum(map(ord, name))).integers(-9000, 9000, 480).astype(np.int16)


@functools.cache
def wav(name: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples(name), 16_000, format="WAV")
    return buffer.getvalue()


def csv_labels(rows=ROWS, split: bool = True, newline: str = "\r\n", bom: bool = False) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=newline)
    columns = COLUMNS if split else COLUMNS[:-1]
    writer.writerow(columns)
    writer.writerows((file_name(row[0]), *row[1:len(columns)]) for row in rows)
    return ("\ufeff" * bom + buffer.getvalue()).encode()


def json_labels(rows=ROWS, split: bool = True) -> bytes:
    columns = COLUMNS if split else COLUMNS[:-1]
    return json.dumps({file_name(row[0]): {
        column: int(cell) if column == "SpkrID" and cell.isdigit() else cell
        for column, cell in zip(columns[1:], row[1:], strict=False)} for row in rows}).encode()


def partitions(rows=ROWS, extra: str = "", newline: str = "\n") -> bytes:
    return (newline.join(f"{row[-1]}; {file_name(row[0])}" for row in rows) + newline + extra).encode()


def audio(folder: str = "Audio", rows=ROWS) -> dict[str, bytes]:
    return {f"{folder}/{file_name(row[0])}": wav(row[0]) for row in rows}


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def release() -> dict[str, bytes]:
    """The oldest layout, of 1.6."""
    return audio() | {"Labels/labels_concensus.csv": csv_labels(split=False), "Partitions.txt": partitions()}


def load(place, tmp_path, **options):
    return corpora.load("msp_podcast", cache_dir=tmp_path / "cache", manual_dir=place, workers=0, progress=False,
                        **options)


def check(corpus) -> None:
    rows = {f"MSP-PODCAST_{row[0]}": row for row in ROWS if row[0] != "1023_0235"}
    assert [u.id for u in corpus.utterances] == sorted(rows)
    for u, one in enumerate(corpus.utterances):
        stem, letter, activation, valence, dominance, speaker, gender, split = rows[one.id]
        assert (one.label, one.split, one.session) == (LABELS[letter], SPLITS[split], stem[:4])
        assert one.speaker == ("" if speaker.lower() == "unknown" else speaker)
        assert one.gender == {"Male": "male", "Female": "female", "Unknown": ""}[gender]
        np.testing.assert_allclose([one.activation, one.valence, one.dominance], [activation, valence, dominance],
                                   rtol=1e-6)
        np.testing.assert_array_equal(corpus.waveform(u), samples(stem))


LAYOUTS = {
    "1.6": release(),
    "1.8, partitions in the column": audio("Audios") | {"Labels/labels_concensus.csv": csv_labels(newline="\n")},
    "1.12, JSON": audio("Audios") | {"Labels/labels_consensus.json": json_labels(),
                                     "Labels/labels_detailed.json": b'{"MSP-PODCAST_0001_0008.wav": {"W1": {}}}'},
    "JSON and a file of partitions": audio("Audios") | {"Labels/labels_concensus.json": json_labels(split=False),
                                                        "Partition.txt": partitions(newline="\r\n")},
    "everything": audio("Audios") | {
        "Labels/labels_consensus.json": json_labels(), "Labels/labels_consensus.csv": csv_labels(bom=True),
        "Partitions.txt": b"\xef\xbb\xbf" + partitions(), "Time_Labels/MSP-PODCAST_0001.csv": b"1,2",
        "Audios/._MSP-PODCAST_0001_0008.wav": b"\0\5\26\7", "Transcripts/MSP-PODCAST_0001_0008.txt": b"hello"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_the_releases(tmp_path, layout):
    check(load(write_tree(tmp_path / "MSP", LAYOUTS[layout]), tmp_path))


def test_audio_in_an_archive_beside_the_lists(tmp_path):
    lists = {"Labels/labels_consensus.csv": csv_labels(), "Partitions.txt": partitions()}
    place = write_tree(tmp_path / "MSP", lists)
    with tarfile.open(place / "Audios.tar.gz", "w:gz") as archive:
        for name, content in audio("Audios").items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    check(load(place, tmp_path))


def test_one_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "msp.zip", "w") as archive:
        for name, content in release().items():
            archive.writestr(f"MSP-Podcast/{name}", content)
    check(load(tmp_path / "msp.zip", tmp_path))


def test_releases_have_records_of_their_own(tmp_path):
    one = load(write_tree(tmp_path / "one", release()), tmp_path)
    relabelled = [("0001_0008", "S", *ROWS[0][2:]), *ROWS[1:]]
    two = load(write_tree(tmp_path / "two", release() | {
        "Labels/labels_concensus.csv": csv_labels(relabelled, split=False)}), tmp_path)
    assert one.directory != two.directory
    assert (one.utterances[0].label, two.utterances[0].label) == ("neutral", "sad")
    assert load(tmp_path / "one", tmp_path).directory == one.directory
    with pytest.raises(UserError, match="records of 2 variants of MSP-Podcast"):
        load(None, tmp_path)


def test_test3_has_no_labels(tmp_path):
    """It is in the partitions only, or in the label file with empty cells; its audio may be missing."""
    files = release() | {"Partitions.txt": partitions(extra=f"Test3; {file_name('0200_0001')}\n"
                                                            f"Test3; {file_name('0200_0002')}\n")}
    files |= {f"Audio/{file_name('0200_0001')}": wav("0200_0001")}
    corpus = load(write_tree(tmp_path / "one", files), tmp_path / "1")
    rows = [*ROWS, ("0200_0001", "", "", "", "", "", "", "Test3")]
    listed = load(write_tree(tmp_path / "two", audio(rows=rows) | {"Labels/labels_consensus.csv": csv_labels(rows)}),
                  tmp_path / "2")
    assert corpus.key == listed.key
    last = corpus.utterances[-1]
    assert (last.id, last.split, last.label, last.speaker) == ("MSP-PODCAST_0200_0001", "test3", "", "")
    assert math.isnan(last.activation)
    assert len(corpus) == len(ROWS)


def test_all_labels_are_kept_and_can_be_chosen(tmp_path):
    place = write_tree(tmp_path / "MSP", release())
    assert len(load(place, tmp_path)) == len(ROWS) - 1
    assert {u.id for u in load(place, tmp_path, labels="happy,sad", where="split=train").utterances} == {
        "MSP-PODCAST_0001_0019"}


def test_audio_that_no_list_names_is_left_out(tmp_path, capsys):
    check(load(write_tree(tmp_path / "MSP", release() | audio(rows=[("0300_0001",)])), tmp_path))
    assert "1 audio files are in no list, and are left out" in capsys.readouterr().err


def replaced(name: str, old: bytes, new: bytes):
    return lambda files: files | {name: files[name].replace(old, new)}


CSV, PARTITIONS = "Labels/labels_concensus.csv", "Partitions.txt"


@pytest.mark.parametrize(("change", "complaint"), [
    (replaced(CSV, b"0001_0008.wav,N", b"0001_0008.wav,Z"),
     r"labels_concensus\.csv, line 2: the emotion code 'Z' is unknown; MSP-Podcast has A, H, "),
    (replaced(CSV, b"N,4.0,4.2", b"N,9.0,4.2"), r"line 2: emoact is '9.0', not a number from 1 to 7"),
    (replaced(CSV, b"N,4.0,4.2", b"N,nan,4.2"), r"line 2: emoact is 'nan', not a number"),
    (replaced(CSV, b"N,4.0,4.2", b"N,,4.2"), r"line 2: MSP-PODCAST_0001_0008\.wav has no emoact"),
    (replaced(CSV, b"EmoVal", b"Valence"), "line 1: the column 'emoval' is missing .found filename, emoclass, emo"),
    (replaced(CSV, b"N,4.0,4.2", b"N,4.0"), "line 2: has not as many cells as the header"),
    (replaced(CSV, b"0001_0019", b"0001_0008"), r"line 3: MSP-PODCAST_0001_0008\.wav is listed twice"),
    (replaced(CSV, b"Male", b"\xff\xfe"), "is not UTF-8 text"),
    (lambda files: files | {CSV: csv_labels([], split=False)}, "lists no file"),
    (replaced(PARTITIONS, b"Test2; MSP-PODCAST_0102_0001", b"Test9; MSP-PODCAST_0102_0001"),
     r"Partitions\.txt, line 8: the partition 'Test9' is unknown"),
    (replaced(PARTITIONS, b"Train; MSP-PODCAST_0001_0008", b"Train MSP-PODCAST_0001_0008"),
     r"Partitions\.txt, line 1: 'Train MSP-PODCAST_0001_0008\.wav' is not PARTITION; FILE"),
    (replaced(PARTITIONS, b"0001_0019", b"0001_0008"), r"line 2: MSP-PODCAST_0001_0008\.wav is listed twice"),
    (replaced(PARTITIONS, b"Train; MSP-PODCAST_0001_0008.wav\n", b""),
     r"MSP-PODCAST_0001_0008\.wav has labels, but is in no partition"),
    (lambda files: files | {PARTITIONS: partitions(extra="Train; MSP-PODCAST_0900_0001.wav\n")},
     r"MSP-PODCAST_0900_0001\.wav is in the partition train, but has no labels"),
    (lambda files: {name: content for name, content in files.items() if name != PARTITIONS}, "nothing of partitions"),
    (lambda files: files | {CSV: csv_labels(), PARTITIONS: files[PARTITIONS].replace(b"Test2;", b"Train;")},
     r"MSP-PODCAST_0102_0001\.wav is in train, and in test2 by the label file's Split_Set"),
    (lambda files: files | {"Labels/labels_consensus.csv": files[CSV]}, "has several lists of one kind"),
    (lambda files: {name: content for name, content in files.items() if "0101_0001" not in name},
     r"1 of 11 labelled files have no audio, MSP-PODCAST_0101_0001\.wav for one; complete Audio"),
    (lambda files: files | audio("Audios", ROWS[:1]), r"MSP-PODCAST_0001_0008\.wav: is there twice, also as"),
    (lambda files: {name: content for name, content in files.items() if "Audio" not in name},
     "holds nothing that looks like MSP-Podcast .no file matches Audios"),
    (lambda files: {name: content for name, content in files.items() if "labels" not in name},
     "holds nothing that looks like MSP-Podcast .no file matches labels_con"),
])
def test_lists_that_do_not_fit_are_refused(tmp_path, change, complaint):
    with pytest.raises(UserError, match=complaint):
        load(write_tree(tmp_path / "MSP", change(release())), tmp_path)
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


@pytest.mark.parametrize(("content", "complaint"), [
    (b"{", "is not JSON"), (b"[]", "is not a JSON object keyed by file name"),
    (b'{"MSP-PODCAST_0001_0008.wav": 3}', r"key MSP-PODCAST_0001_0008\.wav: is not an object with EmoClass"),
    (json_labels().replace(b'"EmoVal"', b'"Valence"'), r"key MSP-PODCAST_0001_0008\.wav: .* has no emoval"),
])
def test_json_that_does_not_fit_is_refused(tmp_path, content, complaint):
    with pytest.raises(UserError, match=complaint):
        load(write_tree(tmp_path / "MSP", audio() | {"Labels/labels_consensus.json": content}), tmp_path)


def sources(place: Path, tmp_path: Path):
    builder = registry.builder_class("msp_podcast")
    return builder(data_dir=str(tmp_path / "data"), options=Options(manual_dir=place)).sources()


def test_the_release_is_recognised_by_its_size(tmp_path, monkeypatch, capsys):
    builder = registry.builder_class("msp_podcast")
    place = write_tree(tmp_path / "MSP", release())
    monkeypatch.setattr(builder, "PUBLISHED", {"1.6": (11, {"train": 4, "validation": 2, "test": 2})})
    assert len(sources(place, tmp_path)) == 10
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(builder, "PUBLISHED", {"1.6": (11, {"train": 5, "validation": 2, "test": 2})})
    with pytest.raises(UserError, match=r"as many labelled files as MSP-Podcast 1\.6 .11., but not its partitions "
                                        r".train: 4 instead of 5"):
        sources(place, tmp_path)
    monkeypatch.setattr(builder, "PUBLISHED", {"1.6": (50_362, {"train": 34_280})})
    sources(place, tmp_path)
    told = capsys.readouterr().err
    assert "could not be recognised from its 11 labelled files (test 2, test2 3, train 4, validation 2)" in told
    assert "known are 1.6 with 50362" in told


def test_the_figures_that_are_checked():
    size, parts = registry.builder_class("msp_podcast").PUBLISHED["1.6"]
    assert parts == {"train": 34_280, "validation": 5958, "test": 10_124}
    assert sum(parts.values()) == size == 50_362
