"""Our side of `benchmarks.supcon`: the first stage's training step that `train.run` repeats, on random waveforms."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sercl_jax.models.speech_config import NAMED, SpeechConfig, frames_of

from . import cpc_ours, our_step

if TYPE_CHECKING:  # the peer's process takes batches from here and needs no JAX
    import jax

    from sercl_jax.encoders import TransformerEncoder

RATE = 16_000
BATCHES = 2
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


class Ours(our_step.OurStep):
    """The compiled training step on random waveforms, or on what the frozen part has made of them."""

    def __init__(self, encoder: "TransformerEncoder", source: str, batch: int, samples: int, device: "jax.Device",
                 imported: int):
        import jax

        from sercl_jax import optim
        from sercl_jax.methods.supcon_recipes import Contrast

        params, pooling = start(encoder.config)
        frozen, trained = encoder.split(params)
        made: list[dict[str, Any]] = batches(batch, samples)
        variables: dict[str, Any] = {"params": {"encoder": trained, "pooling": pooling}}
        if source == "waveform":
            variables["frozen"] = frozen
        else:
            features = jax.jit(encoder.features)
            placed = jax.device_put(frozen, device)
            for one in made:
                one["x"] = np.asarray(features(placed, one.pop("waveform"), np.full(batch, samples, np.int32)))
        super().__init__(objective(encoder), optim.make(name="adam", learning_rate=LEARNING_RATE, steps=1_000_000),
                         variables, made, device, encoder.dtype, imported)
        self._told = {"network": dataclasses.asdict(encoder.config),
                      "frames": int(frames_of(encoder.config, samples)), "contrast": dataclasses.asdict(Contrast()),
                      "flops": analytic_flops(encoder.config, batch, samples, source)}

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        return self._told | super().facts()


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
    our_step.import_all()
    import jax

    from sercl_jax import parallel, pretrained
    from sercl_jax.encoders import TransformerEncoder
    from sercl_jax.weight_names import fold_weight_norm, to_torch

    config = network(model, dropout)
    params, pooling = start(config)
    pretrained.save_encoder(Path(folder) / WEIGHTS, config, {"params": params})
    encoder = TransformerEncoder(dataclasses.replace(config, **UNDROPPED))
    batch, devices = random_batch(BATCHES, CHECK_BATCH, CHECK_SAMPLES), (our_step.chosen_device(device),)
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
    imported = our_step.import_all("sercl_jax.pretrained", "sercl_jax.encoders", "sercl_jax.methods.supcon")
    from sercl_jax.encoders import TransformerEncoder

    return Ours(TransformerEncoder(network(model, dropout), precision), source, batch, samples,
                our_step.chosen_device(device), imported)
