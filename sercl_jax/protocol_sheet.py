"""Who is in which fold, and what training and test share."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sercl_jax.splits import Fold, has_target, shared

if TYPE_CHECKING:
    from sercl_jax.types import Utterance


def protocol_sheet(utterances: "Sequence[Utterance]", folds: Sequence[Fold], *,
                   targets: str = "labels") -> dict[str, Any]:
    """Who is in which fold, for the report and for readers who doubt a result.

    Args:
      utterances, targets: as the folds were made from.

    Returns:
      {"folds": [{"name", "train", "test" (numbers of utterances), "train_classes", "test_classes" (label -> number;
      of rated utterances those that are labelled, too), "test_speakers" (number, or None if unknown),
      "shared_speakers", "shared_sentences" (numbers in both parts, or None), "same_take" (test utterances of which
      the training part has another take: same speaker, sentence and emotion)}], "left_out" (labelled or rated
      utterances that no fold tests), "warnings": [str]}.
    """
    rows = []
    for fold in folds:
        speakers, sentences = shared(utterances, fold, "speaker"), shared(utterances, fold, "sentence")
        takes: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        for u in fold.train:
            takes[utterances[u].speaker, utterances[u].sentence, utterances[u].label] += 1
        tested = [utterances[u] for u in fold.test]
        rows.append({
            "name": fold.name, "train": len(fold.train), "test": len(fold.test),
            "train_classes": _classes([utterances[u] for u in fold.train]), "test_classes": _classes(tested),
            "test_speakers": None if speakers is None else len({u.speaker for u in tested}),
            "shared_speakers": None if speakers is None else len(speakers),
            "shared_sentences": None if sentences is None else len(sentences),
            "same_take": None if speakers is None or sentences is None else
            sum(takes[u.speaker, u.sentence, u.label] > 0 for u in tested)})
    left_out = sum(has_target(u, targets) for u in utterances) - sum(len(fold.test) for fold in folds)
    return {"folds": rows, "left_out": left_out, "warnings": _leaks(rows)}


def _classes(utterances: "Sequence[Utterance]") -> dict[str, int]:
    return dict(sorted(Counter(u.label for u in utterances if u.label).items()))


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
    return warnings
