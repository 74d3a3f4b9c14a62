"""The embedded corpus: synthetic speech, so that everything can be tried and tested without a download."""

import numpy as np
import tensorflow_datasets as tfds

from sercl_jax.corpora.base import CorpusBuilder
from sercl_jax.corpora.source import Source
from sercl_jax.types import Utterance

from . import acting, synthesis
from .sentences import SENTENCES


class Builder(CorpusBuilder):
    """Synthetic speech: eight voices speak six sentences of no language in seven emotions."""

    VERSION = tfds.core.Version("1.0.0")
    RATING_SCALE = (1.0, 5.0)

    def sources(self) -> list[Source]:
        return [_source(speaker, sentence, emotion)
                for speaker in acting.SPEAKERS for sentence in SENTENCES for emotion in acting.EMOTIONS]

    @classmethod
    def waveform(cls, source: Source) -> np.ndarray:
        known = source.utterance
        voice = acting.speaker(known.speaker)
        random = acting.generator(known.id)
        manner = acting.manner(known.label, voice, random)
        return synthesis.speak(SENTENCES[known.sentence], voice, manner, random)


def _source(speaker: str, sentence: str, emotion: str) -> Source:
    name = f"{speaker}_{sentence}_{emotion}"
    voice = acting.speaker(speaker)
    activation, valence, dominance = acting.manner(emotion, voice, acting.generator(name)).ratings
    return Source(Utterance(
        id=name, num_samples=0, label=emotion, speaker=speaker, sentence=sentence, gender=voice.gender,
        session=str((int(speaker[1:]) + 1) // 2),  # a woman and a man each
        activation=activation, valence=valence, dominance=dominance))
