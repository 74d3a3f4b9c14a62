"""Loading corpora: what is stored, how it is found, and what damage does."""

import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora
from sercl_jax.corpora import registry
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance


@pytest.fixture
def manifest(tmp_path) -> Path:
    random = np.random.default_rng(0)
    lines = ["path,label,speaker,valence"]
    for number in range(12):
        samples = random.integers(-9000, 9000, 800 + number).astype(np.int16)
        soundfile.write(tmp_path / f"{number}.wav", samples, 16_000)
        lines.append(f"{number}.wav,{'sad' if number % 2 else 'happy'},{number % 3},{number / 4 if number else ''}")
    path = tmp_path / "m.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def load(manifest, **options):
    return corpora.load("manifest", cache_dir=manifest.parent / "cache", manifest=manifest,
                        **({"workers": 0, "progress": False} | options))


def expected(manifest, name) -> np.ndarray:
    return soundfile.read(manifest.parent / name, dtype="int16")[0]


def test_utterances_are_sorted_by_id_and_match_their_samples(manifest):
    corpus = load(manifest)
    assert len(corpus) == 12
    assert [u.id for u in corpus.utterances] == sorted(f"{number}.wav" for number in range(12))
    assert corpus.labels == ("happy", "sad")
    for u, utterance in enumerate(corpus.utterances):
        waveform = corpus.waveform(u)
        assert waveform.dtype == np.int16
        assert len(waveform) == utterance.num_samples
        np.testing.assert_array_equal(waveform, expected(manifest, utterance.id))
    assert corpus.utterances[5].valence == 0.75  # 3.wav
    assert math.isnan(corpus.utterances[0].valence)
    assert isinstance(corpus.utterances[0], Utterance)


def test_worker_count_changes_nothing(manifest, tmp_path):
    two = corpora.load("manifest", cache_dir=tmp_path / "two", manifest=manifest, workers=2, progress=False)
    assert two.key == load(manifest).key


def test_a_pickled_corpus_opens_its_records_again(manifest):
    corpus = load(manifest)
    corpus.waveform(0)
    copy = pickle.loads(pickle.dumps(corpus))
    np.testing.assert_array_equal(copy.waveform(7), corpus.waveform(7))
    assert repr(copy) == repr(corpus)  # NaN is not equal to itself
    assert len(pickle.dumps(corpus)) < 4000


@pytest.mark.parametrize(("name", "hint"), [("emobd", "did you mean 'emodb'?"), ("iemcap", "Known corpora: "),
                                            ("", "Known corpora: ")])
def test_unknown_corpus(tmp_path, name, hint):
    with pytest.raises(UserError) as error:
        corpora.load(name, cache_dir=tmp_path)
    assert f"corpus {name!r} is unknown" in str(error.value)
    assert hint in str(error.value)


def test_names():
    assert {"demo", "emodb", "manifest"} <= set(corpora.NAMES)
    for name in corpora.NAMES:
        assert registry.builder_class(name).name == name


def test_wrong_options(manifest, tmp_path):
    with pytest.raises(UserError, match="on_error is 'ignore'"):
        load(manifest, on_error="ignore")
    with pytest.raises(UserError, match="corpus demo takes no manifest"):
        corpora.load("demo", cache_dir=tmp_path, manifest=manifest)


def shard(corpus) -> Path:
    (path,) = corpus.directory.glob("*.array_record*")
    return path


def truncate_shard(corpus):
    shard(corpus).write_bytes(shard(corpus).read_bytes()[:-1000])


def remove_index(corpus):
    (corpus.directory / "utterances.json").unlink()


def truncate_index(corpus):
    path = corpus.directory / "utterances.json"
    path.write_text(path.read_text(encoding="utf-8")[:-300], encoding="utf-8")


def edit_index(corpus):
    path = corpus.directory / "utterances.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["utterances"][0]["label"] = "angry"
    path.write_text(json.dumps(value), encoding="utf-8")


def remove_shard(corpus):
    shard(corpus).unlink()


@pytest.mark.parametrize("damage", [truncate_shard, remove_index, truncate_index, edit_index, remove_shard])
def test_damaged_records_are_built_again(manifest, damage):
    corpus = load(manifest)
    damage(corpus)
    again = load(manifest)
    assert again.key == corpus.key
    assert again.labels == ("happy", "sad")
    np.testing.assert_array_equal(again.waveform(3), expected(manifest, again.utterances[3].id))


def test_bits_that_rot_are_noticed(manifest):
    corpus = load(manifest)
    content = bytearray(shard(corpus).read_bytes())
    # The samples are noise, which does not compress: most of the file is theirs.
    content[len(content) // 2] ^= 1
    shard(corpus).write_bytes(content)
    again = load(manifest)
    with pytest.raises(UserError, match=r"the records are damaged .*remove the folder"):
        [again.waveform(u) for u in range(len(again))]


def test_what_killed_builds_left_is_removed(manifest):
    corpus = load(manifest)
    remove_index(corpus)
    for name in ("incomplete.ABCDEF_1.0.0", ".1.0.0.deadbeef.tmp"):
        (corpus.directory.parent / name).mkdir()
        (corpus.directory.parent / name / "part").write_bytes(b"half")
    load(manifest)
    assert sorted(path.name for path in corpus.directory.parent.iterdir()) == ["1.0.0", "1.0.0.lock"]


SCRIPT = """
import sys
from pathlib import Path
from sercl_jax import corpora
if __name__ == "__main__":
    corpus = corpora.load("manifest", cache_dir=Path(sys.argv[1]), manifest=Path(sys.argv[2]), workers=2)
    corpus.waveform(0)
    print(corpus.key, *(name for name in ("tensorflow", "jax", "torch") if name in sys.modules))
"""


def test_neither_building_nor_reading_imports_tensorflow_or_jax(manifest, tmp_path):
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT, encoding="utf-8")
    for _ in ("build", "read"):
        run = subprocess.run([sys.executable, script, tmp_path / "cache2", manifest], cwd=script.parent,
                             capture_output=True, text=True, timeout=120, check=True)
        assert run.stdout.split() == [load(manifest).key]


LAYOUTS = """
import sys
from sercl_jax.corpora import registry
print(*(registry.builder_class(name).__module__ for name in registry.names()))
print(sys.modules["sercl_jax.data_builders"].__path__[0])
"""


def test_builders_are_found_in_a_wheel(tmp_path):
    """A wheel carries data_builders inside the package."""
    root = Path(registry.__file__).parents[2]
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "sercl_jax", tmp_path / "sercl_jax", ignore=ignore)
    shutil.copytree(root / "data_builders", tmp_path / "sercl_jax" / "data_builders", ignore=ignore)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", LAYOUTS], cwd=tmp_path, env=environment, capture_output=True,
                         text=True, timeout=120, check=True)
    modules, folder = run.stdout.splitlines()
    assert modules.split() == [f"sercl_jax.data_builders.{name}.{name}_dataset_builder" for name in corpora.NAMES]
    assert folder == str(tmp_path / "sercl_jax" / "data_builders")


BY_TFDS = """
import sys
import tensorflow_datasets as tfds
sys.path.insert(0, sys.argv[1])  # as `tfds build data_builders/<name>` does
for name in sys.argv[2:]:
    builder = tfds.core.community.builder_cls_from_module(f"{name}.{name}_dataset_builder")
    print(builder.name, builder.VERSION)
"""


def test_builders_can_be_imported_as_the_tfds_command_does():
    folder = Path(registry.__file__).parents[2] / "data_builders"
    run = subprocess.run([sys.executable, "-c", BY_TFDS, folder, *corpora.NAMES], capture_output=True, text=True,
                         timeout=120, check=True)
    assert [line.split()[0] for line in run.stdout.splitlines()] == list(corpora.NAMES)
