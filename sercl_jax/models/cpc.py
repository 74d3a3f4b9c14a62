"""Contrastive predictive coding of a waveform: settings, the model, its loss (METHODS.md 2)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from sercl_jax import parallel
from sercl_jax.graphs import utterance_keys
from sercl_jax.losses import cpc_info_nce
from sercl_jax.models.gru import Gru
from sercl_jax.models.strided import StridedConv
from sercl_jax.negatives import draw_candidates
from sercl_jax.types import Batch, Metrics, Variables

STRIDES = (5, 4, 4, 2)  # kernels are twice as wide: 10, 8, 8, 4
HOP = 160  # samples between latents
RECEPTIVE_FIELD = 425  # samples that one latent sees
LEFT = RECEPTIVE_FIELD - HOP  # zeros before the waveform, so that latent t sees nothing after its own 160 samples

Carry = tuple[Array, Array]


@dataclass(frozen=True)
class CpcSettings:
    """What a compiled step depends on. Equal settings share one.

    Attributes:
      channels: of each convolution, and of z.
      context: width of the GRU, and of c.
      future: K, how many later frames are predicted.
      negatives: frames each prediction is compared with.
      share: successive predictions of one k that share a draw of negatives; 1: a draw for each.
      norm: "none", or "channel": LayerNorm over the channels before each ReLU.
      temperature: divides the scores.
      over_k: "mean" of the losses of the K steps ahead, or their "sum" (Li et al. 2021, equation 2).
      dtype: of the computation; parameters and the loss are float32.
    """

    channels: int = 128
    context: int = 256
    future: int = 12
    negatives: int = 50
    share: int = 100
    norm: str = "none"
    temperature: float = 1.0
    over_k: str = "mean"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, known in (("norm", ("none", "channel")), ("over_k", ("mean", "sum")),
                            ("dtype", ("float32", "bfloat16"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}; known: {', '.join(known)}")
        for name in ("channels", "context", "future", "negatives", "share"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; must be at least 1")
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}; must be above 0")


class Cpc(nn.Module):
    """Four convolutions, a GRU and K linear predictors. Latent t sees samples 160 t - 265 to 160 t + 159."""

    settings: CpcSettings

    def setup(self) -> None:
        s = self.settings
        self.convolutions = [StridedConv(stride, s.channels, s.norm, s.dtype) for stride in STRIDES]
        self.gru = Gru(s.context, s.dtype)
        self.predictors = self.param("predictors", nn.initializers.lecun_normal(batch_axis=0),
                                     (s.future, s.context, s.channels))

    def __call__(self, waveform: Array) -> tuple[Array, Array]:
        """Waveform [B, S] float32, S >= 160 -> z [B, T, channels] and c [B, T, context] in `dtype`, T = S // 160.

        Samples after the last whole hop are not used.
        """
        whole = waveform[:, :waveform.shape[1] // HOP * HOP]
        return self.stream(self.initial_carry(waveform.shape[0]), whole)[1]

    def initial_carry(self, batch: int) -> Carry:
        """What `stream` starts from: `LEFT` zeros of waveform and a zero state for each of `batch` rows."""
        return jnp.zeros((batch, LEFT)), jnp.zeros((batch, self.settings.context))

    def stream(self, carry: Carry, chunk: Array) -> tuple[Carry, tuple[Array, Array]]:
        """The next n hops, [B, n 160] float32 -> the carry after them, and their z and c, as `__call__` has them.

        Chunk by chunk gives what the whole waveform gives. The carry is the last `LEFT` samples [B, 265] and the
        GRU's state [B, context].
        """
        tail, state = carry
        waveform = jnp.concatenate([tail, chunk], 1)
        z = waveform[..., None]
        for convolution in self.convolutions:
            z = convolution(z)
        c, state = self.gru(z, state)
        return (waveform[:, -LEFT:], state), (z, c.astype(self.settings.dtype))

    def predict(self, c: Array) -> Array:
        """[B, T, context] -> [B, T, K, channels]: at t, for frames t + 1 to t + K."""
        return jnp.moveaxis(self.predictions(c), 0, 2)

    def predictions(self, c: Array) -> Array:
        """What `predict` gives, [K, B, T, channels]: the order that the loss reads it in."""
        return jnp.einsum("btc,kcd->kbtd", c, self.predictors.astype(self.settings.dtype))

    def compare(self, waveform: Array, frames: Array, keys: Array) -> tuple[Array, Array, Array]:
        """The sums of `losses.cpc_info_nce` with candidates drawn from `keys` [B], for a waveform [B, S]."""
        return self.compare_and_context(waveform, frames, keys)[0]

    def compare_and_context(self, waveform: Array, frames: Array,
                            keys: Array) -> tuple[tuple[Array, Array, Array], Array]:
        """What `compare` gives, and c [B, T, context] that it was made of."""
        s = self.settings
        z, c = self(waveform)
        length = z.shape[1]
        groups = -(-length // s.share)
        candidates = draw_candidates(keys, frames, length=length, draws=s.future * groups, size=1 + s.negatives)
        candidates = candidates.reshape(-1, s.future, groups, 1 + s.negatives)
        return cpc_info_nce(self.predictions(c), z, candidates, frames, temperature=s.temperature), c

    def everything(self, waveform: Array) -> Array:
        """Touches every parameter, for initialisation."""
        return self.predict(self(waveform)[1])


def samples(batch: Batch) -> Array:
    """[B, S] float32 in -1..1 of "waveform" int16."""
    return batch["waveform"].astype(jnp.float32) / 32768


@functools.lru_cache
def initializer(settings: CpcSettings) -> Callable[[Array, Batch], Variables]:
    """`init(key, batch)` -> {"params"}; the parameters depend on settings and key only."""
    def init(key: Array, batch: Batch) -> Variables:
        del batch
        return jax.jit(functools.partial(Cpc(settings).init, method="everything"))(key, jnp.zeros((1, HOP)))

    return init


@functools.lru_cache
def embedder(settings: CpcSettings) -> Callable[[Variables, Batch], Array]:
    """`embed(variables, batch)` -> c [B, T, context] float32, of "waveform" [B, S] int16."""
    model = Cpc(settings)

    def embed(variables: Variables, batch: Batch) -> Array:
        _, c = model.apply(variables, samples(batch))
        return c.astype(jnp.float32)  # type: ignore[union-attr]

    return embed


@functools.lru_cache
def identifier(settings: CpcSettings) -> Callable[[Variables, Batch], Array]:
    """`identify(variables, batch)` -> [B, K] float32: for each k, the share of predictions that find the true frame.

    Among it and its negatives, which are drawn from the utterance's number alone: it must score strictly highest. NaN
    for a k that an utterance has no prediction for.
    """
    model = Cpc(settings)

    def identify(variables: Variables, batch: Batch) -> Array:
        keys = utterance_keys(jax.random.key(0), batch["index"])
        sums: Any = model.apply(variables, samples(batch), batch["frames"], keys, method="compare")
        _, identified, count = sums
        return identified / count

    return identify


@functools.lru_cache
def cpc_loss(settings: CpcSettings) -> Callable[[Variables, Batch, Array], tuple[Array, Metrics]]:
    """`loss(variables, batch, key)` -> (loss of the global batch, metrics), to be run under `parallel.AXIS`.

    The batch, on each device: "waveform" [B, S] int16, cut or repeated to S; "frames" [B] int32, the utterance's
    whole frames before it was repeated; "index" [B] int32 (its number in the corpus, which fixes its draws); "valid"
    [B] bool (false: padding of the batch). The loss is the mean over all predictions (t, k) of all valid utterances.
    Metrics: "identified_1" and "identified", the share of predictions, for k = 1 and for all k, whose true frame
    scores strictly higher than every negative.
    """
    model = Cpc(settings)

    def loss(variables: Variables, batch: Batch, key: Array) -> tuple[Array, Metrics]:
        keys = utterance_keys(key, batch["index"])
        sums: Any = model.apply(variables, samples(batch), batch["frames"], keys, method="compare")
        return global_loss(settings, sums, batch["valid"])

    return loss


def global_loss(settings: CpcSettings, sums: tuple[Array, Array, Array], valid: Array) -> tuple[Array, Metrics]:
    """The loss and metrics of `cpc_loss`, over all devices, from this device's sums of `Cpc.compare`, each [B, K]."""
    losses, identified, count = (jnp.where(valid[:, None], x, 0.0) for x in sums)
    totals, numbers = parallel.psum((jnp.sum(losses, 0), jnp.sum(count, 0)))
    metrics = {"identified_1": (jnp.sum(identified[:, 0]), jnp.sum(count[:, 0])),
               "identified": (jnp.sum(identified), jnp.sum(count))}
    if settings.over_k == "sum":
        return jnp.sum(totals / jnp.maximum(numbers, 1)), metrics
    return jnp.sum(totals) / jnp.maximum(jnp.sum(numbers), 1), metrics
