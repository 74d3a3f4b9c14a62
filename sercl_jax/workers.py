"""Work spread over processes, with a progress bar."""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from tqdm import tqdm

from sercl_jax.errors import UserError

A = TypeVar("A")
R = TypeVar("R")

# One thread each: the processes are the parallelism.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def cpu_count() -> int:
    """The number of CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Processes started in it do not import the program that started them.

    They need nothing of it; a script without `if __name__ == "__main__"` would begin anew in each of them.
    """
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main[name] for name in ("__spec__", "__file__") if name in main}
    main["__spec__"] = None
    main.pop("__file__", None)
    try:
        yield
    finally:
        main.pop("__spec__")
        main.update(hidden)


def _start_worker() -> None:
    # Libraries that read the environment late (joblib, numba) still see it here.
    os.environ.update(_ONE_THREAD)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    # A worker waits for work on a pipe that it holds open itself: killed parents would leave it waiting for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def parallel_map(function: Callable[[A], R], items: Sequence[A], *, workers: int | None, description: str,
                 unit: str = "it", progress: bool = True) -> Iterator[R]:
    """Yields `function(item)` for each item, in the items' order.

    Processes are spawned, never forked: forking after JAX has started threads can deadlock. At most a few
    items per worker are in flight, so memory stays bounded whatever the number of items.

    Args:
      function: importable by name; its module should not import JAX, which would slow each worker's start.
      items: what to map over; items and results are pickled.
      workers: number of processes; None takes one per CPU; 0 or 1 works in this process.
      description, unit: words for the progress bar.
      progress: whether to show it (on stderr, and only if that is a terminal or a log that wants it).

    Raises:
      UserError: a worker was killed (out of memory, most often). Errors of `function` come through as they are.
    """
    count = min(cpu_count() if workers is None else workers, len(items))
    bar: Iterable[Any] = tqdm(total=len(items), desc=description, unit=unit, disable=not progress,
                              mininterval=0.5 if sys.stderr.isatty() else 10, dynamic_ncols=True)
    with bar:  # type: ignore[attr-defined]
        for result in stream(function, items, workers=count, description=description):
            yield result
            bar.update()  # type: ignore[attr-defined]


def stream(function: Callable[[A], R], items: Iterable[A], *, workers: int, description: str) -> Iterator[R]:
    """`parallel_map` for items that come one by one, perhaps without end; each is taken when a process is near it.

    Args:
      function, description: see there.
      items: what to map over.
      workers: processes; 0 or 1 works in this one.

    Raises:
      UserError: a worker was killed.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    saved = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)  # inherited by the spawned processes before they import NumPy
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield from _in_order(pool, function, items, 4 * workers)
    except BrokenProcessPool as error:
        raise UserError(f"{description}: a worker process was killed, perhaps for want of memory; "
                        "run the same command again, with fewer workers if it recurs.") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _in_order(pool: ProcessPoolExecutor, function: Callable[[A], R], items: Iterable[A], ahead: int) -> Iterator[R]:
    futures: deque[Future[R]] = deque()
    for item in items:
        with _without_main():
            futures.append(pool.submit(function, item))
        if len(futures) >= ahead:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()
