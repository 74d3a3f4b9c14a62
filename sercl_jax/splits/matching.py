"""Our ids for the names that others give to utterances."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_AUDIO = re.compile(r"[.](?:wav|flac|mp3|mp4|m4a|ogg|avi|webm|aif|aiff)$", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s_-]+")
_NOT_ONE = ""  # stands for several ids in an index


class Names:
    """Ids, to be found by what they have in common with a path: case, endings and separators do not count."""

    def __init__(self, ids: Iterable[str]):
        self.whole: dict[str, str] = {}
        self.ends: dict[str, str] = {}
        self.stems: dict[str, str] = {}
        for name in ids:
            parts = _parts(name)
            _add(self.whole, "/".join(parts), name)
            _add(self.stems, parts[-1], name)
            for first in range(len(parts)):
                _add(self.ends, "/".join(parts[first:]), name)
        # "DC/a01" may be called "DC_a01" by others.
        self.flat: dict[str, str] = {}
        for key, name in self.whole.items():
            _add(self.flat, key.replace("/", "-"), name)


def match(names: Names, wanted: Sequence[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Finds ids.

    Args:
      names: the ids.
      wanted: pairs of a key, which is unique, and a path.

    Returns:
      key -> id, and the keys of which no one id can be told. An id is found by the key; by the whole path, by a path
      that ends in the id or an id that ends in the path; or by the file's name alone, where that is unique among ids
      and among paths.
    """
    paths = [_parts(path) for _, path in wanted]
    stems = Counter(parts[-1] for parts in paths)
    found, lacking = {}, []
    for (key, _), parts in zip(wanted, paths, strict=True):
        flat = "-".join(_parts(key))
        name = (names.flat.get(flat) or names.flat.get("-".join(parts)) or _by_path(names, parts)
                or (names.stems.get(parts[-1]) if stems[parts[-1]] == 1 else ""))
        if name:
            found[key] = name
        else:
            lacking.append(key)
    return found, lacking


def _by_path(names: Names, parts: list[str]) -> str:
    for first in range(len(parts)):
        name = names.whole.get("/".join(parts[first:]))
        if name:
            return name
    return names.ends.get("/".join(parts), _NOT_ONE)


def _parts(name: str) -> list[str]:
    text = _AUDIO.sub("", unicodedata.normalize("NFC", name).casefold().replace("\\", "/"))
    return [_SEPARATORS.sub("-", part) for part in text.split("/") if part not in ("", ".")] or [""]


def _add(index: dict[str, str], key: str, name: str) -> None:
    index[key] = name if index.get(key, name) == name else _NOT_ONE
