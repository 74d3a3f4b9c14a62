"""Builds in processes that can be killed, stopped and starved of disk. Run as a script, it starts them quickly.

The script imports what a build needs once, without JAX, and forks for each request, a JSON object a line:

    {"cache": FOLDER, "manifest": FILE, "workers": 0, "moment": NUMBER, "then": WHAT, "disk": WHICH}

and prints `started PID`, `now` if told to at the moment, then what the build says (`done UTTERANCES KEY CALLS
OPERATIONS` or `error MESSAGE`), and `ended STATUS` when it and all its workers are gone.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

# Before each of these the disk is in a state of its own.
OPERATIONS = frozenset({"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate",
                        "shutil.rmtree"})
_NEW_NAMESPACES = 0x00020000 | 0x10000000  # of mounts and of users
_BE_A_REAPER = 36
_READ_ONLY, _REMOUNT, _BIND = 1, 32, 4096
_LIBC = ctypes.CDLL(None)


class Build:
    """A build that has started."""

    def __init__(self, starter: "Starter", pid: int):
        self.pid = pid
        self.said: list[str] = []
        self.status: int | None = None
        self._starter = starter

    def wait_for(self, word: str) -> list[str]:
        """Reads until it says so, and returns the words of that line; [] if it ends before."""
        while self.status is None:
            words = self._starter.read()
            if words[0] == "ended":
                self.status = int(words[1])
            else:
                self.said.append(" ".join(words))
            if words[0] == word:
                return words
        return []

    def kill(self, whole_group: bool = True) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whole_group else os.kill)(self.pid, signal.SIGKILL)


class Starter:
    """The script in a process of its own."""

    def __init__(self, log: Path):
        self.log = log
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, stderr=file, text=True)

    def build(self, manifest: Path, cache: Path, *, workers: int = 0, moment: int | None = None,
              then: str | None = None, disk: str | int | None = None) -> Build:
        """Starts one.

        Args:
          manifest, cache, workers: what is built, where, and by how many processes.
          moment: when something happens: the number of a call or, for `then="die"`, of an operation on files.
          then: "tell" goes on after telling, "stop" does not, "die" ends the whole group by SIGKILL; "count" counts.
          disk: "read-only", or bytes of a small one.
        """
        assert self._process.stdin is not None
        request = {"manifest": str(manifest), "cache": str(cache), "workers": workers, "moment": moment, "then": then,
                   "disk": disk}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        word, pid = self.read()
        assert word == "started", word  # the one before must have ended
        return Build(self, int(pid))

    def read(self) -> list[str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text(encoding="utf-8")
        return line.split()

    def close(self) -> None:
        self._process.communicate()


@dataclass
class _Counts:
    """What has happened in this build, and what is to happen at which count."""

    calls: int = 0
    operations: int = 0
    moment: int | None = None
    then: str | None = None

    def call(self, frame: FrameType, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            self.calls += 1
            if self.then in ("tell", "stop") and self.calls == self.moment:
                _say("now")
                if self.then == "stop":
                    os.kill(os.getpid(), signal.SIGSTOP)

    def operation(self, event: str, arguments: Any) -> None:
        if event in OPERATIONS:
            self.operations += 1
            if self.then == "die" and self.operations == self.moment:
                os.killpg(0, signal.SIGKILL)


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def _limit(disk: str | int, cache: Path) -> Path:
    """A folder on a read-only disk, or on one of so many bytes; where nothing may be mounted, the nearest to it."""
    cache.mkdir(exist_ok=True)
    mounted = _may_mount() and (_mount_read_only(cache) if disk == "read-only" else _mount_small(cache, int(disk)))
    _say(f"disk {'mounted' if mounted else 'limited'}")
    if not mounted:
        if disk == "read-only":
            return Path("/sys/cache")  # not even root can make that
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(disk), int(disk)))
    return cache


def _may_mount() -> bool:
    """Puts this process into a world of mounts of its own."""
    ids = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
    if _LIBC.unshare(_NEW_NAMESPACES):
        return False
    for name, text in ids.items():
        Path("/proc/self", name).write_text(text, encoding="utf-8")
    return True


def _mount_small(cache: Path, size: int) -> bool:
    return _LIBC.mount(b"tmpfs", os.fsencode(cache), b"tmpfs", 0, b"size=%d" % size) == 0


def _mount_read_only(cache: Path) -> bool:
    where = os.fsencode(cache)
    return (_LIBC.mount(where, where, None, _BIND, None) == 0
            and _LIBC.mount(None, where, None, _REMOUNT | _BIND | _READ_ONLY, None) == 0)


def _build(request: dict[str, Any]) -> None:
    from sercl_jax import corpora
    from sercl_jax.errors import UserError

    cache = Path(request["cache"])
    if request["disk"] is not None:
        cache = _limit(request["disk"], cache)
    counts = _Counts(moment=request["moment"], then=request["then"])
    if request["then"] is not None:
        sys.addaudithook(counts.operation)
        sys.setprofile(counts.call)
    try:
        corpus = corpora.load("manifest", cache_dir=cache, manifest=Path(request["manifest"]),
                              workers=request["workers"], progress=False)
    except UserError as error:
        sys.setprofile(None)
        left = sorted(str(path.relative_to(cache)) for path in cache.rglob("*")) if cache.is_dir() else []
        _say(f"error {error} LEFT {' '.join(left)}")
    else:
        sys.setprofile(None)
        _say(f"done {len(corpus)} {corpus.key} {counts.calls} {counts.operations}")


def _serve(requests: Iterator[str]) -> None:
    for line in requests:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            _say(f"started {os.getpid()}")
            try:
                _build(json.loads(line))
            finally:
                os._exit(0)
        status = 0
        with contextlib.suppress(ChildProcessError):
            while True:  # workers whose parent was killed come to this process
                ended, code = os.waitpid(-1, 0)
                status = code if ended == pid else status
        _say(f"ended {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    _LIBC.prctl(_BE_A_REAPER, 1, 0, 0, 0)
    from sercl_jax.corpora import building, registry

    registry.builder_class("manifest")
    assert building
    assert "jax" not in sys.modules
    _serve(iter(sys.stdin.readline, ""))
