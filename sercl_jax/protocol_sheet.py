"""Who is in which fold, and what training and test share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.splits import Fold, Table, has_target

if TYPE_CHECKING:
    from sercl_jax.types import Utterance
    from sercl_jax.validation import Carved


def protocol_sheet(utterances: "Sequence[Utterance] | Table", folds: Sequence[Fold], *, targets: str = "labels",
                   carved: "Sequence[Carved] | None" = None) -> dict[str, Any]:
    """Who is in which fold, for the report and for readers who doubt a result.

    Args:
      utterances, targets: as the folds were made from; perhaps a table of the utterances.
      carved: what of each fold is trained on and what validates, where something does.

    Returns:
      {"folds": [{"name", "train", "test" (numbers of utterances), "train_classes", "test_classes" (label -> number;
      of rated utterances those that are labelled, too), "test_speakers" (number, or None if unknown),
      "shared_speakers", "shared_sentences" (how many are both tested and in the training or the validation part, or
      None), "same_take" (test utterances of which these have another take: same speaker, sentence and emotion)}],
      "left_out" (labelled or rated utterances that no fold tests), "warnings": [str], "notes": [str]}. With `carved`
      each fold has "validation", "validation_classes" and "validation_shared_speakers" (in the training and the
      validation part), too.
    """
    table = Table.of(utterances)
    takes = _takes(table)
    rows = []
    for number, fold in enumerate(folds):
        train, validation = (fold.train, np.arange(0)) if carved is None else carved[number][:2]
        seen = np.concatenate([train, validation])
        speakers, sentences = (_number(table.column(field).shared(seen, fold.test))
                               for field in ("speaker", "sentence"))
        row = {
            "name": fold.name, "train": len(train), "test": len(fold.test),
            "train_classes": _classes(table, train), "test_classes": _classes(table, fold.test),
            "test_speakers": None if speakers is None else int((table.column("speaker").counts(fold.test) > 0).sum()),
            "shared_speakers": speakers, "shared_sentences": sentences,
            "same_take": None if speakers is None or sentences is None else
            int((np.bincount(takes[seen], minlength=takes.max() + 1) > 0)[takes[fold.test]].sum())}
        if carved is not None:
            row |= {"validation": len(validation), "validation_classes": _classes(table, validation),
                    "validation_shared_speakers": _number(table.column("speaker").shared(train, validation))}
        rows.append(row)
    left_out = sum(has_target(u, targets) for u in table.utterances) - sum(len(fold.test) for fold in folds)
    notes = [f"{fold.name[:1].upper()}{fold.name[1:]}: {note}" for fold in folds for note in fold.notes]
    return {"folds": rows, "left_out": left_out, "warnings": _leaks(rows), "notes": notes}


def _classes(table: Table, rows: np.ndarray) -> dict[str, int]:
    labels = table.column("label")
    return {name: int(count) for name, count in zip(labels.names, labels.counts(rows), strict=True) if name and count}


def _number(names: set[str] | None) -> int | None:
    return None if names is None else len(names)


def _takes(table: Table) -> np.ndarray:
    """[U] a number for each combination of speaker, sentence and emotion."""
    combined = np.zeros(len(table), dtype=np.int64)
    for field in ("speaker", "sentence", "label"):
        column = table.column(field)
        combined = np.unique(combined * len(column.names) + column.codes, return_inverse=True)[1]
    return combined


def _leaks(rows: list[dict[str, Any]]) -> list[str]:
    warnings = []
    for field in ("speaker", "sentence"):
        known = [row[f"shared_{field}s"] for row in rows]
        if None in known:
            warnings.append(f"Some {field}s are unknown: whether training and test share {field}s cannot be told.")
        elif any(known):
            warnings.append(f"Training and test share {field}s in {sum(map(bool, known))} of {len(rows)} folds: "
                            f"the figures do not tell how well unknown {field}s are recognised.")
    takes = sum(row["same_take"] or 0 for row in rows)
    if takes:
        warnings.append(f"{takes} tested utterances have another take (speaker, sentence and emotion) in training.")
    inside = [row.get("validation_shared_speakers", 0) for row in rows]
    if any(inside):
        warnings.append(f"Training and validation share speakers in {sum(map(bool, inside))} of {len(rows)} folds: "
                        "what is chosen may suit these speakers only.")
    return warnings
