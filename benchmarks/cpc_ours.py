"""Our side of `benchmarks.cpc`: the training step that `train.run` repeats, on random waveforms."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import our_step

if TYPE_CHECKING:  # the peer's process takes batches from here and needs no JAX
    import jax

    from sercl_jax.models.cpc import CpcSettings

HOP = 160
BATCHES = 2
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


class Ours(our_step.OurStep):
    """The compiled training step on random waveforms."""

    def __init__(self, settings: "CpcSettings", batch: int, samples: int, device: "jax.Device", imported: int):
        from sercl_jax import optim, train
        from sercl_jax.models import cpc as model

        made = batches(batch, samples)
        optimizer = optim.make(name="adam", learning_rate=LEARNING_RATE, steps=1_000_000, weight_decay=WEIGHT_DECAY)
        super().__init__(model.cpc_loss(settings), optimizer,
                         model.initializer(settings)(train.init_key(0), made[0]), made, device, settings.dtype,
                         imported)
        self._told = {"settings": dataclasses.asdict(settings),
                      "flops": {"analytic": analytic_flops(settings, batch, samples)}}

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        return self._told | super().facts()


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
    """Stores first parameters, a small batch, its negatives, and the step's loss and gradient of it, in float32."""
    import jax
    from flax import traverse_util

    from sercl_jax import parallel, train
    from sercl_jax.models import cpc as model

    settings = dataclasses.replace(settings, dtype="float32")
    batch, devices = random_batch(BATCHES, CHECK_BATCH, CHECK_FRAMES * HOP), (device,)
    parameters = model.initializer(settings)(train.init_key(0), batch)["params"]
    loss = model.cpc_loss(settings)

    def both(parameters: Any, batch: Any) -> Any:
        return jax.value_and_grad(lambda p: loss({"params": p}, batch, jax.random.key(0))[0])(parameters)

    with jax.default_matmul_precision("highest"):
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
    imported = our_step.import_all("sercl_jax.models.cpc")
    from sercl_jax.models.cpc import CpcSettings

    chosen = our_step.chosen_device(device)
    made = Ours(CpcSettings(**settings), batch, samples, chosen, imported)
    if reference is not None:
        write_reference(Path(reference), CpcSettings(**settings), chosen)
    return made
