"""Speaker probe and label efficiency on embeddings whose content is known."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax.classify import FIXED
from sercl_jax.errors import UserError
from sercl_jax.evaluate import evaluate, summarise
from sercl_jax.probes import draw_labelled, label_efficiency, speaker_probe
from sercl_jax.splits import make_folds
from sercl_jax.types import Utterance

LABELS = ("angry", "neutral", "sad")


def corpus(speakers: int = 6, takes: int = 8) -> list[Utterance]:
    return [Utterance(f"{s:02}-{k}-{label}", 16_000, label, speaker=f"s{s:02}", sentence=f"t{k % 4}")
            for s in range(speakers) for k in range(takes) for label in LABELS]


def one_hot(values: list[str]) -> np.ndarray:
    return (np.array(values)[:, None] == np.unique(values)).astype(float)


def test_speakers_are_found_where_they_are_and_not_where_they_are_not() -> None:
    utterances = corpus()
    noise = np.random.default_rng(0).normal(size=(len(utterances), 6))
    told = speaker_probe(one_hot([u.speaker for u in utterances]) + 0.1 * noise, utterances)
    assert told == {"UA": 1, "WA": 1, "chance": 1 / 6, "speakers": 6, "n": 144, "protocol": "sentence"}
    assert speaker_probe(noise, utterances)["UA"] == pytest.approx(1 / 6, abs=0.12)


def test_the_speaker_probe_tests_sentences_it_has_not_seen() -> None:
    # Every speaker's place depends on the sentence: known by heart with random folds, useless with new sentences.
    utterances = corpus()
    rng = np.random.default_rng(0)
    speakers = sorted({u.speaker for u in utterances})
    place = {(s, t): rng.normal(size=30) for s in speakers for t in ("t0", "t1", "t2", "t3")}
    x = np.stack([place[u.speaker, u.sentence] for u in utterances])
    assert speaker_probe(x, utterances)["UA"] < 0.5
    unknown = [dataclasses.replace(u, sentence="") for u in utterances]
    told = speaker_probe(x, unknown)
    assert told["protocol"] == "stratified"
    assert told["UA"] > 0.85


def test_the_speaker_probe_leaves_out_rare_speakers_and_caps_their_number() -> None:
    utterances = [*corpus(), Utterance("zz", 1, "sad", speaker="rare", sentence="t0"), Utterance("zzz", 1, "sad")]
    x = np.random.default_rng(0).normal(size=(len(utterances), 4))
    told = speaker_probe(x, utterances)
    assert (told["speakers"], told["n"]) == (6, 144)
    told = speaker_probe(x, utterances, most=3)
    assert (told["speakers"], told["n"], told["chance"]) == (3, 72, 1 / 3)
    with pytest.raises(UserError, match="0 speakers have 5 utterances or more"):
        speaker_probe(x[:4], [dataclasses.replace(u, speaker=f"{k}") for k, u in enumerate(utterances[:4])])


def test_the_speaker_probe_is_independent_of_order() -> None:
    utterances = corpus()
    x = one_hot([u.speaker for u in utterances]) + np.random.default_rng(0).normal(size=(len(utterances), 6))
    order = np.random.default_rng(1).permutation(len(utterances))
    assert speaker_probe(x[order], [utterances[u] for u in order]) == speaker_probe(x, utterances)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.001, 1), st.floats(0.001, 1))
def test_labels_are_drawn_per_class_from_training_only_and_nested(seed: int, one: float, other: float) -> None:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(4), rng.integers(0, 4, 56)])
    train = np.sort(np.concatenate([np.arange(4), 4 + rng.choice(56, 40, replace=False)]))
    small, large = (draw_labelled(truth, train, share, np.random.default_rng(seed)) for share in sorted((one, other)))
    assert set(small.tolist()) <= set(large.tolist()) <= set(train.tolist())
    for share, rows in zip(sorted((one, other)), (small, large), strict=True):
        had, kept = Counter(truth[train].tolist()), Counter(truth[rows].tolist())
        assert kept == {k: max(1, round(share * n)) for k, n in had.items()}


def test_more_labels_help_and_all_labels_are_the_plain_evaluation() -> None:
    utterances = corpus(takes=12)
    x = one_hot([u.label for u in utterances]) + np.random.default_rng(0).normal(size=(len(utterances), 3))
    folds = make_folds(utterances, "kfold", folds=4, fold_seed=0)
    rows = label_efficiency(x, utterances, LABELS, folds)
    assert [row["share"] for row in rows] == [0.01, 0.05, 0.1, 0.5, 1]
    assert [row["n"] for row in rows] == [3, 9, 15, 81, 162]
    assert rows[0]["UA"]["mean"] + 0.05 < rows[3]["UA"]["mean"]
    assert rows[0]["UA"]["std"] > 0
    plain = summarise([evaluate(x, utterances, LABELS, folds, settings=FIXED, group_inner=False)])
    for name in ("UA", "WA"):
        assert rows[-1][name] == {"mean": pytest.approx(plain["metrics"][name]["mean"]), "std": pytest.approx(0)}


def test_labels_that_are_not_drawn_do_not_matter() -> None:
    utterances = corpus()
    x = one_hot([u.label for u in utterances]) + np.random.default_rng(0).normal(size=(len(utterances), 3))
    fold, *_ = make_folds(utterances, "kfold", folds=4, fold_seed=0)
    truth = np.array([LABELS.index(u.label) for u in utterances])
    kept = draw_labelled(truth, fold.train, 0.1, np.random.default_rng((5, 0)))
    # Within the training part, the other rows of a class change audio with each other: what is drawn is the same
    # and the statistics are, so nothing else can have been used.
    x2 = x.copy()
    for k in range(3):
        rest = [u for u in fold.train if truth[u] == k and u not in kept]
        x2[rest] = x[np.roll(rest, 1)]
    assert (x2 != x).any()
    first, second = (label_efficiency(e, utterances, LABELS, [fold], shares=(0.1,), seeds=(5,)) for e in (x, x2))
    assert first == second
    # Rows outside of the fold's training part do not standardise: a wild unlabelled one changes nothing.
    wild = label_efficiency(np.vstack([x, np.full((1, 3), 1e6)]), [*utterances, Utterance("wild", 1)], LABELS, [fold],
                            shares=(0.1,), seeds=(5,))
    assert wild == first


def test_shares_outside_of_one_are_refused() -> None:
    utterances = corpus()
    with pytest.raises(UserError, match=r"shares \(0, 1\)"):
        label_efficiency(np.zeros((144, 2)), utterances, LABELS, [], shares=(0, 1))
