"""What an encoder makes of corpora: its frozen part once and for all, the rest after each training."""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sercl_jax import bucketed, corpora, files, representations, waveforms
from sercl_jax.encoders import Encoder, Params
from sercl_jax.features import cache
from sercl_jax.padded import Rows
from sercl_jax.types import SAMPLE_RATE, Batch, Frames, Variables

VERSION = 1  # counts up when the values change
BATCH = 16


class Mixture:
    """Frames of several corpora as one sequence of utterances, the corpora one after another.

    Attributes:
      parts: the corpora's frames.
      first: [C + 1] where each corpus begins.
      counts: [U] frames of each utterance.
    """

    def __init__(self, parts: Sequence[Frames]):
        self.parts = tuple(parts)
        self.first = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        self.counts = np.concatenate([np.diff(part.offsets) for part in parts])

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, u: int) -> np.ndarray:
        """[T, F]"""
        part = int(np.searchsorted(self.first, u, side="right")) - 1
        return self.parts[part][u - int(self.first[part])]

    def padded(self, rows: np.ndarray, length: int, places: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """"x" [B, length, F], 0 in the padding, and "mask" [B, length] bool, cut where they are longer.

        Args:
          rows: [B] utterances.
          length: in frames.
          places: [B] where to cut, from 0, the beginning and the default, to 1, the end.
        """
        x = np.zeros((len(rows), length, self.parts[0].values.shape[1]), np.float32)
        for b, u in enumerate(rows):
            own = self[int(u)]
            start = 0 if places is None else round(float(places[b]) * max(len(own) - length, 0))
            own = own[start:start + length]
            x[b, :len(own)] = own
        return {"x": x, "mask": self.mask(rows, length)}

    def mask(self, rows: np.ndarray, length: int) -> np.ndarray:
        """[B, length] bool: which frames of the padded utterances are theirs."""
        return np.arange(length)[None, :] < self.counts[rows][:, None]


def lengths(encoder: Encoder) -> list[int]:
    """What frames may be padded to."""
    return [encoder.frames(samples) for samples in _samples()]


def _samples() -> list[int]:
    return [round(seconds * SAMPLE_RATE) for seconds in bucketed.SECONDS]


def frozen(corpus: corpora.Corpus, encoder: Encoder, params: Params, *, cache_dir: Path, progress: bool) -> Frames:
    """What the part of the encoder that never trains makes of every utterance; computed once and cached.

    Args:
      corpus: what to encode; of an utterance beyond 30 seconds only those.
      encoder, params: the frozen part.
      cache_dir: the frames go to its folder `features`.
      progress: whether to show a bar.

    Raises:
      UserError: damaged records, a full disk.
    """
    longest = _samples()[-1]
    sizes = [min(u.num_samples, longest) for u in corpus.utterances]
    counts = np.array([encoder.frames(size) for size in sizes])
    width = _width(encoder, params)
    key = files.digest([corpus.key, "frozen", VERSION, encoder.facts(), representations.digest({"params": params})])

    def padded(rows: np.ndarray, length: int) -> dict[str, Any]:
        own = np.array([sizes[u] for u in rows], np.int32)
        return {"waveform": waveforms.padded(corpus, rows, length), "count": own}

    def rows() -> Iterator[np.ndarray]:
        made = bucketed.in_order(sizes, _samples(), padded, _features(encoder), params, batch_size=BATCH,
                                 description=f"Encoding {corpus.name}", progress=progress)
        return (x[:count] for x, count in zip(made, counts, strict=True))

    values, offsets, _ = cache.load_or_store(
        cache_dir / "features" / key, key, f"encoding {corpus.name}",
        lambda: tuple(f"encoder[{i}]" for i in range(width)), counts, rows)
    return Frames(values=values, offsets=offsets, names=(), hop=encoder.hop, key=key)


def _width(encoder: Encoder, params: Params) -> int:
    batch = {"waveform": np.zeros((1, SAMPLE_RATE), np.int16), "count": np.full(1, SAMPLE_RATE, np.int32)}
    return jax.eval_shape(_features(encoder), params, batch).shape[-1]


@functools.lru_cache
def _features(encoder: Encoder) -> Callable[[Params, Batch], jax.Array]:
    def predict(params: Params, batch: Batch) -> jax.Array:
        return encoder.features(params, batch["waveform"].astype(jnp.float32) / 32768, batch["count"])

    return predict


def contextual(mixture: Mixture, rows: np.ndarray, encoder: Encoder, trained: Params, *, directory: Path,
               progress: bool) -> Frames:
    """The last layer's frames of these utterances, kept in a folder of `directory` under a name of their own.

    Args:
      mixture: what the frozen part has made.
      rows: utterances of it.
      encoder, trained: the part that trains.
      directory: where they go.
      progress: whether to show a bar.
    """
    counts = np.asarray(mixture.counts[rows])
    key = files.digest([[part.key for part in mixture.parts], rows.tolist(), encoder.facts(),
                        representations.digest({"params": trained})])

    def made() -> Iterator[np.ndarray]:
        found = _each(mixture, rows, encoder, _last(encoder), trained, "Encoding", progress)
        return (x[:count] for x, count in zip(found, counts, strict=True))

    width = jax.eval_shape(_last(encoder), trained, mixture.padded(rows[:1], 2)).shape[-1]
    values, offsets, _ = cache.load_or_store(directory / key, key, "encoding",
                                             lambda: tuple(f"encoder[{i}]" for i in range(width)), counts, made)
    return Frames(values=values, offsets=offsets, names=(), hop=encoder.hop, key=key)


def layer_means(mixture: Mixture, rows: np.ndarray, encoder: Encoder, trained: Params, *,
                progress: bool) -> list[np.ndarray]:
    """Each layer's frames averaged over the utterance: for every layer [len(rows), D]."""
    packed = np.stack(list(_each(mixture, rows, encoder, _means(encoder), trained, "Layers", progress)))
    widths = [x.shape[-1] for x in jax.eval_shape(_layers(encoder), trained, mixture.padded(rows[:1], 2))]
    return np.split(packed, np.cumsum(widths)[:-1], axis=1)


def _each(mixture: Mixture, rows: np.ndarray, encoder: Encoder, predict: Callable[..., jax.Array], trained: Params,
          what: str, progress: bool) -> Iterator[np.ndarray]:
    def padded(chosen: np.ndarray, length: int) -> dict[str, Rows]:
        return {"x": Rows(len(chosen), lambda some: mixture.padded(rows[chosen[some]], length)["x"]),
                "mask": Rows(len(chosen), lambda some: mixture.mask(rows[chosen[some]], length))}

    return bucketed.in_order(mixture.counts[rows], lengths(encoder), padded, predict, trained, batch_size=BATCH,
                             description=what, progress=progress)


@functools.lru_cache
def _layers(encoder: Encoder) -> Callable[[Params, Batch], tuple[jax.Array, ...]]:
    def predict(trained: Params, batch: Batch) -> tuple[jax.Array, ...]:
        return encoder.layers(trained, batch["x"], batch["mask"])

    return predict


@functools.lru_cache
def _last(encoder: Encoder) -> Callable[[Variables, Batch], jax.Array]:
    layers = _layers(encoder)

    def predict(trained: Variables, batch: Batch) -> jax.Array:
        return layers(trained, batch)[-1].astype(jnp.float32)

    return predict


@functools.lru_cache
def _means(encoder: Encoder) -> Callable[[Variables, Batch], jax.Array]:
    layers = _layers(encoder)

    def predict(trained: Variables, batch: Batch) -> jax.Array:
        mask = batch["mask"][..., None]
        count = jnp.maximum(jnp.sum(mask, 1), 1)
        return jnp.concatenate([jnp.sum(jnp.where(mask, x.astype(jnp.float32), 0), 1) / count
                                for x in layers(trained, batch)], 1)

    return predict
