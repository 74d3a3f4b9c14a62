"""URDU: 400 utterances of talk shows in Urdu, of 29 speakers in four emotions, 44.1 kHz.

Published (Latif et al., 2018): 100 utterances of each emotion, `<emotion>/<speaker>_F<file>_<code><number>.wav`, such
as `Angry/SM1_F10_A010.wav`. Speakers begin with SM (man) or SF (woman). The authors speak of 38 speakers; the files
name 29, which are checked. The speech is spontaneous, so no sentence recurs.
"""

from typing import ClassVar

import tensorflow_datasets as tfds

from sercl_jax.corpora.named_files import NamedFiles

EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
PER_SPEAKER = {"SF1": 12, "SF2": 2, "SF3": 2, "SF4": 4, "SF5": 4, "SF6": 14, "SF7": 6, "SF8": 2, "SF9": 4, "SF10": 2,
               "SF11": 4, "SM1": 22, "SM2": 28, "SM3": 12, "SM4": 48, "SM5": 80, "SM6": 14, "SM7": 28, "SM17": 2,
               "SM18": 2, "SM19": 2, "SM20": 10, "SM21": 4, "SM22": 2, "SM23": 6, "SM24": 38, "SM25": 40, "SM26": 2,
               "SM27": 4}


class Builder(NamedFiles):
    """URDU: spontaneous speech of talk shows in four emotions."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "https://github.com/siddiquelatif/URDU-Dataset"
    CITATION = ("Latif, Qayyum, Usman, Qadir: Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, "
                "FIT 2018")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (f"Clone {HOMEPAGE} or download it as a zip; give the clone, the zip, or the "
                                    "folder that holds either.")
    TITLE = "URDU"
    FILES = "(?P<speaker>S(?P<gender>[MF])[0-9]+)_F[0-9]+_(?P<emotion>[A-Z])[0-9]+[.]wav"
    EMOTIONS = EMOTIONS
    ARCHIVES = ("urdu", "URDU")
    COUNTS: ClassVar = {"label": dict.fromkeys(EMOTIONS.values(), 100), "speaker": PER_SPEAKER}
