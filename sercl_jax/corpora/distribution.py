"""A corpus as its site distributes it: an archive or the tree unpacked from it."""

import os
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from sercl_jax import files
from sercl_jax.corpora import archives, tars
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.names import Names
from sercl_jax.errors import UserError

_BLOCK = 1 << 20  # bytes
_PATIENCE = 30.0  # seconds without an answer


def entries(place: Path, patterns: str | Sequence[str], what: str, *, also: str = "", gather: bool = False,
            prefer: Collection[str] = (), copies: Path | None = None, progress: bool = True) -> list[Entry]:
    """All files of a distribution whose relative path ends in a match of one of the patterns, sorted.

    What macOS leaves between the files (`._*`, `.DS_Store`, `__MACOSX`) is none of them, and neither Unicode normal
    forms nor the case of a file's ending count for the match (see `Names`).

    Folders of a tree may be links, wherever they lead: corpora are often linked into place. A file that is a link
    must lead into one of the tree's folders, so that nobody who packs a tree can have other files read.

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
      UserError: a pattern matches nothing, or only in another case; a file is there twice or a link that leads away;
        or the archive is damaged or hostile (see `archives.members`).
    """
    names = Names([patterns] if isinstance(patterns, str) else patterns, also)
    found: list[Entry] = []
    misspelled: list[str] = []

    def lacking() -> list[str]:
        return names.lacking(entry.member or (entry.path.absolute().parent / entry.relative.name).as_posix()
                             for entry in found)

    def open_archive(path: Path) -> None:
        plain = path
        if archives.is_compressed(path):
            if copies is None:
                raise UserError(f"{path}: is compressed as a whole; decompress it first, or unpack it.")
            plain = tars.plain_copy(path, names, copies, progress)
        held, nearly = archives.members(plain, names)
        found.extend(held)
        misspelled.extend(f"{path}:{name}" for name in nearly)

    if place.is_file():
        open_archive(place)
    elif place.is_dir():
        found, misspelled = _in_tree(place, names)
        if lacking():
            paths = archives.in_folder(place)
            for path in sorted(paths, key=lambda path: not path.name.startswith(tuple(prefer))):
                if gather or lacking():
                    open_archive(path)
    else:
        raise UserError(f"{place}: there is no such file or folder; give the folder that holds {what}, its archive "
                        "or its unpacked tree.")
    if misspelled:
        more = f" (and {len(misspelled) - 1} more)" if len(misspelled) > 1 else ""
        raise UserError(f"{misspelled[0]}: {what} spells it otherwise, in upper and lower case{more}; rename it, or "
                        "unpack the original again.")
    if missing := lacking():
        raise UserError(f"{place}: holds nothing that looks like {what} (no file matches {missing[0]}, neither in "
                        "the folder nor in a zip or tar in it); give its archive or its unpacked tree.")
    return sorted(found, key=lambda entry: (entry.relative, entry.path))


def _in_tree(place: Path, names: Names) -> tuple[list[Entry], list[str]]:
    """The files that are wanted, and the paths of those that nearly have such a name."""
    found: dict[PurePosixPath, Entry] = {}
    misspelled: list[str] = []
    links: list[Path] = []
    seen = set()  # real folders: links may go round in circles
    roots = [os.path.realpath(place)]  # of what may be read
    for name, folders, children in os.walk(place, followlinks=True):
        state = os.stat(name)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        if os.path.islink(name):
            roots.append(os.path.realpath(name))
        folders.sort()
        folder = Path(name)
        # The tree itself may be named by `place`, so its name counts for the match.
        above = folder.absolute().as_posix()
        for child in sorted(children):
            path = folder / child
            spelling = names.spelling(f"{above}/{child}")
            if spelling is None:
                misspelled += [str(path)] if names.is_misspelled(f"{above}/{child}") else []
                continue
            if path.is_symlink():
                links.append(path)
            elif not path.is_file():
                continue
            relative = PurePosixPath(unicodedata.normalize("NFC", folder.relative_to(place).as_posix()),
                                     PurePosixPath(spelling).name)
            entry = Entry(path, None, relative, _size(path))
            if (first := found.setdefault(relative, entry)) is not entry:
                raise UserError(f"{path}: is there twice, also as {first.path}; remove one.")
    _check_links(links, roots)
    return list(found.values()), misspelled


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, RuntimeError) as error:
        cure = "fetch its content, if a tool such as git-annex manages it, or remove it" if path.is_symlink() else \
            "correct that"
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: {'the link leads' if path.is_symlink() else 'is'} nowhere ({reason}); {cure}."
                        ) from error


def _check_links(links: list[Path], roots: list[str]) -> None:
    for path in links:
        real = os.path.realpath(path)
        if not any(real.startswith(os.path.join(root, "")) for root in roots):
            raise UserError(f"{path}: is a link that leads out of the corpus, to {real}; put the file there instead, "
                            "or link its whole folder.")


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
