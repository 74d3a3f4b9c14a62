"""What every command does with mistakes, Ctrl-C, and a reader that has seen enough."""

import os
import sys
from collections.abc import Callable

from sercl_jax.errors import UserError


def status(run: Callable[[], int | None], stopped: str = "Stopped.") -> int:
    """The exit status of what `run` does: its own (None is 0), 2 after a `UserError`, 130 after Ctrl-C.

    Args:
      run: the command.
      stopped: what Ctrl-C is answered with.
    """
    try:
        return run() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        return 130


def flushed(main: Callable[[], int]) -> int:
    """The exit status of a program that has written all it had to: `main`'s, or 2 where standard output is full.

    A reader that has seen enough, as in `... | head`, makes it 1.
    """
    try:
        found = main()
    except BrokenPipeError:
        found = 1
    try:
        sys.stdout.flush()
    except OSError as error:
        # What could not be written must not be tried again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1 if isinstance(error, BrokenPipeError) else 2
    return found
