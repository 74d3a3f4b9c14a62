"""Zip and tar archives: what they hold, and any one member without searching for it."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sercl_jax.corpora import tars, zips
from sercl_jax.corpora.members import LARGEST, mib
from sercl_jax.corpora.names import Names, is_junk
from sercl_jax.errors import UserError

_PLAIN = (".zip", ".tar")
_COMPRESSED = (".tar.gz", ".tgz")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a distribution: `path` is the file, or the archive that holds `member`."""

    path: Path
    member: str | None  # its name in the archive, as `Names` spells it
    relative: PurePosixPath  # where it is in the distribution, spelled so, too
    size: int  # bytes
    offset: int | None = None  # in an archive: of its first byte in a tar, of its header in a zip

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    def read(self) -> bytes:
        """Its content; raises `UserError` if it cannot be read, or is larger than any file of a corpus."""
        if self.member is not None:
            return read(self.path, self.member, self.offset, self.size)
        if self.size > LARGEST:
            raise UserError(f"{self.path}: has {mib(self.size)}, more than any file of a corpus ({mib(LARGEST)}).")
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}).") from error


def in_folder(folder: Path) -> list[Path]:
    """The archives directly in a folder; compressed tars last, because looking into one takes long."""
    paths = [path for path in folder.iterdir() if path.is_file() and not is_junk(path.name)
             and path.name.lower().endswith(_PLAIN + _COMPRESSED)]
    return sorted(paths, key=lambda path: (is_compressed(path), path.name))


def is_compressed(path: Path) -> bool:
    """Whether it is a gzipped tar, by its name."""
    return path.name.lower().endswith(_COMPRESSED)


def members(path: Path, names: Names) -> tuple[list[Entry], list[str]]:
    """The files of a zip or plain tar that are wanted, and the names of those that nearly are.

    Raises:
      UserError: see `zips.members` and `tars.members`.
    """
    held = (tars if _is_tar(path) else zips).members(path, names)
    return [Entry(path, member.name, PurePosixPath(member.name), member.size, member.offset)
            for member in held.wanted], held.misspelled


def _is_tar(path: Path) -> bool:
    return path.suffix.lower() == ".tar"


def read(path: Path, member: str, offset: int | None, size: int) -> bytes:
    """The content of one member, by its place, without looking at any other.

    Args:
      path: the archive.
      member: for messages.
      offset, size: as in its `Entry`.

    Raises:
      UserError: it cannot be read, is not what the archive's list says, or the archive has become shorter.
    """
    assert offset is not None
    try:
        return tars.read(path, offset, size) if _is_tar(path) else zips.read(path, offset)
    except UserError as error:
        raise UserError(f"{path}: {member} cannot be read from the archive ({error}); download the archive "
                        "again.") from error
