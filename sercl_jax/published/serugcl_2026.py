"""SERUGCL: Zhang, Sun and Zhang, "Speech emotion recognition with unsupervised graph contrastive learning", Journal
of Zhejiang University (Engineering Science) 60(4), 2026, pp. 782-790, doi:10.3785/j.issn.1008-973X.2026.04.010. The
paper does not state its protocol (folds, speakers, seeds), so no difference to it is a like-for-like comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Score(NamedTuple):
    """Unweighted accuracy (mean of per-class recalls) and weighted accuracy (plain accuracy), as fractions."""

    UA: float
    WA: float


class PoolingWeights(NamedTuple):
    """Shares of max, mean and soft pooling in the weighted readout."""

    max: float
    mean: float
    soft: float


@dataclass(frozen=True)
class OtherResult:
    """A result of another group as the SERUGCL paper quotes it (fractions).

    Where only one figure is quoted, the text at hand does not tell whether it is UA or WA: it is `unplaced`.
    """

    model: str
    reference: int  # number in the paper's list of references
    year: int
    UA: float | None = None
    WA: float | None = None
    unplaced: float | None = None


Rows = Mapping[str, Mapping[str, Score]]  # row name -> corpus -> score


def _scores(iemocap: tuple[float, float], emodb: tuple[float, float]) -> Mapping[str, Score]:
    """One printed line, in per cent: IEMOCAP UA and WA, EMO-DB UA and WA."""
    return {"iemocap": _score(*iemocap), "emodb": _score(*emodb)}


def _score(ua: float, wa: float) -> Score:
    return Score(round(ua / 100, 4), round(wa / 100, 4))


def _other(model: str, reference: int, year: int, ua: float, wa: float) -> OtherResult:
    return OtherResult(model, reference, year, *_score(ua, wa))


def _single(model: str, reference: int, year: int, percent: float) -> OtherResult:
    return OtherResult(model, reference, year, unplaced=round(percent / 100, 4))


# The abstract's result, the last line of Tables 1 to 6.
SERUGCL: Mapping[str, Score] = _scores((69.96, 70.24), (91.04, 90.29))

# Table 1: augmentation strategies and pooling methods. Models 1 to 3 are not described in the text at hand; model 4
# has the figures of sum pooling in Table 5.
TABLE1: Rows = {
    "model 1": _scores((60.86, 61.23), (88.16, 87.01)),
    "model 2": _scores((63.42, 63.49), (89.10, 87.69)),
    "model 3": _scores((63.94, 64.04), (89.45, 88.48)),
    "model 4": _scores((68.84, 69.05), (90.50, 89.68)),
    "SERUGCL": SERUGCL,
}

# Table 2: others on IEMOCAP. Table 3: others on EMO-DB.
TABLE2: tuple[OtherResult, ...] = (
    _other("GA-GRU", 28, 2020, 63.80, 62.27),
    _other("LSTM-GIN", 29, 2021, 65.53, 64.65),
    _other("CoGCN", 13, 2022, 63.67, 62.64),
    _other("GLNN", 20, 2023, 68.65, 68.11),
    _single("MTL", 30, 2024, 69.16),
    _other("DSTCNet", 31, 2025, 61.78, 61.80),
    _other("APIN", 32, 2025, 60.35, 60.80),
)
TABLE3: tuple[OtherResult, ...] = (
    _other("AMSNet", 33, 2023, 88.56, 88.34),
    _single("SER-Graph", 4, 2024, 77.80),
    _other("DSTCNet-BLSTM", 31, 2025, 84.72, 85.98),
    _other("DSTCNet", 31, 2025, 86.55, 88.79),
    _other("APIN", 32, 2025, 86.00, 87.85),
    _single("CL", 34, 2025, 89.60),
)

# Table 4: which augmented views (S-F: FGSM only; S-SE: subgraph and edge perturbation only).
TABLE4: Rows = {
    "S-F": _scores((69.19, 69.42), (90.53, 89.48)),
    "S-SE": _scores((65.57, 65.93), (89.05, 87.70)),
    "SERUGCL": SERUGCL,
}

# Table 5: a single pooling instead of the weighted one.
TABLE5: Rows = {
    "mean": _scores((67.15, 67.41), (90.61, 89.77)),
    "max": _scores((66.89, 67.08), (89.46, 87.63)),
    "sum": _scores((68.84, 69.05), (90.50, 89.68)),
    "SERUGCL": SERUGCL,
}

# Table 6: which graph encoders.
TABLE6: Rows = {
    "GIN": _scores((68.11, 68.24), (89.45, 88.43)),
    "GCN": _scores((68.95, 69.12), (90.23, 89.33)),
    "GCN-GIN": _scores((68.54, 68.81), (89.90, 89.02)),
    "SERUGCL": SERUGCL,
}

# Table 7: the weight sets of Fig. 7. G sums to .90, as printed.
TABLE7: Mapping[str, PoolingWeights] = {
    "A": PoolingWeights(0.50, 0.25, 0.25),
    "B": PoolingWeights(0.25, 0.50, 0.25),
    "C": PoolingWeights(0.25, 0.25, 0.50),
    "D": PoolingWeights(0.60, 0.20, 0.20),
    "E": PoolingWeights(0.20, 0.60, 0.20),
    "F": PoolingWeights(0.20, 0.20, 0.60),
    "G": PoolingWeights(0.30, 0.30, 0.30),
}

NOTES: Mapping[str, str] = {
    "protocol": "The paper does not state its protocol, so the difference is not a like-for-like comparison.",
    "table1": "Models 1 to 3 are not described in the text at hand. They may be a ladder under sum pooling (one "
              "augmentation, another, subgraph and edge, then FGSM as well); that is a guess, so they are quoted "
              "and not reproduced. Model 4 has the figures of sum pooling in Table 5.",
    "table2": "Where the paper quotes one figure only, the text at hand does not tell whether it is UA or WA.",
    "table3": "Where the paper quotes one figure only, the text at hand does not tell whether it is UA or WA.",
    "table7": "Set G sums to .90 and is used as printed.",
    "fig5": "The paper's confusion matrices are pictures; their cells are not available as numbers.",
    "fig6": "The paper's curves over the FGSM step and over the augmentation share are a picture; their values and "
            "the swept points are not available as numbers.",
    "fig7": "The paper's scores for the weight sets A to G are a picture; their values are not available as "
            "numbers.",
}
PROTOCOLS: Mapping[str, str] = dict.fromkeys(("TABLE1", "TABLE4", "TABLE5", "TABLE6"), NOTES["protocol"])


def serugcl(corpus: str) -> Score | None:
    """The paper's result on a corpus, or None if it has none."""
    return SERUGCL.get(corpus)
