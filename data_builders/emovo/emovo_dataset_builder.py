"""EMOVO: six actors speak 14 Italian sentences in seven emotions; 588 recordings, 48 kHz.

Published (Costantini et al., 2014): three women and three men, every sentence once in every emotion. Files are
`<speaker>/<emotion>-<speaker>-<sentence>.wav`, such as `f1/dis-f1-b1.wav`; emotions are coded by the Italian words.
"""

from itertools import product

import tensorflow_datasets as tfds

from sercl_jax.corpora.named_files import NamedFiles

EMOTIONS = {"rab": "angry", "dis": "disgusted", "pau": "fearful", "gio": "happy", "neu": "neutral", "tri": "sad",
            "sor": "surprised"}
SPEAKERS = ("f1", "f2", "f3", "m1", "m2", "m3")
# Short (b), long (l), without meaning (n), questions (d).
SENTENCES = ("b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2")


class Builder(NamedFiles):
    """EMOVO: six actors speak 14 Italian sentences in seven emotions."""

    VERSION = tfds.core.Version("1.0.0")
    HOMEPAGE = "http://voice.fub.it/activities/corpora/emovo/index.html"
    CITATION = "Costantini, Iaderola, Paoloni, Todisco: EMOVO Corpus: an Italian Emotional Speech Database, LREC 2014"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (f"Download its archive from {HOMEPAGE}; give it, the folder that holds it, or "
                                    "the unpacked tree.")
    TITLE = "EMOVO"
    FILES = "(?P<emotion>[a-z]{3})-(?P<speaker>(?P<gender>[fm])[0-9])-(?P<sentence>[a-z][0-9])[.]wav"
    EMOTIONS = EMOTIONS
    ARCHIVES = ("emovo", "EMOVO")
    NAMES = frozenset(map("-".join, product(EMOTIONS, SPEAKERS, SENTENCES)))
