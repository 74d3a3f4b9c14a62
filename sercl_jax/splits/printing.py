"""A protocol sheet as text."""

from collections.abc import Sequence
from typing import Any

from sercl_jax.splits.planned import Plan

MOST = 40  # folds that are printed
_PARTS = ("train", "validation", "test")
_WORDS = {"train": "training", "validation": "validation", "test": "test"}


def text(plan: Plan) -> str:
    """Numbers and speakers of every fold, classes of every part, warnings and notes."""
    folds = plan.sheet["folds"]
    parts = [part for part in _PARTS if part in folds[0]]
    word = "labelled" if plan.targets == "labels" else "rated"
    seeds = plan.fold_seeds
    lines = [f"Corpus {plan.corpus}, protocol={plan.protocol}: {plan.utterances} utterances, "
             f"{sum(fold['test'] for fold in folds)} of them tested, {len(folds)} fold{'s' * (len(folds) > 1)}"
             + (f" (of fold_seed={seeds[0]}; as many for each of {len(seeds)} seeds)" if len(seeds) > 1 else "")]
    lines += [f"  for {row}" for row in plan.rows]
    shown = folds[:MOST]
    overlaps = ("shared_speakers", "shared_sentences", "same_take")
    lines += ["", *_table(
        ["fold", *(_WORDS[part] for part in parts), "tested speakers", "speakers in both", "sentences in both",
         "other takes"],
        [[fold["name"], *(str(fold[part]) for part in parts), _number(_count(fold["test_speakers"])),
          *(_number(fold[name]) for name in overlaps)] for fold in shown])]
    for part in parts:
        labels = sorted({label for fold in folds for label in fold[f"{part}_classes"]})
        if labels:
            lines += ["", *_table([f"{_WORDS[part]}, by class", *labels], [
                [fold["name"], *(str(fold[f"{part}_classes"].get(label, 0)) for label in labels)] for fold in shown])]
    named = [part for part in parts if any(isinstance(fold[f"{part}_speakers"], list) for fold in folds)]
    if named:
        lines += ["", *_table(["fold", *(f"{_WORDS[part]} speakers" for part in named)], [
            [fold["name"], *(_who(fold[f"{part}_speakers"]) for part in named)] for fold in shown])]
    if len(folds) > MOST:
        lines.append(f"... and {len(folds) - MOST} more folds; --json=FILE has all.")
    if plan.sheet["left_out"]:
        lines += ["", f"{plan.sheet['left_out']} {word} utterances are tested in no fold."]
    lines += ["", *(f"note: {note}" for note in [*plan.notes, *plan.sheet["notes"]])]
    lines += [f"WARNING: {warning}" for warning in plan.sheet["warnings"]]
    if not plan.sheet["warnings"]:
        lines.append("No speaker and no sentence is in both training and test part of any fold.")
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need be: the first to the left, names as they come, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    numeric = [all(cell.isdecimal() or cell in ("?", "-") for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) if right and place else cell.ljust(width)
                      for place, (cell, width, right) in enumerate(zip(row, widths, numeric, strict=True))).rstrip()
            for row in (header, *rows)]


def _who(speakers: list[str] | int | None) -> str:
    if isinstance(speakers, list):
        return ", ".join(speakers) or "-"
    return "some unknown" if speakers is None else f"{speakers} speakers"


def _count(speakers: list[str] | int | None) -> int | None:
    return len(speakers) if isinstance(speakers, list) else speakers


def _number(value: Any) -> str:
    return "?" if value is None else str(value)
