"""What decides the trainings of cross-corpus SupCon: typed, and read from the config here only."""

from dataclasses import dataclass

from ml_collections import ConfigDict

from sercl_jax import config as config_lib
from sercl_jax.errors import UserError
from sercl_jax.methods import schedules
from sercl_jax.methods.schedules import Schedule
from sercl_jax.optim import Stairs
from sercl_jax.pair_losses import PAIRINGS
from sercl_jax.sampling import HALVES


@dataclass(frozen=True)
class Contrast:
    """The loss of the first stage: contrast_weight L_c + margin_weight L_m (Xiang, equations 2 to 5).

    Attributes:
      temperature: of L_c.
      alpha, margin, pairing: of L_m, see `pair_losses.cosine_margin`.
    """

    temperature: float = 0.07
    alpha: float = 0.5
    margin: float = 0.4
    pairing: str = "elementwise"
    contrast_weight: float = 1.0
    margin_weight: float = 1.0


@dataclass(frozen=True)
class FineTuning:
    """How the encoder trains.

    Attributes:
      schedule: of everything but the encoder.
      rates: learning rates to choose from, inside the training folds.
      encoder_rate: the encoder's learning rate as a share of the others'.
      seconds: longer utterances are cut at a place drawn anew each time.
      accumulate: batches whose gradients make a step.
    """

    schedule: Schedule
    rates: tuple[float, ...]
    encoder_rate: float
    seconds: float
    accumulate: int


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the models, apart from encoder, utterances and seed.

    Attributes:
      contrast: the loss of SupCon's first stage.
      contrastive: its training.
      halves: see `sampling.EmotionPairs`.
      finetune: training by cross entropy.
      classifier: the schedule of the second stage, on a frozen encoder.
      hidden: width of the classifier's first layer.
    """

    contrast: Contrast
    contrastive: FineTuning
    halves: str
    finetune: FineTuning
    classifier: Schedule
    hidden: int


def read(config: ConfigDict) -> Recipe:
    """Reads `config.contrastive`, `config.finetune` and `config.classifier`.

    Raises:
      UserError: a value that is unknown or out of range, with the knob's name.
    """
    knobs = config.contrastive
    config_lib.one_of("config.contrastive.pairing", knobs.pairing, PAIRINGS)
    config_lib.one_of("config.contrastive.halves", knobs.halves, HALVES)
    if not knobs.temperature > 0:
        raise UserError(f"config.contrastive.temperature={knobs.temperature}: must be above 0.")
    if knobs.batch_size % 4:
        raise UserError(f"config.contrastive.batch_size={knobs.batch_size}: a batch of pairs is in quarters; give a "
                        "multiple of 4.")
    if knobs.contrast_weight < 0 or knobs.margin_weight < 0 or not knobs.contrast_weight + knobs.margin_weight > 0:
        raise UserError(f"config.contrastive: contrast_weight={knobs.contrast_weight} and "
                        f"margin_weight={knobs.margin_weight} must not be negative, and one of them positive.")
    if config.classifier.hidden < 1:
        raise UserError(f"config.classifier.hidden={config.classifier.hidden}: must be at least 1.")
    contrast = Contrast(knobs.temperature, knobs.alpha, knobs.margin, knobs.pairing, knobs.contrast_weight,
                        knobs.margin_weight)
    return Recipe(contrast, _fine_tuning(knobs, "contrastive"), knobs.halves,
                  _fine_tuning(config.finetune, "finetune"), _schedule(config.classifier, "classifier"),
                  config.classifier.hidden)


def _fine_tuning(knobs: ConfigDict, section: str) -> FineTuning:
    if not knobs.rates or any(not rate > 0 for rate in knobs.rates):
        raise UserError(f"config.{section}.rates={tuple(knobs.rates)}: at least one learning rate, all above 0.")
    if knobs.encoder_rate < 0 or not knobs.seconds > 0 or knobs.accumulate < 1:
        raise UserError(f"config.{section}: encoder_rate={knobs.encoder_rate} may not be negative, "
                        f"seconds={knobs.seconds} must be above 0 and accumulate={knobs.accumulate} at least 1.")
    return FineTuning(_schedule(knobs, section), tuple(knobs.rates), knobs.encoder_rate, knobs.seconds,
                      knobs.accumulate)


def _schedule(knobs: ConfigDict, section: str) -> Schedule:
    given = ConfigDict({**knobs, "schedule": "stairs"})
    given.learning_rate = knobs.rates[0] if "rates" in knobs else knobs.learning_rate
    stairs = Stairs(knobs.epochs, knobs.fall_first, knobs.fall_every, knobs.fall_factor)
    return schedules.read(given, section, stairs=stairs)
