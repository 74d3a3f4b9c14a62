"""Frames of an utterance to the nodes of its graph: averaging, padding, standardising. On the host, once."""

from dataclasses import dataclass

import numpy as np

from sercl_jax.types import Frames

# Fundamental frequency is undefined, and written 0, where there is no voice.
VOICED_ONLY = ("F0final",)


@dataclass(frozen=True)
class Nodes:
    """The nodes of every utterance of a corpus, padded to one shape.

    Attributes:
      x: [U, N, F] float32; padding rows are 0.
      mask: [U, N] bool; True for real nodes, which come first.
      names: F feature names.
    """

    x: np.ndarray
    mask: np.ndarray
    names: tuple[str, ...]


def average_frames(frames: np.ndarray, nodes: int, voiced_only: tuple[int, ...] = ()) -> np.ndarray:
    """Averages adjacent frames so that at most `nodes` rows remain.

    Args:
      frames: [T, F].
      nodes: the most rows to keep; an utterance with fewer frames keeps its frames.
      voiced_only: columns whose zeros mean "no voice": averaged over the other frames of a group only.

    Returns:
      [min(T, nodes), F], the groups of frames as equal in length as whole frames allow.
    """
    count = len(frames)
    if count <= nodes:
        return frames
    starts = (np.arange(nodes) * count) // nodes
    lengths = np.diff(np.append(starts, count))[:, None]
    averaged = np.add.reduceat(frames, starts, axis=0, dtype=np.float64) / lengths
    columns = list(voiced_only)
    voiced = np.add.reduceat(frames[:, columns] != 0, starts, axis=0, dtype=np.int64)
    averaged[:, columns] *= lengths / np.maximum(voiced, 1)
    return averaged.astype(frames.dtype)


def build(frames: Frames, nodes: int) -> Nodes:
    """The padded nodes of every utterance, not yet standardised."""
    voiced_only = tuple(i for i, name in enumerate(frames.names) if name in VOICED_ONLY)
    x = np.zeros((len(frames), nodes, len(frames.names)), np.float32)
    mask = np.zeros((len(frames), nodes), bool)
    for u in range(len(frames)):
        rows = average_frames(frames[u], nodes, voiced_only)
        x[u, :len(rows)] = rows
        mask[u, :len(rows)] = True
    return Nodes(x, mask, frames.names)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each feature, [F] float32; constant features have deviation 1."""

    mean: np.ndarray
    std: np.ndarray

    def apply(self, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Standardises [..., N, F]; padding rows stay 0."""
        return np.where(mask[..., None], (x - self.mean) / self.std, 0).astype(np.float32)


def statistics(x: np.ndarray, mask: np.ndarray) -> Statistics:
    """Statistics over all real nodes of [U, N, F], every node alike."""
    rows = x[mask].astype(np.float64)
    std = rows.std(axis=0)
    # A feature that hardly varies (digital silence, a clipped recorder) would only be blown up.
    std[std < 1e-6 * np.maximum(np.abs(rows).max(axis=0), 1e-12)] = 1
    return Statistics(rows.mean(axis=0).astype(np.float32), std.astype(np.float32))


def standardise(nodes: Nodes, rows: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Standardised features of all utterances, [U, N, F].

    Args:
      nodes: of the whole corpus.
      rows: indices of the training utterances, whose statistics are used.
      groups: [U] speaker (or corpus) of each utterance, to standardise each speaker by that speaker's own utterances
        (which uses their unlabelled audio, also the test speakers'); None for the training statistics.
    """
    if groups is None:
        return statistics(nodes.x[rows], nodes.mask[rows]).apply(nodes.x, nodes.mask)
    out = np.zeros_like(nodes.x)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        out[own] = statistics(nodes.x[own], nodes.mask[own]).apply(nodes.x[own], nodes.mask[own])
    return out


def mean_and_deviation(nodes: Nodes) -> np.ndarray:
    """Mean and standard deviation of each feature over an utterance's nodes, [U, 2 F]: the plainest embedding."""
    weight = nodes.mask[..., None].astype(np.float64)
    count = np.maximum(weight.sum(axis=1), 1)
    mean = (nodes.x * weight).sum(axis=1) / count
    variance = (((nodes.x - mean[:, None]) ** 2) * weight).sum(axis=1) / count
    return np.concatenate([mean, np.sqrt(variance)], axis=1).astype(np.float32)
