"""Any audio file -> 16 kHz mono int16, or a `UserError` that says what is wrong with it."""

import io
import math
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE

SHORTEST = 0.025  # seconds; one analysis window
# A segment may end this long after its file does: annotations are rounded.
END_TOLERANCE = 0.05  # seconds
# Programs that write to a pipe cannot know the length and put a size at least this large, or 0.
_UNKNOWN_SIZE = 0x7FFFF000
_OGG_END_OF_STREAM = 0x04
_OGG_PAGE = 65_307  # bytes, the largest possible
_CURE = "mend or remove it, or leave such files out with on_error=skip"


def decode(source: Path | bytes, *, name: str | None = None, start: float | None = None,
           end: float | None = None) -> np.ndarray:
    """Reads one utterance.

    Mono 16-bit audio at 16 kHz comes through bit for bit. Several channels are averaged, other rates resampled
    (soxr, high quality), float samples beyond full scale clipped.

    Args:
      source: a file, or the bytes of one.
      name: what messages call it; the path by default.
      start, end: seconds from the beginning of the file; None means its beginning and its end.

    Returns:
      [S] int16 at 16 kHz.

    Raises:
      UserError: it is missing, empty, truncated, not audio, silent, shorter than 25 ms, or holds NaN or infinite
        samples, or the segment lies outside it.
    """
    name = str(source) if name is None and isinstance(source, Path) else name or "audio"
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            _check_complete(file, name)
            samples, rate = _samples(file, name, start, end)
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror}); {_CURE}.") from error
    if not np.isfinite(samples).all():
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        raise UserError(f"{name}: {bad} samples are NaN or infinite; {_CURE}.")
    mono = samples.mean(axis=1)
    if rate != SAMPLE_RATE and len(mono):
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    if len(mono) < SHORTEST * SAMPLE_RATE:
        raise UserError(f"{name}: lasts {1000 * len(mono) / SAMPLE_RATE:.1f} ms, less than one analysis window "
                        f"({1000 * SHORTEST:.0f} ms); {_CURE}.")
    pcm = to_int16(mono)
    if pcm.min() == pcm.max():
        raise UserError(f"{name}: holds digital silence only (every sample is {pcm[0]}); {_CURE}.")
    return pcm


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """A waveform [S] at 16 kHz, int16 or floats in [-1, 1], as int16; floats beyond full scale are clipped.

    Raises:
      UserError: several channels, another type, or NaN or infinite samples.
    """
    if waveform.ndim != 1:
        raise UserError(f"The waveform has shape {waveform.shape}; one channel is needed, [samples].")
    if waveform.dtype == np.int16:
        return waveform
    if not np.issubdtype(waveform.dtype, np.floating):
        raise UserError(f"The waveform holds {waveform.dtype}; int16 or floats in [-1, 1] are needed.")
    if not np.isfinite(waveform).all():
        raise UserError("The waveform holds NaN or infinite samples; mend the recording.")
    return np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)


def silence(waveform: np.ndarray) -> tuple[int, int]:
    """How many samples at the beginning and at the end of a waveform [S] are 0, which is digital silence."""
    sound = np.flatnonzero(waveform)
    return (len(waveform), len(waveform)) if not len(sound) else (int(sound[0]), len(waveform) - 1 - int(sound[-1]))


def trimmed(samples: int, leading: int, trailing: int) -> tuple[int, int]:
    """What is left without the digital silence at both ends, but 25 ms at least.

    Args:
      samples: the length of the waveform.
      leading, trailing: as `silence` counts them.

    Returns:
      The first sample that stays, and how many do.
    """
    shortest = math.ceil(SHORTEST * SAMPLE_RATE)
    length = max(samples - leading - trailing, min(shortest, samples))
    return min(leading, samples - length), length


def seconds(source: Path) -> float:
    """The length of an audio file by its header, without decoding it; 0 if it cannot be read."""
    try:
        return float(soundfile.info(source).duration)
    except (soundfile.SoundFileError, OSError):
        return 0.0  # `decode` will say what is wrong with it


def _samples(content: BinaryIO, name: str, start: float | None, end: float | None) -> tuple[np.ndarray, int]:
    """[S, channels] float64 in [-1, 1] (beyond it for float files), and the sampling rate in Hz."""
    try:
        with soundfile.SoundFile(content) as file:
            rate, total = file.samplerate, file.frames
            first = 0 if start is None else round(start * rate)
            last = total if end is None else round(end * rate)
            if first >= total > 0 or last > total + END_TOLERANCE * rate:
                raise UserError(f"{name}: the segment {0 if start is None else start:g}-"
                                f"{total / rate if end is None else end:g} s lies outside the file, which lasts "
                                f"{total / rate:.3f} s; correct its start and end.")
            last = min(last, total)
            file.seek(first)
            samples = file.read(last - first, dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise UserError(f"{name}: is not audio that soundfile can read, or is damaged ({error}); {_CURE}.") from error
    if len(samples) < last - first:
        raise UserError(f"{name}: is truncated ({len(samples)} of {last - first} samples can be read); {_CURE}.")
    return samples, rate


def _check_complete(file: BinaryIO, name: str) -> None:
    """Raises for empty files, and WAV and Ogg files that end too early, which libsndfile reads without a word."""
    size = file.seek(0, io.SEEK_END)
    if not size:
        raise UserError(f"{name}: the file is empty (0 bytes); {_CURE}.")
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        while len(header := file.read(8)) == 8:
            chunk, length = struct.unpack("<4sI", header)
            if chunk == b"data":
                there = size - file.tell()
                if there < length < _UNKNOWN_SIZE:
                    raise UserError(f"{name}: is truncated (its header promises {length} bytes of samples, {there} "
                                    f"are there); {_CURE}.")
                break
            file.seek(length + length % 2, io.SEEK_CUR)
    elif head[:4] == b"OggS":
        file.seek(max(0, size - _OGG_PAGE))
        tail = file.read()
        page = tail.rfind(b"OggS")
        if page < 0 or len(tail) < page + 6 or not tail[page + 5] & _OGG_END_OF_STREAM:
            raise UserError(f"{name}: is truncated (its last Ogg page is not marked as the end); {_CURE}.")
    file.seek(0)
