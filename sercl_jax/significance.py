"""Tests of a difference between two systems that were tested on the same utterances.

Utterances of one speaker are not independent, so whole speakers are what is exchanged or ranked. Nothing here imports
JAX.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import stats

FEWEST_SPEAKERS = 6  # with fewer, no test over speakers can say p < 0.05: 2 / 2^5 = 0.0625
FEWEST_FOLDS = 5  # with fewer, the variance between folds is a guess
EXCHANGES = 9999  # drawn where there are more than can be listed
_LISTED = 13  # speakers up to which all 2^S exchanges are listed
_AT_ONCE = 2**21  # numbers in memory


def exchange_p(ours: np.ndarray, theirs: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], *,
               seed: int = 0) -> float:
    """Two-sided p-value of a permutation test that exchanges the two systems' outputs, speaker by speaker.

    If the systems are equally good, a speaker's outputs might as well be the other system's. Every exchange of up to
    13 speakers is counted; of more, 9999 are drawn, and what was observed counts as one more.

    Args:
      ours, theirs: [P, S, ...] sums by speaker of P pairs of runs, of which the statistic is a function (confusion
        matrices, moments).
      statistic: [..., P, ...] sums over speakers -> [..., P]; what is compared is its mean over the pairs.
      seed: of the draws.

    Raises:
      ValueError: fewer than `FEWEST_SPEAKERS` speakers, or shapes that differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"the systems' shapes {ours.shape} and {theirs.shape} differ.")
    speakers = ours.shape[1]
    _check(speakers, FEWEST_SPEAKERS, "speakers")
    left, right = (x.swapaxes(0, 1).reshape(speakers, -1) for x in (ours, theirs))
    observed = abs(_differences(np.zeros((1, speakers)), left, right, statistic, ours.shape)[0])
    found = np.concatenate([_differences(part, left, right, statistic, ours.shape)
                            for part in _exchanges(speakers, seed)])
    # Equal but for rounding counts as equal.
    extreme = int((np.abs(found) >= observed * (1 - 1e-9) - 1e-12).sum())
    return extreme / len(found) if speakers <= _LISTED else (extreme + 1) / (len(found) + 1)


def _exchanges(speakers: int, seed: int) -> Iterator[np.ndarray]:
    """[exchanges, S] of 0 and 1, in parts that fit into memory."""
    if speakers <= _LISTED:
        yield (np.arange(2 ** speakers)[:, None] >> np.arange(speakers) & 1).astype(np.float64)
        return
    draw = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // speakers)
    for start in range(0, EXCHANGES, rows):
        yield draw.integers(0, 2, (min(rows, EXCHANGES - start), speakers)).astype(np.float64)


def _differences(exchanges: np.ndarray, left: np.ndarray, right: np.ndarray,
                 statistic: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """[exchanges] mean over pairs of the difference after each exchange; `left` and `right` are [S, P * ...]."""
    moved = exchanges @ (right - left)
    one, other = (statistic((x.sum(0) + sign * moved).reshape(-1, shape[0], *shape[2:]))
                  for x, sign in ((left, 1), (right, -1)))
    return (one - other).mean(-1)


def signed_rank_p(differences: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; speakers without a difference are left out.

    Args:
      differences: [S] of each speaker's scores.

    Raises:
      ValueError: fewer than `FEWEST_SPEAKERS` speakers.
    """
    differences = np.asarray(differences, dtype=np.float64)
    _check(len(differences), FEWEST_SPEAKERS, "speakers")
    differences = np.round(differences[np.abs(differences) > 1e-12], 12)  # ties stay ties
    if not len(differences):
        return 1.0
    tied = len(np.unique(np.abs(differences))) < len(differences)
    return float(stats.wilcoxon(differences, method="approx" if tied or len(differences) > 50 else "exact").pvalue)


def corrected_t_p(differences: np.ndarray, test_to_train: float) -> float:
    """Two-sided p-value of the corrected resampled t-test (Nadeau and Bengio, 2003) over folds.

    The training parts of folds overlap, so that scores of folds vary less than those of independent samples would;
    the variance of the mean is taken as (1/n + test/train) times that of the differences.

    Args:
      differences: [n] of the folds' scores; of several divisions into folds, all of theirs.
      test_to_train: size of a test part over that of its training part; 1 / (k - 1) for k folds.

    Raises:
      ValueError: fewer than `FEWEST_FOLDS` folds.
    """
    differences = np.asarray(differences, dtype=np.float64)
    n = len(differences)
    _check(n, FEWEST_FOLDS, "folds")
    spread, mean = differences.std(ddof=1), differences.mean()
    if spread <= 1e-12:
        return 1.0 if abs(mean) <= 1e-12 else 0.0
    t = mean / (spread * np.sqrt(1 / n + test_to_train))
    return float(2 * stats.t.sf(abs(t), n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several comparisons, adjusted by Holm's method (1979): the family's error rate is controlled."""
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _check(count: int, fewest: int, what: str) -> None:
    if count < fewest:
        raise ValueError(f"{count} {what} are too few for a test; {fewest} are needed.")
