"""Arrays and JSON-like facts in one .npz file: written whole or not at all, never pickled."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax.files import atomic_path

_FACTS = "json"


def save(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes both; the facts may hold no NaN."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        content: dict[str, Any] = {_FACTS: np.array(json.dumps(facts, allow_nan=False)), **arrays}
        np.savez_compressed(file, **content)


def load(path: Path, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Reads the facts and the arrays of these names back; None if the file is absent or unreadable."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return json.loads(str(found[_FACTS])), {name: found[name] for name in names}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
