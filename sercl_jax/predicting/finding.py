"""Which recordings a command line means: files, folders, patterns, standard input."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sercl_jax.errors import UserError

# Suffixes that libsndfile's formats of audio have; a file that is named itself may have any.
SUFFIXES = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd",
            ".caf", ".w64", ".rf64", ".sph", ".nist", ".voc", ".avr", ".paf", ".pvf", ".ircam", ".svx", ".wve")
STDIN = Path("-")


def find(paths: Sequence[str]) -> list[Path]:
    """Audio files: those named, and those in the folders and of the patterns named, each once.

    A folder stands for what is below it and has one of `SUFFIXES`, sorted; links to folders are followed; names that
    begin with a dot are left out, as are such folders. A pattern (`*`, `?`, `[...]`, and `**` for any folders
    between) that names no file stands for the files and folders that it matches; if it leaves the suffix open, for
    those of `SUFFIXES` only.

    Args:
      paths: as given on a command line; "-" is standard input (a file of that name is "./-").

    Returns:
      Paths as they were given, below a folder with its name before. `STDIN` for standard input. What is not there
      comes through as it was given, so that the rest can go on: `absence` says what is wrong with it.

    Raises:
      UserError: nothing at all is there.
    """
    found: dict[str, Path] = {}
    for text in paths:
        for path in _of(text):
            found.setdefault(_identity(path), path)
    reasons = [absence(path) for path in found.values()]
    if all(reasons):
        raise UserError("; ".join(filter(None, reasons)) or "No recordings are named; give files or folders.")
    return list(found.values())


def absence(path: Path) -> str:
    """Why there is no recording at a path that `find` gave, in words; "" if there is a file."""
    if path == STDIN:
        return ""
    if os.path.isdir(path):
        return f"{path}: holds no audio files ({', '.join(SUFFIXES[:7])} ...)"
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        what = "nothing matches this pattern" if glob.has_magic(str(path)) else "there is no such file or folder"
        return f"{path}: {what}"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    return ""


def _of(text: str) -> list[Path]:
    """What one argument stands for; itself if there is nothing."""
    path = Path(text).expanduser()
    if path == STDIN and text != "-":
        return [Path(os.path.abspath("-"))]
    if path == STDIN or absence(path) == "":
        return [path]
    if os.path.isdir(path):
        return list(_below(path)) or [path]
    if not glob.has_magic(text):
        return [path]
    suffix = path.suffix
    named = bool(suffix) and not glob.has_magic(suffix)
    found: list[Path] = []
    for match in map(Path, sorted(glob.glob(str(path), recursive=True))):
        if match.is_dir():
            found += _below(match)
        elif named or match.suffix.lower() in SUFFIXES:
            found.append(match)
    return found or [path]


def _below(folder: Path) -> Iterator[Path]:
    visited = set()  # links may lead in a circle
    for above, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(above)
        if place in visited:
            folders.clear()
            continue
        visited.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(above, name)


def _identity(path: Path) -> str:
    """The same for the same file, also through links to folders."""
    return "-" if path == STDIN else os.path.join(os.path.realpath(path.parent), path.name)
