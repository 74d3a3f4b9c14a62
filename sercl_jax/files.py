"""Files that are whole or absent, and locks between processes."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from sercl_jax.errors import UserError

_compact = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":"))


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds an exclusive lock beside `path`; says so on stderr when it must wait for another process.

    The kernel frees the lock when its holder dies, however it dies, so no stale lock can block a later run.

    Args:
      path: the file or folder that is being made; the lock is `path` with `.lock` appended.
      what: words for the message, such as "records of emodb".
    """
    make_directory(path.parent)
    lock = filelock.FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0.05)
    except filelock.Timeout:
        print(f"Another process is making the {what}; waiting for it ({path}.lock).", file=sys.stderr, flush=True)
        lock.acquire()
    except OSError as error:
        raise UserError(f"{path}.lock: cannot be locked ({error.strerror}); choose a writable folder.") from error
    try:
        yield
    finally:
        lock.release()


def make_directory(path: Path) -> None:
    """Makes a folder and its parents, or says why it cannot."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be made ({error.strerror}); choose another place.") from error


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes `path`'s place, on failure it is removed.

    Works for files and for folders. A reader sees the old content or the new, never a part. An OSError while
    writing (a full disk, say) becomes a `UserError`.
    """
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); nothing was changed. "
                        "Free some space or choose another folder.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Removes what killed `atomic_path(path)` calls left behind. Call it under `locked(path)` only."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        _remove(leftover)


def _remove(leftover: Path) -> None:
    if leftover.is_dir():
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        leftover.unlink(missing_ok=True)


def remove_leftovers_below(folder: Path) -> None:
    """The same for everything below a folder, which must be locked as a whole."""
    for leftover in sorted(folder.rglob(".*.tmp")):
        _remove(leftover)


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Replaces a folder by one with these files, name -> content.

    Raises:
      UserError: it cannot be written.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, content in contents.items():
            (temporary / name).write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, whole or not at all; NaN is refused, because it is not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def digest(value: Any) -> str:
    """A short stable name for JSON-like data: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(_compact.encode(value).encode()).hexdigest()[:16]


def digest_rows(rows: Iterable[Any]) -> str:
    """`digest(list(rows))`, with one row in memory at a time."""
    hashed = hashlib.sha256(b"[")
    for number, row in enumerate(rows):
        hashed.update(f"{',' if number else ''}{_compact.encode(row)}".encode())
    hashed.update(b"]")
    return hashed.hexdigest()[:16]
