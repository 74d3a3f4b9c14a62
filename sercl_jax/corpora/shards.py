"""Examples -> array_record shards in a stream, without TensorFlow.

TFDS's own writer keeps a whole split to shuffle it, above 1 GiB in temporary files that TensorFlow writes
(core/shuffle.py). Training draws an order of its own, so records keep the corpus' order, and no more than one example
is held.
"""

import contextlib
import functools
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from sercl_jax.types import Utterance


class WriteError(Exception):
    """A shard cannot be written; the message is the reason."""


@dataclass(frozen=True)
class Shard:
    """A finished file of `examples` examples, which take `size` bytes before compression."""

    name: str
    examples: int
    size: int


def features() -> tfds.features.FeaturesDict:
    """What a record holds."""
    text = tfds.features.Text
    return tfds.features.FeaturesDict({
        "id": text(),
        # "bytes": read and written without TensorFlow.
        "waveform": tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes"),
        "label": text(), "speaker": text(), "session": text(), "sentence": text(), "gender": text(),
        "split": text(), "fold": text(),
        "activation": np.float32, "valence": np.float32, "dominance": np.float32,
    })


def example(utterance: Utterance, waveform: np.ndarray) -> dict[str, Any]:
    """The record of an utterance with samples [S] int16."""
    known = asdict(utterance)
    del known["num_samples"], known["corpus"]  # the one is known by the samples, the other later
    return known | {"waveform": waveform}


def write(examples: Iterable[dict[str, Any]], folder: Path, largest: int) -> list[Shard]:
    """Writes examples in their order, to as few files as `largest` bytes of examples each allow.

    Names are unlike all others in the folder: an Apache Beam runner may run one piece of work twice.

    Raises:
      WriteError: the disk is full, or the like.
    """
    done: list[Shard] = []
    writer: _Writer | None = None
    for one in examples:
        record = _serialized(one)
        if writer is not None and writer.size + len(record) > largest:
            done.append(writer.close())
            writer = None
        writer = writer or _Writer(folder)
        writer.add(record)
    if writer is not None:
        done.append(writer.close())
    return done


class _Writer:
    """One file that grows."""

    def __init__(self, folder: Path):
        self.name, self.examples, self.size = f"part-{uuid.uuid4().hex}", 0, 0
        with _reasons():
            # As TFDS writes them: each record can be read by itself.
            self._file = array_record_module.ArrayRecordWriter(str(folder / self.name), "group_size:1")

    def add(self, record: bytes) -> None:
        with _reasons():
            self._file.write(record)
        self.examples, self.size = self.examples + 1, self.size + len(record)

    def close(self) -> Shard:
        with _reasons():
            self._file.close()
        return Shard(self.name, self.examples, self.size)


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # so array_record says that writing failed
        raise WriteError(str(error).partition(";")[0]) from error


def _serialized(one: dict[str, Any]) -> bytes:
    known, serializer = _encoder()
    return serializer.serialize_example(known.encode_example(one))


@functools.cache
def _encoder() -> tuple[tfds.features.FeaturesDict, tfds.core.ExampleSerializer]:
    known = features()
    return known, tfds.core.ExampleSerializer(known.get_serialized_info())
