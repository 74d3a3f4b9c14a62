"""How long and how fast a stage trains: typed, and read from the config here only."""

from dataclasses import dataclass, replace
from typing import Any

from ml_collections import ConfigDict

from sercl_jax import data, optim
from sercl_jax.errors import UserError


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage trains.

    Attributes:
      batch_size: utterances per step, over all devices.
      epochs: passes over the training utterances.
      optimizer: keyword arguments of `optim.make`, apart from the number of steps.
    """

    batch_size: int
    epochs: int
    optimizer: tuple[tuple[str, Any], ...]

    def steps(self, num: int) -> tuple[int, int]:
        """Steps in an epoch and in all, for this many training utterances."""
        per_epoch = data.steps_per_epoch(num, self.batch_size)
        return per_epoch, per_epoch * self.epochs

    def at(self, learning_rate: float) -> "Schedule":
        """The same with another learning rate."""
        changed = {**dict(self.optimizer), "learning_rate": learning_rate}
        return replace(self, optimizer=tuple(sorted(changed.items())))


def read(knobs: ConfigDict, section: str, **more: Any) -> Schedule:
    """Reads the section of a stage.

    Args:
      knobs: with batch_size, epochs, optimizer, learning_rate, schedule, weight_decay, clip_norm and warmup_steps.
      section: its name, for messages.
      more: further arguments of `optim.make`.

    Raises:
      UserError: a value that is unknown or out of range, with the knob's name.
    """
    for name in ("batch_size", "epochs"):
        if knobs[name] < 1:
            raise UserError(f"config.{section}.{name}={knobs[name]}: must be at least 1.")
    optimizer = {"name": knobs.optimizer, "learning_rate": knobs.learning_rate, "schedule": knobs.schedule,
                 "weight_decay": knobs.weight_decay, "clip_norm": knobs.clip_norm,
                 "warmup_steps": knobs.warmup_steps, **more}
    try:
        optim.make(steps=1, **optimizer)
    except UserError as error:
        raise UserError(f"config.{section}: {error}") from error
    return Schedule(knobs.batch_size, knobs.epochs, tuple(sorted(optimizer.items())))
