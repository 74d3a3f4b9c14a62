"""A workbench that builds and computes nothing: corpora are opened or listed, features have no more than a shape."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import features, files, nodes
from sercl_jax.corpora import building, check, choice, index, reader, registry
from sercl_jax.corpora.reader import Corpus
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE, Frames
from sercl_jax.workbench import Workbench, cache_of

GUESS = 3 * SAMPLE_RATE  # samples of an utterance that nobody has decoded yet


class Unseen(UserError):
    """Something that the run would find or fetch, and that cannot be looked at now."""


class Preview(Workbench):
    """What `Workbench` offers, as far as it can be had at once.

    Attributes:
      pretends: whether the synthetic corpus stands in for those that cannot be seen.
      seen: corpora that were asked for, and whether their records are built.
    """

    def __init__(self, pretends: bool = False) -> None:
        """Takes whether the synthetic corpus stands in for those that cannot be seen."""
        super().__init__(progress=False)
        self.pretends = pretends
        self.seen: list[tuple[Corpus, bool]] = []

    def told(self) -> list[dict[str, Any]]:
        """The corpora that were asked for, for a table."""
        return [{"name": corpus.name, "built": built, "utterances": len(corpus),
                 "seconds": sum(u.seconds for u in corpus.utterances),
                 "labels": dict(sorted(Counter(u.label for u in corpus.utterances if u.label).items())),
                 "speakers": len({u.speaker for u in corpus.utterances} - {""})} for corpus, built in self.seen]

    def _load(self, data: ConfigDict) -> Corpus:
        """Raises `Unseen` if the distribution is not there, and `UserError` if it is there and refused."""
        builder_class = registry.builder_class(data.corpus)
        records = cache_of(data) / "records"
        options = building.Options(
            manual_dir=Path(data.manual_dir).expanduser() if data.manual_dir else None, download=False,
            on_error=data.on_error, workers=0, progress=False)
        request = building.Request(
            options=options, records=records / data.corpus, allow_outside=data.allow_outside, subset=data.subset,
            manifest=Path(data.manifest).expanduser() if data.manifest else None, pattern=data.pattern)
        try:
            configuration = builder_class.configuration(request)
            directory = building.place(builder_class, records, configuration)
            built = index.read(directory) is not None
            whole = reader.open_corpus(data.corpus, directory, data.trim) if built else _listed(
                data.corpus, check.sources_of(builder_class, records, configuration, options), directory)
        except UserError as error:
            given = [path for path in (options.manual_dir, request.manifest) if path is not None]
            if given and all(path.exists() for path in given):
                raise
            if self.pretends:
                return replace(_demo(), name=data.corpus, key=files.digest(data.to_json()))
            raise Unseen(f"corpus {data.corpus} is not here" + (
                f": there is no {next(path for path in given if not path.exists())}" if given else "")) from error
        chosen = choice.choose(whole, data.labels, data.where)
        self.seen.append((chosen, built))
        return chosen

    def frames(self, config: ConfigDict) -> Frames:
        corpus = self.corpus(config)
        width = sum(_width(config, kind) for kind in config.features.split("+"))
        return stand_in([u.num_samples // 160 for u in corpus.utterances], width, 0.01)

    def nodes(self, config: ConfigDict, count: int) -> nodes.Nodes:
        frames = self.frames(config)
        shape = (len(frames), count)
        return nodes.Nodes(x=np.broadcast_to(np.float32(0), (*shape, frames.values.shape[1])),
                           mask=np.broadcast_to(np.bool_(True), shape), names=frames.names)

    def own_functionals(self, config: ConfigDict) -> np.ndarray:
        return np.zeros((len(self.corpus(config)), 1), np.float32)

    def functionals(self, config: ConfigDict, feature_set: str) -> np.ndarray:
        return np.zeros((len(self.corpus(config)), 1), np.float32)


def _demo() -> Corpus:
    builder_class, options = registry.builder_class("demo"), building.Options(workers=0, progress=False)
    return _listed("demo", check.sources_of(builder_class, Path("nowhere"), None, options), Path("nowhere"))


def stand_in(counts: Any, width: int, hop: float) -> Frames:
    """Frames of these numbers, all zero, which take no memory."""
    offsets = np.concatenate([[0], np.cumsum(np.maximum(counts, 1))]).astype(np.int64)
    return Frames(values=np.broadcast_to(np.float32(0), (int(offsets[-1]), width)), offsets=offsets,
                  names=tuple(f"[{i}]" for i in range(width)), hop=hop, key="preview")


def _width(config: ConfigDict, kind: str) -> int:
    if kind != "cpc":
        return len(features.feature_names(kind))
    from sercl_jax import pretraining  # imports JAX's models, which others need not

    if not config.init_from:
        raise UserError("features=cpc needs --config.init_from=WORKDIR of a run with setup=pretrain.")
    if not Path(config.init_from).expanduser().exists():
        raise Unseen(f"config.init_from={config.init_from} is not there")
    return pretraining.load(Path(config.init_from), config.seed)[0].context


def _listed(name: str, sources: Any, directory: Path) -> Corpus:
    """A corpus without samples; its utterances are all of a guessed length."""
    utterances = tuple(sorted((replace(source.utterance, num_samples=GUESS) for source in sources),
                              key=lambda u: u.id))
    return Corpus(name=name, directory=directory, key=files.digest([name, [repr(u) for u in utterances]]),
                  labels=tuple(sorted({u.label for u in utterances} - {""})), utterances=utterances,
                  positions=tuple(range(len(utterances))))
