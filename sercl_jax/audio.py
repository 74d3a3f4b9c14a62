"""Any audio file -> 16 kHz mono int16, or a `UserError` that says what is wrong with it."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from sercl_jax import containers
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE

SHORTEST = 0.025  # seconds; one analysis window
LOWEST_RATE, HIGHEST_RATE = 4_000, 768_000  # Hz; others are damage, and would fill the memory with samples
# A segment may end this long after its file does: annotations are rounded.
END_TOLERANCE = 0.05  # seconds
LOUDEST = 16.0  # times full scale; float samples beyond it are damaged, or scaled to integers
_UNKNOWN_LENGTH = 1 << 62  # samples; libsndfile says that there are more where the header does not tell
_BLOCK = 1 << 18  # samples that are read at once, of all channels together
SKIP = ", or leave such files out with on_error=skip"  # at the end of messages; builders know that option
CURE = f"mend or remove it{SKIP}"


class _Straight(soundfile.SoundFile):
    """Reads on without the seek that soundfile makes after every block, which FLAC of unknown length refuses."""

    def seekable(self) -> bool:
        return False


class _Tame:
    """A file that stays where it is when it is told to go nowhere, as libsndfile tells it after damaged headers.

    What a callback of libsndfile raises is not raised but printed.
    """

    def __init__(self, file: BinaryIO):
        self._file, self.read, self.tell = file, file.read, file.tell
        self.readinto = file.readinto  # type: ignore[attr-defined]

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self._file.tell()


@dataclass(frozen=True)
class Recording:
    """Audio as its file holds it, but for the channels, which are averaged.

    Attributes:
      samples: [S] float64 in [-1, 1] (beyond it for float files), finite.
      rate: Hz.
      channels: how many there were.
      encoding: such as "WAV PCM_16".
    """

    samples: np.ndarray
    rate: int
    channels: int
    encoding: str


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
        samples, ones of over 16 times full scale, or the segment lies outside it.
    """
    name = _name(source, name)
    return standard(read(source, name=name, start=start, end=end), name)


def read(source: Path | bytes, *, name: str | None = None, start: float | None = None, end: float | None = None,
         observe: Callable[[np.ndarray], None] | None = None) -> Recording:
    """Reads one utterance at its own sampling rate; arguments and errors are those of `decode`.

    Args:
      observe: is called with the samples of all channels, [s, channels] float64, some at a time.
    """
    name = _name(source, name)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            if not file.seek(0, io.SEEK_END):
                raise UserError(f"{name}: the file is empty (0 bytes); {CURE}.")
            if missing := containers.lacking(file):
                raise UserError(f"{name}: is truncated or damaged ({missing}); {CURE}.")
            return _recording(file, name, start, end, observe)
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror}); {CURE}.") from error


def standard(recording: Recording, name: str) -> np.ndarray:
    """A recording as records hold it, [S] int16 at 16 kHz; errors are those of `decode`."""
    mono = recording.samples
    if recording.rate != SAMPLE_RATE and len(mono):
        mono = soxr.resample(mono, recording.rate, SAMPLE_RATE)
    if len(mono) < SHORTEST * SAMPLE_RATE:
        raise UserError(f"{name}: lasts {1000 * len(mono) / SAMPLE_RATE:.1f} ms, less than one analysis window "
                        f"({1000 * SHORTEST:.0f} ms); {CURE}.")
    pcm = to_int16(mono)
    if pcm.min() == pcm.max():
        raise UserError(f"{name}: holds digital silence only (every sample is {pcm[0]}); {CURE}.")
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


def _name(source: Path | bytes, name: str | None) -> str:
    return str(source) if name is None and isinstance(source, Path) else name or "audio"


def _recording(content: BinaryIO, name: str, start: float | None, end: float | None,
               observe: Callable[[np.ndarray], None] | None) -> Recording:
    blocks, bad, peak = [np.zeros(0)], 0, 0.0
    try:
        with _Straight(_Tame(content)) as file:
            if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
                raise UserError(f"{name}: has a sampling rate of {file.samplerate} Hz, which no speech has; {CURE}.")
            first, last = _segment(name, start, end, file.frames, file.samplerate)
            file.seek(first)
            wanted = last - first
            most = max(_BLOCK // file.channels, 1)
            while wanted and len(block := file.read(min(most, wanted), dtype="float64", always_2d=True)):
                wanted -= len(block)
                bad += int(np.count_nonzero(~np.isfinite(block)))
                peak = max(peak, float(np.abs(block).max()))
                with np.errstate(over="ignore", invalid="ignore"):  # of samples that are refused below
                    blocks.append(block.mean(axis=1))
                if observe:
                    observe(block)
            facts = file.samplerate, file.channels, f"{file.format} {file.subtype}"
    except (soundfile.SoundFileError, RuntimeError) as error:
        reason = getattr(error, "error_string", error)  # without the address of a Python object
        raise UserError(f"{name}: is not audio that soundfile can read, or is damaged ({reason}); "
                        f"{CURE}.") from error
    samples = np.concatenate(blocks)
    if wanted and last < _UNKNOWN_LENGTH:
        raise UserError(f"{name}: is truncated ({len(samples)} of {last - first} samples can be read); {CURE}.")
    if bad:
        raise UserError(f"{name}: {bad} samples are NaN or infinite; {CURE}.")
    if peak > LOUDEST:
        raise UserError(f"{name}: has samples of {peak:.3g} times full scale, which is 1 in files of floats; "
                        f"{CURE}.")
    return Recording(samples, *facts)


def _segment(name: str, start: float | None, end: float | None, total: int, rate: int) -> tuple[int, int]:
    """The first sample, and the one after the last."""
    first = 0 if start is None else round(start * rate)
    last = total if end is None else round(end * rate)
    if first >= total > 0 or last > total + END_TOLERANCE * rate:
        raise UserError(f"{name}: the segment {0 if start is None else start:g}-"
                        f"{total / rate if end is None else end:g} s lies outside the file, which lasts "
                        f"{total / rate:.3f} s; correct its start and end.")
    return first, min(last, total)
