"""CASIA: four actors speak Mandarin in six emotions, 16 kHz; in the sizes and layouts in which it is handed on."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from sercl_jax.corpora import variants
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.distributed import Distributed
from sercl_jax.corpora.source import Source
from sercl_jax.types import Utterance

from . import layouts
from .layouts import OTHER, PARALLEL, Recording


class Builder(Distributed):
    """CASIA, the Chinese emotional speech corpus: the public part, the parallel half, or all of it."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "http://www.chineseldc.org/"
    CITATION = ("Pan, Tao, Li: The CASIA audio emotion recognition method for audio/visual emotion challenge 2011, "
                "ACII 2011")
    MANUAL_DOWNLOAD_INSTRUCTIONS = ("Ask the Chinese Linguistic Data Consortium for it, or use its public part; give "
                                    "the archive or the unpacked tree.")
    TITLE = "CASIA"
    # Layout -> half -> recordings of each speaker in each emotion.
    PUBLISHED: ClassVar[dict[str, dict[str, int]]] = {
        "public": {PARALLEL: 50}, "parallel": {PARALLEL: 300}, "full": {PARALLEL: 300, OTHER: 100}}
    # Recordings of each emotion where folders are of emotions only: the same three.
    FLAT: ClassVar[tuple[int, ...]] = (200, 1200, 1600)

    @classmethod
    def find(cls, place: Path, copies: Path | None, progress: bool) -> list[Entry]:
        return layouts.find(place, copies, progress)

    @classmethod
    def variant(cls, found: Sequence[Entry], place: Path) -> variants.Variant:
        name, _ = layouts.layout(layouts.read(found), place, cls.PUBLISHED, cls.FLAT)
        return variants.variant(name, found, [])

    def sources(self) -> list[Source]:
        place, found = self.found()
        recordings = layouts.read(found)
        name, said = layouts.layout(recordings, place, self.PUBLISHED, self.FLAT)
        if said:
            print(said, file=sys.stderr)
        return [Source.of(_utterance(one, name), one.entry) for one in recordings]


def _utterance(one: Recording, layout: str) -> Utterance:
    """File names occur up to 24 times, so the folders are part of the id."""
    folders = [one.half if layout == "full" else "", one.speaker if one.half else "", one.folder]
    return Utterance(id="/".join([*filter(None, folders), one.stem]), num_samples=0, label=one.label,
                     speaker=one.speaker, sentence=_sentence(one), gender=layouts.GENDERS.get(one.speaker, ""))


def _sentence(one: Recording) -> str:
    """The file's number, which is that of the text; the other half has texts of its own for each emotion.

    Unknown where the names don't tell: without speakers, numbers may have been given anew.
    """
    if not (one.speaker and one.number):
        return ""
    return one.number if one.half != OTHER else f"{OTHER}-{one.label}-{one.number}"
