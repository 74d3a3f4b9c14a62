"""More synthetic speech, by other voices and of other sentences than `demo`, to pre-train on."""

import numpy as np
import tensorflow_datasets as tfds

from sercl_jax.corpora import registry
from sercl_jax.corpora.base import CorpusBuilder
from sercl_jax.corpora.source import Source
from sercl_jax.types import Utterance

acting, synthesis = registry.module("demo", "acting"), registry.module("demo", "synthesis")

SPEAKERS = tuple(f"u{number:02d}" for number in range(1, 33))
SENTENCES = 16  # by each speaker, no two alike
_ONSETS = ("m", "n", "l", "r", "j", "b", "d", "g", "v", "z", "f", "s", "S", "h", "_p", "_t", "_k")
_VOWELS = ("a", "e", "i", "o", "u", "@")


class Builder(CorpusBuilder):
    """Synthetic speech without labels: 32 voices speak 16 sentences of no language each, in any mood."""

    VERSION = tfds.core.Version("1.0.0")

    def sources(self) -> list[Source]:
        return [Source(Utterance(id=f"{speaker}_{number:02d}", num_samples=0, speaker=speaker,
                                 sentence=sentence(f"{speaker}_{number:02d}"), gender=acting.speaker(speaker).gender))
                for speaker in SPEAKERS for number in range(1, SENTENCES + 1)]

    @classmethod
    def waveform(cls, source: Source) -> np.ndarray:
        known = source.utterance
        voice = acting.speaker(known.speaker)
        random = acting.generator(known.id)
        emotion = acting.EMOTIONS[random.integers(len(acting.EMOTIONS))]
        return synthesis.speak(known.sentence, voice, acting.manner(emotion, voice, random), random)


def sentence(name: str) -> str:
    """Eight to twelve syllables in words of two or three, every word stressed once."""
    random = acting.generator(f"sentence {name}")
    words, left = [], int(random.integers(8, 13))
    while left > 0:
        size = min(int(random.integers(2, 4)), left)
        stressed = int(random.integers(size))
        words.append("".join(f"{random.choice(_ONSETS)}{chr(39) if n == stressed else ''}"
                             f"{random.choice(_VOWELS[:5] if n == stressed else _VOWELS)}" for n in range(size)))
        left -= size
    return " ".join(words)
