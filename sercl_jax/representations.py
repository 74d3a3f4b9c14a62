"""What a trained CPC makes of a corpus: its context c_t every 10 ms, cached beside the other features."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from tqdm import tqdm

from sercl_jax import corpora, files, parallel, waveforms
from sercl_jax.features import HOP, cache
from sercl_jax.models import cpc
from sercl_jax.padded import Rows
from sercl_jax.types import Frames, Utterance, Variables

VERSION = 1  # counts up when the values change
BATCH = 16
LONGEST = 30.0  # seconds; the rest of a longer utterance is left out
_LENGTHS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, LONGEST)  # seconds; one compilation for each


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


def contexts(corpus: corpora.Corpus, settings: cpc.CpcSettings, variables: Variables, *, cache_dir: Path,
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
    predict = cpc.embedder(settings)
    counts = [_frames(u.num_samples) for u in corpus.utterances]
    with tqdm(total=len(corpus), desc=f"CPC features of {corpus.name}", unit="utterance", disable=not progress,
              dynamic_ncols=True) as bar:
        for first in range(0, len(corpus), 8 * BATCH):
            rows = np.arange(first, min(first + 8 * BATCH, len(corpus)))
            made: dict[int, np.ndarray] = {}
            lengths = np.array([_length(counts[u]) for u in rows])
            for samples in np.unique(lengths):
                chosen = rows[lengths == samples]
                c = parallel.apply_in_batches(predict, variables, _padded(corpus, chosen, int(samples)), BATCH,
                                              fill=True)
                made |= {int(u): c[i, :counts[u]] for i, u in enumerate(chosen)}
            for u in rows:
                yield made[int(u)]
            bar.update(len(rows))


def _length(frames: int) -> int:
    return next(n for n in map(waveforms.num_samples, _LENGTHS) if n >= frames * waveforms.HOP)


def _padded(corpus: Waveforms, rows: np.ndarray, samples: int) -> Mapping[str, Any]:
    def make(chosen: np.ndarray) -> np.ndarray:
        x = np.zeros((len(chosen), samples), np.int16)
        for b, u in enumerate(rows[chosen]):
            own = corpus.waveform(int(u))[:samples]
            x[b, :len(own)] = own
        return x

    return {"waveform": Rows(len(rows), make)}


def statistics(frames: np.ndarray) -> np.ndarray:
    """Mean and standard deviation over time: [T, F] -> [2 F] float32."""
    own = np.asarray(frames, np.float64)
    return np.concatenate([own.mean(0), own.std(0)]).astype(np.float32)


def mean_and_deviation(frames: Frames) -> np.ndarray:
    """Mean and standard deviation over each utterance's frames, [U, 2 F] float32."""
    return np.stack([statistics(frames[u]) for u in range(len(frames))])
