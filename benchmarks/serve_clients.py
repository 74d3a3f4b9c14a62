"""A server in a process of its own, and clients that ask it all the time."""

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sercl_jax.errors import UserError


@contextmanager
def server(workdir: Path) -> Iterator[tuple[int, str, float]]:
    """A server of a run: its process, its host and port, and the seconds until it was ready."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as messages, subprocess.Popen(
            [sys.executable, "-m", "sercl_jax.serve", f"--workdir={workdir}", "--port=0"], stdout=subprocess.PIPE,
            stderr=messages, text=True) as process:
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            if not ready:
                process.wait()
                messages.seek(0)
                raise UserError(f"serve failed: {messages.read().decode(errors='replace').strip()}")
            seconds = time.perf_counter() - start
            yield process.pid, urlsplit(ready.split()[4]).netloc, seconds
        finally:
            process.terminate()
    if process.returncode:
        raise UserError(f"serve ended with status {process.returncode} when it was told to stop.")


class Client(threading.Thread):
    """Asks again and again until it is told to end.

    Attributes:
      latencies: seconds of each answered request.
      errors: how often what went wrong.
      sent: requests, of which `lost` had no answer of their own.
      audio_seconds: of the recordings that were answered.
      ended: when, of the clock of `time.perf_counter`.
    """

    def __init__(self, place: str, recordings: Sequence[tuple[str, bytes, float]], first: int, end: float):
        super().__init__()
        self._place, self._recordings, self._first, self._end = place, recordings, first, end
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()
        self.sent = self.lost = 0
        self.audio_seconds = self.ended = 0.0

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._place, timeout=120)
        turn = self._first
        while time.perf_counter() < self._end:
            name, content, seconds = self._recordings[turn % len(self._recordings)]
            turn += 1
            self.sent += 1
            start = time.perf_counter()
            try:
                connection.request("POST", "/predict", *_form(name, content))
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.errors[type(error).__name__] += 1
                self.lost += 1
                connection.close()
                continue
            self.latencies.append(time.perf_counter() - start)
            if response.status != 200:
                self.errors[str(response.status)] += 1
            elif answer["path"] != name or abs(answer["seconds"] - seconds) > 0.05:
                self.lost += 1
            else:
                self.audio_seconds += seconds
        connection.close()
        self.ended = time.perf_counter()


def _form(name: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a form with one file."""
    head = f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return b"".join([head.encode(), content, b"\r\n--edge--\r\n"]), {
        "Content-Type": "multipart/form-data; boundary=edge"}


def about(place: str) -> dict[str, Any]:
    """What a server says of its model."""
    connection = http.client.HTTPConnection(place, timeout=60)
    connection.request("GET", "/model")
    told: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return told
