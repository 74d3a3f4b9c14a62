"""Arrays that are computed once per corpus and then memory-mapped."""

import json
from collections.abc import Iterable
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
