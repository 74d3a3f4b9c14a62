"""Utterances of any length through a network in batches of few shapes: similar lengths go together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

SECONDS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0)  # lengths of batches; one compilation for each
LONGEST = SECONDS[-1]  # the rest of a longer utterance is left out


def length(count: int, lengths: Sequence[int]) -> int:
    """The shortest of the lengths, which increase, that holds so many; the longest if none does."""
    return next((n for n in lengths if n >= count), lengths[-1])


def in_order(counts: Sequence[int] | np.ndarray, lengths: Sequence[int],
             padded: Callable[[np.ndarray, int], Mapping[str, Any]],
             predict: Callable[[Any, Mapping[str, Any]], Any], variables: Any, *, batch_size: int, description: str,
             progress: bool) -> Iterator[np.ndarray]:
    """Applies a network to every utterance; at most eight batches of results are in memory.

    Args:
      counts: [U] how long each utterance is, in any unit.
      lengths: what batches may be padded to, increasing, in the same unit.
      padded: (rows, length) -> arrays for `parallel.apply_in_batches`, one row for each utterance of `rows`.
      predict, variables, batch_size: see there.
      description: words for the bar.
      progress: whether to show it.

    Yields:
      The network's result for each utterance, padding included, in the order of the counts.
    """
    from sercl_jax import parallel  # lengths are for worker processes, too, which must not wait for JAX

    with tqdm(total=len(counts), desc=description, unit="utterance", disable=not progress, dynamic_ncols=True) as bar:
        for first in range(0, len(counts), 8 * batch_size):
            rows = np.arange(first, min(first + 8 * batch_size, len(counts)))
            wanted = np.array([length(int(counts[int(u)]), lengths) for u in rows])
            made: dict[int, np.ndarray] = {}
            for each in np.unique(wanted):
                chosen = rows[wanted == each]
                found = parallel.apply_in_batches(predict, variables, padded(chosen, int(each)), batch_size,
                                                  fill=True)
                made |= {int(u): found[i] for i, u in enumerate(chosen)}
            for u in rows:
                yield made[int(u)]
            bar.update(len(rows))
