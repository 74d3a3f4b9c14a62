"""CPC: Li, Yang, Levy, Stolcke, Rozgic, Matsoukas, Papayiannis, Bone and Wang, "Contrastive unsupervised learning for
speech emotion recognition", ICASSP 2021.

Concordance correlation coefficients, means and standard deviations over five runs: 5-fold cross-validation on
IEMOCAP, the official partition of MSP-Podcast 1.6. What IEMOCAP's folds and validation parts are made of is not
stated.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Reported(NamedTuple):
    """Mean and standard deviation over the paper's runs."""

    mean: float
    std: float


class Concordance(NamedTuple):
    """CCC of activation, valence and dominance, and what the paper prints as their average, see `NOTES`."""

    CCC_avg: Reported
    CCC_act: Reported
    CCC_val: Reported
    CCC_dom: Reported


ConcordanceRows = Mapping[str, Mapping[str, Concordance]]  # set-up as the paper calls it -> corpus -> its line

CPC_TABLE1: ConcordanceRows = {
    "Sup": {"iemocap": Concordance(Reported(0.664, 0.007), Reported(0.638, 0.017), Reported(0.718, 0.004),
                                   Reported(0.635, 0.009))},
    "jointCPC": {"iemocap": Concordance(Reported(0.562, 0.012), Reported(0.549, 0.032), Reported(0.642, 0.013),
                                        Reported(0.491, 0.016))},
    "miniCPC": {"iemocap": Concordance(Reported(0.660, 0.005), Reported(0.673, 0.028), Reported(0.702, 0.009),
                                       Reported(0.606, 0.019))},
    "preCPC": {"iemocap": Concordance(Reported(0.731, 0.003), Reported(0.752, 0.014), Reported(0.752, 0.009),
                                      Reported(0.691, 0.009))},
}
CPC_TABLE2: ConcordanceRows = {
    "Sup": {"msp_podcast": Concordance(Reported(0.458, 0.005), Reported(0.596, 0.007), Reported(0.266, 0.004),
                                       Reported(0.501, 0.013))},
    "jointCPC": {"msp_podcast": Concordance(Reported(0.491, 0.008), Reported(0.628, 0.006), Reported(0.280, 0.006),
                                            Reported(0.568, 0.007))},
    "miniCPC": {"msp_podcast": Concordance(Reported(0.549, 0.006), Reported(0.688, 0.009), Reported(0.345, 0.005),
                                           Reported(0.615, 0.011))},
    "preCPC": {"msp_podcast": Concordance(Reported(0.571, 0.004), Reported(0.706, 0.006), Reported(0.377, 0.008),
                                          Reported(0.639, 0.012))},
}
SETUPS: Mapping[str, str] = {"sup": "Sup", "joint": "jointCPC", "mini": "miniCPC", "pre": "preCPC"}  # config -> paper

PROTOCOLS: Mapping[str, str] = {
    "CPC_TABLE1": "The paper's values are means and standard deviations of five runs of 5-fold cross-validation on "
                  "IEMOCAP; how it made folds and validation parts is not stated, so the difference is not a "
                  "like-for-like comparison.",
    "CPC_TABLE2": "The paper's values are means and standard deviations of five runs on the official partition of "
                  "MSP-Podcast 1.6; other releases hold other utterances.",
}
NOTES: Mapping[str, str] = {
    "cpc_average": "CCC_avg is the mean of the other three here; the paper's is its own column, up to .004 away from "
                   "the mean of the figures beside it.",
}


def cpc(corpus: str, setup: str) -> dict[str, dict[str, float]] | None:
    """What the paper reports of a set-up (sup, joint, mini or pre), as `results.json` holds it, or None.

    Returns:
      {"CCC_avg": {"mean", "std"}, "CCC_act", "CCC_val", "CCC_dom"}.
    """
    for table in (CPC_TABLE1, CPC_TABLE2):
        line = table.get(SETUPS.get(setup, ""), {}).get(corpus)
        if line is not None:
            return {name: value._asdict() for name, value in line._asdict().items()}
    return None
