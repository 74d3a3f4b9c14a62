"""Miniature trees of EmoBox's fold files, in the published layout and with its defects."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sercl_jax.types import Utterance

EMODB_MAP = {"anger": "Angry", "boredem": "Boredom", "disgust": "Disgust", "fear": "Fear", "happy": "Happy",
             "Neutral": "Neutral", "sad": "Sad"}  # the data has boredem and neutral


class Row(NamedTuple):
    """One line of a fold file."""

    key: str
    wav: str
    emotion: str


Parts = Mapping[str, Sequence[Row]]


def record(dataset: str, row: Row) -> dict[str, Any]:
    """A line with everything that the published ones have."""
    return {"key": f"{dataset}-{row.key}", "dataset": dataset, "wav": f"downloads/{dataset}/{row.wav}", "type": "raw",
            "sample_rate": 16000, "num_frame": 33978.0, "task": "category", "length": 2.123625, "emo": row.emotion,
            "channel": 1}


def write(place: Path, dataset: str, folds: Mapping[int, Parts], *, labels: Mapping[str, str] | None = None,
          forms: Sequence[str] = ("jsonl", "json"), labels_name: str = "label_map.json") -> Path:
    """Writes PLACE/data/<dataset>; a part that is an empty list is an empty file. Returns the dataset's folder."""
    folder = place / "data" / dataset
    for number, parts in folds.items():
        inside = folder / f"fold_{number}"
        inside.mkdir(parents=True, exist_ok=True)
        for part, rows in parts.items():
            records = [record(dataset, row) for row in rows]
            stem = f"{dataset}_{part}_fold_{number}"
            if "jsonl" in forms:
                (inside / f"{stem}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
            if "json" in forms:
                kept = ("wav", "length", "emo", "dataset", "channel")
                (inside / f"{stem}.json").write_text(json.dumps(
                    {one["key"]: {name: one[name] for name in kept} for one in records}, indent=2))
    if labels is not None:
        (folder / labels_name).write_text(json.dumps(labels))
    return folder


def emodb(speakers: Sequence[str] = ("03", "08", "09"), takes: int = 2) -> list[Utterance]:
    """Utterances named as EMO-DB names them: every speaker says two sentences in three emotions."""
    codes = {"W": "angry", "L": "bored", "N": "neutral"}
    return [Utterance(f"{speaker}{sentence}{code}{'abcd'[take]}", 16_000, label=label, speaker=speaker,
                      sentence=sentence)
            for speaker in speakers for sentence in ("a01", "b02") for code, label in codes.items()
            for take in range(takes)]


def emodb_row(utterance: Utterance) -> Row:
    """As EmoBox has it."""
    words = {"angry": "anger", "bored": "boredem", "neutral": "neutral"}
    return Row(utterance.id, f"wav/{utterance.id}.wav", words[utterance.label])


def dealt(rows: Sequence[Row], count: int) -> dict[int, dict[str, list[Row]]]:
    """Every row tested once and trained otherwise; validation parts are empty, as published."""
    return {k + 1: {"train": [row for n, row in enumerate(rows) if n % count != k],
                    "test": [row for n, row in enumerate(rows) if n % count == k], "valid": []} for k in range(count)}
