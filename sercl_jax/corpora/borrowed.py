"""Corpora that TFDS has builders of: what those say of each example, without TensorFlow and without their records.

A TFDS builder of audio first finds files, through a download manager and `tf.io.gfile`, and then names each one's
label and speaker, and its split. Here its own code does so, shown the files that we have; we decode them.
"""

import fnmatch
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import tensorflow_datasets as tfds

from sercl_jax.corpora.labels import canonical


def examples(builder_class: type[tfds.core.GeneratorBasedBuilder], *, paths: Sequence[str] = (),
             texts: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    """What a builder of TFDS says of its examples.

    Args:
      builder_class: its features have `label` and `speaker_id`.
      paths: files that it can find.
      texts: address or path -> content of what it reads.

    Returns:
      Key -> `label` (canonical), `speaker` and `split`.
    """
    builder = object.__new__(builder_class)  # making one makes its audio feature, which needs TensorFlow
    told = {}
    with _shown(sys.modules[builder_class.__module__], paths, texts or {}):
        for split in builder._split_generators(_Manager()):
            for key, example in builder._generate_examples(**split.gen_kwargs):
                told[key] = {"label": canonical(example["label"]), "speaker": example["speaker_id"],
                             "split": str(split.name)}
    return told


class _Manager:
    """A download manager for which everything is there: addresses and archives stand for themselves."""

    manual_dir = ""

    def download_checksums(self, url: str) -> None:
        pass

    def download(self, addresses: Any) -> Any:
        return addresses

    def extract(self, path: str) -> str:
        return path


@contextmanager
def _shown(module: Any, paths: Sequence[str], texts: Mapping[str, str]) -> Iterator[None]:
    """Puts the files in the place of TensorFlow's file system in a module."""
    gfile = SimpleNamespace(GFile=lambda path: io.StringIO(texts[path]), exists=lambda path: True,
                            glob=lambda pattern: fnmatch.filter(paths, pattern))
    tensorflow = module.tf
    module.tf = SimpleNamespace(io=SimpleNamespace(gfile=gfile))
    try:
        yield
    finally:
        module.tf = tensorflow
