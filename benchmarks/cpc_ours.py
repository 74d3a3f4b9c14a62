"""Our side of `benchmarks.cpc`: the training step that `train.run` repeats, on random waveforms."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.errors import UserError

from . import rss, timing

if TYPE_CHECKING:  # the peer's process takes batches from here and needs no JAX
    import jax

    from sercl_jax.models.cpc import CpcSettings

HOP = 160
BATCHES = 2
WARM_UP = 2
LEARNING_RATE = 2e-4
WEIGHT_DECAY = 1e-5  # L2, added to the gradient
CHECK_BATCH, CHECK_FRAMES = 2, 150  # of the batch on which both sides must agree


def random_batch(seed: int, batch: int, samples: int) -> dict[str, np.ndarray]:
    """Noise whose neighbouring samples are alike; every utterance is long enough to need no repeats."""
    noise = np.random.default_rng(seed).standard_normal((batch, samples + 31), np.float32)
    total = np.cumsum(noise, 1)
    waveform = np.concatenate([total[:, 31:32], total[:, 32:] - total[:, :-32]], 1) * (3000 / 32**0.5)
    return {"waveform": np.clip(waveform, -32768, 32767).astype(np.int16),
            "frames": np.full(batch, samples // HOP, np.int32),
            "index": np.arange(batch, dtype=np.int32) + batch * seed, "valid": np.ones(batch, bool)}


def batches(batch: int, samples: int) -> list[dict[str, np.ndarray]]:
    """What both sides cycle through."""
    return [random_batch(seed, batch, samples) for seed in range(BATCHES)]


def analytic_flops(settings: "CpcSettings", batch: int, samples: int) -> float:
    """Matrix products of one step, a multiplication with its addition counted as 2.

    The backward pass has two products for each of the forward pass; the first convolution's input needs no gradient.
    """
    width, frames, rows = 1, samples, 0.0
    first = 0.0
    for stride in (5, 4, 4, 2):
        frames //= stride
        layer = 2.0 * batch * frames * 2 * stride * width * settings.channels
        first, width = first or layer, settings.channels
        rows += layer
    rows += 2.0 * batch * frames * (width + settings.context) * 3 * settings.context
    rows += 2.0 * batch * frames * settings.future * width * (settings.context + 1 + settings.negatives)
    return 3 * rows - first


class Ours:
    """The compiled training step with its state and batches on one device."""

    def __init__(self, settings: "CpcSettings", batch: int, samples: int, device: "jax.Device", imported: int):
        import jax

        from sercl_jax import optim, parallel, train
        from sercl_jax.models import cpc as model

        self._settings, self._device, self._shape, devices = settings, device, (batch, samples), (device,)
        self._imported = imported
        made = batches(batch, samples)
        optimizer = optim.make(name="adam", learning_rate=LEARNING_RATE, steps=1_000_000, weight_decay=WEIGHT_DECAY)
        variables = model.initializer(settings)(train.init_key(0), made[0])
        self._state = parallel.replicate(
            {"step": np.zeros((), np.int32), "params": variables["params"],
             "optimizer": optimizer.init(variables["params"]), "fixed": {}}, devices)
        self._seed = parallel.replicate(np.uint32(0), devices)
        self._batches = [parallel.shard(one, devices) for one in made]
        # The very step of the training loop.
        step: Any = train.mapped_step(model.cpc_loss(settings), optimizer.update, devices)
        start = time.perf_counter()
        self._step = step.lower(self._state, self._batches[0], self._seed).compile()
        self.compile_seconds = time.perf_counter() - start
        self.loss = float("nan")
        for repeat in range(WARM_UP):
            self(repeat)
        jax.block_until_ready(self._state)

    def __call__(self, repeat: int) -> None:
        import jax

        batch = self._batches[repeat % len(self._batches)]
        self._state, (loss, metrics) = self._step(self._state, batch, self._seed)
        jax.block_until_ready((self._state, loss, metrics))
        self.loss = float(loss[0])

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        told = {"memory": memory_facts(self._imported, self._device_peak())}  # before the ceiling needs some
        return {"device": {"platform": self._device.platform, "kind": self._device.device_kind},
                "settings": dataclasses.asdict(self._settings),
                "versions": timing.versions("jax", "jaxlib", "flax"),
                "compile_seconds": self.compile_seconds, "loss": self.loss,
                "flops": {"analytic": analytic_flops(self._settings, *self._shape),
                          "xla": float(self._step.cost_analysis()["flops"])},
                "workspace_bytes": int(self._step.memory_analysis().temp_size_in_bytes),
                "matmul_ceiling_flops_per_second": timing.matmul_ceiling(self._device, self._settings.dtype), **told}

    def _device_peak(self) -> int | None:
        stats = self._device.memory_stats() or {}  # None on a CPU
        return stats.get("peak_bytes_in_use")


def memory_facts(imported: int, device_peak: int | None) -> dict[str, Any]:
    """Bytes: the process's peak, after its imports, between the two, and on the device if it has its own."""
    peak = rss.peak()
    return {"peak": peak, "after_imports": imported, "peak_over_imports": peak - imported,
            **({} if device_peak is None else {"device_peak": device_peak})}


def draws(settings: "CpcSettings", batch: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What `cpc_loss` draws for a batch with `key(0)`: candidates [B, K, G, 1 + N], and negatives [B, K, T, N]."""
    import jax
    import jax.numpy as jnp

    from sercl_jax.graphs import utterance_keys
    from sercl_jax.negatives import draw_candidates, usable

    rows, length = len(batch["index"]), batch["waveform"].shape[1] // HOP
    groups, size, frames = -(-length // settings.share), 1 + settings.negatives, jnp.asarray(batch["frames"])
    keys = utterance_keys(jax.random.key(0), jnp.asarray(batch["index"]))
    candidates = draw_candidates(keys, frames, length=length, draws=settings.future * groups, size=size)
    candidates = candidates.reshape(rows, settings.future, groups, size)
    share = -(-length // groups)
    negatives = []
    for k in range(1, settings.future + 1):
        chosen = candidates[:, k - 1]
        used = np.asarray(usable(chosen, (jnp.arange(groups * share) + k).reshape(groups, share), frames))
        of_each = np.broadcast_to(np.asarray(chosen)[:, :, None], used.shape)[used]
        negatives.append(of_each.reshape(rows, -1, settings.negatives)[:, :length])
    return np.asarray(candidates), np.stack(negatives, 1)


def write_reference(path: Path, settings: "CpcSettings", device: "jax.Device") -> None:
    """Stores first parameters, a small batch, its negatives, and the training step's loss and gradient of it."""
    import jax
    from flax import traverse_util

    from sercl_jax import parallel, train
    from sercl_jax.models import cpc as model

    batch, devices = random_batch(BATCHES, CHECK_BATCH, CHECK_FRAMES * HOP), (device,)
    parameters = model.initializer(settings)(train.init_key(0), batch)["params"]
    loss = model.cpc_loss(settings)

    def both(parameters: Any, batch: Any) -> Any:
        return jax.value_and_grad(lambda p: loss({"params": p}, batch, jax.random.key(0))[0])(parameters)

    value, gradient = parallel.unreplicate(parallel.map_step(both, devices=devices)(
        parallel.replicate(parameters, devices), parallel.shard(batch, devices)))
    candidates, negatives = draws(settings, batch)
    arrays = {"loss": value, "waveform": batch["waveform"], "candidates": candidates, "negatives": negatives}
    for kind, tree in (("params", parameters), ("gradient", gradient)):
        arrays |= {f"{kind}/{name}": np.asarray(x) for name, x in traverse_util.flatten_dict(tree, sep="/").items()}
    np.savez(path, **arrays)


def make(settings: dict[str, Any], device: str | None, batch: int, samples: int, reference: str | None) -> Ours:
    """A warm side for `pairs`.

    Args:
      settings: keyword arguments of `CpcSettings`.
      device: "cpu", "gpu" or "tpu"; None is JAX's choice.
      batch, samples: utterances, and samples of each.
      reference: file for `write_reference`, if any.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]  # tensorboardX would import it, with its thread pools
    import jax

    from sercl_jax import train  # noqa: F401  # all imports precede the memory of the step
    from sercl_jax.models.cpc import CpcSettings

    imported = rss.peak()
    try:
        chosen = jax.devices(device)[0]
    except RuntimeError as error:
        raise UserError(f"--device {device}: JAX finds none ({error}).") from error
    made = Ours(CpcSettings(**settings), batch, samples, chosen, imported)
    if reference is not None:
        write_reference(Path(reference), CpcSettings(**settings), chosen)
    return made
