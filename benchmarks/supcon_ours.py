"""Our side of `benchmarks.supcon`: the first stage's training step that `train.run` repeats, on random waveforms."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.models.speech_config import NAMED, SpeechConfig, frames_of

from . import cpc_ours, rss, timing

if TYPE_CHECKING:  # the peer's process takes batches from here and needs no JAX
    import jax

    from sercl_jax.encoders import TransformerEncoder

RATE = 16_000
BATCHES = 2
WARM_UP = 2
LEARNING_RATE = 4e-5
CHECK_BATCH, CHECK_SAMPLES = 4, RATE  # of the batch on which both sides must agree
WEIGHTS, REFERENCE = "encoder", "reference.npz"  # in the folder that the peer reads
UNDROPPED: dict[str, Any] = {"hidden_dropout": 0.0, "activation_dropout": 0.0, "attention_dropout": 0.0,
                             "feat_proj_dropout": 0.0, "layerdrop": 0.0, "apply_spec_augment": False}


def network(model: str, dropout: bool) -> SpeechConfig:
    """A published network; the waveforms come as it wants them. Without `dropout` nothing is drawn at random."""
    return dataclasses.replace(NAMED[model], normalise=False, **({} if dropout else UNDROPPED))


def random_batch(seed: int, batch: int, samples: int) -> dict[str, np.ndarray]:
    """Waveforms [B, S] float32 in -1..1, of full length; the first half of them have the emotion."""
    place = np.arange(batch)
    return {"waveform": cpc_ours.random_batch(seed, batch, samples)["waveform"].astype(np.float32) / 32768,
            "index": (place + batch * seed).astype(np.int32), "positive": place < batch // 2,
            "half": ((place >= batch // 4) & (place < batch // 2)).astype(np.int32)}


def batches(batch: int, samples: int) -> list[dict[str, np.ndarray]]:
    """What both sides cycle through."""
    return [random_batch(seed, batch, samples) for seed in range(BATCHES)]


def analytic_flops(config: SpeechConfig, batch: int, samples: int, source: str) -> dict[str, float]:
    """Matrix products of one step, a multiplication with its addition counted as 2.

    With T frames, width D, F in the feed-forward layer and A attention heads, a Transformer layer has
    2 B T (4 D^2 + 2 T D + 2 D F) in its forward pass, and 2 B T 8 D more for WavLM's gate; the backward pass twice
    that. A convolution of kernel k from c to c' channels has 2 B T' k c c' for its T' outputs, the projection
    2 B T c D; both are frozen and go forward only.

    Args:
      config: of the network.
      batch, samples: utterances, and samples of each.
      source: "waveform" or "features": whether the frozen part is in the step.

    Returns:
      "frozen", "transformer" (with pooling), and their sum "analytic". "positional" is apart: what the positional
      convolution would have as a direct one, 2 B T k D^2 / groups, forward and for its kernel's gradient; neither
      side has to compute it so, and "analytic" is without it.
    """
    width, frames, frozen = 1, float(samples), 0.0
    for channels, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
        frozen += 2 * batch * frames * kernel * width * channels
        width = channels
    model = config.hidden_size
    frozen += 2 * batch * frames * width * model
    layer = 4 * model**2 + 2 * frames * model + 2 * model * config.intermediate_size
    if config.model_type == "wavlm":
        layer += 8 * model
    transformer = 3 * 2 * batch * frames * (config.num_hidden_layers * layer + 2 * model)
    positional = 2 * 2 * batch * frames * config.num_conv_pos_embeddings * (
        model**2 / config.num_conv_pos_embedding_groups)
    frozen *= source == "waveform"
    return {"analytic": frozen + transformer, "frozen": frozen, "transformer": transformer, "positional": positional}


def objective(encoder: "TransformerEncoder") -> Any:
    """The loss that the step differentiates: the first stage's, on waveforms, or on features where there are some."""
    import jax.numpy as jnp

    from sercl_jax.methods import supcon
    from sercl_jax.methods.supcon_recipes import Contrast

    contrast = supcon.contrastive_loss(encoder, Contrast())

    def loss(variables: Any, batch: Any, key: "jax.Array") -> Any:
        if "x" not in batch:
            rows, samples = batch["waveform"].shape
            x = encoder.features(variables["frozen"], batch["waveform"], jnp.full(rows, samples))
            batch = {**batch, "x": x}
        full = jnp.ones(batch["x"].shape[:2], bool)
        return contrast({"params": variables["params"]}, {**batch, "mask": full}, key)

    return loss


class Ours:
    """The compiled training step with its state and batches on one device."""

    def __init__(self, encoder: "TransformerEncoder", frozen: Any, trained: Any, source: str, batch: int,
                 samples: int, device: "jax.Device", imported: int):
        import jax

        from sercl_jax import optim, parallel, train

        self._encoder, self._device, self._shape, devices = encoder, device, (batch, samples), (device,)
        self._imported, self._source = imported, source
        made: list[dict[str, Any]] = batches(batch, samples)
        if source == "features":
            features = jax.jit(encoder.features)
            placed = jax.device_put(frozen, device)
            for one in made:
                one["x"] = np.asarray(features(placed, one.pop("waveform"), np.full(batch, samples, np.int32)))
        fixed = {"frozen": frozen} if source == "waveform" else {}
        optimizer = optim.make(name="adam", learning_rate=LEARNING_RATE, steps=1_000_000)
        self._state = parallel.replicate({"step": np.zeros((), np.int32), "params": trained,
                                          "optimizer": optimizer.init(trained), "fixed": fixed}, devices)
        self._seed = parallel.replicate(np.uint32(0), devices)
        self._batches = [parallel.shard(one, devices) for one in made]
        # The very step of the training loop.
        step: Any = train.mapped_step(objective(encoder), optimizer.update, devices)
        start = time.perf_counter()
        self._step = step.lower(self._state, self._batches[0], self._seed).compile()
        self.compile_seconds = time.perf_counter() - start
        self.loss = float("nan")
        for repeat in range(WARM_UP):
            self(repeat)

    def __call__(self, repeat: int) -> None:
        import jax

        batch = self._batches[repeat % len(self._batches)]
        self._state, (loss, metrics) = self._step(self._state, batch, self._seed)
        jax.block_until_ready((self._state, loss, metrics))
        self.loss = float(loss[0])

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        from sercl_jax.methods.supcon_recipes import Contrast

        stats = self._device.memory_stats() or {}  # None on a CPU
        # Before the ceiling needs some.
        told = {"memory": cpc_ours.memory_facts(self._imported, stats.get("peak_bytes_in_use"))}
        cost, config = self._step.cost_analysis(), self._encoder.config
        return {"device": {"platform": self._device.platform, "kind": self._device.device_kind},
                "network": dataclasses.asdict(config), "frames": int(frames_of(config, self._shape[1])),
                "contrast": dataclasses.asdict(Contrast()), "versions": timing.versions("jax", "jaxlib", "flax"),
                "compile_seconds": self.compile_seconds, "loss": self.loss,
                "flops": {**analytic_flops(config, *self._shape, self._source), "xla": float(cost["flops"])},
                "bytes_accessed": float(cost["bytes accessed"]),
                "workspace_bytes": int(self._step.memory_analysis().temp_size_in_bytes),
                "matmul_ceiling_flops_per_second": timing.matmul_ceiling(self._device, self._encoder.dtype), **told}


def start(config: SpeechConfig) -> tuple[dict[str, Any], Any]:
    """First parameters of a network and of its pooling."""
    from sercl_jax import pretrained, train
    from sercl_jax.models.attentive import AttentivePooling

    pooling = AttentivePooling().init(train.init_key(0), np.zeros((1, 1, config.hidden_size), np.float32),
                                      np.ones((1, 1), bool))
    return dict(pretrained.random_encoder(config, 0)[1]["params"]), pooling["params"]


def write_reference(model: str, dropout: bool, device: str | None, folder: str) -> None:
    """Stores first parameters as transformers reads them, and the loss and gradient of a small batch.

    Those are in float32, with nothing drawn at random. In a process of its own (a side for `pairs` that has no
    steps), so that no other one's memory has it.

    Args:
      model, dropout, device: as in `make`.
      folder: where it goes.
    """
    import_all()
    import jax

    from sercl_jax import parallel, pretrained
    from sercl_jax.encoders import TransformerEncoder
    from sercl_jax.weight_names import fold_weight_norm, to_torch

    config = network(model, dropout)
    params, pooling = start(config)
    pretrained.save_encoder(Path(folder) / WEIGHTS, config, {"params": params})
    encoder = TransformerEncoder(dataclasses.replace(config, **UNDROPPED))
    batch, devices = random_batch(BATCHES, CHECK_BATCH, CHECK_SAMPLES), (chosen_device(device),)
    frozen, trained = encoder.split(params)
    loss = objective(encoder)

    def both(variables: Any, batch: Any) -> Any:
        def of(params: Any) -> Any:
            return loss({**variables, "params": params}, batch, jax.random.key(0))[0]

        return jax.value_and_grad(of)(variables["params"])

    with jax.default_matmul_precision("highest"):
        value, gradient = parallel.unreplicate(parallel.map_step(both, devices=devices)(
            parallel.replicate({"frozen": frozen, "params": {"encoder": trained, "pooling": pooling}}, devices),
            parallel.shard(batch, devices)))
    # The gradient of the positional kernel itself, not of a norm and a direction.
    named = fold_weight_norm(to_torch(gradient["encoder"]), "gradient")
    arrays: dict[str, Any] = {f"gradient/{name}": x for name, x in named.items()}
    np.savez(Path(folder) / REFERENCE, loss=value, waveform=batch["waveform"], pooling=np.asarray(pooling["vector"]),
             pooling_gradient=gradient["pooling"]["vector"], **arrays)


def import_all() -> None:
    """Everything that a side needs, before the memory of the step, but not torch with its thread pools."""
    sys.modules["torch"] = None  # type: ignore[assignment]  # tensorboardX would import it
    from sercl_jax import logs  # noqa: F401

    del sys.modules["torch"]  # SciPy looks into whatever there is
    from sercl_jax import pretrained, train  # noqa: F401
    from sercl_jax.methods import supcon  # noqa: F401


def chosen_device(name: str | None) -> "jax.Device":
    """The first of a platform; raises `UserError` if there is none."""
    import jax

    try:
        return jax.devices(name)[0]
    except RuntimeError as error:
        raise UserError(f"--device {name}: JAX finds none ({error}).") from error


def make(model: str, dropout: bool, precision: str, source: str, device: str | None, batch: int,
         samples: int) -> Ours:
    """A warm side for `pairs`.

    Args:
      model: name of the network.
      dropout: whether it drops, masks and skips layers.
      precision: "float32" or "bfloat16".
      source: "waveform" or "features".
      device: "cpu", "gpu" or "tpu"; None is JAX's choice.
      batch, samples: utterances, and samples of each.
    """
    import_all()
    from sercl_jax.encoders import TransformerEncoder

    imported = rss.peak()
    encoder = TransformerEncoder(network(model, dropout), precision)
    params, pooling = start(encoder.config)
    frozen, trained = encoder.split(params)
    return Ours(encoder, frozen, {"encoder": trained, "pooling": pooling}, source, batch, samples,
                chosen_device(device), imported)
