"""Corpora that come in several sizes or releases: each has records of its own, named by what it holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow_datasets as tfds

from sercl_jax import files
from sercl_jax.corpora import index
from sercl_jax.corpora.archives import Entry
from sercl_jax.errors import UserError


@dataclass(eq=False, kw_only=True)
class Variant(tfds.core.BuilderConfig):
    """One state of a distribution; its name ends in a digest of file names, sizes and what is written about them."""

    entries: tuple[Entry, ...] = field(default=(), repr=False)


def variant(prefix: str, entries: Sequence[Entry], texts: Sequence[Entry]) -> Variant:
    """Names what was found.

    Folders do not count, so that an archive and the tree unpacked from it, wherever it lies, are one variant.

    Args:
      prefix: readable beginning of the name.
      entries: all files of the distribution that matter.
      texts: those of them whose content counts, not just their size.
    """
    rows = sorted({(entry.relative.name, entry.size) for entry in entries})
    contents = sorted({files.digest(entry.read().hex()) for entry in texts})
    return Variant(name=f"{prefix}-{files.digest([rows, contents])}", entries=tuple(entries))


def recorded(records: Path, prefix: str, version: str, what: str) -> Variant:
    """The one variant that has been built before, for a run that is not told where the distribution is.

    Args:
      records: folder of the corpus' records.
      prefix: how its name begins; "" for any.
      version: of the builder.
      what: name of the corpus, for messages.

    Raises:
      UserError: there is none, or there are several.
    """
    found = sorted(path.parent.name for path in records.glob(f"{f'{prefix}-' if prefix else ''}*/{version}")
                   if index.read(path) is not None)
    if not found:
        raise UserError(f"{what} is not on this machine yet; give the folder that holds its archive, the archive or "
                        "the unpacked tree: --config.data.manual_dir=FOLDER")
    if len(found) > 1:
        raise UserError(f"{records}: there are records of {len(found)} variants of {what} ({', '.join(found)}); say "
                        "which distribution is meant: --config.data.manual_dir=FOLDER")
    return Variant(name=found[0])
