"""Zip archives: what they hold, and any one member. They may lie about all of it."""

import bz2
import contextlib
import functools
import lzma
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from sercl_jax.corpora.members import LARGEST, Member, Members, mib, refuse_escape, refuse_second, refuse_size
from sercl_jax.corpora.names import Names
from sercl_jax.errors import UserError

SURE = 64 << 20  # bytes that a file may have, however small it is packed: silence packs well
RATIO = 100  # times that a larger one may grow
_OVERHEAD = 4096  # bytes of packing
_UTF_8, _ENCRYPTED, _END_MARKED = 0x800, 0x1, 0x2  # flags of an entry; the last if it is packed by LZMA
_RARE = {9: "Deflate64", 93: "Zstandard", 95: "xz", 98: "PPMd", 99: "AES"}  # methods, for messages
_HEADER = struct.Struct("<26xHH")  # before each file; it ends in the lengths of its name and its extra field
# What the modules raise when fed with anything; NotImplementedError is a RuntimeError.
_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError, ValueError,
           OverflowError)


def members(path: Path, names: Names) -> Members:
    """The files that are wanted.

    Raises:
      UserError: the archive is damaged; or it is the one wanted, and has links or entries that reach outside it, or
        what is wanted is there twice, encrypted, compressed in a rare way, or larger than any file of a corpus.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except _ERRORS as error:
        raise UserError(f"{path}: is not a readable zip archive ({error}); download it again.") from error
    found: dict[str, zipfile.ZipInfo] = {}
    misspelled = []
    for info in infos:
        name = _name(info)
        spelling = None if name.endswith("/") else names.spelling(name)
        if spelling is None:
            misspelled += [name] if names.is_misspelled(name) else []
            continue
        first = found.setdefault(spelling, info)
        if (first.CRC, first.file_size) != (info.CRC, info.file_size):
            refuse_second(path, spelling)
    if found:
        for info in infos:
            refuse_escape(path, info.filename, stat.S_ISLNK(info.external_attr >> 16))
        for name, info in found.items():
            _refuse_packing(path, name, info)
        if sum(info.compress_size for info in infos) > path.stat().st_size:
            raise UserError(f"{path}: its entries overlap, as in a zip bomb; download it again.")
    return Members([Member(name, info.file_size, info.header_offset) for name, info in found.items()], misspelled)


def _name(info: zipfile.ZipInfo) -> str:
    """The name of an entry. Some programs write UTF-8 and do not say so, some write backslashes for slashes."""
    name = info.filename
    if not info.flag_bits & _UTF_8 and not name.isascii():
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _refuse_packing(path: Path, name: str, info: zipfile.ZipInfo) -> None:
    cure = "unpack it with another program, and give the folder"
    if info.flag_bits & _ENCRYPTED:
        raise UserError(f"{path}:{name}: is encrypted; unpack the archive with its password, and give the folder.")
    if info.compress_type not in _METHODS:
        method = _RARE.get(info.compress_type, f"method {info.compress_type}")
        raise UserError(f"{path}:{name}: is compressed by {method}, which cannot be read here; {cure}.")
    refuse_size(path, name, info.file_size)
    if info.file_size > max(SURE, RATIO * info.compress_size):
        raise UserError(f"{path}:{name}: claims to hold {mib(info.file_size)} in {info.compress_size} bytes, as zip "
                        f"bombs do; download the archive again, or, if you trust it, {cure}.")
    if info.compress_size > 2 * info.file_size + _OVERHEAD:
        raise UserError(f"{path}:{name}: claims to hold {info.file_size} bytes in {info.compress_size}; download the "
                        "archive again.")


def read(path: Path, offset: int) -> bytes:
    """The content of the member whose header is at `offset`.

    zipfile would unpack all that a member has, however little its list promises.

    Raises:
      UserError: it cannot be read, or is not what its list and checksum say.
    """
    try:
        state = path.stat()
        info = _infos(path, state.st_ino, state.st_size, state.st_mtime_ns)[offset]
        with path.open("rb") as file:
            file.seek(offset)
            name, extra = _HEADER.unpack(file.read(_HEADER.size))
            file.seek(offset + _HEADER.size + name + extra)
            packed = file.read(info.compress_size)
        # One byte more than promised, if there is one.
        content = _METHODS[info.compress_type](packed, info, info.file_size + 1)
    except (*_ERRORS, KeyError) as error:
        raise UserError(str(error)) from error
    if len(content) != info.file_size:
        found = "more" if len(content) > info.file_size else str(len(content))
        raise UserError(f"{found} instead of the {info.file_size} bytes that are listed")
    if zlib.crc32(content) != info.CRC:
        raise UserError("its CRC-32 is wrong")
    return content


@functools.lru_cache(maxsize=2)
def _infos(path: Path, *state: int) -> dict[int, zipfile.ZipInfo]:
    """The entries by their place; another state is another archive."""
    with zipfile.ZipFile(path) as archive:
        return {info.header_offset: info for info in archive.infolist()}


def _stored(packed: bytes, info: zipfile.ZipInfo, most: int) -> bytes:
    return packed


def _inflate(packed: bytes, info: zipfile.ZipInfo, most: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)


def _bzip2(packed: bytes, info: zipfile.ZipInfo, most: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(packed, most)


def _lzma(packed: bytes, info: zipfile.ZipInfo, most: int) -> bytes:
    # Version (2 bytes), length of the properties (2), properties, stream: an .lzma file but for its header, which
    # has the properties and the size, unknown if the stream itself marks its end.
    length = int.from_bytes(packed[2:4], "little")
    size = -1 if info.flag_bits & _END_MARKED else info.file_size
    header = packed[4:4 + length] + size.to_bytes(8, "little", signed=True)
    unpacking = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=LARGEST)
    return unpacking.decompress(header + packed[4 + length:], most)


_METHODS = {zipfile.ZIP_STORED: _stored, zipfile.ZIP_DEFLATED: _inflate, zipfile.ZIP_BZIP2: _bzip2,
            zipfile.ZIP_LZMA: _lzma}
