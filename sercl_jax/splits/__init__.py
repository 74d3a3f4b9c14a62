"""Folds: which utterances train and which are tested, under every protocol.

All of them take only labelled utterances (or, for `targets="ratings"`, only rated ones), test each at most once and
are a function of the utterances' ids and fields and of `fold_seed`, never of the order in which the utterances come.

    kfold     StratifiedKFold(folds, shuffle=True, random_state=fold_seed) over utterances in sorted id order; ratings
              have no classes: KFold with the same arguments
    graphcl   the same folds; named apart because the encoder trains on all utterances (GraphCL's protocol)
    loso      leave one speaker out
    speakers  the speakers dealt into `folds` groups of about equal size (or one each), each left out once
    session   leave one session out
    sentence  leave one sentence (text) out
    disjoint  training shares neither speakers nor sentences with the test fold (see `protocols.disjoint`)
    file      the utterances' own `fold` fields or, where they have none, their `split` fields (see `protocols.file`)
    emobox    the folds that EmoBox published (see `emobox`)
    corpus    leave one corpus out, where several are joined (see `across.corpora`)

    python -m sercl_jax.splits --config=configs/serugcl.py:corpus=emodb,protocol=loso

prints who is in which fold, and what training and test share.
"""

from sercl_jax.splits.folds import (
    HELD_OUT,
    TARGETS,
    Fold,
    has_target,
    is_speaker_disjoint,
)
from sercl_jax.splits.making import (
    PROTOCOLS,
    SEEDED_PROTOCOLS,
    fewer_folds,
    fold_seeds,
    folds_of,
    make_folds,
    usual_protocol,
)
from sercl_jax.splits.published import Published, published
from sercl_jax.splits.table import Table, natural

__all__ = ["HELD_OUT", "PROTOCOLS", "SEEDED_PROTOCOLS", "TARGETS", "Fold", "Published", "Table", "fewer_folds",
           "fold_seeds", "folds_of", "has_target", "is_speaker_disjoint", "make_folds", "natural", "published",
           "usual_protocol"]
