"""Devices, processes and the one mapped axis. No other file names `pmap`, an axis, or a process.

N devices with B/N utterances each must compute what one device with B would. Losses therefore `gather` what
they compare (embeddings and masks) and return the loss of the whole batch on every device; the training step
averages the gradients with `pmean`: behind an `all_gather` each device's gradient is N times its own part.
"""

import contextlib
import functools
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.distributed import global_state
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from sercl_jax import collectives
from sercl_jax.errors import UserError

AXIS = "batch"

Devices = Sequence[jax.Device]


def initialize(coordinator: str | None = None, processes: int | None = None, process_id: int | None = None, *,
               heartbeat_seconds: int = 60, join_seconds: int = 300) -> None:
    """Joins the processes of one training; does nothing unless a coordinator is given.

    Call it before anything else touches a device.

    Args:
      coordinator: `host:port` of process 0; "auto" where Slurm, Open MPI, Cloud TPU or Kubernetes (JobSet) tells JAX
        address, number and count.
      processes: how many processes there are.
      process_id: this one's number, from 0.
      heartbeat_seconds: after so long without a sign of life of one process, all others end.
      join_seconds: how long to wait for the others at the start.

    Raises:
      UserError: an argument is missing or was not found out, or the others cannot be reached.
    """
    if coordinator is None:
        if processes is not None or process_id is not None:
            raise UserError("num_processes and process_id also need coordinator=HOST:PORT, the address of process 0.")
        return
    if coordinator != "auto" and (processes is None or process_id is None or not 0 <= process_id < processes):
        raise UserError(f"coordinator={coordinator} also needs processes (found {processes}) and "
                        f"process_id from 0 to processes - 1 (found {process_id}).")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(None if coordinator == "auto" else coordinator, processes, process_id,
                                   heartbeat_timeout_seconds=heartbeat_seconds, initialization_timeout=join_seconds)
    except (RuntimeError, ValueError) as error:
        if coordinator == "auto":
            raise UserError(f"coordinator=auto: the processes could not be found out or joined ({error}); give "
                            "coordinator=HOST:PORT, num_processes and process_id.") from error
        raise UserError(f"{coordinator}: process {process_id} of {processes} could not join ({error}); "
                        "check the address and that every process was started.") from error


def alone() -> bool:
    """Whether there are no other processes."""
    return jax.process_count() == 1


# What messages of Gloo, NCCL and the coordination service of a process that has gone contain.
_LOST = ("gloo", "nccl", "coordination service", "connection closed", "connection reset", "socket closed",
         "barrier", "unavailable:", "deadline_exceeded", "aborted:")


@contextlib.contextmanager
def lost_processes_told() -> Iterator[None]:
    """Raises `UserError` in place of what JAX raises when another process has gone."""
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, ValueError) as error:
        text = str(error)
        if alone() or not any(word in text.lower() for word in _LOST):
            raise
        raise UserError(f"Process {jax.process_index()} of {jax.process_count()}: another process has ended or "
                        f"cannot be reached ({text.splitlines()[0][:200]}). Start all of them again with the same "
                        "command, in any number: training goes on from the last checkpoint.") from error


def leave(status: int) -> NoReturn:
    """Ends this process; one that has failed does not wait for the others, which would wait for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    if status and global_state.client is not None:
        os._exit(status)
    sys.exit(status)


def enable_compilation_cache(path: Path, least_seconds: float = 0.5) -> None:
    """Keeps compiled programs in a folder, so that the next run of the same command need not compile.

    A folder that is set already, as by JAX_COMPILATION_CACHE_DIR in the environment, stays.

    Args:
      path: the folder.
      least_seconds: programs that compile more quickly are not kept there.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least_seconds)
    else:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def all_devices() -> tuple[jax.Device, ...]:
    """Every device of every process, in the order that splits a batch."""
    return tuple(jax.devices())


_LEAST_ROWS = 2  # on a CPU's device
_MOST_COPIED = 2**26  # numbers: copies for a CPU's devices take from one memory


def shared_by(rows: int, numbers: int, devices: Devices | None = None) -> tuple[jax.Device, ...]:
    """The devices that a training's batches are divided among: all; of one CPU's, as many as serve it.

    Several devices of a CPU are a way to use its cores (see `environment.host_devices`), not a choice of the user's:
    as many as divide a batch, with two utterances for each, and fewer where their copies of a large model would fill
    the memory.

    Args:
      rows: utterances of a batch.
      numbers: in what each device has a copy of.
      devices: to choose from; None for all of them.
    """
    devices = all_devices() if devices is None else tuple(devices)
    if devices[0].platform != "cpu" or not alone():
        return devices
    return devices[:max(n for n in range(1, _serving(devices, rows, numbers) + 1) if rows % n == 0)]


def numbers_in(tree: Any) -> int:
    """How many numbers its arrays hold."""
    return sum(int(np.size(x)) for x in jax.tree.leaves(tree))


def _serving(devices: Devices, rows: int, numbers: int) -> int:
    if devices[0].platform != "cpu":
        return len(devices)
    return max(1, min(len(devices), rows // _LEAST_ROWS, _MOST_COPIED // max(numbers, 1)))


def is_main_process() -> bool:
    """Whether this process is the one that writes logs and results."""
    return jax.process_index() == 0


def from_main(make: Callable[[], Any], like: Any) -> Any:
    """What `make` returns in the main process, in every process; `make` runs in the main one only.

    Every process must call it. If `make` fails, it fails in all of them, so that none waits for the others in vain.

    Args:
      make: returns a tree of arrays.
      like: a tree of the same structure, shapes and types; None if the others need nothing of it.

    Raises:
      UserError: `make` failed in the main process, where its own error is raised.
    """
    if alone():
        return make()
    value, failure = like, None
    if is_main_process():
        try:
            value = make()
        except Exception as error:
            failure = error
    _meet()
    failed = multihost_utils.broadcast_one_to_all(np.int32(failure is not None))
    if failure is not None:
        raise failure
    if failed:
        raise UserError("The main process (process_id 0) has failed; its own message says why.")
    return value if like is None else jax.tree.map(_broadcast, value)


def bytes_from_main(make: Callable[[], bytes]) -> bytes:
    """The same for bytes, of any number."""
    if alone():
        return make()
    made: list[bytes] = []

    def size() -> np.ndarray:
        made.append(make())
        return np.array(len(made[0]), np.int64)

    count = int(from_main(size, np.array(0, np.int64)))
    return bytes(from_main(lambda: np.frombuffer(made[0], np.uint8), np.zeros(count, np.uint8)))


_MEETINGS = itertools.count()
_LONG = 30 * 24 * 3600 * 1000  # milliseconds; a process that dies meanwhile ends the wait at once


def _meet() -> None:
    """Waits for the other processes, however long: collectives give up after minutes, and burn a GPU meanwhile."""
    assert global_state.client is not None, "only several processes meet"
    global_state.client.wait_at_barrier(f"sercl_jax/{next(_MEETINGS)}", _LONG)


def _broadcast(x: Any) -> np.ndarray:
    # As bytes: the broadcast is a sum, which would turn -0.0 into 0.0.
    x = np.asarray(x)
    if not x.size:
        return x
    sent = multihost_utils.broadcast_one_to_all(np.frombuffer(x.tobytes(), np.uint8))
    return np.frombuffer(np.asarray(sent).tobytes(), x.dtype).reshape(x.shape).copy()


# Inside a mapped function.

def gather(tree: Any) -> Any:
    """Joins the devices' parts of arrays along their leading axis: [B/N, ...] -> [B, ...], equal everywhere."""
    if _one_device():
        return tree
    return collectives.rowwise(lambda x: jax.lax.all_gather(x, AXIS, axis=0, tiled=True), tree)


def psum(tree: Any) -> Any:
    """Sums over the devices."""
    return tree if _one_device() else collectives.elementwise(lambda x: jax.lax.psum(x, AXIS), tree)


def pmean(tree: Any) -> Any:
    """Averages over the devices. Never use it on a local loss that has a mask: average sums, or gather."""
    return tree if _one_device() else collectives.elementwise(lambda x: jax.lax.pmean(x, AXIS), tree)


def _one_device() -> bool:
    return jax.lax.axis_size(AXIS) == 1


def positions(local_size: int) -> jax.Array:
    """[B/N] int32: where this device's utterances stand in the whole batch."""
    return jax.lax.axis_index(AXIS) * local_size + jnp.arange(local_size)


# Outside.

def map_step(function: Callable[..., Any], *, devices: Devices,
             donate: tuple[int, ...] = ()) -> Callable[..., Any]:
    """Maps a function over devices; every argument and result has a leading axis of this process's devices.

    Args:
      function: pure; may call `gather`, `psum`, `pmean` and `positions`.
      devices: the devices of all processes.
      donate: positions of arguments whose memory the results may reuse.
    """
    return jax.pmap(function, axis_name=AXIS, devices=tuple(devices), donate_argnums=donate)


def in_flight(devices: Devices) -> int:
    """How many steps may be under way at once.

    Several devices of one CPU share a pool of threads: steps that wait for each other in a collective can fill it
    and never end, so only one may run.
    """
    return 1 if devices[0].platform == "cpu" and len(devices) > 1 else 2


def _local(devices: Devices) -> tuple[jax.Device, ...]:
    return tuple(d for d in devices if d.process_index == jax.process_index())


@functools.lru_cache(maxsize=16)
def _sharding(devices: tuple[jax.Device, ...]) -> NamedSharding:
    # The very sharding that a mapped function's results carry; another would trace the step a second time.
    return NamedSharding(Mesh(np.array(_local(devices)), (AXIS,)), PartitionSpec(AXIS))


def replicate(tree: Any, devices: Devices) -> Any:
    """Copies every leaf to each device of this process: [...] -> [devices, ...]."""
    count, sharding = len(_local(devices)), _sharding(tuple(devices))

    def copy(x: Any) -> Any:
        x = np.asarray(x)
        return np.broadcast_to(x, (count, *x.shape))

    return jax.device_put(jax.tree.map(copy, tree), sharding)


def unreplicate(tree: Any) -> Any:
    """The first device's copy of every leaf, as NumPy arrays: [devices, ...] -> [...]."""
    first = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
    return jax.tree.map(lambda x: np.array(x[0]), jax.device_get(first))


def own_part(batch: Mapping[str, Any], devices: Devices) -> dict[str, np.ndarray]:
    """This process's rows of a whole batch: [B, ...] -> [B n/N, ...] for n of the N devices.

    Raises:
      UserError: B is not divisible by the number of devices N.
    """
    count = len(devices)
    mine = [i for i, d in enumerate(devices) if d.process_index == jax.process_index()]

    def part(name: str, x: Any) -> np.ndarray:
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[0] % count:
            raise UserError(f"A batch of shape {x.shape} ({name!r}) cannot be split over {count} devices; "
                            f"choose a batch size that is a multiple of {count}.")
        if len(mine) == count:
            return x
        size = x.shape[0] // count
        return x.reshape(count, size, *x.shape[1:])[mine].reshape(len(mine) * size, *x.shape[1:])

    return {name: part(name, x) for name, x in batch.items()}


def place(part: Mapping[str, Any], devices: Devices) -> dict[str, Any]:
    """Puts this process's rows on its n devices: [b, ...] -> [n, b/n, ...]."""
    count = len(_local(devices))
    return jax.device_put({name: np.asarray(x).reshape(count, len(x) // count, *x.shape[1:])
                           for name, x in part.items()}, _sharding(tuple(devices)))


def place_steps(parts: Sequence[Mapping[str, Any]], devices: Devices) -> dict[str, Any]:
    """The same for the rows of several steps at once: [b, ...] each -> [n, steps, b/n, ...]."""
    count = len(_local(devices))
    return jax.device_put({name: np.stack([np.asarray(part[name]).reshape(count, len(x) // count, *x.shape[1:])
                                           for part in parts], axis=1)
                           for name, x in parts[0].items()}, _sharding(tuple(devices)))


def shard(batch: Mapping[str, Any], devices: Devices) -> dict[str, Any]:
    """Places this process's part of a whole batch on its devices: [B, ...] -> [devices, B/N, ...].

    Raises:
      UserError: B is not divisible by the number of devices N.
    """
    return place(own_part(batch, devices), devices)


def memory_limit(device: jax.Device) -> int | None:
    """Bytes of an accelerator's memory that may be used; None for a CPU, or where it does not tell."""
    told = None if device.platform == "cpu" else device.memory_stats()
    return told and told.get("bytes_limit")


@functools.lru_cache(maxsize=32)
def _mapped(predict: Callable[..., Any], devices: tuple[jax.Device, ...]) -> Callable[..., Any]:
    return map_step(predict, devices=devices)


def apply_in_batches(predict: Callable[[Any, Mapping[str, Any]], Any], variables: Any,
                     arrays: Mapping[str, Any], batch_size: int, *, fill: bool = False, progress: bool = False,
                     description: str = "predict") -> np.ndarray:
    """Applies a model to any number of utterances, on all of this process's devices.

    Every process computes all rows, so nothing needs to be exchanged. The last batch is padded with repeats
    of its first utterance, whose results are dropped. Compiled once per `predict` object and shapes.

    Args:
      predict: pure, (variables, batch) -> [B, ...]; must treat utterances independently.
      variables: unreplicated model variables.
      arrays: name -> [U, ...], one row per utterance.
      batch_size: utterances at a time, rounded up to a multiple of the devices.
      fill: whether fewer rows than that are filled up, too: for calls with many different numbers of rows.
      progress: whether to show a bar.
      description: words for the bar.

    Returns:
      [U, ...] NumPy array in the order of the rows.
    """
    total = len(next(iter(arrays.values())))
    devices = tuple(jax.local_devices())
    devices = devices[:_serving(devices, batch_size, numbers_in(variables))]
    size = math.ceil((batch_size if fill else min(batch_size, max(total, 1))) / len(devices)) * len(devices)
    variables = replicate(variables, devices)
    function = _mapped(predict, devices)
    results: list[np.ndarray] = []
    pending: list[tuple[Any, int]] = []

    def fetch() -> None:
        result, count = pending.pop(0)
        result = np.asarray(result)
        results.append(result.reshape(-1, *result.shape[2:])[:count])

    for start in tqdm(range(0, total, size), desc=description, disable=not progress, dynamic_ncols=True):
        rows = np.arange(start, start + size)
        rows[rows >= total] = start
        batch = shard({name: np.asarray(x[rows]) for name, x in arrays.items()}, devices)
        pending.append((function(variables, batch), min(size, total - start)))
        if len(pending) > 1:  # one batch is computed while the next is prepared
            fetch()
    while pending:
        fetch()
    return np.concatenate(results)
