"""SERUGCL beside its controls and peers, under every protocol, normalisation and way of training.

    python -m sercl_jax.main --config=configs/tables/serugcl_grid.py:corpus=emodb,seeds=3,fold_seeds=5 \\
        --config.data.manual_dir=DIR --workdir=runs/grid

Choices as in configs/serugcl.py, and, to run a part of it, lists joined by "+":

    protocols=kfold+loso+sentence+disjoint     or session; corpus, with corpus=emodb+ravdess
    normalisations=global+speaker
    trainings=transductive+inductive           inductive trains one encoder per fold, which takes long
    rows=all                                   or names such as trained+untrained+is10
    base=serugcl                               or serugcl_plus

The openSMILE rows need the extra: pip install 'sercl_jax[opensmile]'.
"""

from sercl_jax import config as config_lib
from sercl_jax.config import Variant

CHOICES = {"protocols": "kfold+loso+sentence+disjoint", "normalisations": "global+speaker",
           "trainings": "transductive+inductive", "rows": "all", "base": "serugcl"}
NAMES = {"kfold": "random folds", "loso": "leave one speaker out", "sentence": "leave one sentence out",
         "disjoint": "disjoint in speakers and sentences", "session": "leave one session out",
         "corpus": "trained on the other corpora"}

_FIXED = {"eval.linear_c": (0.01,), "eval.rbf_c": ()}  # nothing tuned
ROWS = {
    "untrained": ("untrained", {"embedding": "untrained"}),
    "no_edges": ("trained, no edges", {"graph.edges": "none"}),
    "line": ("trained, line graph", {"graph.edges": "line"}),
    "random_sign": ("trained, random signs for FGSM", {"views.fgsm_sign": "random"}),
    "lld": ("mean + std of LLDs + SVM", {"embedding": "lld_statistics"}),
    "is10": ("openSMILE IS10 + SVM (C = 0.01)", {"embedding": "IS10", **_FIXED}),
    "compare": ("openSMILE ComParE + SVM (C = 0.01)", {"embedding": "ComParE_2016", **_FIXED}),
    "trained": ("trained", {}),
}


def get_config(arg=None):
    """A block of rows for each protocol, normalisation and way of training."""
    choice, rest = config_lib.split_choices(arg, CHOICES)
    config = config_lib.base(config_lib.one_of("base", choice["base"], ("serugcl", "serugcl_plus")), rest)
    names = list(ROWS) if choice["rows"] == "all" else [
        config_lib.one_of("rows", name, ROWS) for name in choice["rows"].split("+")]
    labels = [ROWS[name][0] for name in names]
    rows = []
    for protocol in choice["protocols"].split("+"):
        config_lib.one_of("protocols", protocol, NAMES)
        for training in choice["trainings"].split("+"):
            for normalise in choice["normalisations"].split("+"):
                common = {"eval.protocol": protocol, "normalise": normalise, "train.training": training}
                if protocol == "disjoint":
                    common["eval.folds"] = 25  # 5 groups of speakers x 5 of sentences: training keeps 64 %
                rows += [Variant(ROWS[name][0], {**common, **ROWS[name][1]},
                                 series=f"{NAMES[protocol]}, {training}, normalise={normalise}",
                                 against=tuple(label for label in labels if label != "trained")
                                 if name == "trained" else ()) for name in names]
    return config_lib.table(config, title="SERUGCL grid", rows=rows)
