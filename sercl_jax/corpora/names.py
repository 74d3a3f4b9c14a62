"""Which files of a distribution are meant, however their names were spelled on the way."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

# What macOS and its archiver leave between the files; it looks like them, and is none of them.
_JUNK = re.compile(r"(?:.*/)?(?:[.]_[^/]*|__MACOSX|[.]DS_Store)(?:/.*)?")


class Names:
    """Patterns for the last parts of paths.

    Unicode normal forms do not count, nor does the case of a file's ending: systems change both when they copy.
    """

    def __init__(self, patterns: Sequence[str], also: str = ""):
        """Takes regular expressions such as "wav/[^/]+[.]wav"; `also` is matched, too, but never lacking."""
        self._needed = {pattern: _ending(pattern) for pattern in patterns}
        self._any = _ending("|".join([*patterns, *filter(None, [also])]))
        self._nearly = re.compile(_ending("|".join(patterns)).pattern, re.IGNORECASE)

    @property
    def pattern(self) -> str:
        """All of them as one."""
        return self._any.pattern

    def spelling(self, path: str) -> str | None:
        """The path as the pattern spells it, if it matches: in NFC, and with its ending in lower case if needed."""
        return _spelling(self._any, path)

    def lacking(self, paths: Iterable[str]) -> list[str]:
        """The patterns that none of the paths matches."""
        paths = list(paths)
        return [pattern for pattern, need in self._needed.items()
                if not any(_spelling(need, path) for path in paths)]

    def is_misspelled(self, path: str) -> bool:
        """Whether a path that does not match would, if upper and lower case were the same."""
        return bool(self._nearly.fullmatch(unicodedata.normalize("NFC", path))) and not is_junk(path)


def is_junk(path: str) -> bool:
    """Whether a file is none of a corpus: `._*`, `.DS_Store`, and all below `__MACOSX`."""
    return bool(_JUNK.fullmatch(path))


def _ending(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:^|.*/)(?:{pattern})", re.DOTALL)


def _spelling(wanted: re.Pattern[str], path: str) -> str | None:
    path = unicodedata.normalize("NFC", path)
    if not wanted.fullmatch(path):
        stem, dot, suffix = path.rpartition(".")
        path = f"{stem}{dot}{suffix.lower()}"
        if not wanted.fullmatch(path):
            return None
    return None if is_junk(path) else path
