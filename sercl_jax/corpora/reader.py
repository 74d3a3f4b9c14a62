"""A corpus whose records are built."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import audio, files
from sercl_jax.corpora import index
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance


@dataclass(frozen=True)
class Corpus:
    """Utterances sorted by id, and their samples.

    Picklable and small: another process reopens the records when it first asks for samples. Needs neither JAX
    nor TensorFlow.

    Attributes:
      name: name of its builder.
      directory: folder of the records.
      key: hexadecimal digest of name, version and content; equal keys mean equal audio and labels.
      labels: the emotions that occur, in alphabetical order.
      utterances: U utterances, sorted by id.
      positions: [U] row of each utterance in the records, whose order is TFDS's.
      starts: [U] first sample of each that is used, where digital silence was trimmed; () if none was.
      copies: ids of utterances with the same samples, in groups of two or more.
    """

    name: str
    directory: Path
    key: str
    labels: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    positions: tuple[int, ...]
    starts: tuple[int, ...] = ()
    copies: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.utterances)

    def waveform(self, u: int) -> np.ndarray:
        """Samples of utterance u: [S] int16 at 16 kHz, read-only.

        Raises:
          UserError: the records on disk are damaged.
        """
        cure = "remove the folder, and the next run builds it again"
        try:
            example = self._records()[self.positions[u]]
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"{self.directory}: the records are damaged ({error}); {cure}.") from error
        if example["id"].decode() != self.utterances[u].id:
            raise UserError(f"{self.directory}: the records do not match {index.FILE}; {cure}.")
        samples = example["waveform"]
        return samples[self.starts[u]:][:self.utterances[u].num_samples] if self.starts else samples

    def _records(self) -> Any:
        if "_opened" not in self.__dict__:
            object.__setattr__(self, "_opened", index.open_records(self.directory))
        return self.__dict__["_opened"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def open_corpus(name: str, directory: Path, trim: bool = False) -> Corpus:
    """Opens built records; their index must be intact (`index.read` says whether it is).

    Args:
      name: of the corpus.
      directory: of the records.
      trim: whether digital silence (samples that are 0) at the beginning and the end of every utterance is left out;
        at least 25 ms stay. The key changes if anything was.
    """
    content = index.read(directory)
    if content is None:
        raise UserError(f"{directory}: the records are incomplete; remove the folder and run again.")
    labels = tuple(sorted({utterance.label for utterance in content.utterances} - {""}))
    corpus = Corpus(name=name, directory=directory, key=content.key, labels=labels,
                    utterances=content.utterances, positions=content.positions, copies=content.copies)
    return _trimmed(corpus, content.silence) if trim else corpus


def _trimmed(corpus: Corpus, silence: tuple[tuple[int, int], ...]) -> Corpus:
    if len(silence) != len(corpus):
        raise UserError(f"{corpus.directory}: the records do not tell where silence is; remove the folder, and the "
                        "next run builds it again.")
    kept = [audio.trimmed(utterance.num_samples, *edges)
            for utterance, edges in zip(corpus.utterances, silence, strict=True)]
    utterances = tuple(replace(utterance, num_samples=length) if length < utterance.num_samples else utterance
                       for utterance, (_, length) in zip(corpus.utterances, kept, strict=True))
    if utterances == corpus.utterances:  # the same objects, so that unknown ratings (NaN) count as equal
        return corpus
    return replace(corpus, key=files.digest(["trimmed", corpus.key, kept]), utterances=utterances,
                   starts=tuple(start for start, _ in kept))
