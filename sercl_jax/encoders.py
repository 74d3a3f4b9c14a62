"""Networks from waveforms to frames whose first part stays as it is while the rest is fine-tuned.

The first part (convolutions and, of a Transformer, the projection of their output) is applied once to a corpus; what
trains starts from there.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from sercl_jax import config as config_lib
from sercl_jax import pretrained, pretraining, representations
from sercl_jax.errors import UserError
from sercl_jax.models import cpc
from sercl_jax.models.gru import Gru
from sercl_jax.models.speech_config import NAMED, SpeechConfig, frames_of
from sercl_jax.models.speech_encoder import SpeechEncoder
from sercl_jax.models.strided import StridedConv
from sercl_jax.types import SAMPLE_RATE

# Where published weights lie, as far as the method's papers name them.
HUB = {"wavlm-base": "microsoft/wavlm-base", "wavlm-base-plus": "microsoft/wavlm-base-plus",
       "wavlm-large": "microsoft/wavlm-large", "hubert-base": "facebook/hubert-base-ls960",
       "hubert-large": "facebook/hubert-large-ll60k", "wav2vec2-base": "facebook/wav2vec2-base",
       "wav2vec2-large": "facebook/wav2vec2-large"}
KINDS = ("tiny", "cpc", *(name for name in NAMED if name != "tiny"))
Params = Mapping[str, Any]


class Encoder(Protocol):
    """Settings of a network; hashable, and equal ones share compiled steps.

    Attributes:
      hop: seconds between frames.
    """

    def __hash__(self) -> int: ...

    @property
    def hop(self) -> float: ...

    def frames(self, num_samples: int) -> int:
        """How many frames it makes of so many samples; at least 1."""

    def split(self, params: Params) -> tuple[Params, Params]:
        """What stays as it is, and what trains."""

    def join(self, frozen: Params, trained: Params) -> Params:
        """What `split` took apart."""

    def features(self, frozen: Params, waveform: Array, count: Array) -> Array:
        """The first part: waveform [B, S] float32 in -1..1, its valid samples [B] -> [B, T, F] float32.

        Samples after the valid ones change no frame that counts.
        """

    def layers(self, trained: Params, x: Array, mask: Array, keys: Array | None = None,
               step_key: Array | None = None) -> tuple[Array, ...]:
        """The rest: features [B, T, F] and which frames are valid [B, T] -> the frames after each layer, [B, T, D].

        With keys, one for each utterance, and a key of the step it drops and masks as its settings say.
        """

    def facts(self) -> dict[str, Any]:
        """What decides it, JSON-like."""


@dataclass(frozen=True)
class TransformerEncoder:
    """WavLM, HuBERT or wav2vec 2.0: convolutions and projection stay, the Transformer trains."""

    config: SpeechConfig
    dtype: str = "float32"
    remat: bool = False

    @property
    def hop(self) -> float:
        return float(np.prod(self.config.conv_stride)) / SAMPLE_RATE

    def _module(self) -> SpeechEncoder:
        return SpeechEncoder(self.config, dtype=self.dtype, remat=self.remat)

    def frames(self, num_samples: int) -> int:
        return max(int(frames_of(self.config, num_samples)), 1)

    def split(self, params: Params) -> tuple[Params, Params]:
        frozen = ("feature_extractor", "feature_projection")
        return ({name: params[name] for name in frozen},
                {name: tree for name, tree in params.items() if name not in frozen})

    def join(self, frozen: Params, trained: Params) -> Params:
        return {**frozen, **trained}

    def features(self, frozen: Params, waveform: Array, count: Array) -> Array:
        shortest = next(n for n in range(1, waveform.shape[1] + 1) if frames_of(self.config, n) > 0)
        mask = jnp.arange(waveform.shape[1])[None, :] < jnp.maximum(count, shortest)[:, None]
        made: Any = self._module().apply({"params": frozen}, waveform, mask, method="features")
        return made[0].astype(jnp.float32)

    def layers(self, trained: Params, x: Array, mask: Array, keys: Array | None = None,
               step_key: Array | None = None) -> tuple[Array, ...]:
        made: Any = self._module().apply({"params": trained}, x, mask, keys=keys, step_key=step_key,
                                         method="contextualise")
        return (*made.hidden_states[:-1], made.last_hidden_state)

    def facts(self) -> dict[str, Any]:
        return {"config": self.config.to_dict(), "normalise": self.config.normalise, "dtype": self.dtype}


@dataclass(frozen=True)
class CpcEncoder:
    """CPC: the convolutions stay, the GRU trains. Its layers are z and c."""

    settings: cpc.CpcSettings

    @property
    def hop(self) -> float:
        return cpc.HOP / SAMPLE_RATE

    def frames(self, num_samples: int) -> int:
        return max(num_samples // cpc.HOP, 1)

    def split(self, params: Params) -> tuple[Params, Params]:
        frozen = {name: tree for name, tree in params.items() if name.startswith("convolutions")}
        return frozen, {"gru": params["gru"]}

    def join(self, frozen: Params, trained: Params) -> Params:
        return {**frozen, **trained}

    def features(self, frozen: Params, waveform: Array, count: Array) -> Array:
        s = self.settings
        z = jnp.pad(jnp.where(jnp.arange(waveform.shape[1])[None, :] < count[:, None], waveform, 0),
                    ((0, 0), (cpc.LEFT, 0)))[..., None]
        for number, stride in enumerate(cpc.STRIDES):
            made: Any = StridedConv(stride, s.channels, s.norm, s.dtype).apply(
                {"params": frozen[f"convolutions_{number}"]}, z)
            z = made
        return z.astype(jnp.float32)

    def layers(self, trained: Params, x: Array, mask: Array, keys: Array | None = None,
               step_key: Array | None = None) -> tuple[Array, ...]:
        del mask, keys, step_key  # causal, and nothing is dropped
        start = jnp.zeros((x.shape[0], self.settings.context))
        made: Any = Gru(self.settings.context, self.settings.dtype).apply({"params": trained["gru"]}, x, start)
        return x, made[0]

    def facts(self) -> dict[str, Any]:
        return {"cpc": asdict(self.settings)}


def load(kind: str, path: str, seed: int, *, dtype: str = "float32",
         remat: bool = False) -> tuple[Encoder, Params]:
    """An encoder and its parameters, NumPy arrays.

    Args:
      kind: "tiny", a random Transformer; "cpc", pre-trained by configs/cpc.py; or a published network, such as
        "wavlm-base-plus" or "hubert-base".
      path: workdir of setup=pretrain for "cpc"; for a published one a folder with its weights, or one that holds such
        folders by kind, or a hub id; "" is the hub id that it was published under.
      seed: of random parameters, and of the pre-training that is taken.
      dtype: of the computation, "float32" or "bfloat16".
      remat: whether a Transformer's layers are computed anew in the backward pass, for memory.

    Raises:
      UserError: an unknown kind, no weights, or other weights than the kind says.
    """
    config_lib.one_of("config.encoder.kind", kind, KINDS)
    config_lib.one_of("config.encoder.precision", dtype, ("float32", "bfloat16"))
    if kind == "cpc":
        if not path:
            raise UserError("encoder=cpc needs --config.encoder.path=WORKDIR of a finished run of configs/cpc.py "
                            "with setup=pretrain.")
        settings, found = pretraining.load(Path(path), seed)
        return CpcEncoder(settings), found["params"]
    if kind == "tiny":
        module, variables = pretrained.random_encoder(network(kind), seed)
    else:
        inside = Path(path) / kind  # a folder may hold several
        place = (str(inside) if inside.is_dir() else path) if path else HUB[kind]
        module, variables = pretrained.load_encoder(place, dtype=dtype)
        _check_kind(kind, path, module.config)
    return TransformerEncoder(module.config, dtype, remat), variables["params"]


def network(kind: str) -> SpeechConfig:
    """The settings of a kind of Transformer."""
    # So small a network as "tiny" learns the masks of SpecAugment in place of the speech.
    return replace(NAMED[kind], apply_spec_augment=False) if kind == "tiny" else NAMED[kind]


def key(kind: str, path: str) -> str:
    """Hexadecimal name of the weights that `load` takes, whatever the seed; raises as it does."""
    if kind == "cpc" and path:
        return pretraining.key(Path(path))
    return kind if kind == "tiny" else representations.digest({"params": load(kind, path, 0)[1]})


def _check_kind(kind: str, path: str, found: SpeechConfig) -> None:
    wanted = NAMED[kind]
    for name in ("model_type", "hidden_size", "num_hidden_layers"):
        if getattr(wanted, name) != getattr(found, name):
            raise UserError(f"config.encoder.path={path}: holds a network with {name}={getattr(found, name)}; "
                            f"encoder={kind} has {getattr(wanted, name)}. Choose the kind that it is.")
