"""RAVDESS, its speech: 24 actors speak two English sentences in eight emotions; 1440 recordings, 48 kHz."""

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
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

# modality-channel-emotion-intensity-statement-repetition-actor; speech without pictures is 03-01.
SPEECH = r"Actor_[0-9]{2}/03-01(?:-[0-9]{2}){5}[.]wav"
OTHERS = r"Actor_[0-9]{2}/[0-9]{2}(?:-[0-9]{2}){6}[.](?:wav|mp4)"
EMOTIONS = {"01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fearful",
            "07": "disgusted", "08": "surprised"}
NEUTRAL = "01"  # the one emotion that was not recorded in the strong intensity (02)
ARCHIVES = ("ravdess", "RAVDESS", "Audio_Speech")  # how its archives are usually called


class Builder(Distributed):
    """RAVDESS: the speech of all actors that are there, each of them complete; song and video are left out."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "https://zenodo.org/records/1188976"
    CITATION = ("Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS), "
                "PLoS ONE 13(5), 2018")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (f"Download Audio_Speech_Actors_01-24.zip from {HOMEPAGE}; give it, the folder "
                                    "that holds it, or the unpacked tree.")
    TITLE = "RAVDESS"
    ACTORS: ClassVar[int] = 24

    @classmethod
    def find(cls, place: Path, copies: Path | None, progress: bool) -> list[Entry]:
        return entries(place, SPEECH, cls.TITLE, also=OTHERS, prefer=ARCHIVES, copies=copies, progress=progress)

    @classmethod
    def variant(cls, found: Sequence[Entry], place: Path) -> variants.Variant:
        speech = [entry for entry in found if _is_speech(entry)]
        actors = {entry.relative.stem[-2:] for entry in speech}
        # Whoever adds song or video to the folder has the same speech.
        return replace(variants.variant(f"speech-{len(actors)}-actors", speech, []), entries=tuple(found))

    def sources(self) -> list[Source]:
        place, found = self.found()
        speech = _distinct(entry for entry in found if _is_speech(entry))
        actors = self._check(speech, place)
        if len(actors) < self.ACTORS:
            print(f"{place}: has {len(actors)} of RAVDESS's {self.ACTORS} actors ({', '.join(actors)}), each of them "
                  "complete. Say which they are when you report results.", file=sys.stderr)
        if left_out := sum(not _is_speech(entry) for entry in found):
            print(f"{place}: {left_out} files of song or video are left out.", file=sys.stderr)
        return [Source.of(_utterance(name), entry) for name, entry in sorted(speech.items())]

    def _check(self, speech: dict[str, Entry], place: Path) -> list[str]:
        """The actors; each has exactly the recordings that were published."""
        known = {f"{number:02d}" for number in range(1, self.ACTORS + 1)}
        of: dict[str, set[str]] = defaultdict(set)
        for name, entry in speech.items():
            actor = name[-2:]
            if actor not in known or entry.relative.parent.name not in ("", f"Actor_{actor}"):
                raise UserError(f"{entry}: the name ends in the actor {actor}, which RAVDESS does not have in this "
                                "folder; unpack or download it again.")
            of[actor].add(name)
        for actor, names in sorted(of.items()):
            expected = _published(actor)
            if strange := sorted(names - expected):
                raise UserError(f"{speech[strange[0]]}: RAVDESS has no such recording (emotions are 01 to 08, "
                                "neutral has no strong intensity, statements and repetitions are 01 and 02); unpack "
                                "or download it again.")
            if lacking := sorted(expected - names):
                raise UserError(f"{place}: actor {actor} has {len(names)} of the {len(expected)} recordings that "
                                f"RAVDESS has of each actor ({lacking[0]}.wav for one is missing); unpack or "
                                "download it again, or remove the whole actor.")
        return sorted(of)


def _is_speech(entry: Entry) -> bool:
    return entry.relative.suffix == ".wav" and entry.relative.name.startswith("03-01-")


def _published(actor: str) -> set[str]:
    """The 60 names of an actor: each statement twice in two intensities of each emotion, neutral in one."""
    twice = ("01", "02")
    return {"-".join(("03", "01", emotion, *rest, actor))
            for emotion, *rest in itertools.product(EMOTIONS, twice, twice, twice)
            if (emotion, rest[0]) != (NEUTRAL, "02")}


def _distinct(speech: Iterable[Entry]) -> dict[str, Entry]:
    """One file a name: a well-known copy holds the whole tree twice, once in a folder below itself."""
    found: dict[str, Entry] = {}
    for entry in speech:
        first = found.setdefault(entry.relative.stem, entry)
        if first is not entry and (first.size != entry.size or first.read() != entry.read()):
            raise UserError(f"{entry}: is there twice with another content, also as {first}; give one copy of "
                            "RAVDESS.")
    return found


def _utterance(stem: str) -> Utterance:
    _, _, emotion, _, statement, _, actor = stem.split("-")
    return Utterance(id=stem, num_samples=0, label=EMOTIONS[emotion], speaker=actor, sentence=statement,
                     gender="male" if int(actor) % 2 else "female")
