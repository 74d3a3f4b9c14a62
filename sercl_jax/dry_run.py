"""What a run would do, told before it does it: config, corpora, folds, trainings, parameters, memory and time."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from sercl_jax import knobs, sweep
from sercl_jax.errors import UserError
from sercl_jax.forecast import costs, trainings
from sercl_jax.forecast.preview import GUESS, Preview, Unseen
from sercl_jax.forecast.trainings import Training
from sercl_jax.splits import planned
from sercl_jax.types import SAMPLE_RATE

_SHOWN = 12  # folds
FACTOR = 4  # what estimates of time are off by, at times


def plan(config: ConfigDict) -> dict[str, Any]:
    """Everything as JSON-like data; builds, downloads, trains and writes nothing.

    Returns:
      {"config", "rows" (of a table, to be run), "corpora" [{"name", "utterances", "labels", "speakers", "seconds",
      "built"}], "folds" (as `planned.Plan` has them), "trainings" [{"name", "count", "steps" [least, most],
      "total_steps", "batch_size", "parameters", "memory", "seconds"}], "memory" (bytes, of the largest step),
      "seconds" (of all training), "unknown" [what cannot be told, and why]}.

    Raises:
      UserError: what the run would refuse.
    """
    rows = [one for one in _rows(config) if not sweep.is_quoted(one)]
    unknown: list[str] = []
    alone = "setup" in config and config.setup == "pretrain"  # tests nothing
    bench = Preview()
    plans = [] if alone else _told(unknown, "folds", lambda: list(planned.plans(config, bench)))
    bench, found = _trainings(rows, unknown)
    return {"config": config.to_dict(), "rows": len(rows) if "rows" in config else 0, "corpora": bench.told(),
            "folds": [_folds(one) for one in plans], "trainings": found,
            "memory": max((one["memory"] or 0 for one in found), default=0) or None,
            "seconds": sum(one["seconds"] for one in found) if all(one["count"] for one in found) else None,
            "unknown": list(dict.fromkeys(unknown)), "device": jax.devices()[0].device_kind}


def _rows(config: ConfigDict) -> list[ConfigDict]:
    return [sweep.variant(config, row) for row in config.rows.values()] if "rows" in config else [config]


def _told(unknown: list[str], what: str, make: Any) -> list[Any]:
    """What `make` makes; where something cannot be seen, nothing, and a note."""
    try:
        return make()
    except Unseen as error:
        unknown.append(f"{what}: {error}")
        return []


def _folds(plan: planned.Plan) -> dict[str, Any]:
    return {"corpus": plan.corpus, "protocol": plan.protocol, "fold_seeds": plan.fold_seeds, "rows": plan.rows,
            "folds": [{name: fold[name] for name in ("name", "train", "validation", "test", "test_speakers")
                       if name in fold} for fold in plan.sheet["folds"]],
            "warnings": plan.sheet["warnings"], "notes": plan.notes}


def _trainings(rows: Sequence[ConfigDict], unknown: list[str]) -> tuple[Preview, list[dict[str, Any]]]:
    """Trainings by kind; what rows share counts once. Without the corpora, kinds and what does not depend on them."""
    for bench in (Preview(), Preview(pretends=True)):
        try:
            return bench, _kinds(rows, bench)
        except Unseen as error:
            unknown.append(f"number and steps of trainings: {error}")
        except UserError:  # such as a protocol that the stand-in does not have
            if not bench.pretends:
                raise
    return Preview(), []


def _kinds(rows: Sequence[ConfigDict], bench: Preview) -> list[dict[str, Any]]:
    distinct: dict[str, Training] = {}
    for row in rows:
        for one in trainings.planned(row, bench):
            distinct.setdefault(one.key, one)
    kinds: dict[Any, list[Training]] = {}
    for one in distinct.values():
        shapes = tuple(sorted((name, x.shape) for name, x in one.stage.batch(0).items()))
        kinds.setdefault((one.name, one.stage.loss, shapes), []).append(one)
    return [_kind(name, shapes[0][1][0], members, bench.pretends) for (name, _, shapes), members in kinds.items()]


def _kind(name: str, batch_size: int, members: Sequence[Training], pretends: bool) -> dict[str, Any]:
    stage = members[0].stage
    told = {"name": name, "batch_size": batch_size, "parameters": costs.parameters(stage)}
    if pretends:
        return told | dict.fromkeys(("count", "steps", "total_steps", "memory", "seconds"))
    step, steps = costs.step(stage), [one.stage.steps for one in members]
    return told | {"count": len(members), "steps": [min(steps), max(steps)], "total_steps": sum(steps),
                   "memory": step.memory, "seconds": sum(steps) * step.seconds(costs.speed())}


def text(found: dict[str, Any]) -> str:
    """The same for people."""
    return "\n".join([*_config(found), "", *_corpora(found["corpora"]), "", *_divisions(found["folds"]), "",
                      *_costs(found), *(f"Not known: {one}" for one in found["unknown"])])


def _config(found: dict[str, Any]) -> Iterator[str]:
    config = ConfigDict(found["config"])
    yield "Config" + (f": a table of {found['rows']} runs, which share" if found["rows"] else "")
    for name, value in knobs.leaves(config).items():
        yield f"  {name} = {value!r}"


def _corpora(corpora: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "Corpora"
    for one in corpora:
        hours = f", {one['seconds'] / 60:.1f} minutes" if one["built"] else ""
        yield (f"  {one['name']}: {one['utterances']} utterances{hours}, {one['speakers'] or 'unknown'} speakers; "
               + (", ".join(f"{label} {count}" for label, count in one["labels"].items()) or "no labels"))
        yield "    records are " + ("there" if one["built"] else "not built yet; the run builds them first")
    if not corpora:
        yield "  none of them can be looked at"


def _divisions(plans: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "Folds"
    for one in plans:
        sizes = [fold["test"] for fold in one["folds"]]
        trained = [fold["train"] for fold in one["folds"]]
        seeds = f" for each of {len(one['fold_seeds'])} fold seeds" if len(one["fold_seeds"]) > 1 else ""
        yield (f"  {one['corpus']}, protocol={one['protocol']}: {len(sizes)} folds{seeds}, each trains on "
               f"{_range(trained)} and tests {_range(sizes)} utterances")
        told = [fold["test_speakers"] for fold in one["folds"]]
        for fold, who in zip(one["folds"][:_SHOWN], told, strict=False):
            if told.count(who) < len(told):  # otherwise all folds test everybody
                speakers = ", ".join(who) if isinstance(who, list) else f"{who} speakers"
                yield f"    {fold['name']}: {fold['test']} utterances of {speakers}"
        yield from (f"    {words}" for words in (*one["warnings"], *one["notes"]))
        yield "    python -m sercl_jax.splits, with the same flags, shows all of it"
    if not plans:
        yield "  none, or not known"


def _costs(found: dict[str, Any]) -> Iterator[str]:
    yield "Trainings"
    for one in found["trainings"]:
        if one["count"]:
            yield (f"  {one['count']} x {one['name']}: {_range(one['steps'])} steps of {one['batch_size']}, "
                   f"{one['parameters']:,} parameters, about {_size(one['memory'])} a step, "
                   f"{_duration(one['seconds'])} in all")
        else:
            yield f"  {one['name']}: batches of {one['batch_size']}, {one['parameters']:,} parameters"
    if found["seconds"] is None:
        yield "  Their number and what they take depend on the corpus."
        return
    if not found["trainings"]:
        yield "  none, or not known"
        return
    yield (f"  Estimated on this machine ({found['device']}): {_size(found['memory'])} on the device, "
           f"{_duration(found['seconds'])} of training. Estimates from")
    yield (f"  shapes and a moment's trial, not measurements: memory may be off by 2, time by {FACTOR}; features, "
           "classifiers and reports come on top.")
    if not all(one["built"] for one in found["corpora"]):
        yield f"  Utterances that are not built yet are taken to last {GUESS / SAMPLE_RATE:g} s."


def _range(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
