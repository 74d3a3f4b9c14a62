"""Where the audio of a manifest is: found by its path, and kept inside the manifest's folder."""

import os
import stat
import unicodedata
from collections import defaultdict
from pathlib import Path

from sercl_jax.errors import UserError


class Places:
    """Finds files by the paths a manifest gives. Each folder is resolved once, and each file looked at once."""

    def __init__(self, folder: Path, allow_outside: bool):
        """Takes the manifest's folder, resolved, and whether files may be elsewhere."""
        self._folder = folder
        self._allow_outside = allow_outside
        self._above: dict[str, str] = {}  # folder as given -> where it is, with a separator; "" if not permitted
        self._names: dict[Path, dict[str, list[str]]] = {}  # folder -> normal form -> names

    def find(self, given: str, place: str) -> str:
        """The resolved path of an audio file that is there.

        A name may be in another Unicode normal form than on the disk: some systems change it when they copy.

        Args:
          given: its path in the manifest.
          place: the line, for messages.

        Raises:
          UserError: the path is empty, leads outside the manifest's folder, or there is no such file.
        """
        above, name = os.path.split(given)
        folder = self._above.get(above)
        if folder is None:
            folder = self._above[above] = self._resolve_folder(above)
        if folder and name not in ("", os.curdir, os.pardir):
            file = folder + name
            try:
                if stat.S_ISREG(os.lstat(file).st_mode):  # a link is not, and is followed below
                    return file
            except (OSError, ValueError):
                pass
        return self._look(given, place)

    def _resolve_folder(self, above: str) -> str:
        try:
            folder = (self._folder / above).resolve()
        except (OSError, ValueError, RuntimeError):  # _look will say why
            return ""
        return os.path.join(folder, "") if self._permits(folder) else ""

    def _permits(self, path: Path) -> bool:
        return self._allow_outside or path.is_relative_to(self._folder)

    def _look(self, given: str, place: str) -> str:
        """Everything that is not a plain file in a folder that is there: links, other spellings, errors."""
        if not given:
            raise UserError(f"{place}, column path: is empty; give the audio file.")
        try:
            path = (self._folder / given).resolve()
            if self._permits(path) and not path.exists():
                path = self._other_form(path).resolve()
            found = path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, not permitted, NUL, links in a circle
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{place}, column path: {given!r} cannot be opened ({reason}); correct it.") from error
        if not self._permits(path):
            raise UserError(f"{place}, column path: {given!r} leads outside the manifest's folder; move the audio "
                            "there, or allow it with --config.data.allow_outside=True.")
        if not found:
            raise UserError(f"{place}, column path: there is no audio file {path}; paths are "
                            f"relative to the manifest{self._hint(path)}.")
        return str(path)

    def _other_form(self, path: Path) -> Path:
        """The one path that is there and differs in the Unicode normal form only; `path` if there is none."""
        missing = []
        there = path
        while not there.exists() and there != there.parent:
            missing.append(there.name)
            there = there.parent
        for name in reversed(missing):
            names = self._in(there).get(unicodedata.normalize("NFC", name), [])
            if len(names) != 1:
                return path
            there /= names[0]
        return there

    def _in(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._names:
            names = defaultdict(list)
            for name in os.listdir(folder) if folder.is_dir() else ():
                names[unicodedata.normalize("NFC", name)].append(name)
            self._names[folder] = dict(names)
        return self._names[folder]

    def _hint(self, path: Path) -> str:
        near = [name for name in self._in(path.parent) if name.casefold() == path.name.casefold()]
        return f", and upper and lower case count: there is {near[0]!r}" if near else ""
