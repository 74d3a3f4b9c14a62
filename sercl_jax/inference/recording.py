"""What a caller gives - a path, an array, many of them - as 16 kHz mono int16, or a `UserError`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import audio
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE

_MOST_CHANNELS = 64


@dataclass(frozen=True)
class Recording:
    """Attributes:
      name: what messages and results call it, such as its path.
      waveform: [S] int16 at 16 kHz.
    """

    name: str
    waveform: np.ndarray


def read(source: Any, sampling_rate: float | None = None, name: str | None = None) -> Recording:
    """A file, or samples.

    Args:
      source: a path; or an array [S] or [S, channels] of int16, int32 or floats in [-1, 1].
      sampling_rate: Hz of an array, 16 kHz by default; a file tells its own.
      name: what to call it; by default its path, or "recording".

    Raises:
      UserError: what `audio.decode` raises for a file; an array of another shape or type, empty, silent, shorter than
        25 ms, with NaN or infinite samples or ones of over 16 times full scale; a sampling rate that no speech has.
    """
    try:
        if isinstance(source, str | Path):
            return Recording(name or str(source), audio.decode(Path(source).expanduser(), name=name or str(source)))
        return _of_array(source, sampling_rate, name or "recording")
    except UserError as error:
        raise UserError(str(error).replace(audio.SKIP, "")) from error


def _of_array(source: Any, sampling_rate: float | None, name: str) -> Recording:
    if not hasattr(source, "__array__"):
        raise UserError(f"{name}: {type(source).__name__} is neither a path nor an array of samples.")
    rate = SAMPLE_RATE if sampling_rate is None else round(sampling_rate)
    if not audio.LOWEST_RATE <= rate <= audio.HIGHEST_RATE:
        raise UserError(f"{name}: sampling_rate={rate}: give it in Hz, from {audio.LOWEST_RATE} to "
                        f"{audio.HIGHEST_RATE}.")
    samples = np.asarray(source)
    return Recording(name, audio.standard(audio.Recording(_mono(samples, name), rate, 1, "array"), name))


def _mono(samples: np.ndarray, name: str) -> np.ndarray:
    """[S] or [S, channels] as [S] float64 of full scale 1."""
    if samples.ndim not in (1, 2):
        raise UserError(f"{name}: has shape {samples.shape}; [samples] or [samples, channels] is needed.")
    if samples.ndim == 2 and samples.shape[1] > min(_MOST_CHANNELS, samples.shape[0]):
        raise UserError(f"{name}: has shape {samples.shape}, which is [samples, channels] with {samples.shape[1]} "
                        "channels; transpose it.")
    if samples.dtype in (np.int16, np.int32):
        values = samples / -float(np.iinfo(samples.dtype).min)
    elif np.issubdtype(samples.dtype, np.floating):
        values = samples.astype(np.float64)
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise UserError(f"{name}: {bad} samples are NaN or infinite; mend the recording.")
        if len(values) and np.abs(values).max() > audio.LOUDEST:
            raise UserError(f"{name}: has samples of {np.abs(values).max():.3g} times full scale, which is 1 for "
                            "floats; divide it, or give int16.")
    else:
        raise UserError(f"{name}: holds {samples.dtype}; int16, int32 or floats in [-1, 1] are needed.")
    return values if values.ndim == 1 else values.mean(axis=1)
