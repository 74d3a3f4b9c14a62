"""What a trained CPC makes of a corpus: its context c_t every 10 ms, cached beside the other features."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import jax
import numpy as np

from sercl_jax import bucketed, corpora, files, waveforms
from sercl_jax.features import HOP, cache
from sercl_jax.models import cpc
from sercl_jax.types import Frames, Utterance, Variables

VERSION = 1  # counts up when the values change
BATCH = 16
LONGEST = bucketed.LONGEST  # seconds; the rest of a longer utterance is left out


class Waveforms(Protocol):
    """What is needed of a corpus."""

    @property
    def name(self) -> str: ...

    @property
    def utterances(self) -> Sequence[Utterance]: ...

    def __len__(self) -> int: ...

    def waveform(self, u: int) -> np.ndarray: ...


def digest(variables: Variables) -> str:
    """Hexadecimal name of parameters."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        total.update(jax.tree_util.keystr(path).encode() + np.ascontiguousarray(leaf).tobytes())
    return total.hexdigest()[:16]


def contexts(corpus: corpora.AnyCorpus, settings: cpc.CpcSettings, variables: Variables, *, cache_dir: Path,
             progress: bool = True) -> Frames:
    """CPC's context of every utterance, from the cache or computed now.

    The network is causal, so that zeros after an utterance change nothing of it.

    Args:
      corpus: what to describe.
      settings, variables: the network, trained or not.
      cache_dir: the frames go to `cache_dir/features/KEY`.
      progress: whether to show a bar.

    Returns:
      Frames with F = width of the context; one per 10 ms, at least one per utterance.

    Raises:
      UserError: damaged records, a full disk.
    """
    names = tuple(f"cpc[{i}]" for i in range(settings.context))
    facts = {"version": VERSION, "settings": asdict(settings), "weights": digest(variables), "longest": LONGEST}
    key = files.digest([corpus.key, "cpc", facts])
    folder = cache_dir / "features" / key
    counts = np.array([_frames(u.num_samples) for u in corpus.utterances])
    values, offsets, _ = cache.load_or_store(folder, key, f"CPC features of {corpus.name}", lambda: names, counts,
                                             lambda: compute(corpus, settings, variables, progress=progress))
    return Frames(values=values, offsets=offsets, names=names, hop=HOP, key=key)


def _frames(num_samples: int) -> int:
    return max(min(num_samples, waveforms.num_samples(LONGEST)) // waveforms.HOP, 1)


def compute(corpus: Waveforms, settings: cpc.CpcSettings, variables: Variables, *,
            progress: bool) -> Iterator[np.ndarray]:
    """Each utterance's context [T, F] float32, in the order of the corpus; similar lengths are computed together."""
    counts = [_frames(u.num_samples) for u in corpus.utterances]
    lengths = [waveforms.num_samples(seconds) // waveforms.HOP for seconds in bucketed.SECONDS]
    made = bucketed.in_order(
        counts, lengths, lambda rows, length: {"waveform": waveforms.padded(corpus, rows, length * waveforms.HOP)},
        cpc.embedder(settings), variables, batch_size=BATCH, description=f"CPC features of {corpus.name}",
        progress=progress)
    return (c[:count] for c, count in zip(made, counts, strict=True))


def statistics(frames: np.ndarray) -> np.ndarray:
    """Mean and standard deviation over time: [T, F] -> [2 F] float32."""
    own = np.asarray(frames, np.float64)
    return np.concatenate([own.mean(0), own.std(0)]).astype(np.float32)


def mean_and_deviation(frames: Frames) -> np.ndarray:
    """Mean and standard deviation over each utterance's frames, [U, 2 F] float32."""
    return np.stack([statistics(frames[u]) for u in range(len(frames))])
