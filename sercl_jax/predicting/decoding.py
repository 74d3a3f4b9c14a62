"""Recordings decoded in threads, somewhat ahead of whoever uses them."""

import os
import sys
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from sercl_jax import audio
from sercl_jax.errors import UserError
from sercl_jax.inference.recording import Recording
from sercl_jax.predicting.finding import STDIN, absence

_AHEAD = 2  # recordings per thread that may lie in memory, decoded and not yet used
_HEADERLESS = (".raw", ".pcm", ".s16", ".sln", ".bin")
_ADVICE = ("samples without a header tell neither their rate nor their type; give them one, for example by "
           "`sox -t raw -r 16000 -e signed -b 16 -c 1 IN -t wav OUT`")


def decoded(paths: Sequence[Path], *, threads: int) -> Generator[Recording | UserError, None, None]:
    """Each recording, in the order of the paths, or why it cannot be used; memory is bounded whatever their number.

    Args:
      paths: as `finding.find` gives them; they are the names.
      threads: that decode; libsndfile and soxr compute beside Python.
    """
    pool = ThreadPoolExecutor(threads)
    coming: deque[Future[Recording | UserError]] = deque()
    try:
        for path in paths:
            # Pipes are read here: a thread that waits for one would outlive Ctrl-C.
            coming.append(pool.submit(_recording, path, _content(path)))
            if len(coming) >= _AHEAD * threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _content(path: Path) -> bytes | UserError | None:
    """What can be read only once, as standard input and pipes; None for a file."""
    try:
        if path == STDIN:
            if sys.stdin.isatty():
                return UserError("standard input: is a terminal; send a recording, as in `... | python -m "
                                 "sercl_jax.predict --workdir=RUN -`.")
            return sys.stdin.buffer.read()
        return None if absence(path) or os.path.isfile(path) else path.read_bytes()
    except OSError as error:
        return UserError(f"{path}: cannot be read ({error.strerror}).")


def _recording(path: Path, content: bytes | UserError | None) -> Recording | UserError:
    name = "standard input" if path == STDIN else str(path)
    if isinstance(content, UserError):
        return content
    if reason := absence(path):
        return UserError(f"{reason}.")
    try:
        return Recording(str(path), audio.decode(path if content is None else content, name=name))
    except UserError as error:
        message = str(error).replace(audio.SKIP, "")
        if "is not audio that" in message and (path == STDIN or path.suffix.lower() in _HEADERLESS):
            message = f"{message.removesuffix('.')}; {_ADVICE}."
        return UserError(message)
