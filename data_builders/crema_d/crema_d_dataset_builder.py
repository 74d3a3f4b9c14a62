"""CREMA-D: 91 actors speak twelve English sentences in six emotions; 7442 clips, 16 kHz.

TFDS's own builder says label, speaker and split: its division by speakers, which the authors did not make. It leaves
out four clips that were once missing; they are here, with the labels of their names and the splits of their
speakers. It would also fetch the clips, one after another; here the user gives them.

Files are `AudioWAV/<actor>_<sentence>_<emotion>_<intensity>.wav`, such as `1001_IEO_ANG_HI.wav`; the intensity (LO,
MD, HI, or XX for unspecified) stays in the id. Published (Cao et al., 2014): 7442 clips, one of each sentence in each
emotion, IEO in three intensities; `MISSING` are what this lacks. The actors' gender is in `VideoDemographics.csv`,
and unknown without it.
"""

from collections.abc import Sequence
from itertools import product
from typing import ClassVar

import tensorflow_datasets as tfds
from tensorflow_datasets.audio import crema_d

from sercl_jax.corpora import columns
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.borrowed import examples
from sercl_jax.corpora.named_files import Named, NamedFiles

SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")
MISSING = {"1008_WSI", "1009_MTI", "1019_ITH", "1002_TIE_NEU", "1076_ITS_NEU"}  # of an actor, all or neutral only
GENDERS = {"Female": "female", "Male": "male"}


def _names() -> frozenset[str]:
    full = ("_".join((str(actor), sentence, emotion, intensity))
            for actor, sentence, emotion in product(range(1001, 1092), SENTENCES, crema_d.LABELS)
            for intensity in (("LO", "MD", "HI") if (sentence, emotion != "NEU") == ("IEO", True) else ("XX",)))
    return frozenset(name for name in full if not {name[:8], name[:12]} & MISSING)


class Builder(NamedFiles, skip_registration=True):  # the name is TFDS's
    """CREMA-D: 91 actors speak twelve English sentences in six emotions."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "https://github.com/CheyneyComputerScience/CREMA-D"
    CITATION = ("Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional Multimodal Actors "
                "Dataset, IEEE Transactions on Affective Computing 5(4), 2014")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (f"Clone {HOMEPAGE} with Git LFS (a zip of it has no audio); give the clone, an "
                                    "archive of it or of AudioWAV, or the folder that holds it.")
    TITLE = "CREMA-D"
    FILES = "(?P<id>(?P<speaker>1[0-9]{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_[A-Z]{1,2})[.]wav"
    OPTIONAL_TABLES = "VideoDemographics[.]csv"
    EMOTIONS: ClassVar = dict(zip(crema_d.LABELS, crema_d.LABELS, strict=True))
    ARCHIVES = ("crema", "CREMA", "AudioWAV")
    NAMES = _names()
    ALIASES: ClassVar = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}  # so misspelt until 2022

    def details(self, files: Sequence[Named], tables: Sequence[Entry]) -> dict[str, dict[str, str]]:
        listing = "".join(f',"{file.id}"\n' for file in files)
        told = examples(crema_d.CremaD, texts={crema_d.SUMMARY_TABLE_URL: listing})
        splits = {fields["speaker"]: fields["split"] for fields in told.values()}
        genders = {row["ActorID"]: GENDERS.get(row["Sex"], "")
                   for entry in tables for row in columns.read(entry, ("ActorID", "Sex"))}
        return {file.id: {"split": splits[file.parts["speaker"]], "gender": genders.get(file.parts["speaker"], ""),
                          **told.get(file.id, {})} for file in files}
