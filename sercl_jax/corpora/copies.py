"""Recordings that a corpus holds several times, with the very same samples."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from sercl_jax.types import Utterance

_SHOWN = 3  # groups that a warning names


class _Corpus(Protocol):
    @property
    def utterances(self) -> Sequence[Utterance]: ...

    @property
    def copies(self) -> Sequence[Sequence[str]]: ...


def groups(ids: Iterable[str], digests: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Ids of utterances whose samples have the same digest; only groups of two or more."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, digest in zip(ids, digests, strict=True):
        found[digest].append(name)
    return tuple(tuple(group) for group in found.values() if len(group) > 1)


def among(ids: Iterable[str], copies: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """What is left of the groups where only some utterances are."""
    kept = set(ids) if copies else set()
    left = (tuple(name for name in group if name in kept) for group in copies)
    return tuple(group for group in left if len(group) > 1)


def several(count: int) -> str:
    """The beginning of a sentence."""
    return f"{count} recording{'s are' if count > 1 else ' is'} there several times"


def warnings(corpus: _Corpus, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[str, ...]:
    """What to tell of copies beside a result.

    Args:
      corpus: of U utterances.
      parts: for each fold the positions of its training and of its test utterances.
    """
    if not corpus.copies:
        return ()
    group = {name: number for number, names in enumerate(corpus.copies) for name in names}
    numbers = np.array([group.get(utterance.id, -1) for utterance in corpus.utterances])
    labels: dict[int, set[str]] = defaultdict(set)
    for utterance, number in zip(corpus.utterances, numbers, strict=True):
        labels[number].add(utterance.label)
    leaks = [np.intersect1d(numbers[train], numbers[test]) for train, test in parts]
    leaky = sum(bool((shared >= 0).any()) for shared in leaks)
    names = "; ".join(" = ".join(names) for names in corpus.copies[:_SHOWN])
    more = f" and {len(corpus.copies) - _SHOWN} more" if len(corpus.copies) > _SHOWN else ""
    text = f"{several(len(corpus.copies))}, with the same samples ({names}{more})"
    told = [f"{text}: in {leaky} of {len(leaks)} folds a tested one has its copy in training, which flatters the "
            "result. Remove the copies." if leaky else f"{text}, but never in both training and test."]
    if differing := sum(len(labels[number]) > 1 for number in range(len(corpus.copies))):
        told.append(f"{differing} of these recordings {'have' if differing > 1 else 'has'} several labels. Correct "
                    "them.")
    return tuple(told)
