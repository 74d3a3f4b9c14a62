"""What the names of files and folders say: emotions, and where nothing else could be meant, speakers.

    named([PurePosixPath("anna/angry/1.wav"), ...]).rows[0]
    {"path": "anna/angry/1.wav", "label": "angry", "speaker": "anna"}

A pattern says it outright: `{speaker}_{label}_*.wav`. Fields in braces are columns of a manifest; `*` is anything
within a name, `?` a character, and a pattern is matched from the end of the path.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sercl_jax import config as config_lib
from sercl_jax.corpora.labels import CODES, WORDS, canonical
from sercl_jax.corpora.speaking import parts_of_training, speakers
from sercl_jax.errors import UserError

FIELDS = ("label", "speaker", "session", "split", "fold", "text", "gender")
_NEGATIONS = frozenset({"not", "non", "no", "nicht", "kein", "keine", "without"})
_CAMEL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-ZÀ-Þ])(?=[A-ZÀ-Þ][a-zß-ÿ])")


@dataclass(frozen=True)
class Named:
    """What the names of some files say.

    Attributes:
      rows: for each file that is understood "path", "label" and "speaker", perhaps other columns of a manifest.
      failures: path -> why it is not understood.
      speakers: words for where the speakers' names stand; "" if they are unknown.
    """

    rows: list[Mapping[str, str]]
    failures: Mapping[str, str] = field(default_factory=dict)
    speakers: str = ""


def named(paths: Sequence[PurePosixPath], pattern: str = "") -> Named:
    """Reads names.

    Without a pattern a file's emotion is the one that its folders and its name tell, in any of the words of `labels`;
    folders that all files share tell nothing. Speakers are taken from the one place in the paths that could name
    them, see `speaking`.

    Args:
      paths: of files, relative to the folder that a user gives.
      pattern: see above; "" finds it out.

    Raises:
      UserError: the pattern has unknown fields, or two that nothing separates.
    """
    return _by_pattern(paths, pattern) if pattern else _by_words(paths)


def _by_pattern(paths: Sequence[PurePosixPath], pattern: str) -> Named:
    wanted = _compiled(pattern)
    rows: list[Mapping[str, str]] = []
    failures = {}
    for path in paths:
        match = wanted.fullmatch((path if "." in pattern else path.with_suffix("")).as_posix())
        if match is None:
            failures[str(path)] = f"is not like {pattern}"
        else:
            told = match.groupdict()
            rows.append({"speaker": "", **told, "label": canonical(told.get("label", "")), "path": path.as_posix()})
    return Named(rows, failures, "the pattern" if "speaker" in wanted.groupindex else "")


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = [part for part in re.split(r"(\{[^{}]*\}|[*?])", pattern.lstrip("/")) if part]
    seen: list[str] = []
    made = []
    for position, part in enumerate(parts):
        after = parts[position + 1][0] if position + 1 < len(parts) else ""
        if part in ("*", "?"):
            made.append("[^/]*" if part == "*" else "[^/]")
        elif part[0] != "{":
            made.append(re.escape(part))
        else:
            name = config_lib.one_of("config.data.pattern: the field", part[1:-1], FIELDS)
            if name in seen or after == "{":
                raise UserError(f"config.data.pattern={pattern}: " + (
                    f"the field {name} is there twice." if name in seen else
                    f"something must stand between the fields {name} and {parts[position + 1][1:-1]}."))
            seen.append(name)
            # A field ends before what follows it; before a star, where its letters end.
            value = rf"[^/{re.escape(after)}]+" if after not in ("", "/", "?") else "[^/]+"
            value = r"[^\W\d_]+" if after == "*" else value
            made.append(f"(?P<{name}>{value})")
    return re.compile(f"(?:.*/)?{''.join(made)}", re.IGNORECASE | re.DOTALL)


def words(text: str) -> list[str]:
    """Runs of letters, also those that only capitals divide: "AnnaHappy_03" -> ["anna", "happy"]."""
    return [word.lower() for word in re.findall(r"[^\W\d_]+", _CAMEL.sub(" ", text))]


def emotions(text: str) -> set[str]:
    """The emotions that a name tells; those that it spells out, or else those that it abbreviates."""
    told = words(text)
    places = [place for place, word in enumerate(told) if place == 0 or told[place - 1] not in _NEGATIONS]
    return ({WORDS[told[place]] for place in places if told[place] in WORDS}
            or {CODES[told[place]] for place in places if told[place] in CODES})


def _by_words(paths: Sequence[PurePosixPath]) -> Named:
    shared = _shared(paths)
    found = _labels([PurePosixPath(*path.parts[shared:]) for path in paths])
    if shared and not any(len(told) == 1 for told in found):
        shared, found = 0, _labels(paths)
    failures = {str(path): _complaint(told) for path, told in zip(paths, found, strict=True) if len(told) != 1}
    rows = [{"path": path.as_posix(), "label": next(iter(told)), "speaker": ""}
            for path, told in zip(paths, found, strict=True) if len(told) == 1]
    pieces = [[_pieces(part) for part in (*path.parts[shared:-1], path.stem)]
              for path, told in zip(paths, found, strict=True) if len(told) == 1]
    labels = [row["label"] for row in rows]
    if splits := parts_of_training(pieces):
        rows = [{**row, "split": split} for row, split in zip(rows, splits, strict=True)]
    where, names = speakers(pieces, labels)
    return Named([{**row, "speaker": name} for row, name in zip(rows, names, strict=True)], failures, where)


def _shared(paths: Sequence[PurePosixPath]) -> int:
    """How many folders, from the top, all files share."""
    above = [path.parts[:-1] for path in paths]
    count = 0
    while above and all(len(parts) > count for parts in above) and len({parts[count] for parts in above}) == 1:
        count += 1
    return count


def _labels(paths: Sequence[PurePosixPath]) -> list[set[str]]:
    """The emotions that each path tells; words win over abbreviations."""
    found = []
    for path in paths:
        parts = (*path.parts[:-1], path.stem)
        spelled = {label for part in parts for label in emotions(part) if _spells(part)}
        found.append(spelled or {label for part in parts for label in emotions(part)})
    return found


def _spells(part: str) -> bool:
    return any(word in WORDS for word in words(part))


def _complaint(told: set[str]) -> str:
    return f"says both {' and '.join(sorted(told))}" if told else "tells no emotion"


def _pieces(part: str) -> list[str]:
    """What a name is made of beside its emotion: "AnnaHappy_03" -> ["Anna", "03"]."""
    pieces = []
    for chunk in re.split(r"[\W_]+", part):
        if not emotions(chunk):
            pieces.append(chunk)
            continue
        told = re.findall(r"[^\W\d_]+|\d+", _CAMEL.sub(" ", chunk))
        pieces += [piece for piece in told if not emotions(piece)]
    return [piece for piece in pieces if piece]
