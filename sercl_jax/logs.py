"""What a training tells while it runs: a progress bar, JSON lines and TensorBoard."""

import json
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tqdm import tqdm

from sercl_jax.errors import UserError
from sercl_jax.files import make_directory, remove_leftovers, write_text


def read(directory: Path) -> list[dict[str, Any]]:
    """The lines of a stage's `metrics.jsonl`, oldest first; [] if there is none. A half-written line is left out."""
    path = directory / "metrics.jsonl"
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break  # a killed run stopped here
    return lines


class MetricsLog:
    """The log of one stage in one folder. Use it as a context manager.

    On resuming, whatever lies after the checkpoint's step is removed, so that the log of a run that was killed
    reads like one that was not.

    Attributes:
      history: every line so far, those of earlier runs included.
    """

    def __init__(self, directory: Path | None, name: str, *, step: int, steps: int, progress: bool = True):
        """Opens the log.

        Args:
          directory: where `metrics.jsonl` and TensorBoard's events go; None writes no files.
          name: the stage's, for the bar.
          step: the number of steps already done.
          steps: in all.
          progress: whether to show a bar on stderr.
        """
        self.history: list[dict[str, Any]] = []
        self._path = directory and directory / "metrics.jsonl"
        self._events: Path | None = None
        if directory is not None:
            make_directory(directory)
            remove_leftovers(directory / "metrics.jsonl")
            self.history = [line for line in read(directory) if line["step"] <= step]
            write_text(directory / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in self.history))
            self._events = _open_events(directory / "tensorboard", step + 1)
        self._bar = tqdm(total=steps, initial=step, desc=name, unit="step", disable=not progress, mininterval=0.5,
                         dynamic_ncols=True)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a line; it is on its way to the disk when this returns.

        Raises:
          UserError: it cannot be written.
        """
        line = {"step": step, **values}
        self.history.append(line)
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()
                               if name not in ("epoch", "seconds")}, refresh=False)
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if self._events is not None:
                _append(self._events, [Event(wall_time=time.time(), step=step, summary=summary.scalar(name, value))
                                       for name, value in values.items()])
        except OSError as error:
            raise _unwritten(self._path, error) from error

    def advance(self, steps: int = 1) -> None:
        """Moves the bar."""
        self._bar.update(steps)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._bar.close()


def _open_events(directory: Path, purge_step: int) -> Path:
    """Starts a TensorBoard file that hides what earlier files hold from `purge_step` on.

    Written by this thread: tensorboardX's `SummaryWriter` writes in one of its own, which dies of a full disk and
    leaves the training waiting for it for ever.
    """
    make_directory(directory)
    now = time.time_ns()
    path = directory / f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{now}"
    try:
        _append(path, [Event(wall_time=now / 1e9, file_version="brain.Event:2"),
                       Event(wall_time=now / 1e9, step=purge_step,
                             session_log=SessionLog(status=SessionLog.START))])
    except OSError as error:
        raise _unwritten(path, error) from error
    return path


def _append(path: Path, events: list[Event]) -> None:
    """Adds events to a file as TFRecords: length, checksum, bytes, checksum."""
    records = []
    for event in events:
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        records += [length, struct.pack("<I", masked_crc32c(length)),
                    content, struct.pack("<I", masked_crc32c(content))]
    with path.open("ab") as file:
        file.write(b"".join(records))


def _unwritten(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be written ({error.strerror}); free some space and run the same command again.")
