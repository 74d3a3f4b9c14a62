"""The `tfds` program, as users run it, makes the records that training reads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from sercl_jax import corpora, workers
from sercl_jax.corpora import building, command, registry
from sercl_jax.errors import UserError
from tests import small_builders

ROOT = Path(registry.__file__).parents[2]
TFDS = Path(sys.executable).with_name("tfds")


def run(*arguments: str | Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """`tfds build ...` in the checkout."""
    environment = os.environ | ({"PYTHONPATH": path} if path else {})
    return subprocess.run([TFDS, "build", *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True,
                          text=True, timeout=300, check=False)


def load(name: str, cache: Path, place: Path) -> corpora.Corpus:
    return corpora.load(name, cache_dir=cache, workers=0, progress=False, labels="all", **(
        {"manifest": place / "m.csv"} if name == "manifest" else {"manual_dir": place}))


def same(left: corpora.Corpus, right: corpora.Corpus) -> None:
    """All that is known of every utterance, and the samples, whose digests the key covers."""
    assert (left.key, left.labels) == (right.key, right.labels)
    assert repr(left.utterances) == repr(right.utterances)  # NaN is not equal to itself
    for u in range(0, len(left), 1 + len(left) // 5):
        np.testing.assert_array_equal(left.waveform(u), right.waveform(u))


@pytest.fixture
def no_building(monkeypatch):
    """From when it is called, records must be there."""
    def refused(*arguments):
        raise AssertionError("records were built again")

    return lambda: monkeypatch.setattr(building, "_build", refused)


INSTALLED = """
import pytest
import sercl_jax
from sercl_jax import workers
from tests import small_builders

assert sercl_jax.__file__.startswith({place!r}), sercl_jax.__file__
workers.cpu_count = lambda: 1  # starting processes for a few files takes longer than decoding them
small_builders.publish(pytest.MonkeyPatch())
import sercl_jax.builders
"""


def test_every_corpus_from_an_installed_package(tmp_path, monkeypatch, no_building):
    package = tmp_path / "site-packages"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "sercl_jax", package / "sercl_jax", ignore=ignore)
    shutil.copytree(ROOT / "data_builders", package / "sercl_jax" / "data_builders", ignore=ignore)
    (package / "small.py").write_text(INSTALLED.format(place=str(package)), encoding="utf-8")
    assert set(corpora.NAMES) - set(small_builders.WRITE) == {"demo", "demo_unlabelled"}
    for name in corpora.NAMES:
        (tmp_path / "given" / name).mkdir(parents=True)
        if name in small_builders.WRITE:
            small_builders.WRITE[name](tmp_path / "given" / name)
    done = run("--imports=small", *corpora.NAMES, f"--manual_dir={tmp_path / 'given'}", "--add_name_to_manual_dir",
               f"--data_dir={tmp_path / 'cache' / 'records'}", "--file_format=array_record",
               path=f"{package}:{ROOT}")
    assert done.returncode == 0, done.stderr
    small_builders.publish(monkeypatch)
    expected = {name: load(name, tmp_path / "python", tmp_path / "given" / name) for name in corpora.NAMES}
    no_building()
    for name in corpora.NAMES:
        built = load(name, tmp_path / "cache", tmp_path / "given" / name)
        same(built, expected[name])
        relative = built.directory.relative_to(tmp_path / "cache" / "records")
        assert relative == expected[name].directory.relative_to(tmp_path / "python" / "records")
        assert f"full_name='{relative}'" in done.stdout
        assert f"num_examples={len(built)}," in done.stdout
    assert not list((tmp_path / "cache").rglob("*.tmp"))
    assert not list((tmp_path / "cache").rglob("incomplete*"))


def test_from_a_checkout_and_what_it_says_of_errors(tmp_path, no_building):
    given = small_builders.manifest(tmp_path / "given", seconds=30)
    done = run("data_builders/manifest", "data_builders/emodb", f"--manual_dir={given}",
               f"--data_dir={tmp_path / 'cache' / 'records'}", "--file_format=array_record", "--max_shard_size_mb=2")
    # The manifest is built; the folder holds no EMO-DB.
    assert "num_examples=5, num_shards=3>" in done.stdout
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {given}: holds nothing that looks like EMO-DB")
    expected = load("manifest", tmp_path / "python", given)
    no_building()
    built = load("manifest", tmp_path / "cache", given)
    same(built, expected)
    sizes = [path.stat().st_size for path in built.directory.glob("*.array_record-*-of-00003")]
    assert len(sizes) == 3
    assert max(sizes) < 2 << 20


@pytest.fixture(autouse=True)
def one_cpu(monkeypatch) -> None:
    """In this process: starting others for a few files takes longer than decoding them."""
    monkeypatch.setattr(workers, "cpu_count", lambda: 1)


def prepare(name: str, root: Path, config=None, **options):
    builder = registry.builder_class(name)(data_dir=str(root), config=config)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(**options))
    return builder


@pytest.fixture
def given(tmp_path) -> Path:
    return small_builders.manifest(tmp_path / "given")


def test_records_of_python_are_found_by_the_command(tmp_path, given, no_building):
    made = load("manifest", tmp_path, given)
    no_building()
    builder = prepare("manifest", tmp_path / "records", manual_dir=given)
    assert Path(builder.data_dir) == made.directory
    assert builder.info.full_name == f"manifest/{made.directory.parent.name}/1.0.0"
    assert [one["id"].decode() for one in builder.as_data_source(split="train")] == [
        f"{number}.wav" for number in range(5)]  # in the order of the manifest


def test_overwrite(tmp_path, given):
    directory = Path(prepare("manifest", tmp_path, manual_dir=given).data_dir)
    before = directory.stat().st_ino
    prepare("manifest", tmp_path, manual_dir=given)
    assert directory.stat().st_ino == before
    again = prepare("manifest", tmp_path, manual_dir=given,
                    download_mode=tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS)
    assert directory.stat().st_ino != before
    assert again.info.splits["train"].num_examples == 5


def test_which_manifest(tmp_path, given):
    shutil.copy(given / "m.csv", given / "second.csv")
    with pytest.raises(UserError, match=r"must hold one manifest, or --config=NAME says which; found m\.csv, second"):
        prepare("manifest", tmp_path, manual_dir=given)
    (given / "m.csv").write_text("path,label,speaker\n0.wav,,\n", encoding="utf-8")
    assert prepare("manifest", tmp_path, "m.csv", manual_dir=given).info.splits["train"].num_examples == 1
    assert prepare("manifest", tmp_path, "second.csv", manual_dir=given).info.splits["train"].num_examples == 5
    assert prepare("manifest", tmp_path, manual_dir=given / "m.csv").info.splits["train"].num_examples == 1
    with pytest.raises(UserError, match=r"third\.csv"):
        prepare("manifest", tmp_path, "third.csv", manual_dir=given)
    with pytest.raises(UserError, match=r"found none that ends in \.csv"):
        prepare("manifest", tmp_path, manual_dir=tmp_path / "nothing")
    with pytest.raises(UserError, match="--manual_dir=FOLDER"):
        prepare("manifest", tmp_path / "empty")


def test_subsets(tmp_path):
    small_builders.WRITE["librispeech"](tmp_path / "given")
    for config, subsets, count in (("dev-clean", "dev-clean", 7), (None, "dev-clean+train-clean-100", 10),
                                   ("train-clean-100+dev-clean", "dev-clean+train-clean-100", 10)):
        builder = prepare("librispeech", tmp_path / "records", config, manual_dir=tmp_path / "given")
        assert builder.info.splits["train"].num_examples == count
        assert Path(builder.data_dir).parent.name.rpartition("-")[0] == subsets
    assert len(list((tmp_path / "records").rglob("utterances.json"))) == 2
    with pytest.raises(UserError, match="'clean' is no subset of LibriSpeech"):
        prepare("librispeech", tmp_path / "records", "clean", manual_dir=tmp_path / "given")


@pytest.mark.parametrize(("option", "complaint"), [
    ({"max_examples_per_split": 3}, "--max_examples_per_split is not supported: a part of a corpus would later be"),
    ({"max_examples_per_split": 0}, "--max_examples_per_split is not supported"),
    ({"register_checksums": True}, "--register_checksums is not supported"),
    ({"force_checksums_validation": True}, "--force_checksums_validation is not supported"),
    ({"ignore_duplicates": True}, "--ignore_duplicates is not supported"),
    ({"download_mode": tfds.download.GenerateMode.UPDATE_DATASET_INFO}, "--update_metadata_only is not supported"),
    ({"num_shards": 0}, "--num_shards is 0; it must be positive"),
    ({"max_shard_size": -1 << 20}, "--max_shard_size is -1048576; it must be positive"),
    ({"manual_dir": "gs://bucket/corpus"}, "gs://bucket/corpus: corpora are read and written through the file"),
])
def test_options_that_are_refused(tmp_path, given, option, complaint):
    with pytest.raises(UserError) as error:
        prepare("manifest", tmp_path / "records", **{"manual_dir": given, **option})
    assert complaint in str(error.value)
    assert not (tmp_path / "records").exists()


def test_other_formats_are_refused(tmp_path):
    for wrong in ("tfrecord", tfds.core.FileFormat.RIEGELI):
        with pytest.raises(UserError, match=r"--file_format=\w+ is not supported: training reads array_record"):
            registry.builder_class("demo")(data_dir=str(tmp_path), file_format=wrong)
    for right in (None, "array_record", tfds.core.FileFormat.ARRAY_RECORD):
        builder = registry.builder_class("demo")(data_dir=str(tmp_path), file_format=right)
        assert builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD


def test_errors_within_the_program_name_its_flags(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets.scripts.cli.main", sys)
    with pytest.raises(SystemExit) as end, command.told():
        raise UserError("EMOVO is not on this machine; --config.data.manual_dir=FOLDER")
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: EMOVO is not on this machine; --manual_dir=FOLDER\n"
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", "tfds", raising=False)
    with command.told():
        assert main.__file__ is None  # spawned processes would import it
    assert main.__file__ == "tfds"
