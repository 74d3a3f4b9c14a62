"""The bytes of an audio file -> a waveform, within limits: a few compressed bytes may stand for hours of silence."""

import numpy as np
import soundfile

from sercl_jax import audio
from sercl_jax.errors import UserError
from sercl_jax.serve.limits import Limits, Refused

_STUDIO = 48_000  # Hz; a recording of a higher rate is allowed as many samples as one of this


def decode(content: bytes, name: str, limits: Limits) -> np.ndarray:
    """Any format that libsndfile reads -> [S] int16 at 16 kHz.

    Args:
      name: what messages call it.

    Raises:
      Refused: 415 if it is no audio, 422 if it is damaged, silent or too short, 413 if it lasts too long.
    """
    most = round(limits.max_seconds * _STUDIO)
    samples = 0

    def count(block: np.ndarray) -> None:
        nonlocal samples
        samples += len(block)
        if samples > most:
            raise Refused(413, f"{name}: has more than {most} samples; at most {limits.max_seconds:g} seconds "
                               f"(at {_STUDIO} Hz) are taken at a time: send it in parts.")

    try:
        recording = audio.read(content, name=name, observe=count)
        seconds = len(recording.samples) / recording.rate
        if seconds > limits.max_seconds:
            raise Refused(413, f"{name}: lasts {seconds:.1f} seconds; at most {limits.max_seconds:g} are taken at a "
                               "time: send it in parts.")
        return audio.standard(recording, name)
    except UserError as error:
        unknown = isinstance(error.__cause__, soundfile.SoundFileError | RuntimeError)
        raise Refused(415 if unknown else 422, in_a_request(str(error))) from error


def in_a_request(message: str) -> str:
    """A message about a file of a corpus without its advice on corpora."""
    return message.replace(f"; {audio.CURE}", "")
