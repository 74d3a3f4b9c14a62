"""What all builders share: features, parallel decoding, size limit, skipping.

A corpus is one short file `data_builders/<name>/<name>_dataset_builder.py` with a class `Builder(CorpusBuilder)`
that sets `VERSION` and says, in `sources`, which utterances its distribution holds.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from sercl_jax import workers
from sercl_jax.corpora import index, registry
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError

# TFDS's shuffler holds this much in memory and spills through TensorFlow beyond it (core/shuffle.py); the margin
# is for the text beside the samples.
LARGEST_WITHOUT_TENSORFLOW = (1000 << 20) * 95 // 100  # bytes a split


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
    """

    manual_dir: Path | None = None
    download: bool = True
    download_dir: Path | None = None
    on_error: str = "raise"
    workers: int | None = None
    progress: bool = True
    skipped: list[dict[str, str]] = field(default_factory=list)  # filled by the build


@dataclass(frozen=True)
class Request:
    """What a user asks of a corpus: it decides which records are meant.

    Attributes:
      options: how to build them.
      records: folder of all records of this corpus.
      manifest: file that lists utterances, for `manifest` only.
      allow_outside: whether it may name files outside its own folder.
      subset: which part of the distribution; "" for all that is there.
    """

    options: Options
    records: Path
    manifest: Path | None = None
    allow_outside: bool = False
    subset: str = ""


class CorpusBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base class of all builders; subclasses set `VERSION` and define `sources`."""

    HOMEPAGE: ClassVar[str] = ""
    CITATION: ClassVar[str] = ""
    USUAL_LABELS: ClassVar[str] = ""  # the classes that papers use (as in `choice.choose`); "" is all
    USUAL_COUNT: ClassVar[int | None] = None  # how many utterances have them, where that is published
    RATING_SCALE: ClassVar[tuple[float, float] | None] = None  # lowest and highest rating; None: unknown, or unrated
    MANUAL_DOWNLOAD_INSTRUCTIONS: ClassVar[str] = "Give the folder or archive as the corpus's site distributes it."

    def __init__(self, *, options: Options | None = None, **kwargs: Any):
        self.options = options or Options()
        super().__init__(**kwargs)

    @classmethod
    def configuration(cls, request: Request) -> tfds.core.BuilderConfig | None:
        """What tells this build from another of the same name; None if there is only one."""
        if request.manifest is not None:
            raise UserError(f"corpus {cls.name} takes no manifest; use corpus=manifest.")
        if request.subset:
            raise UserError(f"corpus {cls.name} has no subsets, and {request.subset!r} was asked for; leave "
                            "config.data.subset empty, and choose utterances with config.data.where.")
        return None

    def sources(self) -> Sequence[Source]:
        """Everything the distribution holds; raises `UserError` if it is not what its authors published."""
        raise NotImplementedError

    @classmethod
    def waveform(cls, source: Source) -> np.ndarray:
        """[S] int16 at 16 kHz. Runs in a worker process."""
        return source.decode()

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text
        return tfds.core.DatasetInfo(
            builder=self, description=self.__doc__, homepage=self.HOMEPAGE, citation=self.CITATION,
            features=tfds.features.FeaturesDict({
                "id": text(),
                # "bytes": read and written without TensorFlow.
                "waveform": tfds.features.Tensor(shape=(None,), dtype=np.int16, encoding="bytes"),
                "label": text(), "speaker": text(), "session": text(), "sentence": text(), "gender": text(),
                "split": text(), "fold": text(),
                "activation": np.float32, "valence": np.float32, "dominance": np.float32,
            }))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        if self.options.manual_dir is None:
            self.options.manual_dir = _manual_dir(dl_manager)
        if self.options.download_dir is None:
            self.options.download_dir = Path(dl_manager.download_dir)
        sources = self.sources()
        _check_size(self.name, sources)
        return {index.SPLIT: self._generate_examples(sources)}

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
            example = asdict(source.utterance)
            del example["num_samples"], example["corpus"]  # the one is known by the samples, the other later
            yield source.utterance.id, example | {"waveform": result}
        if len(self.options.skipped) == len(sources):
            raise UserError(f"corpus {self.name}: not one of its {len(sources)} utterances can be used; the first: "
                            f"{self.options.skipped[0]['reason']}")


def _read(name: str, source: Source) -> np.ndarray | str:
    """The samples, or what is wrong with them."""
    try:
        return registry.builder_class(name).waveform(source)
    except UserError as error:
        return str(error)


def _manual_dir(dl_manager: tfds.download.DownloadManager) -> Path | None:
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # none was given, or it is empty
        return None


def _check_size(name: str, sources: Sequence[Source]) -> None:
    size = sum(source.estimated_bytes() for source in sources)
    if size > LARGEST_WITHOUT_TENSORFLOW and importlib.util.find_spec("tensorflow") is None:
        raise UserError(f"corpus {name} makes {size / 2**30:.1f} GiB of records, and above 1 GiB TFDS needs "
                        "TensorFlow to shuffle them; install it with: pip install 'sercl_jax[build]'. "
                        "Training itself never uses it.")
