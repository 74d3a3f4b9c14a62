"""Manifests of any size: what a line costs, and that speed changed nothing of what it means."""

import dataclasses
import json
import os
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from benchmarks import manifest as benchmark
from sercl_jax import files, splits
from sercl_jax.corpora import listing, registry
from sercl_jax.corpora.places import Places
from sercl_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    for audio in benchmark.AUDIO:
        benchmark.generate(folder / audio, audio, 6000, 20)
    return folder


@pytest.mark.parametrize("audio", benchmark.AUDIO)
def test_both_formats_say_the_same(generated, audio):
    table, lines = (listing.read(generated / audio / f"m.{kind}") for kind in benchmark.FORMATS)
    assert len(table) == 6000
    for one, other in zip(table, lines, strict=True):
        # Ratings are there, so that nothing is NaN but the dominance.
        assert (dataclasses.replace(one.utterance, dominance=0), one.file, one.start, one.end) == (
            dataclasses.replace(other.utterance, dominance=0), other.file, other.start, other.end)
    folds = splits.make_folds([source.utterance for source in table], "kfold", folds=10, fold_seed=0)
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(6000))


def test_a_line_takes_little_memory(generated):
    manifest = generated / "files" / "m.csv"
    listing.read(manifest)
    tracemalloc.start()
    try:
        sources = listing.read(manifest)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 2 GiB for a million would be 2147 bytes, of which folds need some.
    assert held / len(sources) < 800
    assert peak / len(sources) < 1100


def test_a_line_costs_one_look_at_its_file(generated, monkeypatch):
    looks = {"lstat": 0}
    real = os.lstat

    def counted(*arguments, **options):
        looks["lstat"] += 1
        return real(*arguments, **options)

    monkeypatch.setattr(os, "lstat", counted)
    sources = listing.read(generated / "files" / "m.csv")
    folders = {os.path.dirname(source.file) for source in sources}
    deepest = max(folder.count(os.sep) for folder in folders) + 1
    # Each folder is resolved once, which looks at every part of its path.
    assert looks["lstat"] <= len(sources) + (len(folders) + 1) * deepest


def test_repeated_words_are_kept_once(generated):
    sources = listing.read(generated / "files" / "m.jsonl")
    for field in ("label", "speaker", "session", "sentence"):
        values = [getattr(source.utterance, field) for source in sources]
        assert len({id(value) for value in values}) == len(set(values))


@pytest.mark.parametrize("rows", [[], [1], [["a", 1.5, None], {"b": "ü", "a": [1]}]])
def test_a_digest_of_rows_is_that_of_their_list(rows):
    assert files.digest_rows(iter(rows)) == files.digest(rows)


def test_the_configuration_is_named_by_every_file(generated):
    sources = listing.read(generated / "files" / "m.csv")[:3]
    digest = registry.module("manifest", "manifest_dataset_builder")._digest
    states = []
    for source in sources:
        state = Path(source.file).stat()
        states.append([repr(source.utterance), source.file, source.start, source.end, state.st_size,
                       state.st_mtime_ns, state.st_ctime_ns])
    assert digest(sources) == files.digest(states)


def test_a_file_that_vanishes_after_it_was_listed(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"1")
    (tmp_path / "m.csv").write_text("path,label,speaker\na.wav,sad,1\n", encoding="utf-8")
    sources = listing.read(tmp_path / "m.csv")
    (tmp_path / "a.wav").unlink()
    with pytest.raises(UserError, match=r"a\.wav \(.*m\.csv, line 2\): cannot be read \(No such file"):
        registry.module("manifest", "manifest_dataset_builder")._digest(sources)


@pytest.fixture
def tree(tmp_path) -> Path:
    folder = tmp_path / "data"
    for name in ("a.wav", "sub/b.wav", unicodedata.normalize("NFD", "Gefühl/é.wav")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
    (folder / "link.wav").symlink_to("sub/b.wav")
    (folder / "linked").symlink_to("sub")
    (tmp_path / "outside.wav").write_bytes(b"1")
    (folder / "out.wav").symlink_to("../outside.wav")
    (folder / "out").symlink_to("..")
    (folder / "loop.wav").symlink_to("loop.wav")
    return folder


@pytest.mark.parametrize(("given", "leads_to"), [
    ("a.wav", "a.wav"), ("./a.wav", "a.wav"), ("sub/../a.wav", "a.wav"), ("sub//b.wav", "sub/b.wav"),
    ("link.wav", "sub/b.wav"), ("linked/b.wav", "sub/b.wav"), ("linked/../a.wav", "a.wav"),
    (unicodedata.normalize("NFC", "Gefühl/é.wav"), unicodedata.normalize("NFD", "Gefühl/é.wav")),
    (unicodedata.normalize("NFD", "Gefühl/é.wav"), unicodedata.normalize("NFD", "Gefühl/é.wav")),
])
def test_places(tree, given, leads_to):
    for _ in range(2):  # the second time by what was kept
        for allow in (False, True):
            assert Places(tree.resolve(), allow).find(given, "m.csv, line 2") == str(tree.resolve() / leads_to)


@pytest.mark.parametrize(("given", "complaint"), [
    ("", "is empty"), ("none.wav", "there is no audio file .*none.wav; paths are relative to the manifest[.]"),
    ("A.WAV", "upper and lower case count: there is 'a.wav'"), ("sub", "there is no audio file"),
    (".", "there is no audio file"), ("a.wav/b.wav", "there is no audio file"),
    ("loop.wav", "'loop.wav' cannot be opened"), ("x" * 300, "cannot be opened .File name too long"),
    ("a\0.wav", "cannot be opened"), ("..", "leads outside"), ("out.wav", "leads outside"),
    ("out/outside.wav", "leads outside"), ("../outside.wav", "leads outside"), ("out/none.wav", "leads outside"),
])
def test_places_that_are_refused(tree, given, complaint):
    places = Places(tree.resolve(), False)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"m\.csv, line 2, column path: .*{complaint}"):
            places.find(given, "m.csv, line 2")


@pytest.mark.parametrize(("text", "line"), [
    (b"path,label,speaker\na.wav,\xc4rger,1\n", 2), (b"\xff\xfep\0a\0", 1),
    (b"path,label,speaker\r\n" + b",,\r\n" * 30_000 + b"\x80\n", 30_002),
])
def test_the_line_that_is_not_utf_8(tree, text, line):
    """Also far behind where reading begins."""
    (tree / "m.csv").write_bytes(text)
    with pytest.raises(UserError, match=rf"m\.csv, line {line}: is not UTF-8"):
        listing.read(tree / "m.csv")


def test_half_a_surrogate_pair_is_no_text(tree):
    line = '{"path": "a.wav", "label": "sad", "speaker": "\\ud83d"}\n'
    (tree / "m.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(UserError, match=r"m\.jsonl, line 1: is not JSON"):
        listing.read(tree / "m.jsonl")
    (tree / "m.jsonl").write_text(line.replace("\\ud83d", "\\ud83d\\ude00"), encoding="utf-8")
    (source,) = listing.read(tree / "m.jsonl")
    assert source.utterance.speaker == "\U0001f600"


def test_benchmark_json(tmp_path):
    out = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks.manifest", "--rows", "400", "--speakers", "8", "--folds", "4",
               "--formats", "jsonl", "--audio", "files", "--folder", str(tmp_path), "--json", str(out)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert "400 utterances, files, jsonl" in run.stdout
    result = json.loads(out.read_text(encoding="utf-8"))
    assert (result["benchmark"], result["rows"], result["speakers"]) == ("manifest", 400, 8)
    (one,) = result["manifests"]
    assert (one["audio"], one["format"]) == ("files", "jsonl")
    assert set(one["steps"]) == {"start", "parse", "kfold", "sheet of kfold", "speakers", "sheet of speakers"}
    assert one["seconds"] > 0
    assert one["peak_bytes"] >= one["steps"]["parse"]["peak_bytes"] > 1 << 20
    assert one["configuration"]["steps"]["configuration"]["cpu_seconds"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--audio", "film"], "--audio: 'film' is none of files, segments"), (["--rows", "0"], "--rows=0: must be at"),
    (["--formats", "xml"], "--formats: 'xml' is none of csv, jsonl"),
])
def test_benchmark_arguments(capsys, arguments, complaint):
    assert benchmark.main(arguments) == 2
    assert complaint in capsys.readouterr().err
