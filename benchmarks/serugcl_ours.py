"""Our side of `benchmarks.serugcl`: the training step that `train.run` repeats, on random batches."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.errors import UserError

from . import timing

if TYPE_CHECKING:  # the peer's process takes batches from here and needs no JAX
    import jax

    from sercl_jax.models.serugcl import SerugclSettings

FEATURES = 76  # the IS10 descriptors and their deltas
BATCHES = 4
WARM_UP = 2
LEARNING_RATE = 1e-3


def random_batch(seed: int, batch: int, nodes: int) -> dict[str, np.ndarray]:
    """Standardised features whose adjacent frames are alike, as in speech; every node exists."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, nodes, FEATURES), np.float32)
    for frame in range(1, nodes):
        x[:, frame] = 0.9 * x[:, frame - 1] + np.sqrt(1 - 0.9**2) * x[:, frame]
    return {"x": x, "mask": np.ones((batch, nodes), bool), "valid": np.ones(batch, bool),
            "index": np.arange(batch, dtype=np.int32) + batch * seed, "group": np.zeros(batch, np.int32)}


def batches(batch: int, nodes: int) -> list[dict[str, np.ndarray]]:
    """What both sides cycle through."""
    return [random_batch(seed, batch, nodes) for seed in range(BATCHES)]


def analytic_flops(settings: "SerugclSettings", batch: int, nodes: int) -> float:
    """Matrix products of one step of the default method, a multiplication with its addition counted as 2."""
    pairs, rows, hidden = batch * nodes**2, batch * nodes, settings.hidden
    head = 2 * batch * (settings.layers * hidden + settings.projection) * settings.projection
    total = 2 * pairs * FEATURES  # cosine similarities
    for view in settings.views:
        gin = settings.encoder(view) == "gin"
        for layer in range(settings.layers):
            width = hidden if layer else FEATURES
            spread, first = 2 * pairs * width, 2 * rows * width * hidden
            second = 2 * rows * hidden * hidden if gin else 0
            total += spread + 2 * (first + second)  # forward, and the gradients of the weights
            # Back to the layer's input. The first layer's is wanted for GIN's eps only, and not through the sum.
            total += second + (spread + first if layer else first if gin else 0)
            if view == "original":
                total += spread + first + second  # FGSM: back to X
        total += (4 if view == "original" else 3) * head
    similarities = 2 * batch**2 * settings.projection
    comparisons = len(settings.views) * (len(settings.views) - 1) // 2
    return float(total + 3 * comparisons * similarities + 2 * similarities)


class Ours:
    """The compiled training step with its state and batches on one device."""

    def __init__(self, settings: "SerugclSettings", batches: Sequence[dict[str, np.ndarray]], device: "jax.Device"):
        import jax

        from sercl_jax import optim, parallel, train
        from sercl_jax.models import serugcl as model

        self._settings, self._device, devices = settings, device, (device,)
        self._ceiling = timing.matmul_ceiling(device, settings.dtype)
        optimizer = optim.make(name="adam", learning_rate=LEARNING_RATE, steps=1_000_000)
        variables = model.initializer(settings, model.Knobs())(train.init_key(0), batches[0])
        self.parameters = jax.tree.map(np.asarray, variables["params"])
        self._state = parallel.replicate(
            {"step": np.zeros((), np.int32), "params": variables["params"],
             "optimizer": optimizer.init(variables["params"]), "fixed": {"knobs": variables["knobs"]}}, devices)
        self._seed = parallel.replicate(np.uint32(0), devices)
        self._batches = [parallel.shard(batch, devices) for batch in batches]
        # The very step of the training loop.
        step: Any = train.mapped_step(model.contrastive_loss(settings), optimizer.update, devices)
        start = time.perf_counter()
        lowered = step.lower(self._state, self._batches[0], self._seed)
        self._step = lowered.compile()
        self.compile_seconds = time.perf_counter() - start
        self.xla_flops = float(self._step.cost_analysis()["flops"])
        self.loss = float("nan")

    def __call__(self, repeat: int) -> None:
        import jax

        batch = self._batches[repeat % len(self._batches)]
        self._state, (loss, metrics) = self._step(self._state, batch, self._seed)
        jax.block_until_ready((self._state, loss, metrics))
        self.loss = float(loss[0])

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        self._ceiling = max(self._ceiling, timing.matmul_ceiling(self._device, self._settings.dtype))
        batch, nodes, features = self._batches[0]["x"].shape[1:]
        return {"device": {"platform": self._device.platform, "kind": self._device.device_kind},
                "features": features, "settings": dataclasses.asdict(self._settings),
                "versions": timing.versions("jax", "jaxlib", "flax", "jraph"),
                "compile_seconds": self.compile_seconds, "loss": self.loss,
                "flops": {"analytic": analytic_flops(self._settings, batch, nodes), "xla": self.xla_flops},
                "matmul_ceiling_flops_per_second": self._ceiling}


def make(precision: str, device: str | None, batch: int, nodes: int, parameters: str) -> Ours:
    """A warm side for `pairs`.

    Args:
      precision: "float32" or "bfloat16", of the encoders.
      device: "cpu", "gpu" or "tpu"; None is JAX's choice.
      batch, nodes: utterances, and frames of each.
      parameters: file to store the first parameters in, for `load_parameters`.
    """
    sys.modules["torch"] = None  # type: ignore[assignment]  # tensorboardX would import it, with its thread pools
    import jax
    from flax import traverse_util

    from sercl_jax.models.serugcl import SerugclSettings

    try:
        chosen = jax.devices(device)[0]
    except RuntimeError as error:
        raise UserError(f"--device {device}: JAX finds none ({error}).") from error
    ours = Ours(SerugclSettings(dtype=precision), batches(batch, nodes), chosen)
    np.savez(parameters, **traverse_util.flatten_dict(ours.parameters, sep="/"))
    for repeat in range(WARM_UP):
        ours(repeat)
    return ours


def load_parameters(path: str | Path) -> dict[str, Any]:
    """The nested dict of arrays that `make` stored."""
    nested: dict[str, Any] = {}
    with np.load(path) as stored:
        for name in stored:
            *folders, leaf = name.split("/")
            place = nested
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = stored[name]
    return nested
