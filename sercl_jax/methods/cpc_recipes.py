"""What decides the trainings of CPC: typed, and read from the config here only."""

from dataclasses import dataclass, replace

from ml_collections import ConfigDict

from sercl_jax import waveforms
from sercl_jax.errors import UserError
from sercl_jax.methods import schedules
from sercl_jax.methods.schedules import Schedule
from sercl_jax.models.cpc import CpcSettings
from sercl_jax.models.recognizer import RecognizerSettings


@dataclass(frozen=True)
class Pretraining:
    """Everything that decides a pre-trained model, apart from the utterances and the seed.

    Attributes:
      settings: of the network and its loss.
      schedule: of the stage.
      seconds: length of every waveform.
      crop: where longer ones are cut, see `waveforms.batches`.
    """

    settings: CpcSettings
    schedule: Schedule
    seconds: float
    crop: str


@dataclass(frozen=True)
class Recognition:
    """Everything that decides a recognizer, apart from its input and the seed.

    Attributes:
      settings: of the network.
      schedule: of the stage.
      seconds: what is longer is cut.
      cpc_weight: of CPC's loss beside the CCC loss, for the joint stage only.
    """

    settings: RecognizerSettings
    schedule: Schedule
    seconds: float
    cpc_weight: float = 0.0


def pretraining(config: ConfigDict) -> Pretraining:
    """Reads `config.cpc` and `config.pretrain`.

    Raises:
      UserError: a value that is unknown or out of range, with the knob's name.
    """
    knobs = config.cpc
    try:
        settings = CpcSettings(channels=knobs.channels, context=knobs.context, future=knobs.future,
                               negatives=knobs.negatives, share=knobs.share, norm=knobs.norm,
                               temperature=knobs.temperature, over_k=knobs.over_k, dtype=knobs.precision)
    except ValueError as error:
        raise UserError(f"config.cpc: {error}.") from error
    if config.pretrain.crop not in waveforms.CROPS:
        raise UserError(f"config.pretrain.crop={config.pretrain.crop}: unknown; known: {', '.join(waveforms.CROPS)}.")
    _check_seconds("pretrain", config.pretrain.seconds, knobs.future)
    return Pretraining(settings, schedules.read(config.pretrain, "pretrain"), config.pretrain.seconds,
                       config.pretrain.crop)


def recognition(config: ConfigDict) -> Recognition:
    """Reads `config.recognizer`.

    Raises:
      UserError: a value that is unknown or out of range, with the knob's name.
    """
    knobs = config.recognizer
    try:
        settings = RecognizerSettings(heads=knobs.heads, head_dim=knobs.head_dim, hidden=knobs.hidden,
                                      dropout=knobs.dropout, projection=knobs.projection, dtype=knobs.precision)
    except ValueError as error:
        raise UserError(f"config.recognizer: {error}.") from error
    waveforms.num_samples(knobs.seconds, "config.recognizer.seconds")
    return Recognition(settings, schedules.read(knobs, "recognizer"), knobs.seconds)


def joint(config: ConfigDict) -> Recognition:
    """Reads `config.recognizer` and `config.joint`; raises as `recognition` does."""
    knobs = config.joint
    _check_seconds("joint", knobs.seconds, config.cpc.future)
    return replace(recognition(config), seconds=knobs.seconds, cpc_weight=knobs.cpc_weight)


def _check_seconds(section: str, seconds: float, future: int) -> None:
    if waveforms.num_samples(seconds, f"config.{section}.seconds") // waveforms.HOP <= future:
        raise UserError(f"config.{section}.seconds={seconds}: must be longer than the {future} steps of 10 ms that "
                        "are predicted.")
