"""A user's own corpus, listed in a CSV or JSON-lines file."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from sercl_jax import files
from sercl_jax.corpora import listing
from sercl_jax.corpora.base import WHOLE, CorpusBuilder, Options, Request
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")


@dataclass(eq=False, kw_only=True)
class Configuration(tfds.core.BuilderConfig):
    """Its name is a digest of the manifest and of the state of every audio file it names."""

    sources: tuple[Source, ...] = field(default=(), repr=False)


class Builder(CorpusBuilder):
    """Utterances listed in a manifest."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=WHOLE)]  # noqa: RUF012 - TFDS's own convention

    @classmethod
    def request(cls, options: Options, records: Path, part: str) -> Request:
        return Request(options=options, records=records, manifest=_manifest(options.manual_dir, part))

    @classmethod
    def configuration(cls, request: Request) -> Configuration:
        if request.manifest is None:
            raise UserError("corpus manifest needs a file that lists its utterances: --config.data.manifest=my.csv")
        super().configuration(replace(request, manifest=None))
        sources = listing.read(request.manifest, allow_outside=request.allow_outside)
        return configuration_of(sources)

    def sources(self) -> tuple[Source, ...]:
        return self.builder_config.sources


def configuration_of(sources: Sequence[Source]) -> Configuration:
    """The configuration of records that hold just these."""
    return Configuration(name=_digest(sources), sources=tuple(sources))


def _manifest(place: Path | None, name: str) -> Path:
    """The manifest that the `tfds` command means: the one in a folder, or the one that `--config` names."""
    if place is None:
        raise UserError("corpus manifest needs the folder of a manifest: --manual_dir=FOLDER")
    if place.is_file():
        return place
    if name:
        return place / name
    found = sorted(path for ending in ENDINGS for path in place.glob(f"*{ending}"))
    if len(found) != 1:
        told = ", ".join(path.name for path in found) or f"none that ends in {', '.join(ENDINGS)}"
        raise UserError(f"{place}: must hold one manifest, or --config=NAME says which; found {told}.")
    return found[0]


def _digest(sources: Iterable[Source]) -> str:
    """Changes with any entry, and with the place, size or time of any audio file.

    The time of the last change of status is in it because copying tools may restore the time of modification.
    """
    return files.digest_rows(_states(sources))


def _states(sources: Iterable[Source]) -> Iterator[list[Any]]:
    for source in sources:
        try:
            state = os.stat(source.file)
        except OSError as error:  # it was there when the manifest was read
            raise UserError(f"{source}: cannot be read ({error.strerror}); run again when nothing changes the "
                            "folder.") from error
        # repr keeps NaN, which JSON would refuse.
        yield [repr(source.utterance), source.file, source.start, source.end, state.st_size, state.st_mtime_ns,
               state.st_ctime_ns]
