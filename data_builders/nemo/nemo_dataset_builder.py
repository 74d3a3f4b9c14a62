"""nEMO: nine actors speak 90 Polish sentences in six emotions; 4481 recordings, 24 kHz.

Published (Christop, 2024): the sentences in every emotion, less those that listeners did not recognise.
`data.tsv` lists all files, `samples/<speaker>_<emotion>_<sentence>.wav`; its speakers have blanks before them, which
are removed. Of MP0 less than half is there, and MK0 was never surprised.
"""

from collections.abc import Sequence
from typing import ClassVar

import tensorflow_datasets as tfds

from sercl_jax.corpora import columns
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.labels import canonical
from sercl_jax.corpora.named_files import Named, NamedFiles

COLUMNS = ("file_id", "emotion", "speaker_id", "gender")
PER_EMOTION = {"angry": 749, "fearful": 736, "happy": 749, "neutral": 809, "sad": 769, "surprised": 669}
PER_SPEAKER = {"EB0": 539, "IC0": 540, "KD0": 540, "KS0": 540, "MK0": 450, "MP0": 256, "SM0": 538, "TP0": 539,
               "WR0": 539}


class Builder(NamedFiles):
    """nEMO: nine actors speak 90 Polish sentences in six emotions."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "https://github.com/amu-cai/nEMO"
    CITATION = "Christop: nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (f"Clone {HOMEPAGE} or download it as a zip; give the clone, the zip, or the "
                                    "folder that holds either.")
    TITLE = "nEMO"
    FILES = "(?P<speaker>[A-Z]{2}[0-9])_(?P<emotion>[a-z]+)_(?P<sentence>[0-9]+)[.]wav"
    TABLES = ("data[.]tsv",)
    ARCHIVES = ("nemo", "nEMO")
    EMOTIONS: ClassVar = {"anger": "angry", "fear": "fearful", "happiness": "happy", "neutral": "neutral",
                          "sadness": "sad", "surprised": "surprised"}
    COUNTS: ClassVar = {"label": PER_EMOTION, "speaker": PER_SPEAKER, "gender": {"female": 2069, "male": 2412}}

    def details(self, files: Sequence[Named], tables: Sequence[Entry]) -> dict[str, dict[str, str]]:
        return {row["file_id"].removesuffix(".wav"): {
            "label": canonical(row["emotion"]), "speaker": row["speaker_id"], "gender": row["gender"]}
            for row in columns.read(tables[0], COLUMNS, "\t")}
