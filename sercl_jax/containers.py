"""Whether an audio file is all there: libsndfile reads most that end too early without a word."""

import io
import re
import struct
from typing import BinaryIO

# Programs that write to a pipe cannot know the length and put a size at least this large.
_UNKNOWN_SIZE = 0x7FFFF000
_OGG_END_OF_STREAM = 0x04
_OGG_HEADER = 27  # bytes before a page's table of segments
_OGG_PAGE = 65_307  # bytes, the largest possible
_NIST_COUNTS = (rb"channel_count -i (\d+)", rb"sample_count -i (\d+)", rb"sample_n_bytes -i (\d+)")


def lacking(file: BinaryIO) -> str:
    """What is missing at the end of a WAV, RF64, W64, AIFF, CAF, AU, NIST or Ogg file, in words; "" if nothing is.

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
        told = _ogg(file, size)
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


def _ogg(file: BinaryIO, size: int) -> str:
    file.seek(max(0, size - _OGG_PAGE))
    tail = file.read()
    page = tail[max(tail.rfind(b"OggS"), 0):]
    if len(page) < _OGG_HEADER or not page[5] & _OGG_END_OF_STREAM:
        return "its last Ogg page is not marked as the end"
    segments = page[26]
    length = _OGG_HEADER + segments + sum(page[_OGG_HEADER:_OGG_HEADER + segments])
    return _promise(length, len(page), "bytes in its last Ogg page")
