"""Waveforms to frames of low-level descriptors, extracted once per corpus, in parallel, and cached.

    is10_librosa  the 38 IS10 descriptors and their deltas, by NumPy and SciPy: 76 per 10 ms frame. (No librosa call
                  is left: its MFCC and pYIN are further from openSMILE's, and pYIN takes minutes for a corpus.)
    is10_jax      the same on the device, in single precision: jitted JAX, no worker processes
    is10          the same by openSMILE (optional extra, research licence)
    logmel        40 log mel filter bank energies

JAX is imported for `is10_jax` only: worker processes start quickly. `jax_is10` has the same as pure functions of
batches of waveforms, `describe` and `log_mel`, to be built into a model's input.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from sercl_jax import files
from sercl_jax.errors import UserError
from sercl_jax.features import cache, frames, is10, logmel, opensmile
from sercl_jax.types import Frames, Utterance
from sercl_jax.workers import parallel_map

NAMES = ("is10_librosa", "is10_jax", "is10", "logmel")
FUNCTIONALS = opensmile.FUNCTIONALS
HOP = frames.HOP / frames.RATE  # seconds
_ON_DEVICE = "is10_jax"
_MODULES: dict[str, ModuleType] = {"is10_librosa": is10, "is10": opensmile, "logmel": logmel}


class Corpus(Protocol):
    """What is needed of a corpus: `sercl_jax.corpora` has the real ones."""

    @property
    def name(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def utterances(self) -> Sequence[Utterance]: ...

    def __len__(self) -> int: ...

    def waveform(self, u: int) -> np.ndarray: ...


class _Waveforms(Sequence[np.ndarray]):
    """The waveforms of a corpus as a sequence, each read when it is asked for."""

    def __init__(self, corpus: Corpus):
        self.corpus = corpus

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, u):  # type: ignore[override]
        utterance = self.corpus.utterances[u]  # first, because its IndexError ends an iteration
        waveform = self.corpus.waveform(u)
        if len(waveform) != utterance.num_samples:
            raise UserError(f"{self.corpus.name}: utterance {utterance.id} has {len(waveform)} samples where its "
                            f"index says {utterance.num_samples}; delete the records and run again.")
        return waveform


def _module(name: str) -> ModuleType:
    if name == _ON_DEVICE:
        return import_module("sercl_jax.features.jax_extraction")  # imports JAX
    if name not in _MODULES:
        raise UserError(f"features={name}: unknown; choose one of {', '.join(NAMES)}.")
    return _MODULES[name]


def feature_names(name: str) -> tuple[str, ...]:
    """The F names of a kind of features, in the order of its columns.

    Raises:
      UserError: there are no such features.
    """
    return logmel.NAMES if _module(name) is logmel else is10.NAMES


def describe(waveform: np.ndarray, name: str) -> np.ndarray:
    """Features of one utterance.

    Args:
      waveform: [S] at 16 kHz, int16, or floats in [-1, 1]; any length.
      name: one of NAMES.

    Returns:
      [T, F] float32, finite; T >= 1: what is shorter than a frame is padded with zeros.

    Raises:
      UserError: unknown name, openSMILE is not installed, not one channel, or samples that are NaN or infinite.
    """
    return _module(name).describe(frames.to_float(waveform)).astype(np.float32)


def _functionals(waveform: np.ndarray, feature_set: str) -> np.ndarray:
    return opensmile.functionals(frames.to_float(waveform), feature_set).astype(np.float32)[None]


def extract(corpus: Corpus, name: str, *, cache_dir: Path, workers: int | None = None,
            progress: bool = True) -> Frames:
    """Features of a whole corpus, from the cache or computed in parallel and cached.

    Two processes that ask for the same at once do it once: the second waits. A killed one leaves nothing that
    counts.

    Args:
      corpus: what to describe.
      name: one of NAMES.
      cache_dir: the features go to `cache_dir/features/KEY`.
      workers: processes; None takes one per CPU, 0 or 1 works in this one. `is10_jax` needs none.
      progress: whether to show a progress bar.

    Raises:
      UserError: unknown name, openSMILE is not installed, records that disagree with their index, a full disk.
    """
    module = _module(name)
    length = frames.SHORT if module is logmel else frames.LONG
    counts = np.array([frames.count(u.num_samples, length) for u in corpus.utterances], np.int64)

    def rows(description: str) -> Iterable[np.ndarray]:
        if name == _ON_DEVICE:
            return module.progressing(map(frames.to_float, _Waveforms(corpus)),
                                      [u.num_samples for u in corpus.utterances], description, progress)
        return _by_workers(corpus, partial(describe, name=name), description, workers, progress)

    values, offsets, names, key = _cached(corpus, name, module.settings(), rows, lambda: feature_names(name), counts,
                                          cache_dir)
    return Frames(values=values, offsets=offsets, names=names, hop=HOP, key=key)


def functionals(corpus: Corpus, feature_set: str, *, cache_dir: Path, workers: int | None = None,
                progress: bool = True) -> tuple[np.ndarray, tuple[str, ...]]:
    """openSMILE's statistics over each utterance, cached as `extract` does.

    Args:
      feature_set: one of FUNCTIONALS: "IS10" (1582), "ComParE_2016" (6373) or "eGeMAPSv02" (88).

    Returns:
      [U, D] float32 and the D names.

    Raises:
      UserError: unknown set, openSMILE is not installed, records that disagree with their index, a full disk.
    """
    if feature_set not in FUNCTIONALS:
        raise UserError(f"functionals={feature_set}: unknown; choose one of {', '.join(FUNCTIONALS)}.")
    counts = np.ones(len(corpus), np.int64)

    def rows(description: str) -> Iterable[np.ndarray]:
        return _by_workers(corpus, partial(_functionals, feature_set=feature_set), description, workers, progress)

    values, _, names, _ = _cached(corpus, f"{feature_set} functionals", opensmile.settings(), rows,
                                  lambda: opensmile.functional_names(feature_set), counts, cache_dir)
    return values, names


def _by_workers(corpus: Corpus, function: Callable[[np.ndarray], np.ndarray], description: str, workers: int | None,
                progress: bool) -> Iterable[np.ndarray]:
    return parallel_map(function, _Waveforms(corpus), workers=workers, description=description, unit="utterance",
                        progress=progress)


def _cached(corpus: Corpus, name: str, settings: dict[str, object], rows: Callable[[str], Iterable[np.ndarray]],
            names: Callable[[], tuple[str, ...]], counts: np.ndarray,
            cache_dir: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], str]:
    key = files.digest([corpus.key, name, settings])
    folder = Path(cache_dir) / "features" / key
    what = f"{name} features of {corpus.name}"
    values, offsets, facts = cache.load_or_store(folder, key, what, names, counts, lambda: rows(f"Extracting {what}"))
    return values, offsets, tuple(facts["names"]), key
