"""Whether an audio file is all there: libsndfile reads most that end too early without a word.

So it does with Ogg files of which some pages are damaged: it leaves these pages out. Damage inside an MP3 file, or to
the samples of an uncompressed one, nobody can see; FLAC has checksums of its own, which libsndfile does look at.
"""

import io
import re
import struct
import zlib
from typing import BinaryIO

# Programs that write to a pipe cannot know the length and put a size at least this large.
_UNKNOWN_SIZE = 0x7FFFF000
_OGG_END_OF_STREAM = 0x04
_OGG_HEADER = 27  # bytes before a page's table of segments
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # bytes with their bits the other way round
_NIST_COUNTS = (rb"channel_count -i (\d+)", rb"sample_count -i (\d+)", rb"sample_n_bytes -i (\d+)")


def lacking(file: BinaryIO) -> str:
    """What a WAV, RF64, W64, AIFF, CAF, AU, NIST or Ogg file lacks at its end, in words; "" if nothing.

    Other files, and those whose length was not known to their writer, count as whole. Leaves the position at 0.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(64)
    told = ""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        told = _chunks(file, size, 12, "<4sI", 2)
    elif head[:4] == b"RF64" and head[12:16] == b"ds64" and len(head) >= 28:
        told = _promise(struct.unpack("<Q", head[20:28])[0] + 8, size)
    elif head[:4] == b"riff" and len(head) >= 24:
        told = _promise(struct.unpack("<Q", head[16:24])[0], size)
    elif head[:4] == b"caff":
        told = _chunks(file, size, 8, ">4sq", 1)
    elif head[:4] == b"FORM" and len(head) >= 8:
        told = _promise(struct.unpack(">I", head[4:8])[0] + 8, size)
    elif head[:4] == b".snd" and len(head) >= 12:
        told = _promise(sum(struct.unpack(">II", head[4:12])), size)
    elif head[:8] == b"NIST_1A\n":
        told = _nist(file, size)
    elif head[:4] == b"OggS":
        told = _ogg(file)
    file.seek(0)
    return told


def _promise(promised: int, there: int, what: str = "bytes") -> str:
    if there < promised and promised < _UNKNOWN_SIZE:
        return f"its header promises {promised} {what}, {there} are there"
    return ""


def _chunks(file: BinaryIO, size: int, first: int, layout: str, align: int) -> str:
    """Only the chunk of samples counts: what may be cut off behind it is about them."""
    file.seek(first)
    width = struct.calcsize(layout)
    while len(header := file.read(width)) == width:
        chunk, length = struct.unpack(layout, header)
        if chunk == b"data":
            return _promise(length, size - file.tell(), "bytes of samples")
        file.seek(max(0, length) + length % align, io.SEEK_CUR)
    return ""


def _nist(file: BinaryIO, size: int) -> str:
    file.seek(0)
    header = file.read(1024)
    counts = [re.search(pattern, header) for pattern in _NIST_COUNTS]
    if b"pcm" not in header or not all(counts):  # compressed, which libsndfile will refuse
        return ""
    channels, samples, width = (int(count[1]) for count in counts if count)
    return _promise(channels * samples * width, size - 1024, "bytes of samples")


def _ogg(file: BinaryIO) -> str:
    """Every page must be whole, and the last be marked as the end; what follows is no longer audio."""
    file.seek(0)
    data = file.read()
    first, last = 0, False
    while data[first:first + 4] == b"OggS":
        segments = first + _OGG_HEADER
        body = segments + (data[first + 26] if segments <= len(data) else 0)
        after = body + sum(data[segments:body])
        if segments > len(data) or after > len(data):
            return _promise(after - first, len(data) - first, "bytes in its last Ogg page")
        page = data[first:first + 22] + bytes(4) + data[first + 26:after]
        if _ogg_checksum(page) != data[first + 22:first + 26]:
            return f"the Ogg page at byte {first} is damaged"
        last = bool(data[first + 5] & _OGG_END_OF_STREAM)
        first = after
    return "" if last else "its last Ogg page is not marked as the end"


def _ogg_checksum(page: bytes) -> bytes:
    """CRC-32 as Ogg has it, from zlib's, which takes the bits of each byte the other way round and inverts."""
    value = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "big").translate(_REVERSED)
