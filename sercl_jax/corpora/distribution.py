"""A corpus as its site distributes it: an archive or the tree unpacked from it."""

import re
import stat
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from sercl_jax import files
from sercl_jax.errors import UserError

_BLOCK = 1 << 20  # bytes
_PATIENCE = 30.0  # seconds without an answer


@dataclass(frozen=True)
class Entry:
    """One audio file of a distribution: `path` is the file, or the archive that holds `member`."""

    path: Path
    member: str | None
    relative: PurePosixPath  # where it is in the distribution


def entries(place: Path, pattern: str, what: str) -> list[Entry]:
    """All files of a distribution whose relative path ends in a match of `pattern`, sorted.

    Args:
      place: the archive, the unpacked tree, or a folder that holds either, perhaps among others.
      pattern: regular expression for the last parts of the path, such as "wav/[^/]+[.]wav".
      what: name of the corpus, for messages.

    Raises:
      UserError: nothing matches, or the archive is damaged or has entries that reach outside it.
    """
    ending = re.compile(f"(?:^|.*/){pattern}")
    if place.is_file():
        found = _in_archive(place, ending)
    elif place.is_dir():
        found = _in_tree(place, ending)
        archives = sorted(place.glob("*.zip")) if not found else []
        for archive in archives:
            found = found or _in_archive(archive, ending)
    else:
        raise UserError(f"{place}: there is no such file or folder; give the folder that holds {what}, its zip or "
                        "its unpacked tree.")
    if not found:
        raise UserError(f"{place}: holds nothing that looks like {what} (no file matches {pattern}, neither in the "
                        "folder nor in a zip in it); give its zip or its unpacked tree.")
    return sorted(found, key=lambda entry: entry.relative)


def _in_tree(place: Path, ending: re.Pattern[str]) -> list[Entry]:
    # The tree itself may be named by `place`, so its name counts for the match.
    return [Entry(path, None, PurePosixPath(path.relative_to(place).as_posix()))
            for path in place.rglob("*") if ending.fullmatch(path.absolute().as_posix()) and path.is_file()]


def _in_archive(path: Path, ending: re.Pattern[str]) -> list[Entry]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: is not a readable zip archive ({error}); download it again.") from error
    matching = [info for info in infos if ending.fullmatch(info.filename)]
    if matching:
        for info in infos:
            _refuse_escape(path, info)
    return [Entry(path, info.filename, PurePosixPath(info.filename)) for info in matching]


def _refuse_escape(path: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UserError(f"{path}: the entry {name!r} is a symbolic link, which no corpus has; download it again.")
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name):
        raise UserError(f"{path}: the entry {name!r} reaches outside the archive; download it again.")


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
