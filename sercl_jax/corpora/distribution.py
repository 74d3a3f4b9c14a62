"""A corpus as its site distributes it: an archive or the tree unpacked from it."""

import os
import re
import urllib.error
import urllib.request
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from sercl_jax import files
from sercl_jax.corpora import archives
from sercl_jax.corpora.archives import Entry
from sercl_jax.errors import UserError

_BLOCK = 1 << 20  # bytes
_PATIENCE = 30.0  # seconds without an answer


def entries(place: Path, patterns: str | Sequence[str], what: str, *, also: str = "", gather: bool = False,
            prefer: Collection[str] = (), copies: Path | None = None, progress: bool = True) -> list[Entry]:
    """All files of a distribution whose relative path ends in a match of one of the patterns, sorted.

    Args:
      place: the archive (zip, tar or tar.gz), the unpacked tree, or a folder that holds either, perhaps among others.
      patterns: regular expressions for the last parts of the path, such as "wav/[^/]+[.]wav"; each must match
        something. Archives in a folder are opened, one after the other, while the tree and those before lack any.
      what: name of the corpus, for messages.
      also: such files are listed, too, but may be missing.
      gather: whether all archives of a folder are opened then.
      prefer: archives whose names start so are opened first.
      copies: where the plain copy of a tar.gz goes; it is made once.
      progress: whether to show a progress bar meanwhile.

    Raises:
      UserError: a pattern matches nothing, or the archive is damaged or has entries that reach outside it.
    """
    patterns = [patterns] if isinstance(patterns, str) else patterns
    needed = {pattern: _ending(pattern) for pattern in patterns}
    ending = _ending("|".join([*patterns, *filter(None, [also])]))

    def in_archive(path: Path) -> list[Entry]:
        if archives.is_compressed(path):
            if copies is None:
                raise UserError(f"{path}: is compressed as a whole; decompress it first, or unpack it.")
            path = archives.plain_copy(path, ending, copies, progress)
        return archives.members(path, ending)

    def lacking(found: list[Entry]) -> list[str]:
        names = [entry.member or entry.path.absolute().as_posix() for entry in found]
        return [pattern for pattern, need in needed.items() if not any(map(need.fullmatch, names))]

    if place.is_file():
        found = in_archive(place)
    elif place.is_dir():
        found = _in_tree(place, ending)
        if lacking(found):
            paths = archives.in_folder(place)
            for path in sorted(paths, key=lambda path: not path.name.startswith(tuple(prefer))):
                if gather or lacking(found):
                    found += in_archive(path)
    else:
        raise UserError(f"{place}: there is no such file or folder; give the folder that holds {what}, its archive "
                        "or its unpacked tree.")
    if missing := lacking(found):
        raise UserError(f"{place}: holds nothing that looks like {what} (no file matches {missing[0]}, neither in "
                        "the folder nor in a zip or tar in it); give its archive or its unpacked tree.")
    return sorted(found, key=lambda entry: (entry.relative, entry.path))


def _ending(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:^|.*/)(?:{pattern})")


def _in_tree(place: Path, ending: re.Pattern[str]) -> list[Entry]:
    found = []
    seen = set()  # real folders: corpora are often linked into place, and links may go round in circles
    for name, folders, names in os.walk(place, followlinks=True):
        state = os.stat(name)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folder = Path(name)
        # The tree itself may be named by `place`, so its name counts for the match.
        above = folder.absolute().as_posix()
        for path in (folder / file for file in names if ending.fullmatch(f"{above}/{file}")):
            if path.is_file():
                relative = PurePosixPath(path.relative_to(place).as_posix())
                found.append(Entry(path, None, relative, path.stat().st_size))
    return found


def fetch(urls: Sequence[str], target: Path, what: str, cure: str, progress: bool) -> Path:
    """Downloads a file once, whole or not at all, from the first address that answers.

    Args:
      urls: addresses, in the order to try.
      target: where it goes; nothing is fetched if it is there.
      what: name of the corpus, for the progress bar and messages.
      cure: what the user can do without a network, a sentence.
      progress: whether to show a progress bar.

    Raises:
      UserError: no address answers, or the download stops early.
    """
    with files.locked(target, f"download of {what}"):
        files.remove_leftovers(target)
        failures = []
        for url in urls:
            if target.exists():
                break
            try:
                with files.atomic_path(target) as temporary:
                    _download(url, temporary, what, progress)
            except _DownloadError as error:
                failures.append(f"{url}: {error}")
        if not target.exists():
            raise UserError(f"{what} cannot be downloaded ({'; '.join(failures)}). {cure}")
    return target


class _DownloadError(Exception):
    pass


def _download(url: str, path: Path, what: str, progress: bool) -> None:
    try:
        response = urllib.request.urlopen(url, timeout=_PATIENCE)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise _DownloadError(getattr(error, "reason", error)) from error
    with response, path.open("wb") as file:
        total = int(response.headers["Content-Length"] or 0)
        with tqdm(total=total or None, desc=f"download of {what}", unit="B", unit_scale=True,
                  disable=not progress) as bar:
            while block := _read_block(response):
                file.write(block)
                bar.update(len(block))
        if total and file.tell() != total:
            raise _DownloadError(f"stopped after {file.tell()} of {total} bytes")


def _read_block(response) -> bytes:  # type: ignore[no-untyped-def]
    try:
        return response.read(_BLOCK)
    except OSError as error:  # a network error, not one of the disk that is written to
        raise _DownloadError(str(error)) from error
