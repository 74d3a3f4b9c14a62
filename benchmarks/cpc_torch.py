"""The peer of `benchmarks.cpc`: the same model, batch and loss in PyTorch, in a process of its own.

Conv1d, LayerNorm, nn.GRU, one linear map for all K predictors, Adam. A loop over k scores what is to be told apart,
in several forms:

    gathered          every prediction draws its own negatives and gathers their vectors: [B, T - k, N, D] for each k
    matrix            the same draws, but all scores of a sequence are one product, of which those drawn are gathered
    shared            `share` successive predictions draw negatives together, as ours do
    ..._compiled      the form under torch.compile

With bfloat16 it has torch's automatic mixed precision. Shares of identified frames, which our step counts besides,
are left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import cpc_ours, torch_step

STRIDES = (5, 4, 4, 2)
LEFT = 265  # zeros before the waveform
WARM_UP = 2


class Convolution(nn.Module):
    """Strided convolution, perhaps LayerNorm over channels, ReLU; [B, C, S] -> [B, D, S']."""

    def __init__(self, channels: int, features: int, stride: int, norm: str):
        super().__init__()
        self.convolution = nn.Conv1d(channels, features, 2 * stride, stride)
        self.norm = nn.LayerNorm(features, eps=1e-6) if norm == "channel" else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        if self.norm is not None:
            x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x.relu()


class Cpc(nn.Module):
    """Four convolutions, a GRU, K predictors."""

    def __init__(self, channels: int, context: int, future: int, norm: str):
        super().__init__()
        self.future = future
        self.convolutions = nn.Sequential(*(Convolution(channels if layer else 1, channels, stride, norm)
                                            for layer, stride in enumerate(STRIDES)))
        self.gru = nn.GRU(channels, context, batch_first=True)
        self.predictors = nn.Linear(context, future * channels, bias=False)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S] int16 -> z [B, T, D] and predictions [B, T, K, D]."""
        x = F.pad(waveform.float() / 32768, (LEFT, 0))
        z = self.convolutions(x[:, None]).transpose(1, 2)
        c, _ = self.gru(z)
        return z, self.predictors(c).unflatten(-1, (self.future, -1))


def draw_each(batch: int, frames: int, k: int, negatives: int, device: torch.device) -> Tensor:
    """[B, T - k, N]: other frames than t + k."""
    positive = torch.arange(k, frames, device=device)[None, :, None]
    return (positive + torch.randint(1, frames, (batch, frames - k, negatives), device=device)) % frames


def draw_shared(batch: int, frames: int, groups: int, negatives: int, device: torch.device) -> Tensor:
    """[B, G, 1 + N]: different frames."""
    return torch.rand(batch, groups, frames, device=device).topk(1 + negatives, sorted=False).indices


def gathered(z: Tensor, predicted: Tensor, k: int, chosen: Tensor) -> Tensor:
    """Logits [B, T - k, 1 + N], the positive first."""
    batch, frames, width = z.shape
    rows = chosen + torch.arange(batch, device=z.device)[:, None, None] * frames
    negatives = F.embedding(rows, z.reshape(-1, width))  # its gradient is faster than an index's
    true = (predicted * z[:, k:]).sum(-1, keepdim=True)
    return torch.cat([true, torch.einsum("btd,btnd->btn", predicted, negatives)], -1)


def matrix(z: Tensor, predicted: Tensor, k: int, chosen: Tensor) -> Tensor:
    """Logits [B, T - k, 1 + N], the positive first."""
    positive = torch.arange(k, z.shape[1], device=z.device)[None, :, None].expand(len(z), -1, 1)
    return torch.bmm(predicted, z.transpose(1, 2)).gather(2, torch.cat([positive, chosen], 2))


def shared(z: Tensor, predicted: Tensor, k: int, chosen: Tensor) -> Tensor:
    """Logits [B, T - k, 2 + N], the positive first; -inf for the one that is no negative."""
    batch, groups, size = chosen.shape
    frames, width = z.shape[1:]
    share = -(-frames // groups)
    rows = chosen + torch.arange(batch, device=z.device)[:, None, None] * frames
    others = F.embedding(rows, z.reshape(-1, width))
    padded = F.pad(predicted, (0, 0, 0, groups * share - predicted.shape[1])).reshape(batch, groups, share, width)
    scores = torch.einsum("bgpd,bgmd->bgpm", padded, others)
    positive = (torch.arange(groups * share, device=z.device) + k).reshape(1, groups, share, 1)
    same = chosen[:, :, None] == positive
    last = torch.arange(size, device=z.device) == size - 1
    left_out = same | (last & ~same.any(-1, keepdim=True))
    scores = scores.masked_fill(left_out, -torch.inf).reshape(batch, -1, size)[:, :frames - k]
    true = (predicted * z[:, k:]).sum(-1, keepdim=True)
    return torch.cat([true, scores], -1)


SCORES = {"gathered": gathered, "matrix": matrix, "shared": shared}


def info_nce(form: str, z: Tensor, predictions: Tensor, draws: Sequence[Tensor]) -> Tensor:
    """Mean over all predictions; `draws` has a tensor for each k."""
    total, count = z.new_zeros(()), 0
    for k, chosen in enumerate(draws, 1):
        logits = SCORES[form](z, predictions[:, :-k, k - 1], k, chosen).flatten(0, 1)
        target = torch.zeros(len(logits), dtype=torch.long, device=z.device)
        total = total + F.cross_entropy(logits, target, reduction="sum")
        count += len(logits)
    return total / count


class Peer(torch_step.TorchStep):
    """The training step in one of its forms."""

    def __init__(self, form: str, settings: Mapping[str, Any], reference: Mapping[str, np.ndarray],
                 batches: Sequence[Mapping[str, np.ndarray]], device: torch.device, imported: int):
        self._form, _, compiled = form.partition(torch_step.COMPILED)
        self._settings, self._device = settings, device
        self._model = build(settings)
        copy_parameters(parameters(reference, "params"), self._model)
        self._model.to(device)
        with torch_step.exact():
            agreement = torch_step.check(self._form, self._differences(reference))
        objective = torch.compile(self._loss) if compiled else self._loss
        optimizer = torch.optim.Adam(self._model.parameters(), lr=cpc_ours.LEARNING_RATE,
                                     weight_decay=cpc_ours.WEIGHT_DECAY, fused=True)
        super().__init__(objective, optimizer, torch_step.place((batch["waveform"] for batch in batches), device),
                         WARM_UP, {"agreement": agreement, "imported": imported})

    def _loss(self, waveform: Tensor) -> Tensor:
        s, (batch, samples) = self._settings, waveform.shape
        frames = samples // cpc_ours.HOP
        if self._form == "shared":
            draws = list(draw_shared(batch, frames, s["future"] * -(-frames // s["share"]), s["negatives"],
                                     waveform.device).chunk(s["future"], 1))
        else:
            draws = [draw_each(batch, frames, k, s["negatives"], waveform.device)
                     for k in range(1, s["future"] + 1)]
        with torch_step.autocast(self._device, s["dtype"]):
            z, predictions = self._model(waveform)
            return info_nce(self._form, z, predictions, draws)

    def _differences(self, reference: Mapping[str, np.ndarray]) -> dict[str, float]:
        """From our loss and gradient, relative, of equal parameters, waveforms and negatives."""
        drawn = torch.from_numpy(reference["candidates" if self._form == "shared" else "negatives"]).long()
        draws = [chosen if self._form == "shared" else chosen[:, :-k]
                 for k, chosen in enumerate(drawn.to(self._device).unbind(1), 1)]
        waveform = torch.from_numpy(reference["waveform"]).to(self._device)
        z, predictions = self._model(waveform)
        loss = info_nce(self._form, z, predictions, draws)
        loss.backward()
        ours = build(self._settings)
        copy_parameters(parameters(reference, "gradient"), ours)
        gradient = torch_step.gradient_difference(
            (mine, theirs.detach()) for mine, theirs in zip(self._model.parameters(), ours.parameters(), strict=True))
        self._model.zero_grad(set_to_none=True)
        return {"loss": abs(float(loss.detach()) / float(reference["loss"]) - 1), "gradient": gradient}


def build(settings: Mapping[str, Any]) -> Cpc:
    """The model of `CpcSettings`."""
    return Cpc(*(settings[name] for name in ("channels", "context", "future", "norm")))


def parameters(stored: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """Our parameters ("params") or their gradient, by their path."""
    return {name.partition("/")[2]: x for name, x in stored.items() if name.startswith(f"{kind}/")}


def copy_parameters(ours: Mapping[str, np.ndarray], model: Cpc) -> None:
    """Gives the peer our parameters."""
    fill = torch_step.fill
    for i, layer in enumerate(model.convolutions):
        fill(layer.convolution.weight, ours[f"convolutions_{i}/kernel"].transpose(2, 1, 0))
        fill(layer.convolution.bias, ours[f"convolutions_{i}/bias"])
        if layer.norm is not None:
            fill(layer.norm.weight, ours[f"convolutions_{i}/LayerNorm_0/scale"])
            fill(layer.norm.bias, ours[f"convolutions_{i}/LayerNorm_0/bias"])
    fill(model.gru.weight_ih_l0, ours["gru/input_kernel"].T)
    fill(model.gru.weight_hh_l0, ours["gru/recurrent_kernel"].T)
    fill(model.gru.bias_ih_l0, ours["gru/input_bias"])
    fill(model.gru.bias_hh_l0, ours["gru/recurrent_bias"])
    predictors = ours["predictors"]  # [K, context, D]
    fill(model.predictors.weight, predictors.transpose(0, 2, 1).reshape(-1, predictors.shape[1]))


def make(form: str, keep_freed: bool, threads: int, settings: dict[str, Any], platform: str, batch: int, samples: int,
         reference: str) -> Peer:
    """A warm side for `pairs`: the step in one of its forms.

    Args:
      form: one of this module's.
      keep_freed, threads, platform: see `torch_step.begin`.
      settings: of `CpcSettings`, all of them.
      batch, samples: utterances, and samples of each.
      reference: the file that `cpc_ours.make` stored.
    """
    device, imported = torch_step.begin(platform, threads, keep_freed)
    with np.load(reference) as stored:
        arrays = {name: stored[name] for name in stored}
    return Peer(form, settings, arrays, cpc_ours.batches(batch, samples), device, imported)
