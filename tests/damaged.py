"""Corpora that are damaged in one way each: bad audio, bad lists, and what other systems leave between the files."""

import functools
import io
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
Files = dict[str, bytes]  # path -> content


@functools.cache
def sound(seed: int, size: int = 1600) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, size).astype(np.int16)


def encoded(samples: np.ndarray, rate: int = RATE, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **({"format": "WAV", "subtype": "PCM_16"} | options))
    return buffer.getvalue()


def floats(value: float) -> bytes:
    """A float file of which one sample is something else."""
    samples = sound(1) / 32768
    samples[700] = value
    return encoded(samples, subtype="FLOAT")


def patched(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value):]


def flipped(data: bytes) -> bytes:
    return patched(data, len(data) // 2, bytes([data[len(data) // 2] ^ 0xFF]))


# File name -> content, and what must be said of it.
BAD_AUDIO: dict[str, tuple[bytes, str]] = {
    "truncated_riff.wav": (encoded(sound(1))[:10], "is not audio"),
    "truncated_format.wav": (encoded(sound(1))[:30], "is not audio"),
    "truncated_data_header.wav": (encoded(sound(1))[:42], "is not audio|lasts 0.0 ms"),
    "truncated_body.wav": (encoded(sound(1))[:2000], "promises 3200 bytes of samples, 1956 are there"),
    "truncated_last_byte.wav": (encoded(sound(1))[:-1], "promises 3200 bytes of samples, 3199 are there"),
    "truncated.flac": (encoded(sound(1, 9000), format="FLAC")[:9000], "truncated|damaged"),
    "truncated.ogg": (encoded(sound(1, 9000), format="OGG", subtype="VORBIS")[:-9], "in its last Ogg page"),
    "flipped.flac": (flipped(encoded(sound(1, 9000), format="FLAC")), "truncated|damaged"),
    "flipped.ogg": (flipped(encoded(sound(1, 9000), format="OGG", subtype="VORBIS")), "damaged"),
    "empty.wav": (b"", r"the file is empty \(0 bytes\)"),
    "text.wav": (b"These are words, and no sound.\n" * 99, "is not audio"),
    "page.wav": (b"<!DOCTYPE html><html><body>Not found</body></html>", "is not audio"),
    "pointer.wav": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99\n", "is not audio"),
    "apple.wav": (b"\0\5\26\7\0\2\0\0Mac OS X        \0\2" + bytes(99), "is not audio"),
    "nan.wav": (floats(np.nan), "1 samples are NaN or infinite"),
    "inf.wav": (floats(-np.inf), "1 samples are NaN or infinite"),
    "huge.wav": (floats(1e30), "samples of 1e[+]30 times full scale"),
    "infinite_both_ways.wav": (encoded(np.full((900, 2), [np.inf, -np.inf]), subtype="DOUBLE"),
                               "1800 samples are NaN"),
    "overflowing.wav": (encoded(np.full((900, 2), 1e308), subtype="DOUBLE"), "times full scale"),
    "integers_as_floats.wav": (encoded(sound(1).astype(float), subtype="FLOAT"), "times full scale"),
    "silence.wav": (encoded(np.zeros(1600, np.int16)), "digital silence only"),
    "constant.wav": (encoded(np.full(1600, 77, np.int16)), "digital silence only"),
    "opposite.wav": (encoded(np.stack([sound(1), -sound(1)], axis=1)), "digital silence only"),
    "ten_milliseconds.wav": (encoded(sound(1, 160)), "lasts 10.0 ms, less than one analysis window"),
    "no_samples.wav": (encoded(sound(1, 0)), "lasts 0.0 ms"),
    "no_rate.wav": (patched(encoded(sound(1)), 24, struct.pack("<I", 0)), "is not audio"),
    "one_hertz.wav": (patched(encoded(sound(1)), 24, struct.pack("<I", 1)), "sampling rate of 1 Hz"),
    "no_channels.wav": (patched(encoded(sound(1)), 22, struct.pack("<H", 0)), "is not audio"),
    "unknown_coding.wav": (patched(encoded(sound(1)), 20, struct.pack("<H", 0x1234)), "is not audio"),
}
GOOD_AUDIO: Files = {
    "a.wav": encoded(sound(2)), "b.flac": encoded(sound(3), format="FLAC"), "c.WAV": encoded(sound(4)),
    "d é.wav": encoded(sound(5)), "e/a.wav": encoded(sound(6)),
    "ten_minutes.wav": encoded(np.tile(sound(7, 16_000), 600)),
}
GOOD_SAMPLES = {"a.wav": sound(2), "b.flac": sound(3), "c.WAV": sound(4), "d é.wav": sound(5), "e/a.wav": sound(6),
                "ten_minutes.wav": np.tile(sound(7, 16_000), 600)}


def manifest(*names: str) -> str:
    """Lines for such files, of three speakers and two classes."""
    rows = [f"{name},{('sad', 'happy')[i % 2]},{i % 3}" for i, name in enumerate(names)]
    return "\n".join(["path,label,speaker", *rows]) + "\n"


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def leavings(files: Files) -> Files:
    """What macOS and Windows leave in every folder, beside files that it looks like."""
    found: Files = {}
    for name in files:
        folder, _, base = name.rpartition("/")
        place = f"{folder}/" if folder else ""
        found |= {f"{place}._{base}": b"\0\5\26\7", f"{place}.DS_Store": b"\0\0\0\1Bud1",
                  f"{place}Thumbs.db": b"\xd0"}
    return found


@dataclass(frozen=True)
class Change:
    """Something that happens to a tree of files.

    Attributes:
      name: in a few words.
      apply: makes the new tree of the old one.
      complaint: a regular expression of what must be said; "" if it must do no harm.
    """

    name: str
    apply: Callable[[Files], Files]
    complaint: str = ""


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Files], Files]:
    def apply(files: Files) -> Files:
        assert old in files[name]
        return files | {name: files[name].replace(old, new, 1)}
    return apply


def recoded(name: str, encoding: str, old: str = "", new: str = "") -> Callable[[Files], Files]:
    """A text in another encoding, with a word in it that shows it."""
    return lambda files: files | {name: files[name].decode("utf-8-sig").replace(old, new, 1).encode(encoding)}


def without(name: str) -> Callable[[Files], Files]:
    return lambda files: {path: content for path, content in files.items() if path != name}


def renamed(old: str, new: str) -> Callable[[Files], Files]:
    return lambda files: {path.replace(old, new): content for path, content in files.items()}


def decomposed(files: Files) -> Files:
    """Names as old macOS writes them."""
    return {unicodedata.normalize("NFD", path): content for path, content in files.items()}


# --- RAVDESS, one actor -----------------------------------------------------------------------------------------

def ravdess(actor: str = "03") -> Files:
    names = [f"03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{take:02d}-{actor}" for emotion in range(1, 9)
             for intensity in ((1,) if emotion == 1 else (1, 2)) for statement in (1, 2) for take in (1, 2)]
    return {f"Actor_{actor}/{name}.wav": encoded(sound(number, 480)) for number, name in enumerate(names)}


ONE = "Actor_03/03-01-05-01-01-01-03.wav"
RAVDESS = [
    Change("leavings of other systems", lambda files: files | leavings(files)),
    Change("a second copy below itself", lambda files: files | {f"speech/{p}": c for p, c in files.items()}),
    Change("one file less", without(ONE), "has 59 of the 60 recordings .*03-01-05-01-01-01-03"),
    Change("one file more", lambda files: files | {ONE.replace("-01-03.", "-03-03."): files[ONE]},
           "03-01-05-01-01-03-03.*no such recording"),
    Change("an unknown emotion", renamed("03-01-05-01-01-01-03", "03-01-09-01-01-01-03"),
           "03-01-09-01-01-01-03.*no such recording"),
    Change("another copy of one file", lambda files: files | {f"more/{ONE}": encoded(sound(99, 480))},
           "is there twice with another content"),
    Change("an actor in another's folder", lambda files: files | {"Actor_03/03-01-05-01-01-01-04.wav": files[ONE]},
           "which RAVDESS does not have in this folder"),
    Change("an empty folder", lambda files: {}, "holds nothing that looks like RAVDESS"),
]

# --- LibriSpeech, two chapters ----------------------------------------------------------------------------------

TEXT = "dev-clean/84/121/84-121.trans.txt"
SPEAKERS = "SPEAKERS.TXT"


def librispeech() -> Files:
    files: Files = {SPEAKERS: b"; ID | SEX | SUBSET\n84 | F | dev-clean | 8.0 | A Name\n85 | M | dev-clean | 8 | B\n"}
    for speaker, chapter in (("84", "121"), ("85", "50")):
        names = [f"{speaker}-{chapter}-{number:04d}" for number in range(2)]
        folder = f"dev-clean/{speaker}/{chapter}"
        files |= {f"{folder}/{name}.flac": encoded(sound(i + int(speaker), 500), format="FLAC")
                  for i, name in enumerate(names)}
        files[f"{folder}/{speaker}-{chapter}.trans.txt"] = "".join(f"{name} WORDS\n" for name in names).encode()
    return files


LIBRISPEECH = [
    Change("leavings of other systems", lambda files: files | leavings(files)),
    Change("a BOM and CRLF", lambda files: files | {
        name: b"\xef\xbb\xbf" + files[name].replace(b"\n", b"\r\n") for name in (TEXT, SPEAKERS)}),
    Change("a speaker's name in Latin-1", replaced(SPEAKERS, b"A Name", b"Ren\xe9")),
    Change("an empty transcript", lambda files: files | {TEXT: b""}, "84-121-0000.* is not listed"),
    Change("no transcript", without(TEXT), r"lacks 84-121[.]trans[.]txt"),
    Change("a line twice", replaced(TEXT, b"84-121-0001", b"84-121-0000"),
           "line 2: 84-121-0000.flac is listed twice"),
    Change("one file less", without("dev-clean/84/121/84-121-0001.flac"), "line 2: .*there is no such file"),
    Change("one line less", replaced(TEXT, b"84-121-0001 WORDS\n", b""), "84-121-0001.* is not listed"),
]

# --- MSP-Podcast ------------------------------------------------------------------------------------------------

LABELS = "Labels/labels_consensus.csv"
PARTITIONS = "Partitions.txt"
HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"


def msp_podcast() -> Files:
    names = [f"MSP-PODCAST_000{number}_0001.wav" for number in range(1, 5)]
    splits = ("Train", "Train", "Development", "Test1")
    rows = [f"{name},{letter},4.5,3.2,5,{i},Female,{split}"
            for i, (name, letter, split) in enumerate(zip(names, "AHSN", splits, strict=True))]
    files = {f"Audios/{name}": encoded(sound(i + 50, 480)) for i, name in enumerate(names)}
    files[LABELS] = "\n".join([HEADER, *rows, ""]).encode()
    files[PARTITIONS] = "".join(f"{split}; {name}\n" for name, split in zip(names, splits, strict=True)).encode()
    return files


MSP_PODCAST = [
    Change("leavings of other systems", lambda files: files | leavings(files)),
    Change("a BOM and CRLF", lambda files: files | {
        name: b"\xef\xbb\xbf" + files[name].replace(b"\n", b"\r\n") for name in (LABELS, PARTITIONS)}),
    Change("labels in Latin-1", recoded(LABELS, "latin-1", ",0,Female", ",Rén,Female"),
           "labels_consensus.csv.* is not UTF-8"),
    Change("partitions in UTF-16", recoded(PARTITIONS, "utf-16"), "Partitions.txt.* is not UTF-8"),
    Change("a column less", lambda files: files | {LABELS: files[LABELS].replace(b"EmoVal", b"Something")},
           "line 1: the column 'emoval' is missing"),
    Change("a cell less", replaced(LABELS, b",4.5,3.2,5,1,", b",4.5,3.2,1,"), "line 3: has not as many cells"),
    Change("an unknown emotion", replaced(LABELS, b",S,", b",Q,"), "line 4: the emotion code 'Q' is unknown"),
    Change("a rating beyond the scale", replaced(LABELS, b"4.5", b"45"), "line 2: emoact is '45'"),
    Change("a rating that is no number", replaced(LABELS, b"4.5", b"nan"), "line 2: emoact is 'nan'"),
    Change("a file twice", replaced(LABELS, b"_0002_", b"_0001_"), "line 3: .*_0001_0001.wav is listed twice"),
    Change("a partition twice", replaced(PARTITIONS, b"_0002_", b"_0001_"), "line 2: .* is listed twice"),
    Change("an unknown partition", replaced(PARTITIONS, b"Test1", b"Test9"), "line 4: the partition 'Test9'"),
    Change("lists that disagree", replaced(PARTITIONS, b"Train; MSP-PODCAST_0001", b"Test1; MSP-PODCAST_0001"),
           "by the label file's Split_Set"),
    Change("no audio of one", without("Audios/MSP-PODCAST_0003_0001.wav"), "1 of 4 labelled files have no audio"),
    Change("an empty label file", lambda files: files | {LABELS: b""}, "line 1: the column 'filename' is missing"),
    Change("only a header", lambda files: files | {LABELS: HEADER.encode()}, "lists no file"),
    Change("a NUL in the labels", replaced(LABELS, b",S,", b",S\0,"), "line 4|NUL"),
    Change("an unclosed quote", replaced(LABELS, b",S,", b',"S,'), "labels_consensus.csv"),
]

# --- manifests ----------------------------------------------------------------------------------------------------

_TEXT = manifest(*GOOD_AUDIO).encode()
MANIFEST = "m.csv"


def listed() -> Files:
    """A manifest and its audio, but for the long file."""
    files = {name: content for name, content in GOOD_AUDIO.items() if name != "ten_minutes.wav"}
    return files | {MANIFEST: manifest(*files).encode()}


MANIFESTS = [
    Change("leavings of other systems", lambda files: files | leavings(files)),
    Change("a BOM", lambda files: files | {MANIFEST: b"\xef\xbb\xbf" + files[MANIFEST]}),
    Change("CRLF", lambda files: files | {MANIFEST: files[MANIFEST].replace(b"\n", b"\r\n")}),
    Change("Latin-1", recoded(MANIFEST, "latin-1"), "m.csv, line 5: is not UTF-8"),
    Change("UTF-16", recoded(MANIFEST, "utf-16"), "m.csv, line 1: is not UTF-8"),
    Change("a column less", replaced(MANIFEST, b"label", b"what"), "line 1: the column 'label' is missing"),
    Change("an id twice", replaced(MANIFEST, b"b.flac", b"a.wav"), "line 3, column id: 'a.wav' is already the id"),
    Change("a name in the wrong case", replaced(MANIFEST, b"c.WAV", b"c.wav"), "line 4, column path: .*c[.]wav"),
    Change("a file less", without("b.flac"), "line 3, column path: .*b.flac"),
    Change("a NUL", replaced(MANIFEST, b"happy", b"hap\0py"), "line 3: has a NUL"),
    Change("an empty manifest", lambda files: files | {MANIFEST: b""}, "lists no utterances"),
    Change("a picture", lambda files: files | {MANIFEST: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"}, "line 1: is not UTF-8"),
    Change("a cell more", replaced(MANIFEST, b"a.wav,sad", b"a.wav,very,sad"), "line 2: has 4 cells"),
]
