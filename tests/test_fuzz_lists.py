"""Lists of labels, whatever is in them: a result or a `UserError`, no other error; valid ones say what they said."""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sercl_jax.corpora import columns, index, listing, registry
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.labels import canonical
from sercl_jax.errors import UserError
from sercl_jax.splits import emobox_files

EXAMPLES = 30
QUICK = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# What breaks parsers: quotes, ends of lines, marks, numbers that are none, digits of other scripts, half characters.
SPICES = [b'"', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3",
          b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999", b"0.5",
          b"9" * 5000,
          "٣".encode(), "\u2028".encode(), b"\x1c", b"\\ud800", b"../", b"/", b"a" * 300, b" ", b"", b"x" * 140_000,
          b"[" * 100_000, b'{"a":' * 50_000]


def entry(path: Path) -> Entry:
    return Entry(path, None, PurePosixPath(path.name), path.stat().st_size)


def manifest(path: Path) -> Any:
    return [(source.utterance, source.file, source.start, source.end) for source in listing.read(path)]


def msp() -> Any:
    return registry.module("msp_podcast", "listing")


def iemocap(path: Path) -> Any:
    return registry.module("iemocap", "iemocap_dataset_builder")._turns(entry(path))


def librispeech() -> Any:
    return registry.module("librispeech", "librispeech_dataset_builder")


def transcripts(path: Path) -> Any:
    audio = {stem: entry(path) for stem in ("84-121-0000", "84-121-0001")}
    return librispeech()._transcripts(entry(path), ("dev-clean", "84-121"), audio)


def nemo(path: Path) -> Any:
    return columns.read(entry(path), registry.module("nemo", "nemo_dataset_builder").COLUMNS, "\t")


def fold(path: Path) -> Any:
    return emobox_files.read(path.parents[1], "emodb").folds


def label_map(path: Path) -> Any:
    return emobox_files.read(path.parent, "emodb").labels


def records(path: Path) -> Any:
    return index.read(path.parent)


@dataclass(frozen=True)
class Case:
    """A kind of list: where it lies, a valid one, and what reads it."""

    path: str
    valid: str
    parse: Callable[[Path], Any]


CASES = {
    "manifest.csv": Case("m.csv", "path,label,speaker,id,valence,start,end\na.wav,sad,1,x,0.5,,\n"
                         'sub/b.wav,"happy, so",2,"y",,0.5,1.5\n', manifest),
    "manifest.tsv": Case("m.csv", "path\tlabel\tspeaker\tvalence\na.wav\tsad\t1\t0,5\nsub/b.wav\t\t\t\n", manifest),
    "manifest.jsonl": Case("m.jsonl", '{"path": "a.wav", "label": "sad", "speaker": 1, "valence": 0.5}\n'
                           '{"path": "sub/b.wav", "label": null, "speaker": "2", "more": [1]}\n', manifest),
    "msp labels.csv": Case("labels_consensus.csv", "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
                           "MSP-PODCAST_0001_0001.wav,A,4.5,3,5.25,7,Female,Train\n"
                           "MSP-PODCAST_0002_0001.wav,X,1,7,2,Unknown,Male,Test1\n",
                           lambda path: msp().read_labels(entry(path))),
    "msp labels.json": Case("labels_consensus.json", json.dumps({"MSP-PODCAST_0001_0001.wav": {
        "EmoClass": "A", "EmoAct": 4.5, "EmoVal": 3, "EmoDom": 5, "SpkrID": 7, "Gender": "Male",
        "Split_Set": "Train"}}),
        lambda path: msp().read_labels(entry(path))),
    "msp partitions": Case("Partitions.txt", "Train; MSP-PODCAST_0001_0001.wav\nTest1; MSP-PODCAST_0002_0001.wav\n",
                           lambda path: msp().read_partitions(entry(path))),
    "iemocap": Case("Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
                    "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
                    "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
                    "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n"
                    "[10.0100 - 11.3925]\tSes01F_impro01_M000\txxx\t[2.5000, 2.0000, 3.0000]\n", iemocap),
    "librispeech transcripts": Case("84-121.trans.txt", "84-121-0000 GO DO YOU HEAR\n84-121-0001 BUT\n", transcripts),
    "librispeech speakers": Case("SPEAKERS.TXT", "; comments\n;ID | SEX | SUBSET\n14 | F | dev-clean | 8.03 | Kristin"
                                 "\n16 | M | train-clean-100 | 8 | A\n",
                                 lambda path: librispeech()._speakers([entry(path)])),
    "nemo": Case("data.tsv", "file_id\temotion\tspeaker_id\tgender\tage\nAB0_anger_1.wav\tanger\t AB0\tfemale\t30\n",
                 nemo),
    "emobox fold": Case("emodb/fold_1/emodb_train_fold_1.jsonl", '{"key": "emodb-03a01Fa", "dataset": "emodb", '
                        '"wav": "downloads/emodb/wav/03a01Fa.wav", "emo": "happiness", "length": 1.9}\n', fold),
    "emobox label map": Case("emodb/label_map.json", '{"happiness": "happy", "Neutral": "neutral"}', label_map),
    "our index": Case("utterances.json", json.dumps({"key": "k", "shards": {}, "digest": "d", "utterances": []}),
                      records),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    for name in ("a.wav", "sub/b.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"audio")
    for case in CASES.values():
        (folder / case.path).parent.mkdir(parents=True, exist_ok=True)
    (folder / "emodb/fold_1/emodb_test_fold_1.jsonl").write_text(CASES["emobox fold"].valid, encoding="utf-8")
    (folder / "emodb/fold_1/emodb_train_fold_1.jsonl").write_text(CASES["emobox fold"].valid, encoding="utf-8")
    return folder


def parsed(place: Path, case: Case, content: bytes) -> Any:
    """What is read, or the message; any other error comes through. Other lists lie there as they should."""
    path = place / case.path
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    try:
        return case.parse(path)
    except UserError as error:
        message = str(error)
        assert path.name in message
        assert len(message) < 2_000 or max(map(len, content.split())) > 300
        message.encode()  # it can be printed
        return message
    finally:
        path.unlink() if before is None else path.write_bytes(before)


@st.composite
def mutated(draw, valid: bytes) -> bytes:
    """A valid list after a few accidents."""
    content = valid
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(0, len(content)))
        last = draw(st.integers(first, min(len(content), first + 40)))
        kind = draw(st.sampled_from(["spice", "cut", "repeat", "any"]))
        middle = {"spice": lambda: draw(st.sampled_from(SPICES)), "cut": lambda: b"",
                  "repeat": lambda first=first, last=last, content=content: 2 * content[first:last],
                  "any": lambda: draw(st.binary(max_size=6))}[kind]()
        content = content[:first] + middle + content[last:]
    return content


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(data=st.data())
def test_accidents(place, name, data):
    case = CASES[name]
    content = data.draw(mutated(case.valid.encode()))
    assert repr(parsed(place, case, content)) == repr(parsed(place, case, content))


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(
    lambda text: text.encode("utf-8", "surrogatepass"))))
@example(content=b"")
@example(content=b"\xef\xbb\xbf")
@example(content=b"null")
@example(content=b"[]")
@example(content=b"{}")
@example(content=b"[[]]")
@example(content=b'{"utterances": 3}')
@example(content=b"[" * 200_000)
@example(content=b"\n" * 50)
@example(content=b"\xff\xfe\0a")
def test_anything(place, name, content):
    parsed(place, CASES[name], content)


@pytest.mark.parametrize("name", CASES)
def test_the_valid_lists_are_read_with_a_mark_and_either_end_of_line(place, name):
    case = CASES[name]
    plain = parsed(place, case, case.valid.encode())
    assert plain is None if name == "our index" else not isinstance(plain, str)
    if name != "our index":
        for other in ("\ufeff" + case.valid, case.valid.replace("\n", "\r\n"), case.valid.rstrip("\n")):
            assert repr(parsed(place, case, other.encode())) == repr(plain)  # repr: an unknown rating equals itself


# --- valid lists say what they said ---------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12).map(str.strip)
numbers = st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False))
rows = st.lists(st.fixed_dictionaries({
    "path": st.sampled_from(["a.wav", "sub/b.wav"]), "label": words, "speaker": words, "session": words,
    "text": words, "split": words, "fold": words, "valence": numbers, "activation": numbers,
    "gender": st.sampled_from(["F", "male", "", "other"])}), min_size=1, max_size=5)


def told(row: dict[str, Any], number: int) -> tuple:
    genders = {"F": "female", "male": "male"}
    ratings = [math.nan if row[name] is None else float(row[name]) for name in ("activation", "valence")]
    return (f"id {number}", canonical(row["label"]), row["speaker"], row["session"], row["text"], row["split"],
            row["fold"], genders.get(row["gender"], ""), *map(repr, ratings))


def said(found: list) -> list[tuple]:
    return [(u.id, u.label, u.speaker, u.session, u.sentence, u.split, u.fold, u.gender, repr(u.activation),
             repr(u.valence)) for u, *_ in found]


@QUICK
@given(rows=rows, delimiter=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]), mark=st.booleans(),
       quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_a_manifest_as_csv(place, rows, delimiter, end, mark, quoting):
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", *rows[0]], delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writeheader()
    writer.writerows({"id": f"id {number}", **row} for number, row in enumerate(rows))
    found = parsed(place, CASES["manifest.csv"], (b"\xef\xbb\xbf" * mark) + text.getvalue().encode())
    assert not isinstance(found, str), found
    assert said(found) == [told(row, number) for number, row in enumerate(rows)]


@QUICK
@given(rows=rows, ascii_only=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_a_manifest_as_json_lines(place, rows, ascii_only, end):
    lines = [json.dumps({"id": f"id {number}", **row}, ensure_ascii=ascii_only) for number, row in enumerate(rows)]
    found = parsed(place, CASES["manifest.jsonl"], (end.join(lines) + end).encode())
    assert said(found) == [told(row, number) for number, row in enumerate(rows)]


consensus = st.dictionaries(
    st.integers(0, 9999).map(lambda n: f"MSP-PODCAST_{n:04d}_0001.wav"), st.fixed_dictionaries({
        "EmoClass": st.sampled_from("AHSNUFDCOX"), "EmoAct": st.floats(1, 7), "EmoVal": st.floats(1, 7),
        "EmoDom": st.floats(1, 7), "SpkrID": st.one_of(st.just("Unknown"), st.integers(1, 999).map(str)),
        "Gender": st.sampled_from(["Female", "Male", "Unknown"]),
        "Split_Set": st.sampled_from(["Train", "Development", "Validation", "Test1", "Test2"])}),
    min_size=1, max_size=5)


@QUICK
@given(rows=consensus, kind=st.sampled_from(["csv", "json"]))
def test_consensus_labels(place, rows, kind):
    if kind == "csv":
        file = io.StringIO()
        writer = csv.DictWriter(file, ["FileName", *next(iter(rows.values()))])
        writer.writeheader()
        writer.writerows({"FileName": name, **row} for name, row in rows.items())
        text = file.getvalue()
    else:
        text = json.dumps(rows)
    found = parsed(place, CASES[f"msp labels.{kind}"], text.encode())
    assert not isinstance(found, str), found
    assert list(found) == list(rows)
    for name, row in rows.items():
        labels = found[name]
        assert labels.label == msp().EMOTIONS[row["EmoClass"]]
        assert list(labels.ratings.values()) == [row["EmoAct"], row["EmoVal"], row["EmoDom"]]
        assert labels.speaker == ("" if row["SpkrID"] == "Unknown" else row["SpkrID"])
        assert labels.gender == {"Female": "female", "Male": "male"}.get(row["Gender"], "")
        assert labels.split == msp().SPLITS[row["Split_Set"].lower()]


turns = st.lists(st.tuples(st.sampled_from("FM"), st.sampled_from(["neu", "ang", "xxx", "exc"]),
                           *[st.integers(10_000, 50_000)] * 3), min_size=1, max_size=6)


@QUICK
@given(turns=turns, raters=st.lists(st.sampled_from(["C-E2:\tNeutral;\t()", "A-M1:\tval 3; act 2; dom  ;\t()", ""])))
def test_evaluations(place, turns, raters):
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"]
    for number, (letter, emotion, *ratings) in enumerate(turns):
        v, a, d = (f"{value / 10_000:.4f}" for value in ratings)
        lines += [f"[{number}.5 - {number + 1}.25]\tSes01F_impro01_{letter}{number:03d}\t{emotion}\t[{v}, {a}, {d}]",
                  *raters]
    found = parsed(place, CASES["iemocap"], "\n".join(lines).encode())
    assert [(u.speaker, u.valence, u.activation, u.dominance) for u in found] == [
        (f"Ses01{letter}", *(value / 10_000 for value in ratings)) for letter, _, *ratings in turns]


def test_a_file_that_json_has_twice(place):
    row = '{"EmoClass": "A", "EmoAct": 1, "EmoVal": 1, "EmoDom": 1, "Split_Set": "Train"}'
    message = parsed(place, CASES["msp labels.json"], f'{{"x.wav": {row}, "x.wav": {row}}}'.encode())
    assert "x.wav is listed twice" in message
