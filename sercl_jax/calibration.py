"""Probabilities from a classifier's decisions, fitted on test predictions of folds and measured by cross-fitting.

Platt (1999) for several classes: multinomial logistic regression with one scale for all decisions and a bias for each
class, so that few utterances suffice. Guo et al. (2017), "On calibration of modern neural networks", call it
temperature scaling with a bias, and define the expected calibration error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from sercl_jax.types import Variables

if TYPE_CHECKING:  # it imports scikit-learn, which whoever applies a calibration need not wait for
    from sercl_jax.evaluate import Predictions

PREFIX = "calibration/"  # of the names of a final model's arrays
PARTS = 5  # that cross-fitting divides the speakers into
BINS = 10  # of the expected calibration error
_PRIOR = 1.0  # deviation that log scale and biases are expected to have about 0


@dataclass(frozen=True)
class Calibration:
    """p = softmax(scale x decision + bias).

    Attributes:
      scale: positive, so that more of a decision is never less of a probability.
      bias: [K], of mean 0.
      facts: {"utterances", "log_loss" {"before", "after"}, "ece" {"before", "after"}, "by": "speaker" or
        "utterance"}: mean negative log probability of the true class, and expected calibration error, with the
        softmax of plain decisions and calibrated on other speakers.
    """

    scale: float
    bias: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, decision: np.ndarray) -> np.ndarray:
        """[U, K] decisions, NaN for a class that was not to be had -> [U, K] probabilities, 0 for such a class."""
        return _softmax(self.scale * np.asarray(decision, np.float64) + self.bias)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """"scale" and "bias", for `probabilities` and for a model on disk."""
        return {"scale": np.array(self.scale, np.float32), "bias": np.asarray(self.bias, np.float32)}

    @property
    def words(self) -> str:
        """How it was done and how well, in a sentence."""
        error = self.facts["ece"]
        return (f"multinomial logistic regression on decisions for {self.facts['utterances']} held-out utterances; "
                f"expected calibration error {error['before']:.2f} before, {error['after']:.2f} after "
                f"(cross-fitted by {self.facts['by']})")


def probabilities(arrays: Variables, decision: jax.Array) -> jax.Array:
    """The same on the device: `Calibration.to_arrays()` and [B, K] decisions -> [B, K]."""
    return jax.nn.softmax(decision * arrays["scale"] + arrays["bias"][None], axis=-1)


def fit(decision: np.ndarray, truth: np.ndarray, speakers: Sequence[str] | np.ndarray,
        ids: Sequence[str] | np.ndarray | None = None) -> Calibration | None:
    """Fits on test predictions.

    Args:
      decision: [U, K] of classifiers that were not trained on these utterances; NaN for a class that a classifier
        did not know.
      truth: [U] class numbers; -1 for the unlabelled, which are left out.
      speakers: U names; "" is unknown. Utterances of one speaker are kept together in cross-fitting, where there are
        two speakers at least and all are known.
      ids: U names of utterances, which may occur several times, with decisions of several classifiers, and share one
        weight then; None if all are different.

    Returns:
      None if nothing is left to fit on.

    Raises:
      ValueError: the shapes do not fit.
    """
    decision, truth, names = np.asarray(decision, np.float64), np.asarray(truth), np.asarray(speakers, dtype=str)
    utterances = np.arange(len(truth)) if ids is None else np.unique(np.asarray(ids), return_inverse=True)[1]
    if decision.ndim != 2 or not len(decision) == len(truth) == len(names) == len(utterances):
        raise ValueError(f"decision {decision.shape} must be [U, K]; truth {truth.shape}, speakers and ids [U].")
    rows = np.flatnonzero(truth >= 0)
    rows = rows[np.isfinite(decision[rows, truth[rows]])]  # tested, by a classifier that could have told
    if not len(rows):
        return None
    decision, truth, names, utterances = decision[rows], truth[rows], names[rows], utterances[rows]
    known = bool((names != "").all()) and len(np.unique(names)) > 1
    groups = np.unique(names if known else utterances, return_inverse=True)[1]
    count = len(np.unique(utterances))
    held_out = np.full(decision.shape, np.nan)
    parts = groups % PARTS
    for part in np.unique(parts):
        test = parts == part
        inside = np.flatnonzero(~test) if not test.all() else np.arange(len(test))
        scale, bias = _parameters(decision[inside], truth[inside], len(np.unique(utterances[inside])))
        held_out[test] = _softmax(scale * decision[test] + bias)
    before = _softmax(decision)
    scale, bias = _parameters(decision, truth, count)
    return Calibration(scale, bias, {
        "utterances": count, "by": "speaker" if known else "utterance",
        "log_loss": {"before": log_loss(before, truth), "after": log_loss(held_out, truth)},
        "ece": {"before": expected_calibration_error(before, truth),
                "after": expected_calibration_error(held_out, truth)}})


def of_runs(runs: "Sequence[Predictions]") -> Calibration | None:
    """Fits on the test predictions of several runs (seeds, draws of folds) together."""
    return fit(*(np.concatenate([getattr(run, name) for run in runs])
                 for name in ("decision", "truth", "speakers", "ids")))


def _parameters(decision: np.ndarray, truth: np.ndarray, utterances: int) -> tuple[float, np.ndarray]:
    """Scale and bias of the highest posterior: log scale and biases are Gaussian about 0, so that few or perfectly
    separated utterances leave them finite. Repeats of an utterance share its weight.
    """
    from scipy import optimize  # whoever only applies a calibration need not wait for it

    classes = decision.shape[1]
    target = np.eye(classes)[truth]
    known = np.isfinite(decision)
    plain = np.where(known, decision, 0)

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, bias = np.exp(parameters[0]), parameters[1:]
        probability = _softmax(np.where(known, scale * plain + bias, np.nan))
        loss = utterances * log_loss(probability, truth) + (parameters ** 2).sum() / (2 * _PRIOR ** 2)
        error = (probability - target) * (utterances / len(truth))
        slope = np.concatenate([[scale * (error * plain).sum()], error.sum(0)]) + parameters / _PRIOR ** 2
        return loss, slope

    best = optimize.minimize(objective, np.zeros(1 + classes), jac=True, method="L-BFGS-B").x
    return float(np.exp(best[0])), best[1:] - best[1:].mean()


def _softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis; 0 where NaN."""
    x = np.where(np.isfinite(x), x, -np.inf)
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_loss(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean negative log of the true class's probability."""
    return float(-np.log(np.maximum(probability[np.arange(len(truth)), truth], 1e-12)).mean())


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean gap between the highest probability and how often its class is right, over `BINS` bins of that
    probability, each weighted by its size.
    """
    top, right = probability.max(1), probability.argmax(1) == truth
    bins = np.minimum((top * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, top - right, BINS)
    return float(np.abs(gaps).sum() / len(truth))
