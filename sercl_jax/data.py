"""Which utterances make a batch, as a function of the global step, and batches that wait on the device.

A batch depends on nothing but (seed, step): the position of a training is one number, whatever the number of
devices and processes.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import grain
import numpy as np

from sercl_jax.errors import UserError


def steps_per_epoch(num: int, batch_size: int) -> int:
    """How many batches an epoch has: whole ones only, but at least one."""
    return max(num // batch_size, 1)


def batches(num: int, batch_size: int, seed: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Shuffled epochs, cut into batches.

    Each epoch has its own order. No utterance is twice in a batch. What remains at the end of an epoch is left
    out, another part in each epoch. If there are fewer utterances than a batch holds, every epoch is one batch
    with all of them, padded.

    Args:
      num: number of utterances.
      batch_size: B, over all devices.
      seed: draws the orders.

    Returns:
      A function of the global step (from 0) that gives indices [B] int32 and valid [B] bool; where valid is
      False, the index repeats another's and must not count.

    Raises:
      UserError: there is no utterance, or the batch size is not positive.
    """
    if num < 1 or batch_size < 1:
        raise UserError(f"Cannot draw batches of {batch_size} from {num} utterances; both must be at least 1.")
    per_epoch = steps_per_epoch(num, batch_size)

    @functools.lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(num).astype(np.int32)

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, position = divmod(step, per_epoch)
        places = np.arange(position * batch_size, (position + 1) * batch_size)
        return order(epoch)[places % num], places < num

    return batch


def prefetch(batch: Callable[[int], Any], start: int, stop: int, ahead: int = 2) -> Iterator[Any]:
    """Yields `batch(step)` for each step from `start` to `stop`, made by a thread up to `ahead` steps early.

    Errors of `batch` come through as they are.
    """
    def attempt(step: int) -> tuple[Any, Exception | None]:
        try:
            return batch(int(step)), None
        except Exception as error:  # Grain would add lines of its own to the message
            return None, error

    source = grain.MapDataset.range(start, max(start, stop)).map(attempt)
    for made, error in source.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=ahead)):
        if error is not None:
            raise error
        yield made
