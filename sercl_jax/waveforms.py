"""Waveforms of one length: longer utterances are cut, shorter ones repeat themselves."""

import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sercl_jax import data
from sercl_jax.errors import UserError
from sercl_jax.padded import Rows
from sercl_jax.types import SAMPLE_RATE, Batch, Input

HOP = 160  # samples; one latent of CPC
CROPS = ("random", "start")


class Waveforms(Protocol):
    """What is needed of a corpus."""

    def waveform(self, u: int) -> np.ndarray: ...


def fit(waveform: np.ndarray, samples: int, start: float = 0.0) -> tuple[np.ndarray, int]:
    """Cuts a waveform to a length or fills it with repeats of itself (Li et al. 2021, section 6.1).

    It is cut to whole hops before it is repeated, so that frame t is a copy of frame t' if and only if t and t' are
    equal modulo its number of frames. What is shorter than a hop is filled with zeros to one.

    Args:
      waveform: [S] int16 at 16 kHz.
      samples: the length wanted, a multiple of `HOP`.
      start: where to cut what is longer, from 0 (its beginning) to 1 (its end).

    Returns:
      [samples] int16, and the number of frames before they repeat.
    """
    if len(waveform) >= samples:
        first = round(start * (len(waveform) - samples))
        return np.asarray(waveform[first:first + samples]), samples // HOP
    frames = max(len(waveform) // HOP, 1)
    whole = np.zeros(frames * HOP, waveform.dtype)
    whole[:len(waveform)] = waveform[:len(whole)]
    return np.resize(whole, samples), frames


def batches(corpus: Waveforms, rows: Sequence[int] | np.ndarray, *, batch_size: int, seconds: float, crop: str,
            seed: int) -> Input:
    """Batches of waveforms, read from the records when they are asked for; host memory holds no more than those.

    Args:
      corpus: where from.
      rows: utterances to draw from, by their number in the corpus.
      batch_size: B, over all devices.
      seconds: length of every waveform, a multiple of 10 ms.
      crop: "random": what is longer is cut at a place drawn anew each time; "start": at its beginning.
      seed: draws the order and the places.

    Returns:
      A function of the global step: "waveform" [B, S] int16, "frames" [B] int32 before they repeat, "index" [B]
      int32 (number in the corpus) and "valid" [B] bool (see `data.batches`).

    Raises:
      UserError: an unknown crop, or a length that is not a positive multiple of 10 ms.
    """
    if crop not in CROPS:
        raise UserError(f"crop={crop!r} is unknown; known: {', '.join(CROPS)}.")
    samples = num_samples(seconds)
    rows = np.asarray(rows)
    order = data.batches(len(rows), batch_size, seed)

    def draw(step: int) -> dict[str, np.ndarray]:
        positions, valid = order(step)
        places = np.random.default_rng((seed, step)).random(batch_size) if crop == "random" else np.zeros(batch_size)
        return {"index": rows[positions].astype(np.int32), "valid": valid, "place": places}

    def read(drawn: Batch) -> dict[str, np.ndarray]:
        made = [fit(corpus.waveform(int(u)), samples, place)
                for u, place in zip(drawn["index"], drawn["place"], strict=True)]
        return {"waveform": np.stack([waveform for waveform, _ in made]),
                "frames": np.array([frames for _, frames in made], np.int32),
                "index": drawn["index"], "valid": drawn["valid"]}

    return Input(draw, read)


def num_samples(seconds: float, name: str = "seconds") -> int:
    """Seconds as a whole number of hops, in samples; raises `UserError`, which says `name`, if there is none."""
    hops = round(seconds * SAMPLE_RATE / HOP)
    if hops < 1 or abs(hops * HOP - seconds * SAMPLE_RATE) > 1e-6 * SAMPLE_RATE:
        raise UserError(f"{name}={seconds}: must be a positive multiple of {HOP / SAMPLE_RATE:g}.")
    return hops * HOP


def columns(corpus: Waveforms, rows: np.ndarray, seconds: float) -> dict[str, Rows]:
    """The beginnings of many utterances, as arrays that are made when they are indexed.

    Returns:
      "waveform" [U, S] int16 and "frames" [U] int32, as in `batches`.
    """
    samples = num_samples(seconds)

    @functools.lru_cache(maxsize=1)  # both columns of the same rows are asked for, one after the other
    def fitted(chosen: tuple[int, ...]) -> list[tuple[np.ndarray, int]]:
        return [fit(corpus.waveform(int(rows[u])), samples) for u in chosen]

    def make(part: int) -> Rows:
        return Rows(len(rows), lambda chosen: np.stack(
            [np.asarray(made[part]) for made in fitted(tuple(chosen.tolist()))]))

    return {"waveform": make(0), "frames": make(1)}


def padded(corpus: Waveforms, rows: np.ndarray, samples: int) -> Rows:
    """[len(rows), samples] int16, made when it is indexed: the utterances, cut, or with zeros after them."""
    def make(chosen: np.ndarray) -> np.ndarray:
        x = np.zeros((len(chosen), samples), np.int16)
        for b, u in enumerate(rows[chosen]):
            own = corpus.waveform(int(u))[:samples]
            x[b, :len(own)] = own
        return x

    return Rows(len(rows), make)
