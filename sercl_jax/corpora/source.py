"""One utterance as its corpus distributes it. Picklable: worker processes decode it."""

import functools
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sercl_jax import audio
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE, Utterance


@dataclass(frozen=True)
class Source:
    """What is known of an utterance, and where its audio is.

    Attributes:
      utterance: its `num_samples` is the estimate by the file's header, until the audio is decoded.
      path: the audio file, or the zip archive that holds it; None if it is synthesised.
      member: its name in the archive.
      start, end: seconds; None means the whole file.
      origin: where it is listed ("my.csv, line 3"), for messages; may be empty.
    """

    utterance: Utterance
    path: Path | None = None
    member: str | None = None
    start: float | None = None
    end: float | None = None
    origin: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.member}" if self.member else str(self.path or self.utterance.id)
        return f"{place} ({self.origin})" if self.origin else place

    def decode(self) -> np.ndarray:
        """[S] int16 at 16 kHz; raises `UserError` as `audio.decode` does."""
        assert self.path is not None, "a builder that synthesises overrides `waveform`"
        content = self.path if self.member is None else _read_member(self.path, self.member)
        return audio.decode(content, name=str(self), start=self.start, end=self.end)

    def estimated_bytes(self) -> int:
        """How large its record will be, by the file's header."""
        if self.utterance.num_samples or self.path is None:
            return 2 * self.utterance.num_samples
        length = audio.seconds(self.path)
        start, end = self.start or 0.0, length if self.end is None else self.end
        return int(2 * SAMPLE_RATE * max(0.0, min(end, length) - start))


@functools.lru_cache(maxsize=2)
def _archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _read_member(path: Path, member: str) -> bytes:
    try:
        return _archive(path).read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError) as error:
        raise UserError(f"{path}: {member} cannot be read from the archive ({error}); "
                        "download the archive again.") from error
