"""Our side of `benchmarks.serugcl`: the training step that `train.run` repeats, on random batches."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import our_step

if TYPE_CHECKING:  # the peer's process takes batches from here and needs no JAX
    from sercl_jax.models.serugcl import SerugclSettings

FEATURES = 76  # the IS10 descriptors and their deltas
BATCHES = 4
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


class Ours(our_step.OurStep):
    """The compiled training step on random batches."""

    def __init__(self, settings: "SerugclSettings", batch: int, nodes: int, device: Any, imported: int,
                 reference: str | None):
        from sercl_jax import optim, train
        from sercl_jax.models import serugcl as model

        made = batches(batch, nodes)
        variables = model.initializer(settings, model.Knobs())(train.init_key(0), made[0])
        if reference is not None:
            write_reference(Path(reference), settings, variables, made[0], device)
        super().__init__(model.contrastive_loss(settings),
                         optim.make(name="adam", learning_rate=LEARNING_RATE, steps=1_000_000), variables, made,
                         device, settings.dtype, imported)
        self._told = {"features": FEATURES, "settings": dataclasses.asdict(settings),
                      "flops": {"analytic": analytic_flops(settings, batch, nodes)}}

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        return self._told | super().facts()


def write_reference(path: Path, settings: "SerugclSettings", variables: Any, batch: dict[str, np.ndarray],
                    device: Any) -> None:
    """Stores parameters, a batch, and each encoder's projections of its graphs in float32, which a peer must find."""
    import jax
    from flax import traverse_util

    from sercl_jax.models.serugcl import Serugcl

    exact = Serugcl(dataclasses.replace(settings, dtype="float32"))
    with jax.default_matmul_precision("highest"), jax.default_device(device):
        projections: Any = jax.jit(exact.apply)(variables, batch)
    named = traverse_util.flatten_dict(variables["params"], sep="/")
    np.savez(path, x=batch["x"], **{f"params/{name}": np.asarray(x) for name, x in named.items()},
             **{f"projection/{kind}": np.asarray(x) for kind, x in projections.items()})


def make(precision: str, device: str | None, batch: int, nodes: int, reference: str | None) -> Ours:
    """A warm side for `pairs`.

    Args:
      precision: "float32" or "bfloat16", of the encoders.
      device: "cpu", "gpu" or "tpu"; None is JAX's choice.
      batch, nodes: utterances, and frames of each.
      reference: file for `write_reference`, if any.
    """
    imported = our_step.import_all("sercl_jax.models.serugcl")
    from sercl_jax.models.serugcl import SerugclSettings

    return Ours(SerugclSettings(dtype=precision), batch, nodes, our_step.chosen_device(device), imported, reference)


def nested(stored: dict[str, np.ndarray], kind: str) -> dict[str, Any]:
    """What `write_reference` stored below a name, as the nested dict that it was."""
    tree: dict[str, Any] = {}
    for name, values in stored.items():
        top, *path = name.split("/")
        if top == kind:
            *folders, leaf = path
            place = tree
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = values
    return tree
