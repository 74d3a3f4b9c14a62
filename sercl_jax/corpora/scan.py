"""What one utterance's audio is like. Runs in worker processes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import audio
from sercl_jax.corpora import archives, registry
from sercl_jax.corpora.base import CorpusBuilder
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE

# Converters cut off at full scale, and what is cut off is flat.
FULL_SCALE = 0.99  # 8-bit samples end at 127 / 128
FLAT = 3  # equal samples at full scale, one after another


@dataclass(frozen=True)
class Scan:
    """Facts of one utterance, measured on the samples that its record will hold unless said otherwise.

    Attributes:
      error: why it cannot be used; "" if it can. Of an unusable one nothing else is known.
      digest: hexadecimal, of the samples.
      seconds: how long it lasts.
      level: root mean square in dB of full scale.
      peak: largest magnitude in dB of full scale.
      leading, trailing: seconds of digital silence (samples that are 0) at its beginning and its end.
      zeros: share of samples that are 0.
      offset: mean, as a share of full scale.
      clipped: samples of the file, in all channels, that are flat at full scale.
      rate, channels, encoding: of the file: Hz, number, and words such as "WAV PCM_16"; 0 and "" if there is none.
    """

    error: str = ""
    digest: str = ""
    seconds: float = 0.0
    level: float = 0.0
    peak: float = 0.0
    leading: float = 0.0
    trailing: float = 0.0
    zeros: float = 0.0
    offset: float = 0.0
    clipped: int = 0
    rate: int = 0
    channels: int = 0
    encoding: str = ""


def scan(corpus: str, source: Source) -> Scan:
    """Decodes one utterance and measures it; nothing is written, and nothing raised for audio that cannot be used.

    Args:
      corpus: name of its builder.
      source: the utterance.
    """
    builder = registry.builder_class(corpus)
    tally = _Tally()
    rate, channels, encoding = 0, 0, ""
    try:
        if _decodes(builder):
            recording = audio.read(_content(source), name=str(source), start=source.start, end=source.end,
                                   observe=tally)
            waveform = audio.standard(recording, str(source))
            rate, channels, encoding = recording.rate, recording.channels, recording.encoding
        else:
            waveform = builder.waveform(source)
    except UserError as error:
        return Scan(error=str(error))
    return Scan(**measure(waveform), clipped=tally.clipped, rate=rate, channels=channels, encoding=encoding)


def _decodes(builder: Any) -> bool:
    """Whether a builder's samples are those of its files, or it makes something of them, or of nothing."""
    return builder.waveform.__func__ is vars(CorpusBuilder)["waveform"].__func__


def _content(source: Source) -> Path | bytes:
    assert source.path is not None, "a builder that synthesises overrides `waveform`"
    if source.member is None:
        return source.path
    return archives.read(source.path, source.member, source.offset, source.size)


def measure(waveform: np.ndarray) -> dict:
    """The facts of a waveform [S] int16 that is not silent, by the names that `Scan` gives them."""
    samples = waveform.astype(np.float64) / 32768
    leading, trailing = audio.silence(waveform)
    return {"digest": hashlib.sha256(np.ascontiguousarray(waveform).tobytes()).hexdigest()[:16],
            "seconds": len(waveform) / SAMPLE_RATE, "level": _decibels(np.sqrt(np.mean(samples**2))),
            "peak": _decibels(np.abs(samples).max()), "leading": leading / SAMPLE_RATE,
            "trailing": trailing / SAMPLE_RATE, "zeros": float(np.mean(waveform == 0)),
            "offset": float(samples.mean())}


def _decibels(amplitude: np.floating) -> float:
    return float(20 * np.log10(amplitude))


class _Tally:
    """Counts clipped samples block by block; a run across two blocks counts as two runs."""

    def __init__(self) -> None:
        self.clipped = 0

    def __call__(self, block: np.ndarray) -> None:
        self.clipped += clipped(block)


def clipped(block: np.ndarray) -> int:
    """How many of the samples [s, channels] are in runs of `FLAT` or more equal ones at full scale."""
    count = 0
    for channel in np.ascontiguousarray(block.T):
        edges = np.flatnonzero(np.diff(channel)) + 1
        starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(channel)]])
        long = ends - starts >= FLAT
        count += int((ends - starts)[long & (np.abs(channel[starts]) >= FULL_SCALE)].sum())
    return count
