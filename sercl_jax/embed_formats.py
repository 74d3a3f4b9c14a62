"""Embeddings on disk: NumPy's .npz, Parquet, Kaldi's archives. Recording after recording, whole or not at all.

Only names and numbers of frames are kept in memory, however many recordings there are.
"""

import contextlib
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from sercl_jax import files, resources
from sercl_jax.errors import UserError

UTTERANCE, FRAME = LEVELS = ("utterance", "frame")
FORMATS = ("npz", "parquet", "kaldi")
_SUFFIXES = {".npz": "npz", ".parquet": "parquet", ".ark": "kaldi", ".scp": "kaldi"}
_PACKAGES = {"parquet": "pyarrow", "kaldi": "kaldiio"}
_GROUP = 1 << 22  # values of a Parquet row group, 16 MiB
_RAW = ".raw"  # suffix of rows that wait for their header, beside the file that is made


class Writer(Protocol):
    """Takes recordings one by one."""

    def write(self, name: str, seconds: float, values: np.ndarray) -> None:
        """[D] of an utterance, or [T, F] of its frames; `seconds` is how long it is."""


def format_of(out: Path, wanted: str = "") -> str:
    """The format of a file by its suffix, unless one is wanted.

    Raises:
      UserError: the suffix tells none, the path is a folder, or the package that writes the format is missing.
    """
    form = wanted or _SUFFIXES.get(out.suffix.lower(), "")
    if not form:
        raise UserError(f"--out={out}: the suffix tells no format; end it in {', '.join(_SUFFIXES)}, or give "
                        f"--format={'|'.join(FORMATS)}.")
    for path in _outputs(out, form):
        if path.is_dir():
            raise UserError(f"--out={path}: is a folder; give a file in it.")
    if form in _PACKAGES and not resources.installed(_PACKAGES[form]):
        raise UserError(f"--out={out}: {form} needs the package {_PACKAGES[form]}, which comes with pip install "
                        "'sercl_jax[embed]'; .npz needs nothing.")
    return form


def _outputs(out: Path, form: str) -> tuple[Path, ...]:
    return (out.with_suffix(".ark"), out.with_suffix(".scp")) if form == "kaldi" else (out,)


@contextlib.contextmanager
def writer(form: str, out: Path, level: str, hop: float) -> Iterator[Writer]:
    """Opens a file of one of `FORMATS`; it takes its place when the block ends well, and else nothing is left.

    Args:
      form: as `format_of` tells it.
      out: the file. Kaldi's are two, with the suffixes .ark and .scp.
      level: one of `LEVELS`.
      hop: seconds between frames.

    Raises:
      UserError: it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        # The last one is moved to its place first: an index never names an archive that is not there.
        paths = [stack.enter_context(files.atomic_path(path)) for path in reversed(_outputs(out, form))][::-1]
        if form == "npz":
            yield from _npz(paths[0], level, hop)
        elif form == "parquet":
            yield from _parquet(paths[0], level, hop)
        else:
            yield from _kaldi(paths[0], paths[1], out.with_suffix(".ark"))


@dataclass
class _Npz:
    rows: BinaryIO
    ids: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    width: int = 0

    def write(self, name: str, seconds: float, values: np.ndarray) -> None:
        rows = np.atleast_2d(np.asarray(values, np.float32))
        self.rows.write(rows.tobytes())
        self.ids.append(text(name))
        self.counts.append(len(rows))
        self.width = rows.shape[1]


def _npz(path: Path, level: str, hop: float) -> Iterator[Writer]:
    """"ids" [U] and "embeddings" [U, D]; or "ids", "frames" [sum of T, F], "offsets" [U + 1]: recording u owns rows
    offsets[u]:offsets[u + 1]; and "seconds" between frames.
    """
    raw = path.with_name(path.name + _RAW)
    try:
        with raw.open("wb") as rows:
            made = _Npz(rows)
            yield made
        offsets = np.concatenate([[0], np.cumsum(made.counts, dtype=np.int64)])
        values = (np.memmap(raw, np.float32, "r", shape=(int(offsets[-1]), made.width)) if made.ids else
                  np.zeros((0, 0), np.float32))
        arrays: dict[str, Any] = {"ids": np.array(made.ids, np.str_)}
        arrays |= {"embeddings": values} if level == UTTERANCE else {
            "frames": values, "offsets": offsets, "seconds": np.array(hop)}
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
    finally:
        raw.unlink(missing_ok=True)


@dataclass
class _Parquet:
    file: Any  # pyarrow.parquet.ParquetWriter, once the width is known
    path: Path
    level: str
    hop: float
    waiting: list[Any] = field(default_factory=list)
    values: int = 0

    def write(self, name: str, seconds: float, values: np.ndarray) -> None:
        import pyarrow
        from pyarrow import parquet

        rows = np.atleast_2d(np.asarray(values, np.float32))
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), rows.shape[1])
        names = pyarrow.array([text(name)] * len(rows), pyarrow.string())
        columns = ({"id": names, "seconds": [float(seconds)]} if self.level == UTTERANCE else
                   {"id": names, "frame": pyarrow.array(np.arange(len(rows), dtype=np.int32)),
                    "start": np.arange(len(rows)) * self.hop})
        table = pyarrow.table({**columns, "embedding": vectors})
        if self.file is None:
            self.file = parquet.ParquetWriter(self.path, table.schema)
        self.waiting.append(table)
        self.values += rows.size
        if self.values >= _GROUP:
            self.flush()

    def flush(self) -> None:
        import pyarrow

        if self.waiting:
            self.file.write_table(pyarrow.concat_tables(self.waiting).combine_chunks())
        self.waiting, self.values = [], 0


def _parquet(path: Path, level: str, hop: float) -> Iterator[Writer]:
    """A row for each utterance: "id", "seconds", "embedding", a list of fixed size; or for each frame: "id", "frame",
    its number, "start" in seconds, "embedding".
    """
    made = _Parquet(None, path, level, hop)
    try:
        yield made
        made.flush()
    finally:
        if made.file is not None:
            made.file.close()


@dataclass
class _Kaldi:
    file: BinaryIO
    ark: Path
    lines: list[str] = field(default_factory=list)

    def write(self, name: str, seconds: float, values: np.ndarray) -> None:
        import kaldiio

        key = kaldi_key(name)
        place = self.file.tell() + len(f"{key} ".encode())
        kaldiio.save_ark(self.file, {key: np.asarray(values, np.float32)})
        self.lines.append(f"{key} {self.ark}:{place}\n")


def _kaldi(ark: Path, scp: Path, named: Path) -> Iterator[Writer]:
    """Binary vectors of utterances, or matrices of frames; the .scp beside is sorted as Kaldi wants it."""
    with ark.open("wb") as file:
        made = _Kaldi(file, named)
        yield made
    scp.write_text("".join(sorted(made.lines, key=str.encode)), encoding="utf-8")


def kaldi_key(name: str) -> str:
    """A name as a key: white space and % as in URLs, so that `urllib.parse.unquote` gives it back."""
    return re.sub(r"[\s%]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text(name))


def text(name: str) -> str:
    """A path as text; bytes of a file name that are none are written \\xNN."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

