"""CPC pre-trained on a corpus, and found again by what is built on it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import checkpoint, corpora, files, intervals, results, train, waveforms, workdirs
from sercl_jax.corpora import registry
from sercl_jax.errors import UserError
from sercl_jax.methods import cpc, cpc_recipes
from sercl_jax.models.cpc import CpcSettings, initializer
from sercl_jax.types import Utterance, Variables
from sercl_jax.workbench import Workbench

MODELS = "models"  # folder of a workdir: one model for each seed


def hold_out(utterances: Sequence[Utterance], share: float,
             seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divides a corpus into what is trained on, what the best epoch is chosen by, and what that is tested on.

    Whole speakers where all are known and there are at least three, else utterances.

    Args:
      utterances: U.
      share: of the speakers (or utterances) for each of the two; at least one, unless it is 0.
      seed: draws them.

    Returns:
      Three increasing arrays of positions; the last two are empty if the share is 0.

    Raises:
      UserError: a share below 0 or above a third, or too few utterances.
    """
    if not 0 <= share <= 1 / 3:
        raise UserError(f"config.pretrain.held_out={share}: a share from 0 to a third.")
    speakers = np.array([u.speaker for u in utterances])
    units = np.unique(speakers)
    if not speakers.all() or len(units) < 3:
        units = speakers = np.array([u.id for u in utterances])
    if share == 0:
        return np.arange(len(utterances)), np.arange(0), np.arange(0)
    if len(units) < 3:
        raise UserError(f"pre-training: {len(units)} utterances are too few to hold any out; "
                        "set --config.pretrain.held_out=0.")
    count = max(round(share * len(units)), 1)
    drawn = np.random.default_rng((seed, 1)).permutation(np.sort(units))
    chosen = [np.flatnonzero(np.isin(speakers, part)) for part in (drawn[:count], drawn[count:2 * count])]
    return np.flatnonzero(~np.isin(speakers, drawn[:2 * count])), chosen[0], chosen[1]


def pretrain(config: ConfigDict, corpus: corpora.AnyCorpus, rows: np.ndarray, held_out: np.ndarray, seed: int,
             store: Path, progress: bool) -> train.TrainResult:
    """Trains CPC on some utterances of a corpus, or finds that training in the store.

    Args:
      config: its sections `cpc`, `pretrain` and `train` count.
      corpus, rows, held_out, seed: as in `methods.cpc.pretrain_stage`.
      store: folder of trainings.
      progress: whether to show a bar.
    """
    recipe = cpc_recipes.pretraining(config)
    settings = {"corpus": corpus.key, "rows": files.digest(np.asarray(rows).tolist()),
                "held_out": files.digest(np.asarray(held_out).tolist()), "seed": seed}
    stage = cpc.pretrain_stage(recipe, corpus, rows, held_out, seed, settings)
    directory = store / f"cpc-{corpus.name}-seed{seed}-{files.digest(stage.settings)}"
    return train.run(stage, workdir=directory, seed=seed, log_every=config.train.log_every,
                     checkpoint_every=config.train.checkpoint_every, progress=progress,
                     resident=config.train.resident, steps_per_dispatch=config.train.steps_per_dispatch)


def untrained(settings: CpcSettings, seed: int) -> Variables:
    """The parameters that a pre-training with this seed starts from."""
    return initializer(settings)(train.init_key(seed), {})


def seeds(workdir: Path) -> list[int]:
    """The seeds of the models in a workdir of setup=pretrain.

    Raises:
      UserError: the folder holds no finished pre-training.
    """
    found = sorted(int(path.name[4:]) for path in (workdir.expanduser() / MODELS).glob("seed*")
                   if (path / "model.json").exists())
    if not found:
        raise UserError(f"config.init_from={workdir}: holds no finished pre-training; give the workdir of a run "
                        "with setup=pretrain.")
    return found


def key(workdir: Path) -> str:
    """Hexadecimal name of the models in a workdir of setup=pretrain; they carry checksums of their parameters.

    Raises:
      UserError: the run has not finished: some of its seeds may still be missing.
    """
    found = [(workdir.expanduser() / MODELS / f"seed{seed}" / "model.json").read_text(encoding="utf-8")
             for seed in seeds(workdir)]
    if not (workdir.expanduser() / results.RESULTS).exists():
        raise UserError(f"config.init_from={workdir}: its pre-training has not finished; give that command again "
                        "first.")
    return files.digest(found)


def told(workdir: Path) -> dict[str, Any]:
    """What the results in a workdir of setup=pretrain tell of it."""
    return results.read(workdir.expanduser()).get("pretraining", {})


def corpus_of(workdir: Path) -> tuple[str, str]:
    """Name and key of the corpus that the models in a workdir of setup=pretrain were trained on."""
    path = workdir.expanduser() / MODELS / f"seed{seeds(workdir)[0]}" / "model.json"
    facts = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    return facts["corpus"], facts["corpus_key"]


def overlap(corpus: corpora.AnyCorpus, name: str, key: str) -> tuple[str, ...]:
    """A warning for readers of a result on `corpus` if the pre-training saw that corpus; name and key are its own."""
    if corpus.key != key and not (_names(corpus.name) & _names(name)):
        return ()
    return (f"The pre-training saw {name}, too, without labels: tested utterances may be among those that CPC was "
            "trained on (transductive).",)


def _names(name: str) -> set[str]:
    """Of a corpus, or of several that are joined; two manifests are two corpora."""
    return {part for part in name.split("+") if not part.startswith("manifest")}


def load(workdir: Path, seed: int) -> tuple[CpcSettings, Variables]:
    """A pre-trained model; that of the first seed if there is none of this.

    Raises:
      UserError: the folder holds no finished pre-training.
    """
    found = seeds(workdir)
    folder = workdir.expanduser() / MODELS / f"seed{seed if seed in found else found[0]}"
    variables, _, facts = checkpoint.load_model(folder)
    return CpcSettings(**facts["settings"]), variables


class Pretraining:
    """setup=pretrain: one model for each seed, and how well it tells what comes next for unknown speakers."""

    def __init__(self, config: ConfigDict, workdir: Path, bench: Workbench, store: Path, quiet: bool):
        self.config, self.workdir, self.bench, self.store, self.quiet = config, workdir, bench, store, quiet
        if config.seeds < 1:
            raise UserError(f"runs={config.seeds}: at least 1.")
        if config.init_from:
            raise UserError("config.init_from: setup=pretrain starts anew; it is for setup=pre, all and probe.")
        self.recipe = cpc_recipes.pretraining(config)
        self.corpus = bench.corpus(config)
        self.parts = hold_out(self.corpus.utterances, config.pretrain.held_out, config.seed)

    def run(self) -> dict[str, Any]:
        config, corpus = self.config, self.corpus
        rows, valid, test = self.parts
        seconds, shares, start = 0.0, [], []
        for seed in range(config.seed, config.seed + config.seeds):
            result = pretrain(config, corpus, rows, valid, seed, self.store, not self.quiet)
            seconds += result.seconds
            checkpoint.save_model(self.workdir / MODELS / f"seed{seed}", result.variables, {}, {
                "settings": asdict(self.recipe.settings), "corpus": corpus.name, "corpus_key": corpus.key,
                "seed": seed, "best_step": result.best_step, "config": workdirs.identity(config)})
            shares.append(_shares(self.recipe, result.variables, corpus, test))
            start.append(_shares(self.recipe, untrained(self.recipe.settings, seed), corpus, test))
        return self._results(seconds, shares, start)

    def _results(self, seconds: float, shares: list[np.ndarray], start: list[np.ndarray]) -> dict[str, Any]:
        config, utterances = self.config, self.corpus.utterances
        rows, _, test = self.parts
        speakers = [utterances[u].speaker for u in _tested(self.corpus, test)]
        apart = all(speakers) and not {utterances[u].speaker for u in rows} & set(speakers)
        crowd = np.empty((1, intervals.speaker_clusters(speakers).max() + 1)) if speakers else None
        return {
            "method": config.method, "corpus": self.corpus.name,
            "protocol": {"name": "held-out speakers" if apart else "held-out utterances", "setup": "pretrain",
                         "seeds": list(range(config.seed, config.seed + config.seeds)),
                         "speakers": len(set(speakers) - {""})},
            "seed": config.seed, "labels": [],
            "metrics": _identified(shares, speakers), "folds": [], "confusion": [],
            "baselines": [{"name": "untrained", "metrics": _identified(start, speakers),
                           "difference": _identified([a - b for a, b in zip(shares, start, strict=True)], speakers)}],
            "pretraining": _facts(self.recipe, self.corpus, rows, shares, start),
            "synthetic": registry.is_synthetic(self.corpus.name),
            "warnings": [text for text in ("" if crowd is None else intervals.cluster_warning(crowd),) if text],
            "seconds": {"features": self.bench.feature_seconds, "train": seconds, "evaluate": 0.0}}


def describe(config: ConfigDict, corpus: corpora.AnyCorpus, rows: np.ndarray, test: np.ndarray,
             variables: Variables) -> dict[str, Any]:
    """What a report tells of a pre-training on `rows`: its corpus and hours, and what it identifies in `test`."""
    recipe = cpc_recipes.pretraining(config)
    return _facts(recipe, corpus, rows, [_shares(recipe, variables, corpus, test)])


def _facts(recipe: cpc_recipes.Pretraining, corpus: corpora.AnyCorpus, rows: np.ndarray,
           shares: list[np.ndarray], start: Sequence[np.ndarray] = ()) -> dict[str, Any]:
    """`shares` of each seed, and perhaps those before training."""
    known: dict[str, Any] = {}
    if len(shares[0]):
        known["identified"] = {name: [float(x) for x in np.nanmean(np.stack(each), (0, 1))]
                               for name, each in (("k", shares), ("untrained", start)) if len(each)}
        known["identified"]["chance"] = 1 / (1 + recipe.settings.negatives)
    return {"corpus": corpus.name, "hours": sum(corpus.utterances[u].seconds for u in rows) / 3600, **known}


def _tested(corpus: corpora.AnyCorpus, test: np.ndarray) -> np.ndarray:
    """Some of the utterances, of all speakers; one frame alone has nothing that it could be told from."""
    long = [u for u in test if corpus.utterances[u].num_samples >= 2 * waveforms.HOP]
    return cpc.spread(np.array(long, np.int64))


def _shares(recipe: cpc_recipes.Pretraining, variables: Variables, corpus: corpora.AnyCorpus,
            test: np.ndarray) -> np.ndarray:
    """[U, K] of the utterances tested, or [0, K]."""
    rows = _tested(corpus, test)
    if not len(rows):
        return np.zeros((0, recipe.settings.future))
    return cpc.identified(recipe.settings, variables, cpc.identification_batch(corpus, rows, recipe.seconds))


def _identified(shares: list[np.ndarray], speakers: Sequence[str]) -> dict[str, Any]:
    """One step ahead, and averaged over all: mean and deviation over seeds, interval over speakers."""
    if not speakers:
        return {}
    cluster = intervals.speaker_clusters(speakers)
    clusters = cluster.max() + 1
    counts = intervals.draw_counts(clusters)
    found = {}
    for name, values in (("identified_1", [x[:, 0] for x in shares]),
                         ("identified", [np.nanmean(x, 1) for x in shares])):
        means = [float(np.nanmean(v)) for v in values]
        over_seeds = np.nanmean(np.stack(values), 0)
        total, number = np.zeros(clusters), np.zeros(clusters)
        np.add.at(total, cluster, np.nan_to_num(over_seeds))
        np.add.at(number, cluster, np.isfinite(over_seeds))
        resampled = (counts @ total) / np.maximum(counts @ number, 1)
        low, high = np.percentile(resampled, [2.5, 97.5])
        found[name] = {"mean": float(np.mean(means)), "std": float(np.std(means)), "ci95": [float(low), float(high)]}
    return found
