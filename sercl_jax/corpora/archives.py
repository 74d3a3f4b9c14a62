"""Zip and tar archives: what they hold, and any one member without searching for it."""

import functools
import gzip
import os
import re
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from sercl_jax import files
from sercl_jax.errors import UserError

_PLAIN = (".zip", ".tar")
_COMPRESSED = (".tar.gz", ".tgz")
_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class Entry:
    """One file of a distribution: `path` is the file, or the archive that holds `member`."""

    path: Path
    member: str | None
    relative: PurePosixPath  # where it is in the distribution
    size: int  # bytes
    offset: int | None = None  # of its first byte in a tar archive

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    def read(self) -> bytes:
        """Its content; raises `UserError` if it cannot be read."""
        if self.member is not None:
            return read(self.path, self.member, self.offset, self.size)
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}).") from error


def in_folder(folder: Path) -> list[Path]:
    """The archives directly in a folder; compressed tars last, because looking into one takes long."""
    paths = [path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(_PLAIN + _COMPRESSED)]
    return sorted(paths, key=lambda path: (is_compressed(path), path.name))


def is_compressed(path: Path) -> bool:
    """Whether it is a gzipped tar, by its name."""
    return path.name.lower().endswith(_COMPRESSED)


def members(path: Path, wanted: re.Pattern[str]) -> list[Entry]:
    """The files of a zip or plain tar whose whole name matches.

    Raises:
      UserError: the archive is damaged, or it is the one wanted and has links or entries that reach outside it.
    """
    if path.suffix.lower() == ".tar":
        return _in_tar(path, wanted)
    return _in_zip(path, wanted)


def _in_zip(path: Path, wanted: re.Pattern[str]) -> list[Entry]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: is not a readable zip archive ({error}); download it again.") from error
    matching = [info for info in infos if wanted.fullmatch(info.filename)]
    if matching:
        for info in infos:
            _refuse(path, info.filename, stat.S_ISLNK(info.external_attr >> 16))
    return [Entry(path, info.filename, PurePosixPath(info.filename), info.file_size) for info in matching]


def _in_tar(path: Path, wanted: re.Pattern[str]) -> list[Entry]:
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            infos = archive.getmembers()
            file.seek(archive.offset)  # of the block at which listing stopped
            if not (end := file.read(tarfile.BLOCKSIZE)) or end.strip(b"\0"):
                raise tarfile.ReadError("truncated or damaged after its first entries")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: is not a readable tar archive ({error}); download it again.") from error
    matching = [info for info in infos if wanted.fullmatch(info.name) and not info.isdir()]
    if matching:
        for info in infos:
            _refuse_tar(path, info)
    return [Entry(path, info.name, PurePosixPath(info.name), info.size, info.offset_data) for info in matching]


def _refuse_tar(path: Path, info: tarfile.TarInfo) -> None:
    _refuse(path, info.name, info.issym() or info.islnk())
    if not (info.isreg() or info.isdir()) or info.issparse():
        raise UserError(f"{path}: the entry {info.name!r} is neither a plain file nor a folder; download it again.")


def _refuse(path: Path, name: str, is_link: bool) -> None:
    if is_link:
        raise UserError(f"{path}: the entry {name!r} is a symbolic link, which no corpus has; download it again.")
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name):
        raise UserError(f"{path}: the entry {name!r} reaches outside the archive; download it again.")


def read(path: Path, member: str, offset: int | None, size: int) -> bytes:
    """The content of one member; of a tar, by its place, without looking at any other.

    Raises:
      UserError: it cannot be read, or the archive has become shorter.
    """
    try:
        if offset is None:
            return _zip(path).read(member)
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise EOFError(f"{len(content)} of {size} bytes are there")
        return content
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError) as error:
        raise UserError(f"{path}: {member} cannot be read from the archive ({error}); "
                        "download the archive again.") from error


@functools.lru_cache(maxsize=2)
def _zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def plain_copy(path: Path, wanted: re.Pattern[str], folder: Path, progress: bool) -> Path:
    """Decompresses a gzipped tar once, into a plain tar that holds what is wanted, so that members can be reached.

    Args:
      path: the archive.
      wanted: matches the whole names of the files to keep.
      folder: where the copy goes; a copy that is there already is used as it is.
      progress: whether to show a progress bar.

    Returns:
      The copy; it holds nothing if nothing matches.

    Raises:
      UserError: as `members` does, or the disk is full.
    """
    state = path.stat()
    name = files.digest([str(path.resolve()), state.st_size, state.st_mtime_ns, wanted.pattern])
    copy = folder / f"{path.name.partition('.')[0]}-{name}.tar"
    if not copy.exists():
        with files.locked(copy, f"plain copy of {path.name}"):
            files.remove_leftovers(copy)
            if not copy.exists():
                with files.atomic_path(copy) as temporary:
                    _copy(path, wanted, temporary, progress)
    return copy


def _copy(path: Path, wanted: re.Pattern[str], target: Path, progress: bool) -> None:
    refused: UserError | None = None
    found = False
    try:
        with (path.open("rb") as compressed,
              tqdm.wrapattr(compressed, "read", total=path.stat().st_size, disable=not progress, unit="B",
                            unit_scale=True, desc=f"decompressing {path.name} once") as bar,
              gzip.open(bar) as content, tarfile.open(fileobj=content, mode="r|") as archive,
              target.open("wb") as file, tarfile.open(fileobj=file, mode="w") as copy):
            for info in archive:
                try:
                    _refuse_tar(path, info)
                except UserError as error:
                    refused = refused or error  # raised only if this archive is the one that is wanted
                    continue
                if info.isreg() and wanted.fullmatch(info.name):
                    found = True
                    copy.addfile(info, archive.extractfile(info))
            while content.read(_BLOCK):  # to its end, where the checksum is
                pass
            file.flush()
            os.fsync(file.fileno())
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: is not a readable tar.gz archive ({error}); download it again.") from error
    if found and refused:
        raise refused
