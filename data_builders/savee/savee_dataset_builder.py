"""SAVEE: four men speak English sentences in seven emotions; 480 recordings, 44.1 kHz.

TFDS's own builder says label, speaker and split: its division by speakers, which the authors did not make. It wants
`AudioData.zip`, whose files are `AudioData/<speaker>/<code><number>.wav` (`DC/a01.wav`); flat copies with names such
as `DC_a01.wav`, and unpacked trees, do as well. Published (Haq, Jackson, 2009): 15 sentences in each emotion and 30
neutral ones, the same of each speaker. Three of them recur in all emotions, and neutral repeats 15 of the others,
but names don't tell which: `sentence` is the code and the number.
"""

from collections.abc import Sequence

import tensorflow_datasets as tfds
from tensorflow_datasets.datasets.savee import savee_dataset_builder as savee

from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.borrowed import examples
from sercl_jax.corpora.named_files import Named, NamedFiles

NEUTRAL = "n"


class Builder(NamedFiles, skip_registration=True):  # the name is TFDS's
    """SAVEE: four men speak English sentences in seven emotions."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "http://kahlan.eps.surrey.ac.uk/savee/"
    CITATION = "Haq, Jackson: Speaker-dependent audio-visual emotion recognition, AVSP 2009"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (f"Register at {HOMEPAGE} and download Data/Zip/AudioData.zip; give it, the "
                                    "folder that holds it, or the unpacked tree.")
    TITLE = "SAVEE"
    FILES = "(?P<id>(?P<speaker>DC|JE|JK|KL)[/_](?P<sentence>(?P<emotion>[a-z]{1,2})[0-9]{2}))[.]wav"
    EMOTIONS = savee.LABEL_MAP
    ARCHIVES = ("AudioData", "savee", "SAVEE")
    NAMES = frozenset(f"{speaker}_{code}{number:02}" for speaker in savee.SPEAKERS for code in savee.LABEL_MAP
                      for number in range(1, (30 if code == NEUTRAL else 15) + 1))

    def details(self, files: Sequence[Named], tables: Sequence[Entry]) -> dict[str, dict[str, str]]:
        told = examples(savee.Builder, paths=[f"AudioData.zip/AudioData/{file.id.replace('_', '/')}.wav"
                                              for file in files])
        return {key: {**fields, "gender": "male"} for key, fields in told.items()}
