"""Whole corpora through the device: utterances packed end to end into rows of one shape, a row on each device.

Packing wastes less than a hop per utterance and compiles once, whatever the lengths; results come in order, a few
rows at a time, so that neither a long recording nor a large corpus lies in memory.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from sercl_jax import parallel
from sercl_jax.features import frames, is10, jax_frames, jax_is10
from sercl_jax.features.frames import HOP, LONG, SHORT

_SHORTEST_ROW = 128  # hops
_LONGEST_ROW = 8192  # hops, 82 s; only for a longer utterance is there a longer row


def settings() -> dict[str, object]:
    """What the values depend on, for the cache key; the version changes whenever the values do."""
    return {**is10.settings(), "jax": 1}


def describe(signal: np.ndarray) -> np.ndarray:
    """[S] samples in [-1, 1] at 16 kHz -> [T, 76], T = max(1, 1 + (S - 960) // 160), in the order of `is10.NAMES`."""
    return next(described([signal], _hops(len(signal))))


def described(signals: Iterable[np.ndarray], total: int) -> Iterator[np.ndarray]:
    """The descriptors of each utterance, [T, 76] float32.

    Args:
      signals: [S] samples in [-1, 1] at 16 kHz each; taken in 16 bits, as records and openSMILE hold them.
      total: about how many hops they have together: few utterances get short rows.
    """
    devices = tuple(jax.local_devices())
    usual = min(_row(-(-total // len(devices))), _LONGEST_ROW)
    pending: list[tuple[Any, list[tuple[int, int, int]]]] = []
    rows = _Rows(len(devices), usual)
    for signal in signals:
        hops = _hops(len(signal))
        if not rows.fit(hops):
            pending.append(rows.dispatch(devices))
            if len(pending) > 1:  # one is computed while the next is packed
                yield from _unpacked(*pending.pop(0))
            rows = _Rows(len(devices), max(usual, _row(hops)))
        rows.take(signal, hops)
    pending.append(rows.dispatch(devices))
    for each in pending:
        yield from _unpacked(*each)


def progressing(signals: Iterable[np.ndarray], lengths: list[int], description: str,
                progress: bool) -> Iterator[np.ndarray]:
    """`described`, with a progress bar.

    Args:
      lengths: samples of each utterance.
      description: words for the bar.
      progress: whether to show it.
    """
    yield from tqdm(described(signals, sum(map(_hops, lengths))), total=len(lengths), desc=description,
                    unit="utterance", disable=not progress, dynamic_ncols=True)


def _hops(samples: int) -> int:
    return max(-(-samples // HOP), jax_frames.SHORTEST // HOP)


def _row(hops: int) -> int:
    return max(1 << (hops - 1).bit_length(), _SHORTEST_ROW)


class _Rows:
    """One row per device, filled from the first to the last."""

    def __init__(self, count: int, hops: int):
        self.waveforms = np.zeros((count, hops * HOP), np.int16)
        self.position, self.total, self.known = (np.zeros((count, hops), np.int32) for _ in range(3))
        self.places: list[tuple[int, int, int]] = []  # of each utterance: row, first frame, frames
        self.row, self.used = 0, 0  # hops of that row

    def fit(self, hops: int) -> bool:
        """Whether there is room, perhaps in the next row."""
        count, size = self.total.shape
        if self.used + hops > size and self.row + 1 < count:
            self.row, self.used = self.row + 1, 0
        return self.used + hops <= size

    def take(self, signal: np.ndarray, hops: int) -> None:
        start, end, count = self.used, self.used + hops, frames.count(len(signal), LONG)
        samples = np.clip(np.rint(signal * 32767), -32768, 32767)
        self.waveforms[self.row, start * HOP:start * HOP + len(signal)] = samples
        self.position[self.row, start:end] = np.arange(hops)
        self.total[self.row, start:end] = count
        self.known[self.row, start:end] = min(count + 1, frames.count(len(signal), SHORT))
        self.places.append((self.row, start, count))
        self.used = end

    def dispatch(self, devices: parallel.Devices) -> tuple[Any, list[tuple[int, int, int]]]:
        """Starts the computation: its result to come, and where each utterance's frames will lie."""
        batch = {"waveforms": self.waveforms, "position": self.position, "total": self.total, "known": self.known}
        return _mapped(tuple(devices))(parallel.shard(batch, devices)), self.places


def _unpacked(result: Any, places: list[tuple[int, int, int]]) -> Iterator[np.ndarray]:
    values = np.asarray(result)[:, 0]
    for row, start, count in places:
        yield values[row, start:start + count]


@lru_cache(maxsize=4)
def _mapped(devices: tuple[jax.Device, ...]) -> Any:
    def function(batch: dict[str, jax.Array]) -> jax.Array:
        layout = jax_frames.Layout(batch["position"], batch["total"], batch["known"])
        return jax_is10.describe_rows(batch["waveforms"], layout)

    return parallel.map_step(function, devices=devices)
