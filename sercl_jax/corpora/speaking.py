"""Who speaks, as far as the names of files and folders leave no doubt."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from sercl_jax.splits.folds import HELD_OUT

Pieces = Sequence[Sequence[Sequence[str]]]  # of each file: of each of its folders and of its name, what they say

_MARKER = r"speaker|spkr|spk|speak|actor|actress|subject|subj|person|voice|sprecher|sprecherin|locuteur|hablante"
_MARKED = re.compile(rf"(?:{_MARKER})[\W_]*[^\W_]+", re.IGNORECASE)
# What is numbered, and need not be a speaker: "s1" may be a sentence, "f1" is a woman.
_NUMBERED = re.compile(r"(?:take|part|set|session|ses|batch|day|rec|recording|clip|file|track|audio|wav|sentence|"
                       r"text|utt|utterance|no|nr|data|test|train|[^\W\dfmw_])[\W_]*\d*|\d+", re.IGNORECASE)
_TRAINING = {"train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test",
             **dict.fromkeys(HELD_OUT, "validation"), "validate": "validation"}


def parts_of_training(pieces: Pieces) -> list[str]:
    """The official partition, where one level of folders is called train, test and perhaps validation; else []."""
    for level in range(_depth(pieces)):
        found = [_TRAINING.get(_joined(file[level]).lower(), "") for file in pieces]
        if all(found) and {"train", "test"} <= set(found):
            return found
    return []


def speakers(pieces: Pieces, labels: Sequence[str]) -> tuple[str, list[str]]:
    """The speakers, if exactly one place can name them.

    Such a place, a level of folders or a word of the files' names at the same position in all, has at least two
    values, with two files or more on average, most of them with several emotions; and no emotion has but one of them,
    which could then not be left out of a training. One that is called speaker, actor or the like goes before others.

    Args:
      pieces: see above, without the emotions.
      labels: of the files.

    Returns:
      Words for the place, "" if there is none or are several, and the names, "" then.
    """
    found: dict[tuple[int, ...], tuple[str, list[str]]] = {}  # by how they divide the files
    for where, values in _places(pieces):
        if _could_be(values, labels):
            order = {value: number for number, value in enumerate(dict.fromkeys(values))}
            found.setdefault(tuple(order[value] for value in values), (where, values))
    marked = [one for one in found.values() if all(_MARKED.fullmatch(value) for value in one[1])]
    for candidates in (marked, list(found.values())):
        if len(candidates) == 1:
            return candidates[0]
    return "", [""] * len(labels)


def _places(pieces: Pieces) -> list[tuple[str, list[str]]]:
    if not pieces:
        return []
    found = [(f"the {_ordinal(level)} level of folders", [_joined(file[level]) for file in pieces])
             for level in range(_depth(pieces))]
    stems = [_merged(file[-1]) for file in pieces]
    found += [(f"the {_ordinal(place)} word of the names", [stem[place] for stem in stems])
              for place in range(min(map(len, stems)))]
    return [(where, values) for where, values in found if all(values)]


def _depth(pieces: Pieces) -> int:
    return min((len(file) - 1 for file in pieces), default=0)


def _could_be(values: Sequence[str], labels: Sequence[str]) -> bool:
    files = Counter(values)
    if not 2 <= len(files) <= len(values) / 2 or any(_NUMBERED.fullmatch(value) for value in files):
        return False
    emotions, who = defaultdict(set), defaultdict(set)
    for value, label in zip(values, labels, strict=True):
        emotions[value].add(label)
        who[label].add(value)
    several = sum(len(found) > 1 for found in emotions.values())
    return 2 * several > len(files) and all(len(found) > 1 for found in who.values())


def _merged(stem: Sequence[str]) -> list[str]:
    """With "actor", "01" as one."""
    merged: list[str] = []
    for piece in stem:
        if merged and re.fullmatch(_MARKER, merged[-1], re.IGNORECASE):
            merged[-1] += f"_{piece}"
        else:
            merged.append(piece)
    return merged


def _joined(pieces: Sequence[str]) -> str:
    return "_".join(pieces)


def _ordinal(number: int) -> str:
    return ("first", "second", "third", "fourth", "fifth")[number] if number < 5 else f"{number + 1}th"
