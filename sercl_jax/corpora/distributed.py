"""Corpora that users have as they are distributed: as an archive or the tree unpacked from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sercl_jax.corpora import variants
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.base import CorpusBuilder, Request
from sercl_jax.errors import UserError


class Distributed(CorpusBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base class of their builders; each state of the distribution has records of its own."""

    TITLE: ClassVar[str] = ""  # what messages call the corpus

    @classmethod
    def find(cls, place: Path, copies: Path | None, progress: bool) -> list[Entry]:
        """All files that matter; takes and raises what `distribution.entries` does."""
        raise NotImplementedError

    @classmethod
    def variant(cls, found: Sequence[Entry], place: Path) -> variants.Variant:
        """What tells this state of the distribution from others; its entries are those that `found` returns."""
        raise NotImplementedError

    @classmethod
    def configuration(cls, request: Request) -> variants.Variant:
        super().configuration(request)
        options = request.options
        if options.manual_dir is None:
            return variants.recorded(request.records, "", str(cls.VERSION), cls.TITLE)
        return cls.variant(cls.find(options.manual_dir, options.download_dir, options.progress), options.manual_dir)

    def found(self) -> tuple[Path, Sequence[Entry]]:
        """Where the distribution is, and its files; raises `UserError` if the user has not said where."""
        place = self.options.manual_dir
        if place is None:
            raise UserError(f"{self.TITLE} is not on this machine. {self.MANUAL_DOWNLOAD_INSTRUCTIONS} "
                            "(--config.data.manual_dir=FOLDER)")
        configuration = self.builder_config
        if isinstance(configuration, variants.Variant) and configuration.entries:  # it has looked already
            return place, configuration.entries
        return place, self.find(place, self.options.download_dir, self.options.progress)
