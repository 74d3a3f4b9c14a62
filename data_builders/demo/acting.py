"""Who speaks, and what an emotion does to a voice: numbers only, no signals.

An utterance draws its activation, valence and dominance around the mean of its emotion. They move the prosody and
the voice quality linearly, each speaker with habits of their own; an emotion adds what the three dimensions leave
out; the rest is chance. Directions follow the reviews of vocal expression (Scherer, 2003, Table 1; Juslin & Laukka,
2003, Table 7). The spreads are chosen so that simple classifiers confuse the emotions about as often as in acted
corpora.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

EMOTIONS = ("angry", "bored", "disgusted", "fearful", "happy", "neutral", "sad")
SPEAKERS = tuple(f"s{number:02d}" for number in range(1, 9))

# The columns of every table below, and of `Manner.values`.
PARAMETERS = (
    "pitch",  # semitones above the speaker's own mean
    "range",  # natural logarithm of the factor on accents
    "rate",  # natural logarithm of the factor on speed
    "level",  # dB
    "tilt",  # dB of damping at 3 kHz
    "open",  # share of the glottal cycle that is open
    "breath",  # aspiration noise, dB re voice
    "jitter",  # natural logarithm of the factor on JITTER
    "shimmer",  # natural logarithm of the factor on SHIMMER
    "formants",  # natural logarithm of the factor on formants: smiling shortens the vocal tract
    "reduction",  # how far vowels drift to schwa, 0 to 1
    "slope",  # semitones per second from first to last phone
)
NEUTRAL = np.array([0.0, 0.0, 0.0, 0.0, 9.0, 0.62, -24.0, 0.0, 0.0, 0.0, 0.25, -2.0])

# Activation, valence, dominance of each emotion, -1 to 1.
AFFECT = {
    "angry": (0.75, -0.65, 0.75),
    "bored": (-0.60, -0.25, -0.15),
    "disgusted": (0.05, -0.70, 0.25),
    "fearful": (0.50, -0.60, -0.65),
    "happy": (0.65, 0.75, 0.35),
    "neutral": (0.0, 0.05, 0.05),
    "sad": (-0.70, -0.65, -0.55),
}
AFFECT_SPREAD = 0.25
RATER_SPREAD = 0.12  # of the mean of several raters

# What one unit of activation, valence and dominance adds to each parameter.
BY_AFFECT = np.array([
    [4.0, 0.40, 0.14, 5.0, -4.5, -0.05, -2.5, 0.10, 0.10, 0.010, -0.20, -1.0],
    [0.8, 0.20, 0.03, 0.0, -0.8, 0.00, 0.0, -0.20, -0.15, 0.025, 0.00, 0.8],
    [-0.8, 0.00, 0.00, 2.0, -2.5, -0.05, -2.5, -0.10, -0.10, -0.010, -0.10, -0.8],
])
# What each emotion adds beyond its affect.
BY_EMOTION = {
    "angry": [-0.5, 0.15, 0.02, 1.5, -1.5, -0.03, 0.0, 0.25, 0.20, 0.00, -0.05, -0.8],
    "bored": [-0.5, -0.30, -0.12, 0.0, 0.0, 0.00, 0.0, -0.10, 0.00, 0.00, 0.12, 1.2],
    "disgusted": [-1.5, 0.00, -0.14, 0.0, 0.5, -0.02, 0.5, 0.30, 0.25, -0.035, 0.00, -0.8],
    "fearful": [2.5, -0.25, 0.12, -0.5, 0.0, 0.02, 3.0, 0.30, 0.15, 0.00, 0.05, 0.8],
    "happy": [0.5, 0.10, 0.03, 0.0, 0.0, 0.02, 1.5, -0.10, 0.00, 0.025, 0.00, 1.5],
    "neutral": [0.0, -0.05, 0.03, 0.0, 0.0, 0.00, 0.0, 0.00, 0.00, 0.00, 0.00, 0.0],
    "sad": [0.5, -0.20, -0.08, 0.0, 1.0, 0.04, 4.0, 0.10, 0.10, -0.010, 0.05, -0.3],
}
# Standard deviations: of an utterance around all that, and of a speaker around the average one.
CHANCE = np.array([1.1, 0.18, 0.07, 1.5, 1.6, 0.035, 2.0, 0.18, 0.20, 0.012, 0.08, 0.9])
HABIT = np.array([0.0, 0.12, 0.07, 1.2, 1.6, 0.035, 2.0, 0.20, 0.20, 0.00, 0.06, 0.5])
EXPRESSIVENESS = 0.25  # spread of a speaker's factors on BY_AFFECT and BY_EMOTION

PITCH = {"female": 205.0, "male": 118.0}  # Hz
PITCH_SPREAD = 1.6  # semitones between speakers
TRACT = {"female": 1.08, "male": 0.93}  # factor on formants
TRACT_SPREAD = 0.03
JITTER = 0.006  # standard deviation of a period, relative
SHIMMER = 0.03  # standard deviation of a period's amplitude, relative


@dataclass(frozen=True)
class Speaker:
    """One voice: `gains` and `habits` are [P] for the P parameters."""

    gender: str
    pitch: float  # Hz
    tract: float  # factor on formants
    gains: np.ndarray
    habits: np.ndarray


@dataclass(frozen=True)
class Manner:
    """How one utterance is spoken.

    Attributes:
      values: each of `PARAMETERS`, in its unit.
      ratings: activation, valence, dominance from 1 to 5, as raters would give them.
    """

    values: dict[str, float]
    ratings: tuple[float, float, float]


def generator(name: str) -> np.random.Generator:
    """Random numbers that belong to a name, so that the order of synthesis changes nothing."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def speaker(name: str) -> Speaker:
    """The voice called `name`; odd numbers are female."""
    random = generator(f"speaker {name}")
    gender = "female" if int(name[1:]) % 2 else "male"
    return Speaker(
        gender=gender,
        pitch=PITCH[gender] * 2 ** (PITCH_SPREAD * random.standard_normal() / 12),
        tract=TRACT[gender] * float(np.exp(TRACT_SPREAD * random.standard_normal())),
        gains=np.exp(EXPRESSIVENESS * random.standard_normal(len(PARAMETERS))),
        habits=HABIT * random.standard_normal(len(PARAMETERS)))


def manner(emotion: str, voice: Speaker, random: np.random.Generator) -> Manner:
    """Draws how `voice` expresses an emotion this time."""
    affect = np.array(AFFECT[emotion]) + AFFECT_SPREAD * random.standard_normal(3)
    expression = affect @ BY_AFFECT + np.array(BY_EMOTION[emotion])
    values = NEUTRAL + voice.habits + voice.gains * expression + CHANCE * random.standard_normal(len(PARAMETERS))
    ratings = np.clip(3.0 + 2.0 * (affect + RATER_SPREAD * random.standard_normal(3)), 1.0, 5.0).round(2)
    return Manner(values={name: float(value) for name, value in zip(PARAMETERS, values, strict=True)},
                  ratings=(float(ratings[0]), float(ratings[1]), float(ratings[2])))
