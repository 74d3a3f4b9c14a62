"""Cross-corpus SupCon: Xiang, "A cross-corpus speech emotion recognition method based on supervised contrastive
learning". The copy at hand bears no year; its latest references are of 2024.

Unweighted accuracies, means over 5 folds of IEMOCAP (neutral, sad, angry, happy) and of CASIA (six emotions). How the
folds were drawn, and whether speakers are shared between them, is not stated.
"""

from collections.abc import Mapping
from typing import NamedTuple


class UnweightedAccuracy(NamedTuple):
    """Mean of per-class recalls, a fraction: all that the paper reports."""

    UA: float


AccuracyRows = Mapping[str, Mapping[str, UnweightedAccuracy]]  # row as the paper calls it -> corpus -> score


def _scores(**percent: float) -> Mapping[str, UnweightedAccuracy]:
    return {corpus: UnweightedAccuracy(round(value / 100, 4)) for corpus, value in percent.items()}


# Table 1: ways to fine-tune speech encoders, on IEMOCAP. A star is the paper's own mark for contrastive learning;
# its own results are the first two and the last two.
SUPCON_TABLE1: AccuracyRows = {
    "Hubert-base(FT)": _scores(iemocap=66.61),
    "WavLM-base(FT)": _scores(iemocap=68.31),
    "Wav2vec2.0(P-TAPT)": _scores(iemocap=74.30),
    "Hubert(ACP)": _scores(iemocap=73.86),
    "WavLM(ACP)": _scores(iemocap=75.60),
    "Hubert(ECAPA-TDNN)": _scores(iemocap=76.78),
    "Wav2vec2*": _scores(iemocap=73.80),
    "Hubert-base*": _scores(iemocap=76.92),
    "WavLM-base*": _scores(iemocap=77.41),
}

# Table 2: against models without pre-training, on both corpora.
SUPCON_TABLE2: AccuracyRows = {
    "Dual-TBNet": _scores(iemocap=66.70, casia=95.70),
    "TIM-Net": _scores(iemocap=72.50, casia=94.67),
    "EmoDARTS": _scores(iemocap=76.56),
    "Hubert-base": _scores(iemocap=76.92, casia=97.19),
    "WavLM-base": _scores(iemocap=77.41, casia=96.49),
}

# Rows of the method itself and of all others, on both corpora.
SUPCON: AccuracyRows = {**SUPCON_TABLE1, **SUPCON_TABLE2}

# Encoder as the configs call it -> as the paper does.
SUPCON_ENCODERS: Mapping[str, str] = {"hubert-base": "Hubert-base", "wavlm-base-plus": "WavLM-base"}

PROTOCOLS: Mapping[str, str] = dict.fromkeys(
    ("SUPCON", "SUPCON_TABLE1", "SUPCON_TABLE2"),
    "The paper's values are means over 5 folds; how it drew them, whether speakers are shared, and which utterances "
    "of IEMOCAP count as happy are not stated, and others' rows have protocols of their own, so no difference is a "
    "like-for-like comparison.")
NOTES: Mapping[str, str] = {
    "supcon_encoders": "The paper's \"WavLM-base\" is wavlm-base-plus, its \"Hubert-base\" hubert-base-ls960.",
    "supcon_equation2": "Equation 2 as printed is minimised by driving positives apart; its negative logarithm is "
                        "used here.",
    "supcon_equation4": "Equation 4 does not say which positives and negatives meet: by default the i-th ones do, "
                        "each term is a mean over its pairs, and alpha weighs the first term only. How positives are "
                        "split in halves is not stated either: by default, those of one corpus and those of the "
                        "other.",
    "supcon_epoch": "The paper does not say what an epoch of the first stage is: here, as many whole batches as the "
                    "utterances of all corpora make.",
    "supcon_selection": "The paper mentions no validation part: the last epoch counts.",
    "supcon_ft": "The paper trains its fine-tuned baseline at ten times the rate of the contrastive stage, which may "
                 "be why it is weak.",
    "supcon_analogue": "An analogue of the paper's comparison where the encoder is not a published Transformer: how "
                       "the arms compare here says little about large pre-trained ones.",
    "supcon_fig4": "The paper's curves of similarity are a picture; their values are not available as numbers. What "
                   "it says of them: before, negative pairs are more similar than positive ones; after, positive "
                   "pairs are the more similar ones from beyond the 7th layer on and near 1 at the last, where "
                   "negative ones are near .4.",
}


def supcon(corpus: str, encoder: str, arm: str) -> dict[str, float] | None:
    """What the paper reports, as `results.json` holds it, {"UA": fraction}, or None.

    Args:
      corpus: "iemocap" or "casia".
      encoder: "hubert-base" or "wavlm-base-plus".
      arm: "supcon", or "ft" for direct fine-tuning, which it reports on IEMOCAP only.
    """
    name = SUPCON_ENCODERS.get(encoder, "")
    table, row = {"supcon": (SUPCON_TABLE2, name), "ft": (SUPCON_TABLE1, f"{name}(FT)")}.get(arm, ({}, ""))
    line = table.get(row, {}).get(corpus)
    return None if line is None else line._asdict()
