"""UA, WA, macro F1 and CCC.

Class metrics are functions of a confusion matrix [..., K, K] (rows truth, columns prediction, counts or means of
counts) and keep its leading axes, so that thousands of resamples are one call.
"""

from collections.abc import Callable, Mapping

import numpy as np

Metric = Callable[[np.ndarray], np.ndarray]


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """[U] and [U] class numbers in 0..classes - 1 -> [K, K] int64 counts, rows truth."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must be vectors of one length.")
    both = np.concatenate([truth, predicted])
    if both.size and not (both.min() >= 0 and both.max() < classes):
        raise ValueError(f"class numbers {both.min()}..{both.max()} are not all in 0..{classes - 1}.")
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def recall(matrix: np.ndarray) -> np.ndarray:
    """[..., K, K] -> [..., K] share of each class that is found; NaN for a class that the truth lacks."""
    total = matrix.sum(-1)
    return np.where(total > 0, _diagonal(matrix) / np.where(total > 0, total, 1), np.nan)


def ua(matrix: np.ndarray) -> np.ndarray:
    """[..., K, K] -> [...] unweighted accuracy: mean recall of the classes present in the truth."""
    present = matrix.sum(-1) > 0
    return np.where(present, recall(matrix), 0).sum(-1) / np.maximum(present.sum(-1), 1)


def wa(matrix: np.ndarray) -> np.ndarray:
    """[..., K, K] -> [...] weighted accuracy: the share of utterances classified rightly."""
    return _diagonal(matrix).sum(-1) / matrix.sum((-1, -2))


def f1(matrix: np.ndarray) -> np.ndarray:
    """[..., K, K] -> [...] macro F1: mean of 2 TP / (2 TP + FP + FN) over the classes present in the truth."""
    truth, predicted = matrix.sum(-1), matrix.sum(-2)
    scores = 2 * _diagonal(matrix) / np.maximum(truth + predicted, np.finfo(float).tiny)
    present = truth > 0
    return np.where(present, scores, 0).sum(-1) / np.maximum(present.sum(-1), 1)


METRICS: Mapping[str, Metric] = {"UA": ua, "WA": wa, "F1": f1}


def ccc(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Lin's concordance correlation coefficient, 2 cov / (var + var + (difference of means)²).

    Variances and covariance are the population's (divided by n). Utterances whose rating is NaN are left out. A
    constant target or prediction scores 0, also when both are the same constant (0/0): constants show no concordance.

    Args:
      truth: [U] ratings.
      predicted: [U] predictions, finite.
    """
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must be vectors of one length.")
    rated = ~np.isnan(truth)
    if not rated.any():
        raise ValueError("no utterance is rated.")
    x, y = truth[rated], predicted[rated]
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    denominator = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * covariance / denominator) if denominator > 0 else 0.0


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)
