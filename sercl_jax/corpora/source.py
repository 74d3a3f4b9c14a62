"""One utterance as its corpus distributes it. Picklable: worker processes decode it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sercl_jax import audio
from sercl_jax.corpora import archives
from sercl_jax.corpora.archives import Entry
from sercl_jax.types import Utterance


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of an utterance, and where its audio is. A corpus may have millions, so it is small.

    Attributes:
      utterance: its `num_samples` is the estimate by the file's header, until the audio is decoded.
      file: path of the audio file, or of the archive that holds it; "" if it is synthesised.
      member: its name in the archive.
      size: bytes of a member.
      offset: where the archive has it, in bytes (see `archives.Entry`).
      start, end: seconds; None means the whole file.
      origin: where it is listed ("my.csv, line 3"), for messages; may be empty.
    """

    utterance: Utterance
    file: str = ""
    member: str | None = None
    start: float | None = None
    end: float | None = None
    origin: str = ""
    size: int = 0
    offset: int | None = None

    @classmethod
    def of(cls, utterance: Utterance, entry: Entry) -> "Source":
        """An utterance that is one file of a distribution."""
        return cls(utterance, file=str(entry.path), member=entry.member, size=entry.size, offset=entry.offset)

    @property
    def path(self) -> Path | None:
        """The file; None if the utterance is synthesised."""
        return Path(self.file) if self.file else None

    def __str__(self) -> str:
        place = f"{self.file}:{self.member}" if self.member else self.file or self.utterance.id
        return f"{place} ({self.origin})" if self.origin else place

    def decode(self) -> np.ndarray:
        """[S] int16 at 16 kHz; raises `UserError` as `audio.decode` does."""
        path = self.path
        assert path is not None, "a builder that synthesises overrides `waveform`"
        content: Path | bytes = path
        if self.member is not None:
            content = archives.read(path, self.member, self.offset, self.size)
        return audio.decode(content, name=str(self), start=self.start, end=self.end)
