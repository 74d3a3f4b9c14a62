"""The peer of `benchmarks.supcon`: transformers' model, the same pooling and loss in PyTorch, in its own process.

Forms:

    eager            attention as transformers has it by default ("eager")
    sdpa             by torch's fused `scaled_dot_product_attention`; for WavLM, whose attention transformers writes
                     without, the one argument that keeps torch from taking it is changed
    ..._compiled     the form under torch.compile
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from . import supcon_ours, torch_step

WARM_UP = 2


class Model(nn.Module):
    """Frozen convolutions and projection, Transformer, attentive pooling."""

    def __init__(self, weights: Path, pooling: np.ndarray, attention: str):
        super().__init__()
        self.encoder = load(weights, attention)
        self.vector = nn.Parameter(torch.from_numpy(pooling.copy()))
        self.encoder.feature_extractor._freeze_parameters()
        self.encoder.feature_projection.requires_grad_(False)

    def features(self, waveform: Tensor) -> Tensor:
        """The frozen part: [B, S] -> [B, T, D]."""
        projected = self.encoder.feature_projection(self.encoder.feature_extractor(waveform).transpose(1, 2))
        hidden: Tensor = projected[0] if isinstance(projected, tuple) else projected
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        """Waveforms [B, S] or features [B, T, D] -> [B, D]."""
        if x.ndim == 2:
            h = self.encoder(x).last_hidden_state
        else:
            x = F.dropout(x, self.encoder.config.feat_proj_dropout, self.training)
            # Masks are written into what they are given.
            masked = self.encoder._mask_hidden_states(x.clone() if self.training else x)
            h = self.encoder.encoder(masked).last_hidden_state
        h = h.float()
        share = (h @ self.vector).softmax(1)
        return torch.einsum("bt,btd->bd", share, h)


def load(weights: Path, attention: str) -> Any:
    """Transformers' model of a folder, float32."""
    own = transformers.AutoConfig.from_pretrained(weights).model_type != "wavlm"
    return transformers.AutoModel.from_pretrained(weights, dtype=torch.float32,
                                                  attn_implementation=attention if own else "eager")


def fused(function: Any) -> Any:
    """`multi_head_attention_forward` that does not ask for the weights, and so takes the fused attention."""
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **{**named, "need_weights": False})

    return call


def loss(x: Tensor, contrast: Mapping[str, Any]) -> Tensor:
    """The first stage's of a batch [N, D] whose first half has the emotion, its two quarters in pairs."""
    z = F.normalize(x, dim=1)
    cosine = z @ z.T
    half = len(x) // 2
    quarter = half // 2
    among, against = cosine[:half, :half] / contrast["temperature"], cosine[:half, half:] / contrast["temperature"]
    each = F.softplus(against.logsumexp(1, keepdim=True) - among)
    others = ~torch.eye(half, dtype=torch.bool, device=x.device)
    contrasted = (each * others).sum() / (half * (half - 1))
    together = 1 - cosine[:quarter, quarter:half].diagonal()
    apart = (cosine[:half, half:].diagonal() - contrast["margin"]).relu()
    kept = contrast["alpha"] * together.mean() + apart.mean()
    return contrast["contrast_weight"] * contrasted + contrast["margin_weight"] * kept


class Peer(torch_step.TorchStep):
    """The training step in one of its forms."""

    def __init__(self, form: str, folder: Path, contrast: Mapping[str, Any], dropout: bool, precision: str,
                 source: str, batches: Sequence[Mapping[str, np.ndarray]], device: torch.device, imported: int):
        attention, _, compiled = form.partition(torch_step.COMPILED)
        if attention == "sdpa":
            F.multi_head_attention_forward = fused(F.multi_head_attention_forward)
        self._contrast, self._precision, self._device = contrast, precision, device
        with np.load(folder / supcon_ours.REFERENCE) as stored:
            reference = {name: stored[name] for name in stored}
        weights = folder / supcon_ours.WEIGHTS
        with torch_step.exact():
            agreement = torch_step.check(attention, self._differences(
                reference, Model(weights, reference["pooling"], attention)))
        self._model = Model(weights, reference["pooling"], attention).to(device).train(dropout)
        del reference
        objective = torch.compile(self._loss) if compiled else self._loss
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=supcon_ours.LEARNING_RATE, fused=True)
        placed = torch_step.place((batch["waveform"] for batch in batches), device)
        if source == "features":
            self._model.eval()
            with torch.no_grad():
                placed = [self._model.features(batch) for batch in placed]
            self._model.train(dropout)
        super().__init__(objective, optimizer, placed, WARM_UP, {"agreement": agreement, "imported": imported})

    def _loss(self, x: Tensor) -> Tensor:
        with torch_step.autocast(self._device, self._precision):
            pooled = self._model(x)
        return loss(pooled.float(), self._contrast)

    def _differences(self, reference: Mapping[str, np.ndarray], model: Model) -> dict[str, float]:
        """From our loss and gradient, relative, of equal parameters and waveforms."""
        # The gradient of the positional convolution's weight itself, as ours is, not of its norm and direction.
        parametrize.remove_parametrizations(model.encoder.encoder.pos_conv_embed.conv, "weight")
        model.to(self._device).eval()
        value = loss(model(torch.from_numpy(reference["waveform"]).to(self._device)), self._contrast)
        value.backward()
        theirs = {f"encoder.{name.partition('/')[2]}": x for name, x in reference.items() if "/" in name}
        theirs["vector"] = reference["pooling_gradient"]
        gradient = torch_step.gradient_difference(
            (mine, theirs[name]) for name, mine in model.named_parameters() if mine.requires_grad)
        return {"loss": abs(float(value.detach()) / float(reference["loss"]) - 1), "gradient": gradient}


def make(form: str, keep_freed: bool, threads: int, folder: str, contrast: dict[str, Any], dropout: bool,
         precision: str, source: str, platform: str, batch: int, samples: int) -> Peer:
    """A warm side for `pairs`: the step in one of its forms.

    Args:
      form: one of this module's.
      keep_freed, threads, platform: see `torch_step.begin`.
      folder: where `supcon_ours.write_reference` has stored weights and what they give.
      contrast: of `supcon_recipes.Contrast`, all of them.
      dropout: whether the network trains as published, with dropout, masks and layer drop.
      precision: "float32", or "bfloat16" for automatic mixed precision.
      source: "waveform" or "features".
      batch, samples: utterances, and samples of each.
    """
    device, imported = torch_step.begin(platform, threads, keep_freed)
    return Peer(form, Path(folder), contrast, dropout, precision, source, supcon_ours.batches(batch, samples), device,
                imported)
