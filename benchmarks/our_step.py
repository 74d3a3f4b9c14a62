"""Our side of the benchmarks of training steps: the very step of the training loop, compiled."""

import importlib
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.errors import UserError

from . import ceilings, rss, timing

if TYPE_CHECKING:  # the peers' processes read what stands beside this class and need no JAX
    import jax

WARM_UP = 2
TRACES = ("*.xplane.pb", "*.trace.json.gz", "perfetto_trace.json.gz")


class OurStep:
    """A compiled training step with its state and batches on the devices that training would use, warm.

    Args:
      loss: a stage's.
      optimizer: an optax transformation.
      variables: what it starts from, with the collection "params".
      batches: what it cycles through.
      device: where; a CPU's also stands for the others that training divides a batch among, other kinds work alone.
      dtype: of the matrix products, for the ceiling.
      imported: the process's peak memory after its imports.
    """

    def __init__(self, loss: Any, optimizer: Any, variables: Mapping[str, Any], batches: Sequence[Mapping[str, Any]],
                 device: "jax.Device", dtype: str, imported: int):
        from sercl_jax import parallel, train

        self._devices = devices = used(device, len(next(iter(batches[0].values()))), variables)
        self._device, self._dtype, self._imported = device, dtype, imported
        fixed = {name: tree for name, tree in variables.items() if name != "params"}
        self._state = parallel.replicate({"step": np.zeros((), np.int32), "params": variables["params"],
                                          "optimizer": optimizer.init(variables["params"]), "fixed": fixed}, devices)
        self._seed = parallel.replicate(np.uint32(0), devices)
        self._batches = [parallel.shard(batch, devices) for batch in batches]
        step: Any = train.mapped_step(loss, optimizer.update, devices)
        start = time.perf_counter()
        self._step = step.lower(self._state, self._batches[0], self._seed).compile()
        self._compile_seconds = time.perf_counter() - start
        self._loss = float("nan")
        for repeat in range(WARM_UP):
            self(repeat)

    def __call__(self, repeat: int) -> None:
        """A step, done when it returns."""
        import jax

        batch = self._batches[repeat % len(self._batches)]
        self._state, (loss, metrics) = self._step(self._state, batch, self._seed)
        jax.block_until_ready((self._state, loss, metrics))
        self._loss = float(loss[0])

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        from sercl_jax import provenance

        cost = self._step.cost_analysis()
        stats = self._device.memory_stats() or {}  # None on a CPU
        count = len(self._devices)  # XLA counts for one of them
        return {"device": {"platform": self._device.platform, "kind": self._device.device_kind,
                           "runtime": self._device.client.platform_version.splitlines()[0],
                           "count": len(self._devices)},
                "git": provenance.revision(), "versions": timing.versions("jax", "jaxlib", "flax", "jraph"),
                "compile_seconds": self._compile_seconds, "loss": self._loss,
                "xla_flops": count * float(cost["flops"]), "bytes_accessed": count * float(cost["bytes accessed"]),
                "memory": {**process_memory(self._imported, stats.get("peak_bytes_in_use")),
                           "xla": {name: count * size for name, size in xla_memory(self._step).items()}}}

    def ceilings(self) -> dict[str, float]:
        """Of the device. Only after the last `facts`: the arrays that this needs are no part of a step's memory."""
        return ceilings.measure(self._device, self._dtype)

    def profile(self, folder: str, steps: int) -> list[str]:
        """Traces some steps into a folder; returns the files there, as TensorBoard and Perfetto open them."""
        import jax

        place = Path(folder)
        before = set(place.rglob("*"))
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            for repeat in range(steps):
                with jax.profiler.StepTraceAnnotation("train", step_num=repeat):
                    self(repeat)
        found = itertools.chain.from_iterable(place.rglob(pattern) for pattern in TRACES)
        return sorted(str(path.relative_to(place)) for path in found if path not in before)


def xla_memory(compiled: Any) -> dict[str, int]:
    """Bytes on the device of one compiled call, by XLA's own analysis: its parts, and "total".

    What is aliased (donated arguments whose place results take) counts once.
    """
    told = compiled.memory_analysis()
    parts = {"arguments": told.argument_size_in_bytes, "results": told.output_size_in_bytes,
             "aliased": told.alias_size_in_bytes, "workspace": told.temp_size_in_bytes,
             "program": told.generated_code_size_in_bytes}
    return {**parts, "total": sum(parts.values()) - 2 * parts["aliased"]}


def process_memory(imported: int, device_peak: int | None) -> dict[str, Any]:
    """Bytes: the process's peak, after its imports, between the two, and on the device if it has its own.

    Args:
      imported: the peak after the imports.
      device_peak: as the device's allocator tells.
    """
    peak = rss.peak()
    return {"peak": peak, "after_imports": imported, "peak_over_imports": peak - imported,
            **({} if device_peak is None else {"device_peak": device_peak})}


def import_all(*modules: str) -> int:
    """Imports what a step needs, and these modules; returns the process's peak memory then.

    Torch stays out, with its thread pools.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]  # tensorboardX would import it
    importlib.import_module("sercl_jax.logs")
    del sys.modules["torch"]  # SciPy looks into whatever there is
    for module in ("sercl_jax.train", "sercl_jax.provenance", *modules):
        importlib.import_module(module)
    return rss.peak()


def used(device: "jax.Device", rows: int, variables: Any) -> tuple["jax.Device", ...]:
    """The devices that training divides a batch of so many rows among: for a CPU's perhaps several, else this one."""
    import jax

    from sercl_jax import parallel

    if device.platform != "cpu":
        return (device,)
    return parallel.shared_by(rows, parallel.numbers_in(variables), jax.devices("cpu"))


def chosen_device(name: str | None) -> "jax.Device":
    """The first of a platform; raises `UserError` if there is none."""
    import jax

    try:
        return jax.devices(name)[0]
    except RuntimeError as error:
        raise UserError(f"--device {name}: JAX finds none ({error}).") from error
