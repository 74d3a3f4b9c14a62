"""LibriSpeech: read English, 16 kHz FLAC, in subsets that are distributed one archive each. Unlabelled."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

import tensorflow_datasets as tfds

from sercl_jax.corpora import variants
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.base import WHOLE, Request
from sercl_jax.corpora.distributed import Distributed
from sercl_jax.corpora.distribution import entries
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

# <subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac, and their texts in <speaker>-<chapter>.trans.txt
SUBSET = r"(?:train|dev|test)-[a-z0-9-]+"
FILES = r"/[0-9]+/[0-9]+/(?:[0-9]+-[0-9]+-[0-9]+[.]flac|[0-9]+-[0-9]+[.]trans[.]txt)"
SPEAKERS = r"SPEAKERS[.]TXT"
_GENDERS = {"F": "female", "M": "male"}


class Builder(Distributed):
    """LibriSpeech, or other speech in its layout: any subset, unlabelled."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "https://www.openslr.org/12"
    CITATION = ("Panayotov, Chen, Povey, Khudanpur: LibriSpeech: an ASR corpus based on public domain audio books, "
                "ICASSP 2015")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (f"Download any of its subsets from {HOMEPAGE}; give an archive, the folder "
                                    "that holds them, or the unpacked tree.")
    TITLE = "LibriSpeech"
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=WHOLE)]  # noqa: RUF012 - TFDS's own convention
    # Subset -> utterances, speakers.
    PUBLISHED: ClassVar[dict[str, tuple[int, int]]] = {
        "train-clean-100": (28_539, 251), "train-clean-360": (104_014, 921), "train-other-500": (148_688, 1166),
        "dev-clean": (2703, 40), "dev-other": (2864, 33), "test-clean": (2620, 40), "test-other": (2939, 33)}

    @classmethod
    def configuration(cls, request: Request) -> variants.Variant:
        subsets = sorted(filter(None, request.subset.split("+")))
        super(Distributed, cls).configuration(replace(request, subset=""))  # a manifest is refused
        for subset in subsets:
            if not re.fullmatch(SUBSET, subset):
                raise UserError(f"config.data.subset: {subset!r} is no subset of LibriSpeech; it has "
                                f"{', '.join(cls.PUBLISHED)}; join several with +.")
        options = request.options
        if options.manual_dir is None:
            return variants.recorded(request.records, "+".join(subsets), str(cls.VERSION), cls.TITLE)
        found = _entries(options.manual_dir, subsets, options.download_dir, options.progress)
        return cls.variant(found, options.manual_dir)

    @classmethod
    def find(cls, place: Path, copies: Path | None, progress: bool) -> list[Entry]:
        return _entries(place, [], copies, progress)

    @classmethod
    def variant(cls, found: Sequence[Entry], place: Path) -> variants.Variant:
        names = sorted({_subset(entry) for entry in found} - {""})
        return variants.variant("+".join(names), found, [entry for entry in found if not _subset(entry)])

    def sources(self) -> list[Source]:
        place, found = self.found()
        sources = _sources(found)
        self._check(sources, _speakers(found), str(place))
        return sources

    def _check(self, sources: list[Source], listed: dict[str, tuple[str, str]], place: str) -> None:
        """Whoever lists as many speakers as LibriSpeech has must be all of it; other speech need not be."""
        for subset in sorted({source.utterance.split for source in sources}):
            if subset not in self.PUBLISHED:
                continue
            speakers = [source.utterance.speaker for source in sources if source.utterance.split == subset]
            counts, expected = (len(speakers), len(set(speakers))), self.PUBLISHED[subset]
            if counts == expected:
                continue
            told = (f"{place}: {subset} has {counts[0]} utterances of {counts[1]} speakers, and LibriSpeech's has "
                    f"{expected[0]} of {expected[1]}")
            if sum(of == subset for _, of in listed.values()) == expected[1]:
                raise UserError(f"{told}, which are all listed in its SPEAKERS.TXT; unpack or download it again. To "
                                "use a part of it, shorten SPEAKERS.TXT to the speakers that are there.")
            print(f"{told}: taken as other speech in the same layout.", file=sys.stderr)


def _entries(place: Path, subsets: list[str], copies: Path | None, progress: bool) -> list[Entry]:
    patterns = [subset + FILES for subset in subsets or [SUBSET]]
    found = entries(place, patterns, "LibriSpeech", also=SPEAKERS, gather=not subsets, prefer=subsets, copies=copies,
                    progress=progress)
    # SPEAKERS.TXT lies beside the subset's folder, which may be what was given.
    beside = place.absolute().parent / "SPEAKERS.TXT"
    if place.is_dir() and beside.is_file() and all(_subset(entry) for entry in found):
        found.append(Entry(beside, None, PurePosixPath(beside.name), beside.stat().st_size))
    return found


def _subset(entry: Entry) -> str:
    """The folder above speaker and chapter; "" for SPEAKERS.TXT."""
    path = entry.path.absolute().as_posix() if entry.member is None else entry.member
    return "" if path.endswith("SPEAKERS.TXT") else path.split("/")[-4]


def _sources(found: Sequence[Entry]) -> list[Source]:
    chapters: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
    texts: dict[tuple[str, str], Entry] = {}
    for entry in found:
        name = entry.relative.name
        chapter = (_subset(entry), "-".join(name.split(".")[0].split("-")[:2]))
        there = chapters[chapter].get(entry.relative.stem) if name.endswith(".flac") else texts.get(chapter)
        if there is not None and _subset(entry):
            raise UserError(f"{entry}: is there twice, also as {there}; remove one.")
        if name.endswith(".flac"):
            chapters[chapter][entry.relative.stem] = entry
        elif _subset(entry):
            texts[chapter] = entry
    genders = {speaker: _GENDERS.get(letter, "") for speaker, (letter, _) in _speakers(found).items()}
    sources = []
    for chapter in sorted({*chapters, *texts}):
        subset, session = chapter
        audio = chapters[chapter]
        spoken = _transcripts(texts.get(chapter), chapter, audio)
        speaker = session.split("-")[0]
        sources += [Source.of(Utterance(
            id=f"{subset}/{stem}", num_samples=0, speaker=speaker, session=session, sentence=spoken[stem],
            gender=genders.get(speaker, ""), split=subset), audio[stem]) for stem in sorted(audio)]
    return sources


def _transcripts(text: Entry | None, chapter: tuple[str, str], audio: dict[str, Entry]) -> dict[str, str]:
    """What is said in each file of a chapter, in lower case; the lines and the files must be the same."""
    if text is None:
        first = next(iter(audio.values()))
        raise UserError(f"{first}: its chapter lacks {chapter[1]}.trans.txt; unpack or download it again.")
    spoken: dict[str, str] = {}
    for number, line in enumerate(_lines(text), start=1):
        stem, _, words = line.strip().partition(" ")
        if not stem:
            continue
        if stem not in audio or stem in spoken:
            reason = "is listed twice" if stem in spoken else "is listed, but there is no such file"
            raise UserError(f"{text}, line {number}: {stem}.flac {reason}; unpack or download {chapter[0]} again.")
        spoken[stem] = words.strip().lower()
    for stem, entry in audio.items():
        if stem not in spoken:
            raise UserError(f"{entry}: is not listed in {text.relative.name}; unpack or download {chapter[0]} again.")
    return spoken


def _speakers(found: Iterable[Entry]) -> dict[str, tuple[str, str]]:
    """Speaker -> letter of the gender and subset, from every SPEAKERS.TXT: `14 | F | dev-clean | 8.03 | ...`"""
    speakers = {}
    for entry in found:
        if _subset(entry):
            continue
        for line in _lines(entry):
            cells = [cell.strip() for cell in line.split("|")]
            if not line.startswith(";") and len(cells) >= 3:
                speakers[cells[0]] = (cells[1].upper(), cells[2])
    return speakers


def _lines(text: Entry) -> list[str]:
    return text.read().decode("utf-8-sig", errors="replace").splitlines()
