"""What all builders share: TFDS's interface, features, parallel decoding, skipping.

A corpus is one short file `data_builders/<name>/<name>_dataset_builder.py` with a class `Builder(CorpusBuilder)`
that sets `VERSION` and says, in `sources`, which utterances its distribution holds.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from sercl_jax import workers
from sercl_jax.corpora import building, command, index, pipeline, registry, shards
from sercl_jax.corpora.options import Options, Request
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError

__all__ = ["WHOLE", "CorpusBuilder", "Options", "Request"]

# The name of the one configuration of classes that take `--config` from the `tfds` command.
WHOLE = "all"


class CorpusBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base class of all builders; subclasses set `VERSION` and define `sources`."""

    HOMEPAGE: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""
    USUAL_LABELS: ClassVar[str] = ""  # the classes that papers use (as in `choice.choose`); "" is all
    USUAL_COUNT: ClassVar[int | None] = None  # how many utterances have them, where that is published
    RATING_SCALE: ClassVar[tuple[float, float] | None] = None  # lowest and highest rating; None: unknown, or unrated
    MANUAL_DOWNLOAD_INSTRUCTIONS: ClassVar[str] = "Give the folder or archive as the corpus's site distributes it."

    def __init__(self, *, options: Options | None = None, config: Any = None, file_format: Any = None, **kwargs: Any):
        """As TFDS calls it.

        Args:
          options: how to build; None leaves it to the arguments of `download_and_prepare`.
          config: what `configuration` returned, or the name that the `tfds` command was given.
          file_format: None or array_record.
          **kwargs: as TFDS has them.
        """
        self._given = options
        self.options = options or Options()
        self.part = config if isinstance(config, str) and config != WHOLE else ""
        with command.told():
            super().__init__(config=None if isinstance(config, str) else config,
                             file_format=command.file_format(file_format), **kwargs)
        self._original_state["config"] = config  # what pickling restores

    @classmethod
    def configuration(cls, request: Request) -> tfds.core.BuilderConfig | None:
        """What tells this build from another of the same name; None if there is only one."""
        if request.manifest is not None:
            raise UserError(f"corpus {cls.name} takes no manifest; use corpus=manifest.")
        if request.pattern:
            raise UserError(f"corpus {cls.name} knows what its files' names say; config.data.pattern is for "
                            "corpus=folder.")
        if request.subset:
            raise UserError(f"corpus {cls.name} has no subsets, and {request.subset!r} was asked for; leave "
                            "config.data.subset empty, and choose utterances with config.data.where.")
        return None

    @classmethod
    def request(cls, options: Options, records: Path, part: str) -> Request:
        """What the `tfds` command asks for; `part` is the name given as `--config`, or ""."""
        return Request(options=options, records=records, subset=part)

    def sources(self) -> Sequence[Source]:
        """Everything the distribution holds; raises `UserError` if it is not what its authors published."""
        raise NotImplementedError

    @classmethod
    def waveform(cls, source: Source) -> np.ndarray:
        """[S] int16 at 16 kHz. Runs in a worker process."""
        return source.decode()

    def download_and_prepare(self, *, download_dir: Any = None, download_config: Any = None, file_format: Any = None,
                             **kwargs: Any) -> None:
        """Builds the records that `corpora.load` reads, if they are missing.

        The `tfds build` command and `tfds.load` call this. With ROOT, the data_dir, the records are in
        `ROOT/<name>[/<configuration>]/<version>`; `corpora.load(cache_dir=CACHE)` takes those in `CACHE/records`.

        Raises:
          UserError: as `building.ensure`, and for options that cannot be followed. Within the `tfds` command it is
            told in one line, and the command exits with status 2.
        """
        with command.told():
            command.file_format(file_format)
            root = command.local(self.data_dir_root)
            options = self._given or command.options(download_config, download_dir, root)
            configuration = self.builder_config
            if configuration is None or configuration.name == WHOLE:
                configuration = self.configuration(self.request(options, root / self.name, self.part))
            directory = building.ensure(type(self), root, configuration, options)
        self._builder_config, self._data_dir = configuration, str(directory)
        self.info.as_proto.ClearField("config_name")  # what the code says would win over what is there
        self.info.read_from_directory(directory)

    def prepare(self, download_dir: Path) -> None:
        """Makes the records in the data_dir by `self.options`, without locks; for `building` only."""
        super().download_and_prepare(download_dir=str(download_dir))

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, description=self.__doc__, homepage=self.HOMEPAGE, citation=self.CITATION,
            features=shards.features(), disable_shuffling=True)  # the order of the corpus

    def _download_and_prepare(self, dl_manager: tfds.download.DownloadManager,
                              download_config: tfds.download.DownloadConfig) -> None:
        """Instead of TFDS's, which holds everything in memory to shuffle it."""
        folder = Path(self.data_dir)
        sources = self._distinct_sources()
        if self.options.uses_beam:
            written = pipeline.write(self.name, sources, folder, self.options)
        else:
            written = self._write(sources, folder)
        if not written:
            reasons = [one["reason"] for one in self.options.skipped[:1]]
            raise UserError(": ".join([f"corpus {self.name}: not one of its {len(sources)} utterances can be used",
                                       *reasons]))
        template = self._get_filename_template(index.SPLIT)
        for number, shard in enumerate(written):
            (folder / shard.name).rename(template.sharded_filepath(shard_index=number, num_shards=len(written)))
        self.info.set_splits(tfds.core.SplitDict([tfds.core.SplitInfo(
            name=index.SPLIT, shard_lengths=[shard.examples for shard in written],
            num_bytes=sum(shard.size for shard in written), filename_template=template)]))

    def _write(self, sources: Sequence[Source], folder: Path) -> list[shards.Shard]:
        """In this process; workers decode ahead of it."""
        examples = self._generate_examples(sources)
        if self.options.num_shards is None:
            return shards.write((one for _, one in examples), folder, self.options.largest_shard)
        parts = {source.utterance.id: number for number, part in enumerate(
            pipeline.in_parts(sources, self.options.num_shards)) for source in part}
        return [shard for _, part in itertools.groupby(examples, lambda one: parts[one[0]])
                for shard in shards.write((one for _, one in part), folder, pipeline.UNLIMITED)]

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        return {index.SPLIT: self._generate_examples(self._distinct_sources())}

    def _distinct_sources(self) -> Sequence[Source]:
        sources = self.sources()
        seen: dict[str, Source] = {}
        for source in sources:
            first = seen.setdefault(source.utterance.id, source)
            if first is not source:
                raise UserError(f"{source}: has the id {source.utterance.id!r}, which is already that of {first}; "
                                f"give one copy of {self.name}.")
        return sources

    def _generate_examples(self, sources: Sequence[Source]) -> Iterator[tuple[str, dict[str, Any]]]:
        results = workers.parallel_map(partial(_read, self.name), sources, workers=self.options.workers,
                                       description=f"records of {self.name}", unit="utterance",
                                       progress=self.options.progress)
        for source, result in zip(sources, results, strict=True):
            if isinstance(result, str):
                if self.options.on_error == "raise":
                    raise UserError(result)
                self.options.skipped.append({"id": source.utterance.id, "reason": result})
                continue
            yield source.utterance.id, shards.example(source.utterance, result)


def _read(name: str, source: Source) -> np.ndarray | str:
    """The samples, or what is wrong with them."""
    try:
        return registry.builder_class(name).waveform(source)
    except UserError as error:
        return str(error)
