"""Records on disk: built once, whole or not at all, by one process at a time."""

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow_datasets as tfds
from absl import logging

from sercl_jax import files
from sercl_jax.corpora import index, shards
from sercl_jax.corpora.options import Options, Request
from sercl_jax.errors import UserError

if TYPE_CHECKING:  # which imports this module
    from sercl_jax.corpora.base import CorpusBuilder

__all__ = ["Options", "Request", "ensure"]


def ensure(builder_class: "type[CorpusBuilder]", root: Path, configuration: Any, options: Options) -> Path:
    """Builds the records if they are missing, incomplete, or lack utterances that this run wants.

    Args:
      builder_class: of which corpus.
      root: folder of all records.
      configuration: `builder_class.configuration(...)`.
      options: how to build.

    Returns:
      The folder of the records, `ROOT/<name>[/<configuration>]/<version>`.

    Raises:
      UserError: from the builder, or because the folder cannot be written.
    """
    name = builder_class.name
    directory = place(builder_class, root, configuration)
    if options.overwrite or not _wanted(directory, options):
        with files.locked(directory, f"records of {name}"):
            if options.overwrite or not _wanted(directory, options):
                _clear(directory)
                with files.atomic_path(directory) as temporary:
                    _build(builder_class, temporary, configuration, options)
    _tell_skipped(directory, name)
    return directory


def place(builder_class: "type[CorpusBuilder]", root: Path, configuration: Any) -> Path:
    """Where the records are, or would be."""
    return root.joinpath(builder_class.name, *([configuration.name] if configuration else []),
                         str(builder_class.VERSION))


def _wanted(directory: Path, options: Options) -> bool:
    """Whether the records are there, and hold everything if everything is asked for."""
    if index.read(directory) is None:
        return False
    return options.on_error == "skip" or not (directory / index.SKIPPED).exists()


def _clear(directory: Path) -> None:
    """Removes what killed builds left: ours, and those of the `tfds build` command."""
    files.remove_leftovers(directory)
    for leftover in directory.parent.glob("incomplete.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _build(builder_class: "type[CorpusBuilder]", temporary: Path, configuration: Any, options: Options) -> None:
    """Builds into `temporary`, which then holds the shards, TFDS's JSON files and the index."""
    with _quiet():
        builder = builder_class(data_dir=str(temporary), config=configuration, options=options,
                                file_format=tfds.core.FileFormat.ARRAY_RECORD)
        try:
            builder.prepare(temporary / builder.name / "downloads")
        except shards.WriteError as error:
            raise UserError(f"{temporary.parent}: the records of {builder.name} cannot be written ({error}); "
                            "nothing was changed. Free some space or choose another cache folder.") from error
    built = Path(builder.data_dir)
    expected = builder.info.splits[index.SPLIT].num_examples
    for path in built.iterdir():
        path.rename(temporary / path.name)
    shutil.rmtree(temporary / builder.name)
    if options.skipped:
        files.write_json(temporary / index.SKIPPED, options.skipped)
    if index.write(temporary, builder.name, str(builder.version), workers=options.workers,
                   progress=options.progress) != expected:
        raise UserError(f"{temporary.parent}: the records of {builder.name} came back incomplete; nothing was "
                        "changed. Free some space or choose another cache folder.")


def _tell_skipped(directory: Path, name: str) -> None:
    path = directory / index.SKIPPED
    if path.exists():
        skipped = json.loads(path.read_text(encoding="utf-8"))
        print(f"Corpus {name}: {len(skipped)} utterances were left out because their audio cannot be used; "
              f"{path} gives the reasons.", file=sys.stderr)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS greets on stdout, warns of custom configurations and shows three bars; our one bar is enough."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logging.set_verbosity(verbosity)
