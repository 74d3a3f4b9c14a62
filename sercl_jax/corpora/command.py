"""What TFDS's command line and Python interface ask of a build, in the words of `Options`."""

import contextlib
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from sercl_jax.corpora.options import LARGEST_SHARD, Options
from sercl_jax.errors import UserError

_PROGRAM = "tensorflow_datasets.scripts.cli.main"  # the module of the `tfds` command
# Options of TFDS that are not followed, and why.
_REFUSED = {
    "max_examples_per_split": "a part of a corpus would later be taken for all of it; list a few files in a manifest "
                              "to try things out",
    "register_checksums": "corpora are checked by the counts that their authors published",
    "force_checksums_validation": "corpora are checked by the counts that their authors published",
    "ignore_duplicates": "every utterance needs an id of its own",
}


def options(config: Any, download_dir: Any, root: Path) -> Options:
    """The options of a build that TFDS asks for.

    Args:
      config: a `tfds.download.DownloadConfig`, or None.
      download_dir: where downloads go; None means `ROOT/downloads`.
      root: folder of all records.

    Raises:
      UserError: one of them cannot be followed.
    """
    config = config or tfds.download.DownloadConfig()
    plain = tfds.download.DownloadConfig()
    for name, reason in _REFUSED.items():
        if getattr(config, name) != getattr(plain, name):
            raise UserError(f"--{name} is not supported: {reason}.")
    if config.download_mode == tfds.download.GenerateMode.UPDATE_DATASET_INFO:
        raise UserError("--update_metadata_only is not supported; build again with --overwrite.")
    for name, value in (("max_shard_size", config.max_shard_size), ("num_shards", config.num_shards)):
        if value is not None and value < 1:
            raise UserError(f"--{name} is {value}; it must be positive.")
    downloads = local(download_dir) if download_dir else root / "downloads"
    return Options(
        manual_dir=_manual_dir(config.manual_dir, downloads), download_dir=downloads,
        # The processes of --num_processes may have none of their own.
        workers=0 if multiprocessing.current_process().daemon else None,
        overwrite=config.download_mode.overwrite_dataset,
        largest_shard=min(config.max_shard_size or LARGEST_SHARD, LARGEST_SHARD), num_shards=config.num_shards,
        beam=config.beam_options, beam_runner=config.beam_runner)


def _manual_dir(given: Any, downloads: Path) -> Path | None:
    if given:
        return local(given)
    usual = downloads / "manual"  # TFDS's own choice
    return usual if usual.is_dir() and any(usual.iterdir()) else None


def local(place: Any) -> Path:
    """A folder as a path; raises `UserError` for one that no file system of this machine has."""
    if "://" in str(place):
        raise UserError(f"{place}: corpora are read and written through the file system; give a folder, which all "
                        "workers of an Apache Beam pipeline must share.")
    return Path(str(place)).expanduser().absolute()


def file_format(asked: Any) -> Any:
    """The one format that training reads, which is also the default; raises `UserError` for another."""
    wanted = tfds.core.FileFormat.ARRAY_RECORD
    if asked is not None and tfds.core.FileFormat.from_value(asked) != wanted:
        raise UserError(f"--file_format={tfds.core.FileFormat.from_value(asked).value} is not supported: training "
                        f"reads {wanted.value}.")
    return wanted


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Ends the `tfds` command with one line where the user must change something; raises errors anywhere else."""
    # Ending a process of --num_processes would leave the others waiting for ever.
    if _PROGRAM not in sys.modules or multiprocessing.parent_process() is not None:
        yield
        return
    try:
        with _nameless_main():
            yield
    except UserError as error:
        message = str(error).replace("--config.data.manual_dir", "--manual_dir").replace("config.data.subset",
                                                                                        "--config")
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2) from None


@contextlib.contextmanager
def _nameless_main() -> Iterator[None]:
    """Hides the program from the processes that it spawns: each would import it, and TensorFlow with it."""
    main = sys.modules["__main__"].__dict__
    saved: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main |= dict.fromkeys(saved)
    try:
        yield
    finally:
        main |= saved
