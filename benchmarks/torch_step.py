"""The peers' side of the benchmarks of training steps: what all of them do in PyTorch, on a CPU and on CUDA."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sercl_jax import memory
from sercl_jax.errors import UserError

from . import our_step, rss

AGREE = 1e-3  # float32 sums in another order differ by far less
COMPILED = "_compiled"  # ends the name of a form under torch.compile


class TorchStep:
    """A training step with its model, optimizer and batches on one device, warm.

    Args:
      objective: a batch's loss.
      optimizer: of the model's parameters.
      batches: what it cycles through, on the device.
      warm_up: steps to begin with.
      facts: more for the JSON.
    """

    def __init__(self, objective: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer,
                 batches: Sequence[Tensor], warm_up: int, facts: Mapping[str, Any]):
        self._objective, self._optimizer, self._batches, self._facts = objective, optimizer, batches, facts
        self._cuda = batches[0].device.type == "cuda"
        # A step may need gradients in its input on the way; the last pass does not.
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._last_loss = float("nan")
        start = time.perf_counter()
        for repeat in range(warm_up):
            self(repeat)
        self._warm_up_seconds = time.perf_counter() - start

    def __call__(self, repeat: int) -> None:
        """A step, done when it returns."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._objective(self._batches[repeat % len(self._batches)])
        loss.backward(inputs=self._parameters)
        self._optimizer.step()
        if self._cuda:
            torch.cuda.synchronize()
        self._last_loss = float(loss.detach())

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        on_device = torch.cuda.max_memory_allocated() if self._cuda else None
        device = {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda} if self._cuda else {}
        imported = self._facts["imported"]
        return {**{name: value for name, value in self._facts.items() if name != "imported"}, **device,
                "warm_up_seconds": self._warm_up_seconds, "loss": self._last_loss,
                "memory": our_step.process_memory(imported, on_device)}


def begin(platform: str, threads: int, keep_freed: bool) -> tuple[torch.device, int]:
    """Prepares a process; returns its device and its peak memory after the imports.

    Args:
      platform: JAX's name of the device: "cpu" or "gpu".
      threads: of torch.
      keep_freed: whether the process keeps freed memory, as our training does.

    Raises:
      UserError: this PyTorch has no such device.
    """
    imported = rss.peak()
    if platform not in ("cpu", "gpu") or (platform == "gpu" and not torch.cuda.is_available()):
        raise UserError(f"--peer torch: this PyTorch cannot compute on a {platform}; "
                        "choose --device cpu, or leave the peer out.")
    if keep_freed:
        memory.keep_freed()
    torch.set_num_threads(threads)
    _tensor_floats(True)
    return torch.device("cuda" if platform == "gpu" else "cpu"), imported


def _tensor_floats(allowed: bool) -> None:
    """TensorFloat-32 in products and convolutions on CUDA, as XLA has it by default; nothing else knows them."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Whole float32 for a comparison of results."""
    _tensor_floats(False)
    try:
        yield
    finally:
        _tensor_floats(True)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Automatic mixed precision for "bfloat16"; for "float32" nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def place(batches: Iterable[np.ndarray], device: torch.device) -> list[Tensor]:
    """Batches on the device."""
    return [torch.from_numpy(batch).to(device) for batch in batches]


def fill(tensor: Tensor, values: Any) -> None:
    """Copies an array of ours."""
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(np.array(values)))


def gradient_difference(mine: Iterable[tuple[nn.Parameter, Any]]) -> float:
    """Norm of the difference of all gradients over that of ours.

    Args:
      mine: parameters with their gradients, and ours.
    """
    apart, size = 0.0, 0.0
    for parameter, values in mine:
        ours = torch.from_numpy(np.array(values))
        # What takes no part stays without a gradient.
        found = torch.zeros_like(ours) if parameter.grad is None else parameter.grad.detach().cpu()
        apart += float((found - ours).square().sum())
        size += float(ours.square().sum())
    return (apart / size)**0.5


def check(name: str, differences: dict[str, float]) -> dict[str, float]:
    """The differences, if they are small; a peer that computes something else is not timed."""
    if not max(differences.values()) < AGREE:
        raise AssertionError(f"{name}: it does not compute what ours does, relative differences {differences}")
    return differences
