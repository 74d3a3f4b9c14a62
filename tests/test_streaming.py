"""Builds write in a stream: memory does not grow with the corpus, shards are cut where they are full."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora
from sercl_jax.corpora import building, index, registry, shards
from sercl_jax.corpora.options import Options
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

# Prints the peak memory in MiB of a process that builds the manifest.
BUILD = """
import resource, sys
from pathlib import Path
from benchmarks import rss
from sercl_jax import corpora
if __name__ == "__main__":
    corpus = corpora.load("manifest", cache_dir=Path(sys.argv[1]), manifest=Path(sys.argv[2]), workers=0,
                          progress=False)
    print(len(corpus), rss.peak() / 2**20)
"""


def peak(folder: Path, copies: int) -> float:
    """Of a build of `copies` utterances of 30 s each, about 1 MB."""
    folder.mkdir()
    samples = np.random.default_rng(0).integers(-50, 50, 30 * 16_000).astype(np.int16)
    soundfile.write(folder / "a.wav", samples, 16_000)
    (folder / "m.csv").write_text("id,path,label,speaker\n" + "".join(
        f"{number:03d},a.wav,sad,1\n" for number in range(copies)), encoding="utf-8")
    (folder / "build.py").write_text(BUILD, encoding="utf-8")
    done = subprocess.run([sys.executable, folder / "build.py", folder / "cache", folder / "m.csv"], check=True,
                          env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""}, capture_output=True,
                          text=True, timeout=300)
    count, mebibytes = done.stdout.split()
    assert int(count) == copies
    return float(mebibytes)


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    few, many = peak(tmp_path / "few", 15), peak(tmp_path / "many", 215)
    # 200 MB more of samples; a build that keeps them, in whatever form, cannot pass.
    assert many < few + 60


def write_manifest(folder: Path, count: int, seconds: float) -> Path:
    random = np.random.default_rng(0)
    for number in range(count):
        soundfile.write(folder / f"{number}.wav", random.integers(-9000, 9000, round(16_000 * seconds) + number)
                        .astype(np.int16), 16_000)
    path = folder / "m.csv"
    path.write_text("path,label,speaker\n" + "".join(f"{number}.wav,sad,1\n" for number in range(count)),
                    encoding="utf-8")
    return path


def build(manifest: Path, cache: Path, **options) -> Path:
    builder = registry.builder_class("manifest")
    chosen = Options(workers=0, progress=False, **options)
    configuration = builder.configuration(building.Request(options=chosen, records=cache, manifest=manifest))
    return building.ensure(builder, cache, configuration, chosen)


def lengths(directory: Path) -> list[int]:
    """Examples in each shard, in the order of their names, which is how TFDS reads them."""
    from array_record.python.array_record_module import ArrayRecordReader

    return [ArrayRecordReader(str(path)).num_records() for path in sorted(directory.glob("*.array_record-*"))]


def test_shards_are_cut_where_they_are_full(tmp_path):
    manifest = write_manifest(tmp_path, count=10, seconds=0.1)  # 3200 bytes of samples each, and a little
    for largest, expected in ((7000, [2, 2, 2, 2, 2]), (11_000, [3, 3, 3, 1]), (1, [1] * 10), (1 << 30, [10])):
        directory = build(manifest, tmp_path / str(largest), largest_shard=largest)
        assert lengths(directory) == expected
        assert [one["id"].decode() for one in index.open_records(directory)] == [f"{n}.wav" for n in range(10)]


@pytest.mark.parametrize(("shards_asked", "expected"), [(1, [10]), (3, [3, 3, 4]), (10, [1] * 10), (40, [1] * 10)])
def test_as_many_shards_as_asked_for(tmp_path, shards_asked, expected):
    manifest = write_manifest(tmp_path, count=10, seconds=0.1)
    directory = build(manifest, tmp_path / "cache", num_shards=shards_asked, largest_shard=1)
    assert lengths(directory) == expected
    assert index.read(directory).positions == tuple(range(10))


def test_shards_without_any_usable_utterance_are_left_out(tmp_path):
    manifest = write_manifest(tmp_path, count=6, seconds=0.1)
    for number in (2, 3):
        (tmp_path / f"{number}.wav").write_bytes(b"RIFF")
    directory = build(manifest, tmp_path / "cache", num_shards=3, on_error="skip")
    assert lengths(directory) == [2, 2]
    assert sorted(path.name.rpartition("-")[2] for path in directory.glob("*.array_record-*")) == ["00002", "00002"]


def test_how_shards_are_cut_does_not_change_the_corpus(tmp_path):
    manifest = write_manifest(tmp_path, count=10, seconds=0.1)
    keys = {index.read(build(manifest, tmp_path / name, **options)).key
            for name, options in {"one": {}, "many": {"largest_shard": 1}, "three": {"num_shards": 3}}.items()}
    assert len(keys) == 1


def test_how_many_processes_read_back_does_not_change_the_index(tmp_path, monkeypatch):
    directory = build(write_manifest(tmp_path, count=10, seconds=0.1), tmp_path / "cache", largest_shard=7000)
    expected = (directory / index.FILE).read_bytes()
    monkeypatch.setattr(index, "_AT_ONCE", 3)
    for workers in (0, 2):
        (directory / index.FILE).unlink()
        assert index.write(directory, "manifest", "1.0.0", workers=workers) == 10
        assert (directory / index.FILE).read_bytes() == expected


def test_nothing_to_use(tmp_path):
    manifest = write_manifest(tmp_path, count=3, seconds=0.1)
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"corpus manifest: not one of its 3 utterances can be used: .*0\.wav"):
        corpora.load("manifest", cache_dir=tmp_path / "cache", manifest=manifest, workers=0, progress=False,
                     on_error="skip")
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


def test_two_utterances_of_one_id_are_refused_before_any_is_decoded(tmp_path, monkeypatch):
    builder = registry.builder_class("demo")
    twice = [Source(Utterance(id="a", num_samples=0), file=name) for name in ("1.wav", "2.wav")]
    monkeypatch.setattr(builder, "sources", lambda self: twice)
    monkeypatch.setattr(builder, "waveform", None)
    with pytest.raises(UserError, match=r"2\.wav: has the id 'a', which is already that of 1\.wav; give one copy of"):
        corpora.load("demo", cache_dir=tmp_path, workers=0, progress=False)


def test_a_reader_of_the_records_need_not_know_this_package(tmp_path):
    """Shards are those of any other TFDS corpus."""
    import tensorflow_datasets as tfds

    directory = build(write_manifest(tmp_path, count=3, seconds=0.1), tmp_path / "cache", largest_shard=1)
    info = tfds.builder_from_directory(str(directory)).info
    assert info.splits["train"].shard_lengths == [1, 1, 1]
    assert info.splits["train"].num_bytes == sum(
        len(shards._serialized(shards.example(Utterance(id=f"{n}.wav", num_samples=0, label="sad", speaker="1"),
                                              soundfile.read(tmp_path / f"{n}.wav", dtype="int16")[0])))
        for n in range(3))
    assert info.features["waveform"].np_dtype == np.int16
