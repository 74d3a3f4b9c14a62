"""How the C library gives memory back to the system."""

import ctypes
import functools

# Parameters of glibc's mallopt, and values for them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_OPTIONS = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))


@functools.cache
def keep_freed() -> bool:
    """Lets this process keep up to 2 GiB of freed memory for its next allocations.

    XLA allocates its workspace anew in every step on a CPU. By default glibc maps it from the system each time, and
    the system zeroes it page by page, which took over a third of a SERUGCL step.

    Returns:
      Whether the C library could be told; false where it isn't glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return {mallopt(option, value) for option, value in _OPTIONS} == {1}
