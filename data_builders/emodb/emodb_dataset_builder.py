"""EMO-DB, the Berlin Database of Emotional Speech: 535 utterances, 10 speakers, 7 emotions, 16 kHz."""

from collections import Counter
from pathlib import Path

import tensorflow_datasets as tfds

from sercl_jax.corpora.base import CorpusBuilder
from sercl_jax.corpora.distribution import entries, fetch
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

URLS = ("http://emodb.bilderbar.info/download/download.zip", "https://emodb.bilderbar.info/download/download.zip")
# File names are <speaker><text><emotion><version>.wav: 03a01Fa.wav. Letters are the German words' initials.
FILES = r"wav/[0-9]{2}[ab][0-9]{2}[A-Z][a-z][.]wav"
EMOTIONS = {"W": "angry", "L": "bored", "N": "neutral", "F": "happy", "A": "fearful", "T": "sad", "E": "disgusted"}
MALE = frozenset({"03", "10", "11", "12", "15"})
PER_EMOTION = {"angry": 127, "bored": 81, "neutral": 79, "happy": 71, "fearful": 69, "sad": 62, "disgusted": 46}
PER_SPEAKER = {"03": 49, "08": 58, "09": 43, "10": 38, "11": 55, "12": 35, "13": 61, "14": 69, "15": 56, "16": 71}


class Builder(CorpusBuilder):
    """EMO-DB: ten actors speak ten everyday German sentences in seven emotions."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "http://emodb.bilderbar.info/"
    CITATION = ("Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional Speech, "
                "INTERSPEECH 2005")

    def sources(self) -> list[Source]:
        place = self.options.manual_dir or self._download()
        found = entries(place, FILES, "EMO-DB", copies=self.options.download_dir, progress=self.options.progress)
        sources = [Source.of(_utterance(entry.relative.stem, place), entry) for entry in found]
        _check("files", {"all": len(sources)}, {"all": sum(PER_EMOTION.values())}, place)
        _check("utterances per emotion", Counter(s.utterance.label for s in sources), PER_EMOTION, place)
        _check("utterances per speaker", Counter(s.utterance.speaker for s in sources), PER_SPEAKER, place)
        return sources

    def _download(self) -> Path:
        cure = ("Download its zip on another machine and give the folder that holds it: "
                "--config.data.manual_dir=FOLDER")
        if not self.options.download or self.options.download_dir is None:
            raise UserError(f"EMO-DB is not on this machine, and downloading is switched off. {cure}")
        return fetch(URLS, self.options.download_dir / "emodb.zip", "EMO-DB", cure, self.options.progress)


def _utterance(stem: str, place: Path) -> Utterance:
    if stem[5] not in EMOTIONS:
        raise UserError(f"{place}: {stem}.wav has the unknown emotion code {stem[5]!r}; EMO-DB has "
                        f"{', '.join(EMOTIONS)}.")
    speaker = stem[:2]
    return Utterance(id=stem, num_samples=0, label=EMOTIONS[stem[5]], speaker=speaker, sentence=stem[2:5],
                     gender="male" if speaker in MALE else "female")


def _check(what: str, found: dict[str, int], expected: dict[str, int], place: Path) -> None:
    wrong = [f"{name}: {found.get(name, 0)} instead of {expected.get(name, 0)}"
             for name in sorted({*found, *expected}) if found.get(name, 0) != expected.get(name, 0)]
    if wrong:
        raise UserError(f"{place}: EMO-DB's {what} are not those its authors published ({'; '.join(wrong)}); use "
                        "the original download.zip, complete and unchanged.")
