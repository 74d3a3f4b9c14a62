"""Descriptors and functionals by openSMILE itself, an optional extra (licensed for research only)."""

from functools import lru_cache
from importlib import metadata
from typing import Any

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.features import frames

FUNCTIONALS = ("IS10", "ComParE_2016", "eGeMAPSv02")
_SHORTEST = frames.LONG + frames.HOP  # openSMILE gives NaN below two pitch frames


def settings() -> dict[str, object]:
    """What the values depend on, for the cache key.

    Raises:
      UserError: openSMILE is not installed.
    """
    try:
        return {"version": 1, "opensmile": metadata.version("opensmile")}
    except metadata.PackageNotFoundError as error:
        raise UserError("openSMILE is not installed, which the features `is10` and the openSMILE + SVM baselines "
                        "need. Run `pip install 'sercl_jax[opensmile]'` (its licence is for research only), or "
                        "choose the features `is10_librosa`.") from error


@lru_cache(maxsize=8)
def _smile(feature_set: str, level: str) -> Any:
    settings()
    import opensmile  # slow to import, and optional

    return opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel[level])


def _padded(signal: np.ndarray) -> np.ndarray:
    # openSMILE reads int16, and its wrapper would turn 1.0 into -32768.
    clipped = np.clip(signal * (32767 / 32768), -1, 32767 / 32768).astype(np.float32)
    return np.pad(clipped, (0, max(0, _SHORTEST - len(clipped))))


def one_pass(signal: np.ndarray, level: str) -> np.ndarray:
    """[S] samples in [-1, 1] -> [T, 38] descriptors ("LowLevelDescriptors") or deltas ("..._Deltas")."""
    num_frames = frames.count(len(signal), frames.LONG)  # openSMILE's deltas have two rows more
    return _smile("IS10", level).process_signal(_padded(signal), frames.RATE).to_numpy()[:num_frames]


def describe(signal: np.ndarray) -> np.ndarray:
    """openSMILE's IS10 descriptors and deltas.

    Args:
      signal: [S] samples in [-1, 1] at 16 kHz.

    Returns:
      [T, 76] in the order of `is10.NAMES`, T = max(1, 1 + (S - 960) // 160).

    Raises:
      UserError: openSMILE is not installed.
    """
    levels = ("LowLevelDescriptors", "LowLevelDescriptors_Deltas")
    return np.concatenate([one_pass(signal, level) for level in levels], 1)


def functionals(signal: np.ndarray, feature_set: str) -> np.ndarray:
    """[S] samples in [-1, 1] at 16 kHz -> [D] statistics over the utterance; an undefined one is 0."""
    row = _smile(feature_set, "Functionals").process_signal(_padded(signal), frames.RATE).to_numpy()[0]
    return np.nan_to_num(row, nan=0.0, posinf=0.0, neginf=0.0)


def functional_names(feature_set: str) -> tuple[str, ...]:
    """The D names of a set of functionals."""
    return tuple(_smile(feature_set, "Functionals").feature_names)
