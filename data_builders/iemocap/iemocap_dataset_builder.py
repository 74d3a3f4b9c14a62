"""IEMOCAP: 10 actors in 5 sessions of dialogues, improvised and scripted; categories and dimensions, 16 kHz."""

import re
from collections import Counter
from pathlib import Path
from typing import ClassVar, TypeVar

import tensorflow_datasets as tfds

from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.base import CorpusBuilder
from sercl_jax.corpora.distribution import entries
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

# Folders below EmoEvaluation hold single raters, and names that begin with ._ are left behind by macOS.
EVALUATIONS = r"Session[1-5]/dialog/EmoEvaluation/Ses[^/]*[.]txt"
AUDIO = r"Session[1-5]/sentences/wav/[^/]+/Ses[^/]*[.]wav"
# [start - end] <tab> turn <tab> emotion <tab> [valence, activation, dominance]; all other lines are raters'.
TURN = re.compile(r"\[(\d+[.]\d+) - (\d+[.]\d+)\]\t(\w+)\t(\w+)\t\[(\d+[.]\d+), (\d+[.]\d+), (\d+[.]\d+)\]")
# Ses01F_script01_1_M003: session, who wears the markers, situation, who speaks.
NAME = re.compile(r"Ses0([1-5])[FM]_((?:impro|script)\w+)_([FM])\w*\d")
EMOTIONS = {"ang": "angry", "hap": "happy", "sad": "sad", "neu": "neutral", "exc": "excited", "dis": "disgusted",
            "fru": "frustrated", "fea": "fearful", "sur": "surprised", "oth": "other", "xxx": ""}  # xxx: no majority
T = TypeVar("T")


class Builder(CorpusBuilder):
    """IEMOCAP: all turns. The usual four classes are 5,531 of them, with excited counted as happy."""

    VERSION = tfds.core.Version("1.0.0")
    RATING_SCALE = (1.0, 5.0)
    HOMEPAGE = "https://sail.usc.edu/iemocap/"
    CITATION = ("Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan: IEMOCAP: interactive emotional "
                "dyadic motion capture database, Language Resources and Evaluation 42, 2008")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Ask https://sail.usc.edu/iemocap/ for it; give its archive or the unpacked tree."
    USUAL_LABELS = "angry,happy+excited,neutral,sad"
    USUAL_COUNT = 5531
    # Of these five categories only; what is published of the others differs from source to source.
    PER_SESSION: ClassVar[dict[str, dict[str, int]]] = {
        "1": {"angry": 229, "happy": 135, "excited": 143, "neutral": 384, "sad": 194},
        "2": {"angry": 137, "happy": 117, "excited": 210, "neutral": 362, "sad": 197},
        "3": {"angry": 240, "happy": 135, "excited": 151, "neutral": 320, "sad": 305},
        "4": {"angry": 327, "happy": 65, "excited": 238, "neutral": 258, "sad": 143},
        "5": {"angry": 170, "happy": 143, "excited": 299, "neutral": 384, "sad": 245}}
    PER_SPEAKER: ClassVar[dict[str, int]] = {
        "Ses01F": 528, "Ses01M": 557, "Ses02F": 481, "Ses02M": 542, "Ses03F": 522, "Ses03M": 629, "Ses04F": 528,
        "Ses04M": 503, "Ses05F": 590, "Ses05M": 651}
    PER_KIND: ClassVar[dict[str, int]] = {"improvised": 2943, "scripted": 2588}

    def sources(self) -> list[Source]:
        place = self.options.manual_dir
        if place is None:
            raise UserError(f"IEMOCAP is not on this machine. {self.MANUAL_DOWNLOAD_INSTRUCTIONS} "
                            "(--config.data.manual_dir=FOLDER)")
        found = entries(place, f"(?:{EVALUATIONS}|{AUDIO})", "IEMOCAP", copies=self.options.download_dir,
                        progress=self.options.progress)
        audio: dict[str, Entry] = {}
        utterances: dict[str, Utterance] = {}
        for entry in found:
            if entry.relative.suffix == ".wav":
                _add(audio, entry.relative.stem, entry, str(entry))
                continue
            for utterance in _turns(entry):
                _add(utterances, utterance.id, utterance, str(entry))
        for name in utterances:
            if name not in audio:
                raise UserError(f"{place}: the turn {name} has no {name}.wav below sentences/wav; unpack or download "
                                "IEMOCAP again.")
        self._check(list(utterances.values()), place)
        return [Source.of(utterance, audio[name]) for name, utterance in utterances.items()]

    def _check(self, utterances: list[Utterance], place: Path) -> None:
        usual = [u for u in utterances if u.label in next(iter(self.PER_SESSION.values()))]
        for session, expected in self.PER_SESSION.items():
            _compare(f"utterances in session {session}",
                     Counter(u.label for u in usual if u.session == session), expected, place)
        _compare("utterances per speaker, of the usual classes,", Counter(u.speaker for u in usual),
                 self.PER_SPEAKER, place)
        kinds = Counter("improvised" if u.sentence.startswith("impro") else "scripted" for u in usual)
        _compare("improvised and scripted utterances, of the usual classes,", kinds, self.PER_KIND, place)


def _turns(entry: Entry) -> list[Utterance]:
    """The turns of one dialogue, from its EmoEvaluation file."""
    utterances = []
    for number, line in enumerate(entry.read().decode("utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.startswith("["):
            continue
        place = f"{entry}, line {number}"
        turn = TURN.fullmatch(line.rstrip())
        if turn is None:
            raise UserError(f"{place}: {line.strip()!r} is not [start - end] TURN EMOTION [valence, activation, "
                            "dominance]; download IEMOCAP again.")
        name, emotion = turn[3], turn[4]
        parts = NAME.fullmatch(name)
        if parts is None or not name.startswith(f"{entry.relative.stem}_") or f"Session{parts[1]}/" not in (
                entry.member or entry.path.absolute().as_posix()):
            raise UserError(f"{place}: {name!r} is no turn of the dialogue {entry.relative.stem}; download IEMOCAP "
                            "again.")
        if emotion not in EMOTIONS:
            raise UserError(f"{place}: {name} has the unknown emotion code {emotion!r}; IEMOCAP has "
                            f"{', '.join(EMOTIONS)}.")
        session, situation, letter = parts.groups()
        # The dialogue's own letter (Ses01F_impro01) is who wears the markers, not who speaks.
        utterances.append(Utterance(
            id=name, num_samples=0, label=EMOTIONS[emotion], speaker=f"Ses0{session}{letter}", session=session,
            sentence=situation, gender="female" if letter == "F" else "male", valence=float(turn[5]),
            activation=float(turn[6]), dominance=float(turn[7])))
    if not utterances:
        raise UserError(f"{entry}: holds no turn; download IEMOCAP again.")
    return utterances


def _add(known: dict[str, T], name: str, value: T, place: str) -> None:
    if name in known:
        raise UserError(f"{place}: {name} is there twice; give one copy of IEMOCAP.")
    known[name] = value


def _compare(what: str, found: dict[str, int], expected: dict[str, int], place: Path) -> None:
    wrong = [f"{name}: {found.get(name, 0)} instead of {expected.get(name, 0)}"
             for name in sorted({*found, *expected}) if found.get(name, 0) != expected.get(name, 0)]
    if wrong:
        raise UserError(f"{place}: IEMOCAP's {what} are not those its users report ({'; '.join(wrong)}); use the "
                        "original release, complete and unchanged.")
