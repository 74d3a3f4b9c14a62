"""A source-filter speech synthesiser: glottal pulses and noise through moving formants.

The glottal source is KLGLOTT88 and the cascade of formant resonators that of Klatt & Klatt (1990), "Analysis,
synthesis, and perception of voice quality variations among female and male talkers"; frication is band-passed noise
beside the cascade.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from .acting import JITTER, SHIMMER, Manner, Speaker
from .sentences import PHONES, SCHWA, Phone

RATE = 16_000  # Hz
OVERSAMPLING = 2  # of the glottal pulses, whose sharp closures would alias
CONTROL = 200  # Hz; formants move once per 5 ms
HIGH_FORMANTS = (3500.0, 4500.0)  # Hz, F4 and F5 of an average tract
BANDWIDTHS = (70.0, 90.0, 150.0, 220.0, 300.0)  # Hz, F1 to F5
ACCENT = 3.2  # semitones of a stressed vowel in neutral speech
ACCENT_WIDTH = 0.07  # seconds, standard deviation
DRIFT = 0.35  # semitones of slow random pitch movement
STRESS = 1.25  # factor on the duration of stressed vowels
FINAL = 1.35  # factor on the duration of the last vowel
DURATION_SPREAD = 0.08  # natural logarithm, per phone
SILENCE = (0.06, 0.14)  # seconds before and after, least and most
LOUDNESS = -25.0  # dB re full scale, root mean square while speaking
ROOM = -64.0  # dB re full scale, noise of the recording


@dataclass(frozen=True)
class _Plan:
    """Control tracks, one value per 5 ms: C of them."""

    formants: np.ndarray  # [C, 3] Hz
    voice: np.ndarray  # [C] amplitude of the glottal source
    noise: dict[tuple[float, float], np.ndarray]  # frication band -> [C] amplitude
    pitch: np.ndarray  # [C] Hz


def speak(sentence: str, speaker: Speaker, manner: Manner, random: np.random.Generator) -> np.ndarray:
    """Synthesises one utterance: [S] int16 at 16 kHz."""
    values = manner.values
    plan = _plan(sentence, speaker, values, random)
    size = len(plan.voice) * (RATE // CONTROL)
    source = _glottis(plan, values, size, random)
    speech = _tract(source, plan.formants, np.clip(values["open"], 0.35, 0.9))
    for band, amplitude in plan.noise.items():
        filtered = signal.sosfilt(signal.butter(2, band, "bandpass", fs=RATE, output="sos"),
                                  random.standard_normal(size))
        speech += filtered / filtered.std() * _samples(amplitude, size)
    speaking = _samples(plan.voice, size) > 0.5
    gain = 10 ** ((LOUDNESS + values["level"]) / 20) / np.sqrt(np.mean(speech[speaking] ** 2))
    mixed = speech * gain + 10 ** (ROOM / 20) * random.standard_normal(size)
    mixed /= max(1.0, float(np.abs(mixed).max()) / 0.98)
    return np.rint(mixed * 32767).astype(np.int16)


def _plan(sentence: str, speaker: Speaker, values: dict[str, float], random: np.random.Generator) -> _Plan:
    phones, stressed = _parse(sentence)
    vowels = [position for position, phone in enumerate(phones) if phone.vowel]
    seconds = np.array([phone.milliseconds / 1000 for phone in phones])
    seconds[stressed] *= STRESS
    seconds[vowels[-1]] *= FINAL
    seconds *= np.exp(DURATION_SPREAD * random.standard_normal(len(phones)) - values["rate"])
    seconds = np.concatenate([random.uniform(*SILENCE, 1), seconds, random.uniform(*SILENCE, 1)])
    phones = [PHONES["|"], *phones, PHONES["|"]]
    counts = np.maximum(1, np.rint(seconds * CONTROL).astype(int))

    def track(targets: list[float], width: float) -> np.ndarray:
        # Articulators move smoothly: targets are blurred over `width` seconds.
        steps = np.repeat(np.asarray(targets, float), counts)
        return ndimage.gaussian_filter1d(steps, width * CONTROL, mode="nearest")

    reduction = np.clip(values["reduction"], 0.0, 0.8)
    scale = speaker.tract * np.exp(values["formants"])
    formants = np.stack([
        track([scale * (phone.formants[k] + phone.vowel * reduction * (SCHWA[k] - phone.formants[k]))
               for phone in phones], 0.015)
        for k in range(3)], axis=1)
    bands = sorted({phone.band for phone in phones if phone.noise})
    noise = {band: 0.35 * track([phone.noise * (phone.band == band) for phone in phones], 0.006) for band in bands}
    middles = (np.cumsum(counts) - counts / 2) / CONTROL
    return _Plan(formants=formants, voice=track([phone.voice for phone in phones], 0.008), noise=noise,
                 pitch=_pitch(middles[np.asarray(stressed) + 1], int(counts.sum()), speaker, values, random))


def _parse(sentence: str) -> tuple[list[Phone], list[int]]:
    """The phones of a sentence, and the positions of the stressed ones."""
    phones: list[Phone] = []
    stressed: list[int] = []
    stress = False
    for symbol in sentence.replace(" ", ""):
        if symbol == "'":
            stress = True
            continue
        phone = PHONES[symbol]
        if stress and phone.vowel:
            stressed.append(len(phones))
            stress = False
        phones.append(phone)
    return phones, stressed


def _pitch(accents: np.ndarray, count: int, speaker: Speaker, values: dict[str, float],
           random: np.random.Generator) -> np.ndarray:
    """[C] Hz: mean, declination, an accent of random height on each stressed vowel, and drift."""
    time = np.arange(count) / CONTROL
    heights = ACCENT * np.exp(values["range"]) * np.exp(0.25 * random.standard_normal(len(accents)))
    bumps = np.exp(-0.5 * ((time[:, None] - accents) / ACCENT_WIDTH) ** 2) @ heights
    drift = ndimage.gaussian_filter1d(random.standard_normal(count), 0.08 * CONTROL, mode="nearest")
    slope = values["slope"] * (time - time.mean())
    semitones = values["pitch"] + bumps + slope + DRIFT * drift / drift.std()
    return np.clip(speaker.pitch * 2 ** (semitones / 12), 55.0, 600.0)


def _glottis(plan: _Plan, values: dict[str, float], size: int, random: np.random.Generator) -> np.ndarray:
    """[S]: the derivative of glottal flow with jitter and shimmer, spectral tilt and aspiration noise."""
    rate, count = RATE * OVERSAMPLING, size * OVERSAMPLING
    opening = np.clip(values["open"], 0.35, 0.9)
    pitch = _samples(plan.pitch, count)
    cycle = np.cumsum(pitch / rate).astype(int)
    cycles = int(cycle[-1]) + 2
    period = 1 + JITTER * np.exp(np.clip(values["jitter"], -1.5, 1.5)) * random.standard_normal(cycles)
    phase = np.cumsum(pitch / rate / period[cycle])
    cycle = np.minimum(phase.astype(int), cycles - 1)
    height = 1 + SHIMMER * np.exp(np.clip(values["shimmer"], -1.5, 1.5)) * random.standard_normal(cycles)
    x = (phase - np.floor(phase)) / opening
    is_open = x < 1
    # KLGLOTT88: flow x^2 - x^3 while open; its derivative falls back from -1 at the closure.
    pulses = np.where(is_open, 2 * x - 3 * x * x, 0.0) * height[cycle]
    pulses = signal.resample_poly(pulses, 1, OVERSAMPLING)
    pole = _tilt_pole(np.clip(values["tilt"], 0.5, 30.0))
    voiced = signal.lfilter([1 - pole], [1, -pole], pulses)
    # Air is loudest while the glottis is open.
    aspiration = random.standard_normal(size) * (0.3 + 0.7 * is_open[::OVERSAMPLING])
    level = voiced.std() * 10 ** (np.clip(values["breath"], -40.0, -5.0) / 20)
    return (voiced + level * aspiration) * _samples(plan.voice, size)


def _tilt_pole(damping: float) -> float:
    """The pole of the one-pole low-pass that damps 3 kHz by so many dB against 0 Hz."""
    power, cosine = 10 ** (-damping / 10), np.cos(2 * np.pi * 3000 / RATE)
    middle = 1 - power * cosine
    return float((middle - np.sqrt(middle**2 - (1 - power) ** 2)) / (1 - power))


def _tract(source: np.ndarray, formants: np.ndarray, opening: float) -> np.ndarray:
    """The cascade of five resonators (Klatt, 1980, eq. 1 and 2), their coefficients changing every 5 ms."""
    count, step = len(formants), RATE // CONTROL
    frequencies = np.concatenate([formants, np.broadcast_to(HIGH_FORMANTS, (count, 2))], axis=1)
    widths = np.array(BANDWIDTHS)
    widths[0] += 150 * max(0.0, opening - 0.5)  # an open glottis damps the first formant
    radius = np.exp(-np.pi * widths / RATE)
    c = np.broadcast_to(-(radius**2), frequencies.shape)
    b = 2 * radius * np.cos(2 * np.pi * frequencies / RATE)
    a = 1 - b - c
    zero, one = np.zeros_like(a), np.ones_like(a)
    sections = np.ascontiguousarray(np.stack([a, zero, zero, one, -b, -c], axis=-1))  # [C, 5, 6]
    state = np.zeros((len(BANDWIDTHS), 2))
    speech = np.empty_like(source)
    for block in range(count):
        span = slice(block * step, (block + 1) * step)
        speech[span], state = signal.sosfilt(sections[block], source[span], zi=state)
    return speech


def _samples(track: np.ndarray, size: int) -> np.ndarray:
    """A control track [C] interpolated to `size` samples."""
    return np.interp(np.arange(size) * (len(track) / size), np.arange(len(track)), track)
