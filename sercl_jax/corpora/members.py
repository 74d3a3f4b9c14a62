"""What an archive holds of a distribution, and what no archive of a corpus has."""

import re
from dataclasses import dataclass
from pathlib import Path

from sercl_jax.errors import UserError

LARGEST = 512 << 20  # bytes of a file; ten minutes of 32-bit stereo at 96 kHz are less


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive.

    Attributes:
      name: as `Names` spells it.
      size: bytes, unpacked.
      offset: in the archive, of its first byte in a tar, of its header in a zip.
    """

    name: str
    size: int
    offset: int


@dataclass(frozen=True)
class Members:
    """The files of an archive that are wanted, and the names of those that nearly are."""

    wanted: list[Member]
    misspelled: list[str]


def mib(size: int) -> str:
    """A number of bytes for messages."""
    return f"{size / 2**20:.0f} MiB"


def refuse_size(path: Path, name: str, size: int) -> None:
    """Raises `UserError` for what is too large to be read into memory."""
    if size > LARGEST:
        raise UserError(f"{path}:{name}: has {mib(size)}, more than any file of a corpus ({mib(LARGEST)}); download "
                        "the archive again.")


def refuse_escape(path: Path, name: str, is_link: bool) -> None:
    """Raises `UserError` for links, and for names that reach outside the archive."""
    if is_link:
        raise UserError(f"{path}: the entry {name!r} is a symbolic link, which no corpus has; download it again.")
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name):
        raise UserError(f"{path}: the entry {name!r} reaches outside the archive; download it again.")


def refuse_second(path: Path, name: str) -> None:
    """Raises `UserError` for two files of one name."""
    raise UserError(f"{path}: holds {name!r} twice, with another content; give an archive that has it once.")
