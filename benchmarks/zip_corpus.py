"""Corpora for benchmarks of features: the wav files of a zip, or some of a corpus's utterances."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import soundfile

from sercl_jax import features
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE, Utterance


class ZipCorpus:
    """The wav files of a zip, held in memory."""

    def __init__(self, path: Path):
        self.name, self.key = path.stem, "benchmark"
        self._waveforms = []
        utterances = []
        try:
            with zipfile.ZipFile(path) as archive:
                for member in sorted(name for name in archive.namelist() if name.lower().endswith(".wav")):
                    waveform, rate = soundfile.read(io.BytesIO(archive.read(member)), dtype="int16")
                    if rate != SAMPLE_RATE or waveform.ndim != 1:
                        raise UserError(f"{path}: {member} is not 16 kHz mono.")
                    self._waveforms.append(waveform)
                    utterances.append(Utterance(id=member, num_samples=len(waveform)))
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not a readable zip ({error}).") from error
        if not utterances:
            raise UserError(f"{path}: holds no wav files.")
        self.utterances = tuple(utterances)

    def __len__(self) -> int:
        return len(self.utterances)

    def waveform(self, u: int) -> np.ndarray:
        return self._waveforms[u]


class Part:
    """Some of a corpus's utterances."""

    def __init__(self, corpus: features.Corpus, rows: list[int]):
        self.name, self.key, self._corpus, self._rows = corpus.name, corpus.key, corpus, rows
        self.utterances = tuple(corpus.utterances[u] for u in rows)

    def __len__(self) -> int:
        return len(self._rows)

    def waveform(self, u: int) -> np.ndarray:
        return self._corpus.waveform(self._rows[u])


def load_corpus(corpus_zip: Path | None) -> features.Corpus:
    """The zip's files, or the demo corpus, whose records are built if missing."""
    if corpus_zip is not None:
        return ZipCorpus(corpus_zip)
    from sercl_jax import corpora

    cache = Path(os.environ.get("SERCL_CACHE") or "~/.cache/sercl_jax").expanduser().resolve()
    return corpora.load("demo", cache_dir=cache)
