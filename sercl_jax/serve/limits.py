"""What one request may take, and how it is refused."""

from collections.abc import Mapping
from dataclasses import dataclass

from sercl_jax.errors import UserError

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Attributes:
      max_mb: the largest body of a request, MiB.
      max_seconds: the longest recording.
      concurrency: requests that are read, wait or are answered at one time; others are asked to come back.
      timeout: seconds that reading a request may take, and that it may then wait for its answer.
    """

    max_mb: float = 25.0
    max_seconds: float = 300.0
    concurrency: int = 32
    timeout: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < 1e9:
                raise UserError(f"--{name}={value:g}: must be positive.")

    @property
    def max_bytes(self) -> int:
        return round(self.max_mb * MIB)


class Refused(Exception):
    """A request that gets an error for an answer: an HTTP status, and words for people."""

    def __init__(self, status: int, words: str, headers: Mapping[str, str] | None = None):
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers
