"""Reading EmoBox's fold files.

    data/<dataset>/label_map.json                                  (emovo: label_dict.json)
    data/<dataset>/fold_<k>/<dataset>_{train,test,valid}_fold_<k>.jsonl    one object a line
                                                             or .json     one object, by key

A line has a `key` ("emodb-03a01Wa"), a `wav` ("downloads/emodb/wav/03a01Wa.wav") and the corpus' own label, `emo`.
Files of an older format beside them (`emodb_train_fold1.jsonl`) are not read.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sercl_jax import config as config_lib
from sercl_jax.errors import UserError
from sercl_jax.splits.table import natural

PARTS = ("train", "test", "valid")
_FOLD = re.compile("fold_([0-9]+)")
_MAPS = ("label_map.json", "label_dict.json")


@dataclass(frozen=True)
class Line:
    """One utterance of a fold file.

    Attributes:
      key: without the dataset's name.
      wav: where its audio is in the corpus as EmoBox unpacks it, without an ending.
      emotion: as the corpus calls it.
      place: "FILE, line 3", for messages.
    """

    key: str
    wav: str
    emotion: str
    place: str


@dataclass(frozen=True)
class Dataset:
    """The folds of one dataset.

    Attributes:
      name: of its folder.
      directory: the folder.
      folds: "fold 1" -> part -> lines; "valid" may be missing.
      labels: the corpus' labels, as they are and in lower case -> EmoBox's.
    """

    name: str
    directory: Path
    folds: Mapping[str, Mapping[str, list[Line]]]
    labels: Mapping[str, str]

    def meaning(self, emotion: str) -> str:
        return self.labels.get(emotion) or self.labels.get(emotion.lower()) or "in no label map"


def read(directory: Path, corpus: str) -> Dataset:
    """The folds of a corpus.

    Args:
      directory: a clone of the repository, its folder `data`, or the folder of the dataset.
      corpus: name of the corpus here; datasets are called the same without underscores.

    Raises:
      UserError: there is no such dataset, or its files are missing or damaged; names file and line.
    """
    folder = _folder(directory, corpus)
    folds = {}
    for number in natural(_FOLD.fullmatch(path.name)[1] for path in folder.iterdir()  # type: ignore[index]
                          if _FOLD.fullmatch(path.name) and path.is_dir()):
        parts = {part: _part(folder / f"fold_{number}", part, number) for part in PARTS}
        for part in ("train", "test"):
            if not parts[part]:
                raise UserError(f"{folder / f'fold_{number}'}: has no {part} part, {folder.name}_{part}_fold_{number}"
                                ".jsonl, or it is empty; clone EmoBox again.")
        folds[f"fold {number}"] = {part: lines for part, lines in parts.items() if lines is not None}
    return Dataset(folder.name, folder, folds, _labels(folder))


def _folder(directory: Path, corpus: str) -> Path:
    if not directory.is_dir():
        raise UserError(f"{directory}: config.data.emobox_dir is no folder; give a clone of "
                        "https://github.com/emo-box/EmoBox.")
    if _has_folds(directory):
        return directory
    data = directory / "data" if (directory / "data").is_dir() else directory
    known = [path.name for path in data.iterdir() if path.is_dir() and _has_folds(path)]
    for name in dict.fromkeys((corpus, corpus.replace("_", ""))):
        if name in known:
            return data / name
    if not known:
        raise UserError(f"{directory}: holds no folds of EmoBox (data/<dataset>/fold_1); give a clone of "
                        "https://github.com/emo-box/EmoBox.")
    raise UserError(f"{data}: EmoBox has no folds of corpus {corpus}; choose another protocol, or give the dataset's "
                    f"own folder if it goes by another name.{config_lib.nearest(corpus, known)}")


def _has_folds(folder: Path) -> bool:
    return any(_FOLD.fullmatch(path.name) and path.is_dir() for path in folder.iterdir())


def _part(folder: Path, part: str, number: str) -> list[Line] | None:
    """The lines of a part; None if there is no such file."""
    # The dataset's name is not looked at: whoever copies a folder may rename it.
    for ending, rows in ((".jsonl", _json_lines), (".json", _json)):
        paths = sorted(path for path in folder.glob(f"*_{part}_fold_{number}{ending}") if path.name[0] != ".")
        if len(paths) > 1:
            raise UserError(f"{folder}: holds {len(paths)} {part} parts ({', '.join(path.name for path in paths)}); "
                            "leave the published one.")
        if paths:
            lines = [_line(place, row) for place, row in rows(paths[0])]
            seen: dict[str, str] = {}
            for line in lines:
                if line.key in seen:
                    raise UserError(f"{line.place}: {line.key} is listed twice, also in {seen[line.key]}; use the "
                                    "published file, unchanged.")
                seen[line.key] = line.place
            return lines
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason}); clone EmoBox again.") from error


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    for number, text in enumerate(_text(path).split("\n"), start=1):
        if text.strip():
            place = f"{path}, line {number}"
            yield place, _parsed(place, text)


def _json(path: Path) -> Iterator[tuple[str, Any]]:
    content = _parsed(str(path), _text(path))
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a JSON object by key; clone EmoBox again.")
    for key, row in content.items():
        yield f"{path}, key {key}", {"key": key, **row} if isinstance(row, dict) else row


def _parsed(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: is not JSON ({error}); clone EmoBox again.") from error


def _line(place: str, row: Any) -> Line:
    for name in ("key", "wav", "emo"):
        if not isinstance(row, dict) or not isinstance(row.get(name), str) or not row[name].strip():
            raise UserError(f"{place}: has no text {name!r}; fold files have key, wav and emo. Clone EmoBox again.")
    dataset = str(row.get("dataset") or row["key"].partition("-")[0])
    wav = row["wav"].strip().removeprefix(f"downloads/{dataset}/")
    return Line(row["key"].strip().removeprefix(f"{dataset}-"), wav, row["emo"].strip(), place)


def _labels(folder: Path) -> dict[str, str]:
    for name in _MAPS:
        path = folder / name
        if path.exists():
            content = _parsed(str(path), _text(path))
            if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
                raise UserError(f"{path}: does not map labels to labels; clone EmoBox again.")
            exact = {key.strip(): value.strip() for key, value in content.items()}
            return {key.lower(): value for key, value in exact.items()} | exact
    return {}
