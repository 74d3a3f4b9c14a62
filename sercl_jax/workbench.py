"""What experiments share: corpora, features and nodes, each loaded or made once."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax import corpora, features, files, functionals, nodes, resources, workers
from sercl_jax.corpora import joined
from sercl_jax.errors import UserError
from sercl_jax.types import Frames

T = TypeVar("T")


def cache_directory(config: ConfigDict) -> Path:
    """Where records, features and compiled programs lie: the config's folder, $SERCL_CACHE, or the user's cache."""
    return cache_of(config.data)


def cache_of(data: ConfigDict) -> Path:
    """The same for a section like `config.data`."""
    return resources.cache(data.cache_dir).resolve()


class Workbench:
    """Loads each thing once, however many rows of a table ask for it."""

    def __init__(self, progress: bool = True):
        self._progress = progress
        self._made: dict[tuple[Any, ...], Any] = {}
        self.feature_seconds = 0.0

    def _once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        if key not in self._made:
            start = time.monotonic()
            self._made[key] = make()
            self.feature_seconds += time.monotonic() - start
        return self._made[key]

    def corpus(self, config: ConfigDict) -> corpora.AnyCorpus:
        """The corpus that `config.data` names; of several, `config.target` or all of them, joined.

        Records are built if missing.
        """
        if "corpora" not in config:
            return self.corpus_of(config.data)
        if "target" in config:
            return self.target(config)
        parts = {name: self._section(config, name) for name in config.corpora}
        return self._once(("joined", *(part.key for part in parts.values())), lambda: joined.join(parts))

    def target(self, config: ConfigDict) -> corpora.Corpus:
        """The one of several corpora that is tested."""
        return self._section(config, config.target)

    def partners(self, config: ConfigDict) -> dict[str, corpora.Corpus]:
        """The corpora of `config.corpora` beside the target, by name."""
        return {name: self._section(config, name) for name in config.corpora if name != config.target}

    def _section(self, config: ConfigDict, name: str) -> corpora.Corpus:
        if name not in config.corpora:
            raise UserError(f"config.target={name}: is not among the corpora; they are {', '.join(config.corpora)}.")
        own = config.corpora[name]
        data = config.data.copy_and_resolve_references().unlock()
        data.update(config_lib.set_by(own, data))
        try:
            return self.corpus_of(data)
        except UserError as error:
            raise type(error)(
                str(error).replace("config.data.manifest", f"config.corpora.{name}.manifest")) from error

    def corpus_of(self, data: ConfigDict) -> corpora.Corpus:
        """The corpus that a section like `config.data` names."""
        if data.corpus == "manifest" and not data.manifest:
            raise UserError("corpus=manifest needs --config.data.manifest=FILE (CSV or JSON lines).")
        if data.corpus == "folder" and not data.manual_dir:
            raise UserError("corpus=folder needs --config.data.manual_dir=DIR, the folder of your recordings.")
        return self._once(("corpus", data.to_json()), lambda: self._load(data))

    def _load(self, data: ConfigDict) -> corpora.Corpus:
        return corpora.load(
            data.corpus, cache_dir=cache_of(data), manual_dir=_path(data.manual_dir),
            manifest=_path(data.manifest), allow_outside=data.allow_outside, subset=data.subset, pattern=data.pattern,
            labels=data.labels, where=data.where, trim=data.trim, download=data.download,
            on_error=data.on_error, workers=data.workers or None, progress=self._progress)

    def pretrain_corpus(self, config: ConfigDict) -> corpora.Corpus:
        """The corpus that `config.pretrain_data` names, in the folder that `config.data` uses if it names none."""
        data = config.pretrain_data.copy_and_resolve_references()
        data.cache_dir = data.cache_dir or config.data.cache_dir
        try:
            return self.corpus_of(data)
        except UserError as error:
            raise type(error)(f"{str(error).replace('config.data.', 'config.pretrain_data.')} (This is the corpus to "
                            "pre-train on; --config.init_from=WORKDIR takes a finished pre-training instead.)"
                            ) from error

    def corpus_keys(self, config: ConfigDict) -> dict[str, str]:
        """Names and keys of what an experiment is made of: its corpora, and a pre-training that it starts from."""
        if "target" in config:
            from sercl_jax import encoders

            knobs = config.encoder
            return {**self._keys(config), "encoder": self._once(("encoder", knobs.kind, knobs.path),
                                                                lambda: encoders.key(knobs.kind, knobs.path))}
        keys = self._keys(config) if "corpora" in config else {config.data.corpus: self.corpus(config).key}
        if config.method == "cpc" and config.setup in ("pre", "all") and not config.init_from:
            name = config.pretrain_data.corpus
            keys[f"{name} (pretrain_data)" if name in keys else name] = self.pretrain_corpus(config).key
        if "method_file" in config:
            from sercl_jax.methods import own  # imports JAX

            keys[Path(config.method_file).name] = files.digest(own.text(config))
        if config.init_from:
            from sercl_jax import pretraining  # imports JAX's models, which others need not

            keys["init_from"] = pretraining.key(Path(config.init_from))
        return keys

    def _keys(self, config: ConfigDict) -> dict[str, str]:
        return {name: self._section(config, name).key for name in config.corpora}

    def frames(self, config: ConfigDict) -> Frames:
        """What `config.features` names, from the cache or computed now; kinds joined by "+" stand side by side."""
        corpus = self.corpus(config)
        return self._once(("frames", corpus.key, config.features, config.init_from),
                          lambda: side_by_side([self._one_kind(config, kind) for kind in config.features.split("+")]))

    def _one_kind(self, config: ConfigDict, kind: str) -> Frames:
        corpus, cache_dir = self.corpus(config), cache_directory(config)
        if kind != "cpc":
            return features.extract(corpus, kind, cache_dir=cache_dir, workers=config.data.workers or None,
                                    progress=self._progress)
        if not config.init_from:
            raise UserError("features=cpc needs --config.init_from=WORKDIR of a run with setup=pretrain.")
        from sercl_jax import pretraining, representations  # they import JAX's models, which others need not

        settings, variables = pretraining.load(Path(config.init_from), config.seed)
        return representations.contexts(corpus, settings, variables, cache_dir=cache_dir, progress=self._progress)

    def nodes(self, config: ConfigDict, count: int) -> nodes.Nodes:
        """At most `count` nodes of every utterance, not yet standardised."""
        frames = self.frames(config)
        return self._once(("nodes", frames.key, count), lambda: nodes.build(frames, count))

    def own_functionals(self, config: ConfigDict) -> np.ndarray:
        """Our own functionals of every utterance's frames, [U, D]."""
        frames = self.frames(config)

        def make() -> np.ndarray:
            rows = workers.parallel_map(
                partial(functionals.functionals, names=frames.names), frames,  # type: ignore[arg-type]
                workers=config.data.workers or None, description="Functionals of the input", unit="utterance",
                progress=self._progress)
            return np.stack(list(rows))

        return self._once(("own functionals", frames.key), make)

    def functionals(self, config: ConfigDict, feature_set: str) -> np.ndarray:
        """openSMILE's functionals of every utterance, [U, D]."""
        corpus = self.corpus(config)
        return self._once(("functionals", corpus.key, feature_set), lambda: features.functionals(
            corpus, feature_set, cache_dir=cache_directory(config), workers=config.data.workers or None,
            progress=self._progress)[0])

    def speakers(self, config: ConfigDict) -> np.ndarray:
        """[U] speaker names."""
        return np.array([u.speaker for u in self.corpus(config).utterances])

    def groups(self, config: ConfigDict) -> np.ndarray | None:
        """[U] who is standardised by the statistics of their own; None where those of the training part count."""
        if config.normalise == "global":
            return None
        return np.array([getattr(u, config.normalise) for u in self.corpus(config).utterances])


def side_by_side(parts: Sequence[Frames]) -> Frames:
    """Several kinds of features of one corpus as one, each utterance as long as its shortest kind.

    Raises:
      UserError: their frames are not equally far apart.
    """
    if len(parts) == 1:
        return parts[0]
    if len({part.hop for part in parts}) > 1:
        raise UserError("features: kinds with different distances between frames cannot be joined.")
    counts = np.min([np.diff(part.offsets) for part in parts], axis=0)
    rows = [np.concatenate([part[u][:count] for part in parts], axis=1) for u, count in enumerate(counts)]
    return Frames(values=np.concatenate(rows), offsets=np.concatenate([[0], np.cumsum(counts)]),
                  names=tuple(name for part in parts for name in part.names), hop=parts[0].hop,
                  key=files.digest([part.key for part in parts]))


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None
