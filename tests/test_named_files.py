"""What builders of named files and borrowed builders of TFDS share, on toys."""

import types
from pathlib import Path
from typing import ClassVar

import pytest
import tensorflow_datasets as tfds

from sercl_jax.corpora import columns
from sercl_jax.corpora.base import Options
from sercl_jax.corpora.borrowed import examples
from sercl_jax.corpora.named_files import NamedFiles
from sercl_jax.errors import UserError
from tests.named_corpora import write_zip


class Toy(NamedFiles, skip_registration=True):
    """Names tell the speaker only; a table tells the emotion."""

    VERSION = tfds.core.Version("1.0.0")
    TITLE = "TOY"
    FILES = r"(?P<speaker>[a-z]+)[0-9]+[.]wav"
    TABLES = ("list[.]csv",)
    COUNTS: ClassVar = {"label": {"sad": 1, "happy": 1}}

    def details(self, files, tables):
        return {row["name"]: {"label": row["emotion"]} for row in columns.read(tables[0], ("name", "emotion"))}


def sources(folder: Path, names: list[str], rows: list[str]):
    place = write_zip(folder / "toy.zip", names, {"list.csv": "\n".join(["name,emotion", *rows]).encode()})
    return Toy(data_dir=str(folder / "data"), options=Options(manual_dir=place)).sources()


def test_labels_from_a_table(tmp_path):
    found = [source.utterance for source in sources(tmp_path, ["b2.wav", "a1.wav"], ["a1,sad", "b2,happy"])]
    assert [(u.id, u.label, u.speaker, u.gender, u.sentence) for u in found] == [
        ("a1", "sad", "a", "", ""), ("b2", "happy", "b", "", "")]


@pytest.mark.parametrize(("names", "rows", "complaint"), [
    (["a1.wav"], ["a1,sad", "b2,happy"], "TOY's files are not those .*: 1 of 2 utterances; missing: b2"),
    (["a1.wav", "b2.wav"], ["a1,sad"], "2 of 1 utterances; unknown: b2"),
    (["a1.wav", "b2.wav"], ["a1,sad", "b2,sad"], "2 of 2 .*; label: happy 0 instead of 1, sad 2 instead of 1"),
])
def test_names_and_counts_must_hold(tmp_path, names, rows, complaint):
    with pytest.raises(UserError, match=complaint):
        sources(tmp_path, names, rows)


tf = types.SimpleNamespace(name="the real one")  # the module's TensorFlow, as a builder of TFDS has it


class Borrowed(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Like the builders of TFDS: it could not be made without TensorFlow, and needs it to find its files."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self):
        raise AssertionError("is never made")

    def _info(self):
        raise AssertionError("is never asked")

    def _split_generators(self, dl_manager):
        dl_manager.download_checksums("https://example.org/sums")
        listed = dl_manager.download({"list": "https://example.org/list"})["list"]
        folder = dl_manager.extract(f"{dl_manager.manual_dir}audio.zip")
        assert tf.io.gfile.exists(folder)
        with tf.io.gfile.GFile(listed) as file:
            emotions = dict(line.split() for line in file)
        return [tfds.core.SplitGenerator(name=split, gen_kwargs={"paths": tf.io.gfile.glob(f"{folder}/{split}/*.wav"),
                                                                 "emotions": emotions})
                for split in (tfds.Split.TRAIN, tfds.Split.TEST)]

    def _generate_examples(self, paths, emotions):
        for path in paths:
            name = Path(path).stem
            yield name, {"audio": path, "label": emotions[name], "speaker_id": name[0]}


def test_a_builder_of_tfds_sees_our_files():
    paths = ["audio.zip/train/a1.wav", "audio.zip/train/readme.txt", "audio.zip/test/b1.wav", "other.zip/train/c.wav"]
    texts = {"https://example.org/list": "a1 anger\nb1 SAD\n"}
    assert examples(Borrowed, paths=paths, texts=texts) == {
        "a1": {"label": "angry", "speaker": "a", "split": "train"},
        "b1": {"label": "sad", "speaker": "b", "split": "test"}}
    with pytest.raises(KeyError):
        examples(Borrowed, paths=paths, texts={"https://example.org/list": ""})
    assert tf.name == "the real one"
