"""Arrays that are computed once per corpus and then memory-mapped."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import files


def load(folder: Path, key: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]] | None:
    """What `store` wrote, or None if it is missing or damaged.

    Returns:
      values [N, F] float32 and offsets [U + 1] int64, memory-mapped and in memory, and the facts.
    """
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        values = np.load(folder / "values.npy", mmap_mode="r")
        offsets = np.load(folder / "offsets.npy")
    except (OSError, ValueError, EOFError):
        return None
    if facts.get("key") != key or values.shape != (offsets[-1], len(facts["names"])):
        return None
    return values, offsets, facts


def load_or_store(folder: Path, key: str, what: str, names: Callable[[], tuple[str, ...]], counts: np.ndarray,
                  rows: Callable[[], Iterable[np.ndarray]]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """What is in the folder, or what is computed now and then found there.

    Two processes that ask for the same at once do it once: the second waits. A killed one leaves nothing that counts.

    Args:
      folder, key: see `load`.
      what: words for who waits.
      names, counts, rows: see `store`; called only if they are needed.

    Returns:
      As `load`.
    """
    found = load(folder, key)
    if found is None:
        with files.locked(folder, what):
            files.remove_leftovers(folder)
            found = load(folder, key)  # perhaps another process made them meanwhile
            if found is None:
                store(folder, key, names(), counts, rows())
                found = load(folder, key)
    assert found is not None
    return found


def store(folder: Path, key: str, names: tuple[str, ...], counts: np.ndarray, rows: Iterable[np.ndarray]) -> None:
    """Writes the rows of all utterances as one array, the whole folder or nothing. Call it under a lock.

    Args:
      folder: takes the place of what is there.
      key: what `load` must be asked for.
      names: F columns.
      counts: [U] rows of each utterance.
      rows: one [counts[u], F] array per utterance, in order; consumed while writing, so that a large corpus
        never lies in memory.

    Raises:
      UserError: the disk is full or not writable.
      ValueError: an array has another shape than announced, or a value that is not finite.
    """
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    with files.atomic_path(folder) as temporary:
        temporary.mkdir()
        # Plain writes rather than a memory map: on a full disk a map dies by SIGBUS, a write says so.
        with (temporary / "values.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False, "shape": (int(offsets[-1]), len(names))})
            for u, part in enumerate(rows):
                if part.shape != (counts[u], len(names)) or not np.isfinite(part).all():
                    raise ValueError(f"utterance {u}: shape {part.shape} instead of {(counts[u], len(names))}, "
                                     "or values that are not finite")
                file.write(np.ascontiguousarray(part, "<f4").tobytes())
        np.save(temporary / "offsets.npy", offsets)
        files.write_json(temporary / "facts.json", {"key": key, "names": list(names)})
