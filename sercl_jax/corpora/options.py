"""How records are built, and which ones are meant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST_SHARD = 1 << 30  # bytes, which is TFDS's own limit


@dataclass
class Options:
    """How to build; none of it changes what is built, but that `on_error="skip"` leaves bad files out.

    Attributes:
      manual_dir: the distribution on this machine: a folder, an archive or an unpacked tree.
      download: whether it may be fetched from its site.
      download_dir: where to.
      on_error: "raise" or "skip" audio that cannot be used.
      workers: number of processes; None takes one per CPU.
      progress: whether to show a progress bar.
      overwrite: whether to build again what is there.
      largest_shard: bytes of examples after which a shard is closed; a longer example gets one of its own.
      num_shards: how many shards to write instead, each of about as many utterances; None leaves it to their size.
      beam: an `apache_beam` `PipelineOptions`; with it or a runner, an Apache Beam pipeline makes the records.
      beam_runner: an `apache_beam` `PipelineRunner`; None takes the one that `beam` names.
    """

    manual_dir: Path | None = None
    download: bool = True
    download_dir: Path | None = None
    on_error: str = "raise"
    workers: int | None = None
    progress: bool = True
    overwrite: bool = False
    largest_shard: int = LARGEST_SHARD
    num_shards: int | None = None
    beam: Any = None
    beam_runner: Any = None
    skipped: list[dict[str, str]] = field(default_factory=list)  # filled by the build

    @property
    def uses_beam(self) -> bool:
        return self.beam is not None or self.beam_runner is not None


@dataclass(frozen=True)
class Request:
    """What a user asks of a corpus: it decides which records are meant.

    Attributes:
      options: how to build them.
      records: folder of all records of this corpus.
      manifest: file that lists utterances, for `manifest` only.
      allow_outside: whether it may name files outside its own folder.
      subset: which part of the distribution; "" for all that is there.
      pattern: what file names say, for `folder` only, see `naming`; "" leaves it to be found out.
    """

    options: Options
    records: Path
    manifest: Path | None = None
    allow_outside: bool = False
    subset: str = ""
    pattern: str = ""
