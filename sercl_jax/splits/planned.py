"""The folds that a config will train and test on, without training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from sercl_jax import files, parts, validation
from sercl_jax.corpora import copies, joined
from sercl_jax.errors import UserError
from sercl_jax.protocol_sheet import protocol_sheet
from sercl_jax.splits import (
    Fold,
    Table,
    fewer_folds,
    fold_seeds,
    folds_of,
    is_speaker_disjoint,
    natural,
    usual_protocol,
)
from sercl_jax.validation import Carved
from sercl_jax.workbench import Workbench

FEW = 12  # speakers that are named


@dataclass(frozen=True)
class Plan:
    """One corpus, or several joined, under one protocol.

    Attributes:
      corpus, protocol, targets: what is divided, how, and by labels or ratings.
      utterances: how many there are, also without labels or ratings.
      fold_seeds: for which folds are made; the sheet is that of the first.
      sheet: see `protocol_sheet`; its folds also have "train_speakers", "test_speakers" and "validation_speakers",
        numbers or names.
      notes: what else is to be known of this training.
      rows: names of the rows of a table that it is for.
    """

    corpus: str
    protocol: str
    targets: str
    utterances: int
    fold_seeds: list[int]
    sheet: dict[str, Any]
    notes: list[str]
    rows: list[str] = field(default_factory=list)


def plans(config: ConfigDict, bench: Workbench) -> Iterator[Plan]:
    """What a config, or the rows of a table, will divide; equal plans of several rows are one.

    Raises:
      UserError: as the run itself would.
    """
    if "rows" not in config:
        yield plan(config, bench)
        return
    from sercl_jax import sweep  # imports JAX, which single runs need not

    known: dict[str, Plan] = {}
    for row in config.rows.values():
        one = sweep.variant(config, row)
        if sweep.is_quoted(one):
            continue
        name = f"{row.series}, {row.name}" if row.series else row.name
        key = _key(one)
        if key not in known:
            known[key] = plan(one, bench)
        known[key].rows.append(name)
    yield from known.values()


def plan(config: ConfigDict, bench: Workbench) -> Plan:
    """What one run will divide."""
    if config.method == "cpc" and config.setup == "pretrain":
        raise UserError("setup=pretrain tests nothing, so it has no folds: of the speakers, "
                        "config.pretrain.held_out validate, and as many test the pre-training.")
    if "target" in config:
        return _adaptation(config, bench)
    corpus = bench.corpus(config)
    targets = "ratings" if config.method == "cpc" and config.setup != "probe" else "labels"
    protocol = usual_protocol(corpus.utterances, config.eval.protocol)
    folds = folds_of(corpus, protocol, folds=config.eval.folds, fold_seed=config.fold_seed, targets=targets,
                     emobox_dir=config.data.emobox_dir, tested=config.eval.tested)
    table = Table(corpus.utterances)
    notes = []
    carved: list[Carved] | None = None
    if targets == "ratings":
        carved = [validation.carve_fold(table, fold, seed=config.seed) for fold in folds]
        words = "; ".join(dict.fromkeys(one.words for one in carved))
        notes.append(f"Validation, which chooses the epoch: {words} (seed {config.seed}).")
    else:
        carved = _official(folds)
        by = "speakers" if is_speaker_disjoint(table, folds) else "utterances"
        notes.append(f"Classifiers are chosen by {config.eval.inner_folds} inner folds of the training part, divided "
                     f"by {by}." + (" Nothing uses the official validation split." if carved else ""))
    notes += fewer_folds(folds, config.eval.folds, protocol)
    if config.train.training == "transductive":
        who = "miniCPC" if config.method == "cpc" else "the encoder"
        notes.append(f"training=transductive: {who} learns from the audio of all utterances, also of the tested "
                     "ones; labels are those of the training part.")
    return Plan(corpus.name, protocol, targets, len(corpus),
                fold_seeds(protocol, config.fold_seed, config.fold_seeds),
                _sheet(corpus, table, folds, targets, carved), notes)


def _adaptation(config: ConfigDict, bench: Workbench) -> Plan:
    """A run on several corpora, one of which is tested."""
    target: Any = bench.corpus(config)
    partners = bench.partners(config) if config.learn_from == "all" else {}
    protocol = usual_protocol(target.utterances, config.eval.protocol)
    corpus: Any = joined.join({config.target: target, **partners}) if protocol == parts.ACROSS else target
    folds = folds_of(corpus, protocol, folds=config.eval.folds, fold_seed=config.fold_seed,
                     emobox_dir=config.data.emobox_dir, tested=config.target if protocol == parts.ACROSS else "")
    table = Table(corpus.utterances)
    carved = _official(folds)
    notes = ["One fifth of each training part, by speakers where they are known, chooses the learning rate if there "
             "are several." + (" Nothing uses the official validation split." if carved else "")]
    if protocol != parts.ACROSS:
        notes += [f"Beside it, the arms supcon and ce train the encoder on training parts of {name} "
                  f"({len(partner)} utterances, protocol={parts.usable(partner, protocol)})."
                  for name, partner in partners.items()]
    return Plan(corpus.name if protocol == parts.ACROSS else config.target, protocol, "labels", len(corpus),
                fold_seeds(protocol, config.fold_seed, config.fold_seeds),
                _sheet(corpus, table, folds, "labels", carved), notes)


def _official(folds: Sequence[Fold]) -> list[Carved] | None:
    """The folds' own validation parts, if there are any."""
    if all(fold.validation is None for fold in folds):
        return None
    return [Carved(fold.train, np.arange(0) if fold.validation is None else fold.validation, "") for fold in folds]


def _sheet(corpus: Any, table: Table, folds: Sequence[Fold], targets: str,
           carved: Sequence[Carved] | None) -> dict[str, Any]:
    """The sheet, with recordings that are there twice and the speakers of each part, by name if they are few."""
    sheet = protocol_sheet(table, folds, targets=targets, carved=carved)
    sheet["warnings"] += copies.warnings(corpus, [(fold.train, fold.test) for fold in folds])
    for number, (fold, row) in enumerate(zip(folds, sheet["folds"], strict=True)):
        train, validation = (fold.train, np.arange(0)) if carved is None else carved[number][:2]
        for part, rows in (("train", train), ("validation", validation), ("test", fold.test)):
            if part in row:
                row[f"{part}_speakers"] = _speakers(table, rows)
    return sheet


def _speakers(table: Table, rows: np.ndarray) -> list[str] | int | None:
    column = table.column("speaker")
    names = [column.names[code] for code in np.flatnonzero(column.counts(rows))]
    if "" in names:
        return None
    return natural(names) if len(names) <= FEW else len(names)


def _key(config: ConfigDict) -> str:
    """Equal for configs that divide the same utterances in the same way."""
    plain = config.to_dict()
    names = ("method", "setup", "data", "corpora", "target", "learn_from", "seed", "fold_seed", "fold_seeds")
    chosen: dict[str, Any] = {name: plain[name] for name in names if name in plain}
    chosen |= {name: plain["eval"].get(name) for name in ("protocol", "folds", "tested", "inner_folds")}
    if plain["method"] == "cpc" and plain["setup"] != "probe":
        chosen["setup"] = "recognizer"
    return files.digest([chosen, plain["train"].get("training")])
