"""The support vector machine behind every class probe: chosen inside the rows it is given, stored as arrays.

scikit-learn fits on precomputed Gram matrices, so that one product serves all values of C and both kernels; the
fitted machine is plain NumPy and decides as scikit-learn's `SVC` does.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import sklearn
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.svm import SVC

from sercl_jax.errors import UserError
from sercl_jax.metrics import confusion, ua

KERNELS = ("linear", "rbf")


class Choice(NamedTuple):
    kernel: str
    c: float


@dataclass(frozen=True)
class SvmSettings:
    """What `fit_svm` may choose from.

    Attributes:
      grid: kernel (of `KERNELS`) -> costs C to try with it. A single setting is used as it is, without inner folds.
      gamma: of the rbf kernel exp(-gamma |x - y|²); "scale" is scikit-learn's 1 / (D var(x)), with the variance
        of all values of the standardised training rows.
      inner_folds: folds inside the training rows on which C and kernel are chosen.
      class_weight: None, or "balanced" to weight classes by the inverse of their frequency.
      blocks: widths of blocks of columns that count alike, however wide each is: the linear kernel is then D times
        the mean of the blocks' kernels, each divided by its width. () is one block.
      clip: standardised values beyond it are cut to it: a column that is nearly constant in training must not
        decide alone when a test row is far off. 0 is off.
    """

    grid: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: {
        "linear": (0.001, 0.01, 0.1, 1.0), "rbf": (1.0, 10.0, 100.0)})
    gamma: float | str = "scale"
    inner_folds: int = 5
    class_weight: str | None = None
    blocks: tuple[int, ...] = ()
    clip: float = 0.0

    def __post_init__(self) -> None:
        for kernel in self.grid:
            if kernel not in KERNELS:
                raise UserError(f"classifier kernel {kernel!r}: known are {', '.join(KERNELS)}.")
        if not self.choices or not all(choice.c > 0 for choice in self.choices):
            raise UserError(f"classifier grid {dict(self.grid)}: at least one C is needed, and all must be positive.")
        if not (self.gamma == "scale" or (isinstance(self.gamma, float | int) and self.gamma > 0)):
            raise UserError(f"classifier gamma={self.gamma!r}: it must be \"scale\" or positive.")
        if self.inner_folds < 2:
            raise UserError(f"classifier inner_folds={self.inner_folds}: at least 2 are needed.")
        if self.class_weight not in (None, "balanced"):
            raise UserError(f"classifier class_weight={self.class_weight!r}: None and \"balanced\" are known.")
        if self.clip < 0:
            raise UserError(f"classifier clip={self.clip}: it must not be negative (0: off).")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All settings, in the order in which ties are resolved."""
        return tuple(Choice(kernel, float(c)) for kernel, values in self.grid.items() for c in values)


# "Nothing tuned": the classifier of the functionals baselines.
FIXED = SvmSettings(grid={"linear": (0.01,)})


@dataclass(frozen=True)
class FittedSvm:
    """A standardiser and a one-against-one kernel machine, S support vectors, P = K (K - 1) / 2 pairs of classes.

    Attributes:
      mean, scale: [D] what standardises a row.
      vectors: [S, D] standardised support vectors.
      weights: [S, P] their weights in each pair (0 where the vector is of neither class).
      intercepts: [P]; pairs in the order (0, 1), (0, 2) ... (1, 2) ...
      classes: [K] the class numbers seen in training, ascending.
      factors: [D] weights of the standardised columns, 1 unless there are blocks.
      clip: bound of standardised values; 0 is none.
      gamma: of the rbf kernel; 0 means the linear one.
      c: the cost it was fitted with.
      chosen_ua: UA on the inner folds that chose it; NaN if there was no choice.
    """

    mean: np.ndarray
    scale: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    classes: np.ndarray
    factors: np.ndarray
    clip: float
    gamma: float
    c: float
    chosen_ua: float

    @property
    def kernel(self) -> str:
        return "rbf" if self.gamma else "linear"

    def pairs(self, x: np.ndarray) -> np.ndarray:
        """[U, D] -> [U, P] decision of each pair (i, j), positive for class i."""
        rows = _standardised(np.asarray(x, dtype=np.float64), self.mean, self.scale, self.clip) * self.factors
        gram = rows @ self.vectors.T
        if self.gamma:
            gram = _rbf(gram, _squares(rows), _squares(self.vectors), self.gamma)
        return gram @ self.weights + self.intercepts

    def decision(self, x: np.ndarray) -> np.ndarray:
        """[U, D] -> [U, K] votes plus squashed sums of decisions: `SVC(decision_function_shape="ovr")`.

        Also for two classes (where `SVC` gives one column), so that the shape never depends on the data.
        """
        decided = self.pairs(x)
        first, second = np.triu_indices(len(self.classes), 1)
        votes, sums = (np.zeros((len(decided), len(self.classes))) for _ in range(2))
        for p, (i, j) in enumerate(zip(first, second, strict=True)):
            sums[:, i] += decided[:, p]
            sums[:, j] -= decided[:, p]
            votes[:, i] += decided[:, p] >= 0
            votes[:, j] += decided[:, p] < 0
        return votes + sums / (3 * (np.abs(sums) + 1))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """[U, D] -> [U] class numbers: most votes, and of equals the first, as libsvm does."""
        decided = self.pairs(x)
        first, second = np.triu_indices(len(self.classes), 1)
        winners = np.where(decided > 0, first, second)
        votes = (winners[:, :, None] == np.arange(len(self.classes))).sum(1)
        return self.classes[votes.argmax(1)]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything as named arrays, none of them objects: fit for an `.npz` or a checkpoint."""
        return {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "FittedSvm":
        """The inverse of `to_arrays`.

        Raises:
          UserError: an array is missing or unknown.
        """
        if set(arrays) != set(cls.__dataclass_fields__):
            odd = sorted(set(arrays) ^ set(cls.__dataclass_fields__))
            raise UserError(f"stored classifier: the arrays {', '.join(odd)} are missing or unknown; "
                            "it was written by another version: evaluate again.")
        numbers = {name: float(arrays[name]) for name in ("clip", "gamma", "c", "chosen_ua")}
        parts = {name: np.asarray(value) for name, value in arrays.items() if name not in numbers}
        return cls(**parts, **numbers)  # type: ignore[arg-type]


def standardiser(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, both float64 [D], from rows [U, D].

    The deviation of a column that varies by less than float32 can tell is given as 1: to divide by it would make
    a feature of rounding errors.
    """
    x = np.asarray(x, dtype=np.float64)
    deviation = x.std(0)
    return x.mean(0), np.where(deviation > 1e-6 * np.abs(x).max(0), deviation, 1.0)


def fit_svm(x: np.ndarray, y: np.ndarray, groups: Sequence[str] | None, settings: SvmSettings, *,
            statistics: np.ndarray | None = None) -> FittedSvm:
    """Standardises, chooses kernel and C on folds inside these rows, and fits on all of them.

    Each inner fold standardises with its own training rows. What is chosen is the setting with the highest UA of
    pooled inner predictions, of equals the first. With fewer than two groups, or fewer than two members in some
    class, inner folds cannot keep groups apart or hold all classes; they are then made as well as they can be.

    Args:
      x: [U, D] embeddings of the training rows.
      y: [U] class numbers, at least two different.
      groups: U speakers that inner folds must not share, or None for stratified ones.
      settings: what to choose from.
      statistics: [M, D] rows whose mean and deviation standardise instead of the training rows' own (unlabelled
        training rows, when labels are few).

    Raises:
      UserError: values of x that are not finite, or a single class.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y)
    if x.ndim != 2 or len(x) != len(y):
        raise ValueError(f"x {x.shape} must be [U, D] and y {y.shape} [U].")
    if not np.isfinite(x).all():
        raise UserError(f"embeddings: {int((~np.isfinite(x)).any(1).sum())} of {len(x)} rows hold NaN or infinite "
                        "values; the training diverged or a feature is broken.")
    if len(np.unique(y)) < 2:
        raise UserError("classifier: all training rows are of one class; two are needed.")
    choices = settings.choices
    choice, score = choices[0], np.nan
    # What scikit-learn would check again in each of hundreds of fits has been checked above.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        if len(choices) > 1:
            scores = _inner_scores(x, y, groups, settings, statistics)
            choice, score = choices[int(scores.argmax())], scores.max()
        problem = _Problem(x, statistics, settings)
        machine = problem.fit(y, choice)
    return FittedSvm(mean=problem.mean, scale=problem.scale, vectors=problem.rows[machine.support_],
                     weights=_pair_weights(machine), intercepts=_intercepts(machine), classes=machine.classes_,
                     factors=problem.factors, clip=settings.clip,
                     gamma=problem.gamma if choice.kernel == "rbf" else 0.0, c=choice.c, chosen_ua=float(score))


class _Problem:
    """Training rows, standardised, with the Gram matrices that all settings share."""

    def __init__(self, x: np.ndarray, statistics: np.ndarray | None, settings: SvmSettings):
        self.mean, self.scale = standardiser(x if statistics is None else statistics)
        self.factors = _block_weights(settings.blocks, x.shape[1])
        self._clip = settings.clip
        self.rows = self._prepared(x)
        variance = self.rows.var()
        self.gamma = (float(settings.gamma) if settings.gamma != "scale" else
                      1.0 / (x.shape[1] * variance) if variance > 0 else 1.0)
        self._weight = settings.class_weight
        self._squares = _squares(self.rows)
        self._grams: dict[str, np.ndarray] = {}

    def _prepared(self, x: np.ndarray) -> np.ndarray:
        return _standardised(x, self.mean, self.scale, self._clip) * self.factors

    def gram(self, kernel: str) -> np.ndarray:
        """[U, U] kernel of the training rows with themselves."""
        if kernel not in self._grams:
            self._grams[kernel] = (self.rows @ self.rows.T if kernel == "linear" else
                                   _rbf(self.gram("linear"), self._squares, self._squares, self.gamma))
        return self._grams[kernel]

    def cross(self, x: np.ndarray, kernels: Sequence[str]) -> dict[str, np.ndarray]:
        """[V, D] -> kernel -> [V, U] with the training rows."""
        rows = self._prepared(x)
        linear = rows @ self.rows.T
        return {kernel: linear if kernel == "linear" else _rbf(linear, _squares(rows), self._squares, self.gamma)
                for kernel in kernels}

    def fit(self, y: np.ndarray, choice: Choice) -> SVC:
        machine = SVC(C=choice.c, kernel="precomputed", class_weight=self._weight, cache_size=50)
        return machine.fit(self.gram(choice.kernel), y)


def _standardised(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, clip: float) -> np.ndarray:
    z = (x - mean) / scale
    return z.clip(-clip, clip) if clip else z


def _block_weights(blocks: tuple[int, ...], width: int) -> np.ndarray:
    """[D] factors of the standardised columns, so that every block adds the same to the linear kernel's trace."""
    if not blocks:
        return np.ones(width)
    if sum(blocks) != width:
        raise ValueError(f"blocks of {blocks} columns do not make {width}.")
    return np.repeat(np.sqrt(width / (len(blocks) * np.array(blocks))), blocks)


def _inner_scores(x: np.ndarray, y: np.ndarray, groups: Sequence[str] | None, settings: SvmSettings,
                  statistics: np.ndarray | None) -> np.ndarray:
    """UA of each setting, pooled over inner folds."""
    numbers = np.unique(y, return_inverse=True)[1]
    choices = settings.choices
    predicted = np.full((len(choices), len(y)), -1)
    for train, test in inner_folds(y, groups, settings.inner_folds):
        if len(np.unique(numbers[train])) < 2:
            continue
        problem = _Problem(x[train], statistics, settings)
        cross = problem.cross(x[test], tuple(settings.grid))
        for c, choice in enumerate(choices):
            predicted[c, test] = problem.fit(numbers[train], choice).predict(cross[choice.kernel])
    told = (predicted >= 0).all(0)
    if not told.any():
        return np.zeros(len(choices))
    classes = int(numbers.max()) + 1
    return np.array([ua(confusion(numbers[told], row[told], classes)) for row in predicted])


def inner_folds(y: np.ndarray, groups: Sequence[str] | None, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and validation positions of the folds inside a training part; always the same for the same input.

    Args:
      y: [U] class numbers.
      groups: U names that no fold shares between its two parts, or None. A single name cannot be divided: the
        folds are then stratified ones.
      folds: how many at most; fewer if there are fewer groups, or fewer members in the smallest class (but two);
        none if every class has one member.
    """
    members = np.unique(y, return_counts=True)[1]
    folds = min(folds, int(members.max()))
    if folds < 2:
        return []
    if groups is not None and len(set(groups)) > 1:
        splitter = StratifiedGroupKFold(min(folds, len(set(groups))), shuffle=True, random_state=0)
    else:
        groups = None
        splitter = StratifiedKFold(min(folds, max(int(members.min()), 2)), shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # A class with fewer members than folds is known, and harmless for a choice.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return list(splitter.split(np.zeros(len(y)), y, groups))


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ud,ud->u", rows, rows)


def _rbf(linear: np.ndarray, left: np.ndarray, right: np.ndarray, gamma: float) -> np.ndarray:
    distances = np.maximum(left[:, None] + right[None, :] - 2 * linear, 0)
    return np.exp(-gamma * distances)


def _pair_weights(machine: SVC) -> np.ndarray:
    """[S, P] from libsvm's [K - 1, S], where row j - 1 of a vector of class i < j, and row i of one of class j,
    hold its weight in the pair (i, j).
    """
    stored = machine.dual_coef_ if len(machine.classes_) > 2 else -machine.dual_coef_
    owner = np.repeat(np.arange(len(machine.classes_)), machine.n_support_)
    first, second = np.triu_indices(len(machine.classes_), 1)
    weights = np.zeros((stored.shape[1], len(first)))
    for p, (i, j) in enumerate(zip(first, second, strict=True)):
        weights[owner == i, p] = stored[j - 1, owner == i]
        weights[owner == j, p] = stored[i, owner == j]
    return weights


def _intercepts(machine: SVC) -> np.ndarray:
    """[P]; scikit-learn turns the signs of two-class machines round, which `_pair_weights` turns back."""
    return machine.intercept_ if len(machine.classes_) > 2 else -machine.intercept_
