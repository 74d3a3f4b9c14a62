"""Which published folds are meant, and what is known of the corpus that they divide."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sercl_jax.errors import UserError

if TYPE_CHECKING:
    from sercl_jax.corpora import Corpus
    from sercl_jax.corpora.joined import Joined


@dataclass(frozen=True)
class Published:
    """EmoBox's folds of one corpus.

    Attributes:
      directory: a clone of the EmoBox repository, its folder `data`, or the folder of one of its datasets.
      corpus: the corpus' name here, such as "msp_podcast".
      labels: every utterance of the corpus as it was built -> its label there, before classes were merged or left
        out; empty if the utterances to divide are all that there are.
      skipped: ids of utterances that were left out of the build because their audio cannot be used.
    """

    directory: Path
    corpus: str
    labels: Mapping[str, str] = field(default_factory=dict)
    skipped: Collection[str] = ()


def published(corpus: "Corpus | Joined", directory: str) -> Published:
    """EmoBox's folds of an opened corpus, which may name utterances that were left out of it.

    Raises:
      UserError: no directory, or the corpus is several, joined.
    """
    from sercl_jax.corpora import index
    from sercl_jax.corpora.reader import Corpus

    if not isinstance(corpus, Corpus):
        raise UserError(f"protocol=emobox divides one corpus, and {corpus.name} are several; choose protocol=corpus, "
                        "which trains on some and tests others, or name one corpus.")
    if not directory:
        raise UserError("protocol=emobox needs the published fold files: --config.data.emobox_dir=DIR, a clone of "
                        "https://github.com/emo-box/EmoBox.")
    built = index.read(corpus.directory)
    skipped = corpus.directory / index.SKIPPED
    return Published(
        directory=Path(directory).expanduser(), corpus=corpus.name,
        labels={u.id: u.label for u in built.utterances} if built else {},
        skipped={row["id"] for row in json.loads(skipped.read_text(encoding="utf-8"))} if skipped.exists() else ())
