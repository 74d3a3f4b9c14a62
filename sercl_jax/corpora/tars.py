"""Tar archives: what they hold, any one member without searching for it, and plain copies of compressed ones."""

import gzip
import os
import tarfile
import zlib
from pathlib import Path
from typing import Self

from tqdm import tqdm

from sercl_jax import files
from sercl_jax.corpora.members import Member, Members, mib, refuse_escape, refuse_second, refuse_size
from sercl_jax.corpora.names import Names
from sercl_jax.errors import UserError

_BLOCK = 1 << 20  # bytes
_VERSION = 2  # of plain copies
# Kinds of headers that tarfile reads into memory as a whole, and how large they may be.
_OF_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
             tarfile.SOLARIS_XHDTYPE)
_LONGEST_NAME = 1 << 20  # bytes
# What tarfile raises when fed with anything.
_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError)
_STREAM_ERRORS = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, OverflowError)


def members(path: Path, names: Names) -> Members:
    """The files of a plain tar that are wanted.

    Raises:
      UserError: the archive is damaged; or it is the one wanted, and has links, devices or entries that reach outside
        it, or what is wanted is there twice or larger than any file of a corpus.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive:
            infos = archive.getmembers()
            file.seek(archive.offset)  # of the block at which listing stopped
            if not (end := file.read(tarfile.BLOCKSIZE)) or end.strip(b"\0"):
                raise tarfile.ReadError("truncated or damaged after its first entries")
    except _ERRORS as error:
        raise UserError(f"{path}: is not a readable tar archive ({error}); download it again.") from error
    found: dict[str, Member] = {}
    misspelled = []
    for info in infos:
        spelling = None if info.isdir() else names.spelling(info.name)
        if spelling is None:
            misspelled += [info.name] if names.is_misspelled(info.name) else []
            continue
        refuse_size(path, spelling, info.size)
        member = Member(spelling, info.size, info.offset_data)
        first = found.setdefault(spelling, member)
        if first is not member and (first.size != member.size or read(path, first.offset, first.size)
                                    != read(path, member.offset, member.size)):
            refuse_second(path, spelling)
    if found:
        for info in infos:
            _refuse_tar(path, info)
    return Members(list(found.values()), misspelled)


class _Header(tarfile.TarInfo):
    """A header that cannot make tarfile read more into memory than names take."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _OF_NAMES and header.size > _LONGEST_NAME:
            raise tarfile.ReadError(f"a name or attribute of {mib(header.size)}")
        return header


def _refuse_tar(path: Path, info: tarfile.TarInfo) -> None:
    refuse_escape(path, info.name, info.issym() or info.islnk())
    if not (info.isreg() or info.isdir()) or info.issparse():
        raise UserError(f"{path}: the entry {info.name!r} is neither a plain file nor a folder; download it again.")


def read(path: Path, offset: int, size: int) -> bytes:
    """The content of a member by its place, without looking at any other.

    Raises:
      UserError: the archive cannot be read, or has become shorter.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise UserError(error.strerror) from error
    if len(content) < size:
        raise UserError(f"{len(content)} of {size} bytes are there")
    return content


def plain_copy(path: Path, names: Names, folder: Path, progress: bool) -> Path:
    """Decompresses a gzipped tar once, into a plain tar that holds what is wanted, so that members can be reached.

    Args:
      path: the archive.
      names: of the files to keep.
      folder: where the copy goes; a copy that is there already is used as it is.
      progress: whether to show a progress bar.

    Returns:
      The copy; it holds nothing if nothing matches.

    Raises:
      UserError: as `members` does, or the disk is full.
    """
    state = path.stat()
    name = files.digest([str(path.resolve()), state.st_size, state.st_mtime_ns, names.pattern, _VERSION])
    copy = folder / f"{path.name.partition('.')[0]}-{name}.tar"
    if not copy.exists():
        with files.locked(copy, f"plain copy of {path.name}"):
            files.remove_leftovers(copy)
            if not copy.exists():
                with files.atomic_path(copy) as temporary:
                    _copy(path, names, temporary, progress)
    return copy


def _copy(path: Path, names: Names, target: Path, progress: bool) -> None:
    refused: UserError | None = None
    found = False
    try:
        with (path.open("rb") as compressed,
              tqdm.wrapattr(compressed, "read", total=path.stat().st_size, disable=not progress, unit="B",
                            unit_scale=True, desc=f"decompressing {path.name} once") as bar,
              gzip.open(bar) as content, tarfile.open(fileobj=content, mode="r|", tarinfo=_Header) as archive,
              target.open("wb") as file, tarfile.open(fileobj=file, mode="w") as copy):
            for info in archive:
                try:
                    _refuse_tar(path, info)
                except UserError as error:
                    refused = refused or error  # raised only if this archive is the one that is wanted
                    continue
                spelling = names.spelling(info.name)
                if info.isreg() and (spelling or names.is_misspelled(info.name)):
                    refuse_size(path, info.name, info.size)
                    found = found or bool(spelling)
                    copy.addfile(info, archive.extractfile(info))
            while content.read(_BLOCK):  # to its end, where the checksum is
                pass
            file.flush()
            os.fsync(file.fileno())
    except _STREAM_ERRORS as error:
        raise UserError(f"{path}: is not a readable tar.gz archive ({error}); download it again.") from error
    if found and refused:
        raise refused
