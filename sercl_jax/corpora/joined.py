"""Several corpora as one, to train on some and test on others."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sercl_jax import files
from sercl_jax.corpora import registry
from sercl_jax.corpora.reader import Corpus
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

_OWN = ("id", "speaker", "session", "sentence")  # names that mean something within a corpus only
_RATINGS = ("activation", "valence", "dominance")


@dataclass(frozen=True)
class Joined:
    """Corpora one after another, with what is known of utterances from a `Corpus`.

    Ids, speakers, sessions and sentences begin with the name of their corpus ("emodb/03a01Fa"), which
    `Utterance.corpus` holds alone, too. Emotions have one name in all corpora. Picklable and small.

    Attributes:
      name: the names, joined by "+".
      key: hexadecimal digest of the corpora's keys and names.
      labels: the emotions that occur in any, in alphabetical order.
      utterances: those of the first corpus, then those of the second, and so on.
      parts: the corpora by name.
      warnings: for whoever reads a result.
    """

    name: str
    key: str
    labels: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    parts: Mapping[str, Corpus]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def copies(self) -> tuple[tuple[str, ...], ...]:
        """Ids of utterances with the same samples, in groups; only within a corpus."""
        return tuple(tuple(f"{name}/{known}" for known in group)
                     for name, part in self.parts.items() for group in part.copies)

    def waveform(self, u: int) -> np.ndarray:
        """Samples of utterance u: [S] int16 at 16 kHz, read-only.

        Raises:
          UserError: the records on disk are damaged.
        """
        for part in self.parts.values():
            if u < len(part):
                return part.waveform(u)
            u -= len(part)
        raise IndexError(u)


def join(parts: Mapping[str, Corpus]) -> Joined:
    """Puts corpora side by side.

    Ratings of corpora whose scales differ are brought to the scale of the first, linearly, end to end.

    Args:
      parts: two or more, by name.

    Raises:
      UserError: fewer than two, or one of them twice.
    """
    if len(parts) < 2:
        raise UserError(f"{'+'.join(parts)}: two corpora or more are needed to join them.")
    of: dict[str, str] = {}
    for name, corpus in parts.items():
        if (other := of.setdefault(corpus.key, name)) != name:
            raise UserError(f"{'+'.join(parts)}: {other} and {name} are the same utterances; give another corpus, or "
                            f"another part of it, as in --config.corpora.{name}.where=speaker=s0[5-8].")
    scales = {name: registry.builder_class(corpus.name).RATING_SCALE
              for name, corpus in parts.items() if any(map(_rated, corpus.utterances))}
    known = [scale for scale in scales.values() if scale is not None]
    utterances = tuple(_renamed(u, name, scales.get(name), known[0] if known else None)
                       for name, corpus in parts.items() for u in corpus.utterances)
    unknown = [name for name, scale in scales.items() if scale is None]
    warnings: tuple[str, ...] = ()
    if unknown and len(scales) > 1:
        warnings = (f"The scale of the ratings of {', '.join(unknown)} is unknown: they are taken as they are.",)
    return Joined(
        name="+".join(parts), labels=tuple(sorted({u.label for u in utterances} - {""})), utterances=utterances,
        key=files.digest(["joined", [[name, corpus.key] for name, corpus in parts.items()]]), parts=dict(parts),
        warnings=warnings)


def warnings(corpus: Corpus | Joined) -> tuple[str, ...]:
    """What to tell of a corpus beside a result: something only if it is a joined one."""
    return corpus.warnings if isinstance(corpus, Joined) else ()


def _rated(utterance: Utterance) -> bool:
    return any(math.isfinite(getattr(utterance, name)) for name in _RATINGS)


def _renamed(utterance: Utterance, corpus: str, scale: tuple[float, float] | None,
             wanted: tuple[float, float] | None) -> Utterance:
    changes: dict[str, object] = {name: f"{corpus}/{value}" for name in _OWN if (value := getattr(utterance, name))}
    if scale is not None and wanted is not None and scale != wanted:
        factor = (wanted[1] - wanted[0]) / (scale[1] - scale[0])
        changes |= {name: wanted[0] + factor * (getattr(utterance, name) - scale[0]) for name in _RATINGS}
    return dataclasses.replace(utterance, corpus=corpus, **changes)  # type: ignore[arg-type]
