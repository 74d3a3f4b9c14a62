"""MSP-Podcast: spontaneous speech from podcasts with categories and dimensions, in releases of different sizes."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from sercl_jax.corpora import variants
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.distributed import Distributed
from sercl_jax.corpora.distribution import entries
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

from . import listing

AUDIO = r"Audios?/MSP-PODCAST_[^/]+[.]wav"
LABELS = r"labels_con[cs]ensus[.](?:csv|json)"  # older releases spell it with a c
PARTITIONS = r"Partitions?[.]txt"
UNUSABLE = "MSP-PODCAST_1023_0235.wav"  # two channels at 44.1 kHz, unlike every other file


class Builder(Distributed):
    """MSP-Podcast: speaking turns from podcasts, the official partitions in `split`."""

    VERSION = tfds.core.Version("1.0.0")
    RATING_SCALE = (1.0, 7.0)
    HOMEPAGE = "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html"
    CITATION = ("Lotfian, Busso: Building naturalistic emotionally balanced speech corpus by retrieving emotional "
                "speech from existing podcast recordings, IEEE Transactions on Affective Computing 10, 2019")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Ask the MSP lab at UT Dallas for it; give the folder that holds it."
    TITLE = "MSP-Podcast"
    # Release -> how many labelled files, and what is known of its partitions.
    PUBLISHED: ClassVar[dict[str, tuple[int, dict[str, int]]]] = {
        "1.6": (50_362, {"train": 34_280, "validation": 5958, "test": 10_124}),
        "1.8": (73_042, {"validation": 7800, "test": 15_326})}

    @classmethod
    def find(cls, place: Path, copies: Path | None, progress: bool) -> list[Entry]:
        """Audio files and lists; they may come in archives of their own."""
        return entries(place, (LABELS, AUDIO), cls.TITLE, also=PARTITIONS, gather=True, copies=copies,
                       progress=progress)

    @classmethod
    def variant(cls, found: Sequence[Entry], place: Path) -> variants.Variant:
        audio, lists = _parted(found)
        return variants.variant("release", [*audio, *lists], lists)

    def sources(self) -> list[Source]:
        place, found = self.found()
        audio, lists = _parted(found)
        labels = listing.read_labels(_only(lists, "labels", place))
        splits = {name: known.split for name, known in labels.items() if known.split}
        partitions = [entry for entry in lists if entry.relative.name.startswith("Partition")]
        if partitions:
            splits = _agreeing(splits, listing.read_partitions(_only(partitions, "Partition", place)), partitions[0])
        _check_lists(labels, splits, place)
        self._check_release(labels, splits, place)
        return _sources(audio, labels, splits, place)

    def _check_release(self, labels: dict[str, listing.Labels], splits: dict[str, str], place: Path) -> None:
        sizes = Counter(splits[name] for name in labels if splits[name] != "test3")
        total = sum(sizes.values())
        for release, (size, parts) in self.PUBLISHED.items():
            if size != total:
                continue
            wrong = [f"{part}: {sizes[part]} instead of {count}" for part, count in parts.items()
                     if sizes[part] != count]
            if wrong:
                raise UserError(f"{place}: has as many labelled files as MSP-Podcast {release} ({size}), but not its "
                                f"partitions ({'; '.join(wrong)}); give the lists of that release, unchanged.")
            return
        told = ", ".join(f"{part} {count}" for part, count in sorted(sizes.items()))
        known = ", ".join(f"{release} with {size}" for release, (size, _) in self.PUBLISHED.items())
        print(f"{place}: which release of MSP-Podcast this is could not be recognised from its {total} labelled "
              f"files ({told}); known are {known}. Say which it is when you report results.", file=sys.stderr)


def _parted(found: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Audio files, and lists."""
    return ([entry for entry in found if entry.relative.suffix == ".wav"],
            [entry for entry in found if entry.relative.suffix != ".wav"])


def _only(found: Sequence[Entry], beginning: str, place: Path) -> Entry:
    """The one list of its kind; of CSV and JSON, which say the same, the CSV."""
    kind = [entry for entry in found if entry.relative.name.startswith(beginning)]
    tables = [entry for entry in kind if entry.relative.suffix == ".csv"] or kind
    if len(tables) > 1:
        raise UserError(f"{place}: has several lists of one kind ({', '.join(map(str, tables))}); leave the one that "
                        "belongs to the audio.")
    return tables[0]


def _agreeing(columns: dict[str, str], partitions: dict[str, str], entry: Entry) -> dict[str, str]:
    for name, split in columns.items():
        if partitions.get(name, split) != split:
            raise UserError(f"{entry}: {name} is in {partitions[name]}, and in {split} by the label file's "
                            "Split_Set; give the lists of one release.")
    return columns | partitions


def _check_lists(labels: dict[str, listing.Labels], splits: dict[str, str], place: Path) -> None:
    if not splits:
        raise UserError(f"{place}: says nothing of partitions; add Partitions.txt.")
    for name, known in labels.items():
        if name not in splits:
            raise UserError(f"{place}: {name} has labels, but is in no partition; give the lists of one release.")
        if known.empty and splits[name] != "test3":  # whose labels are withheld
            raise UserError(f"{known.place}: {name} has no {known.empty[0]}; download the label file again.")
    for name, split in splits.items():
        if name not in labels and split != "test3":
            raise UserError(f"{place}: {name} is in the partition {split}, but has no labels; give the lists of one "
                            "release.")


def _sources(audio: Sequence[Entry], labels: dict[str, listing.Labels], splits: dict[str, str],
             place: Path) -> list[Source]:
    files: dict[str, Entry] = {}
    for entry in audio:
        if entry.relative.name in files:
            raise UserError(f"{entry}: is there twice, also as {files[entry.relative.name]}; remove one.")
        files[entry.relative.name] = entry
    missing = [name for name in labels if name not in files and name != UNUSABLE and splits[name] != "test3"]
    if missing:
        raise UserError(f"{place}: {len(missing)} of {len(labels)} labelled files have no audio, {missing[0]} for "
                        "one; complete Audio or Audios.")
    unknown = len(files.keys() - splits.keys())
    if unknown:
        print(f"{place}: {unknown} audio files are in no list, and are left out.", file=sys.stderr)
    return [Source.of(_utterance(name, labels.get(name), splits[name]), files[name])
            for name in sorted(files.keys() & splits.keys() - {UNUSABLE})]


def _utterance(name: str, known: listing.Labels | None, split: str) -> Utterance:
    stem = name.removesuffix(".wav")
    podcast = stem.split("_")[1]
    if known is None or split == "test3":
        return Utterance(id=stem, num_samples=0, session=podcast, split=split)
    return Utterance(id=stem, num_samples=0, label=known.label, speaker=known.speaker, session=podcast,
                     gender=known.gender, split=split, activation=known.ratings["activation"],
                     valence=known.ratings["valence"], dominance=known.ratings["dominance"])
