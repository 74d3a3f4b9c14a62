"""Validation parts: never anything tested, never anything trained on, the same for any order of utterances."""

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax.errors import UserError
from sercl_jax.splits import HELD_OUT, make_folds
from sercl_jax.types import Utterance
from sercl_jax.validation import carve

PROTOCOLS = ("kfold", "graphcl", "loso", "speakers", "session", "sentence", "disjoint", "file")
Parts = tuple[list[str], list[str], str]


def corpus(speakers: int = 6, sentences: int = 4, **fields: str) -> list[Utterance]:
    """Two speakers a session, rated but for one utterance in nine."""
    ratings = {"activation": 3.0, "valence": 2.0, "dominance": 1.0}
    made = [Utterance(f"{s:02}-{t:02}-{k}", 16_000, speaker=f"s{s}", session=f"{s // 2 + 8}", sentence=f"t{t}",
                      fold=str(s % 3)) for s in range(speakers) for t in range(sentences) for k in range(2)]
    return [dataclasses.replace(u, **({} if n % 9 == 4 else ratings), **fields) for n, u in enumerate(made)]


def ids(utterances: list[Utterance], fold: int, protocol: str, seed: int = 0, **more: int) -> Parts:
    chosen = make_folds(utterances, protocol, folds=5, fold_seed=1, targets="ratings")[fold]
    train, valid, words = carve(utterances, chosen.train, chosen.test, seed=seed, **more)
    return [utterances[u].id for u in train], [utterances[u].id for u in valid], words


@settings(deadline=None, max_examples=60)
@given(protocol=st.sampled_from(PROTOCOLS), speakers=st.integers(5, 9), sentences=st.integers(2, 5),
       unknown=st.sampled_from(["", "speaker", "session"]), seed=st.integers(0, 2**31),
       shuffle=st.randoms(use_true_random=False))
def test_nothing_tested_and_nothing_twice(protocol: str, speakers: int, sentences: int, unknown: str, seed: int,
                                          shuffle: random.Random) -> None:
    utterances = corpus(speakers, sentences)
    needed = {"loso": "speaker", "speakers": "speaker", "disjoint": "speaker", "session": "session"}
    if unknown and unknown != needed.get(protocol):
        utterances = [dataclasses.replace(u, **{unknown: ""}) if n % 5 == 0 else u for n, u in enumerate(utterances)]
    folds = make_folds(utterances, protocol, folds=5, fold_seed=1, targets="ratings")
    for number, fold in enumerate(folds[:4]):
        train, valid, words = carve(utterances, fold.train, fold.test, seed=seed)
        assert words
        assert len(train)
        assert len(valid)
        assert sorted([*train.tolist(), *valid.tolist()]) == sorted(fold.train.tolist())
        assert not set(fold.test.tolist()) & {*train.tolist(), *valid.tolist()}
        assert all(np.isfinite(utterances[u].valence) for u in valid)
        if "speakers shared" not in words:
            assert not {utterances[u].speaker for u in train} & {utterances[u].speaker for u in valid} - {""}
        if "training speakers" in words:
            known = {utterances[u].speaker for u in fold.train}
            assert len({utterances[u].speaker for u in valid}) == max(round(len(known) / 5), 1)
        shuffled = shuffle.sample(utterances, len(utterances))
        there = {u.id: n for n, u in enumerate(shuffled)}
        moved = [np.array([there[utterances[u].id] for u in shuffle.sample(part.tolist(), len(part))])
                 for part in (fold.train, fold.test)]
        again = carve(shuffled, *moved, seed=seed)
        assert [shuffled[u].id for u in again[0]] == [utterances[u].id for u in train]
        assert [shuffled[u].id for u in again[1]] == [utterances[u].id for u in valid]
        assert again[2] == words
        assert number < len(folds)


def test_a_whole_session_is_followed_by_the_next_in_numeric_order() -> None:
    utterances = corpus(8)  # sessions 8, 9, 10, 11
    for fold, expected in enumerate(("9", "10", "11", "8")):
        train, valid, words = ids(utterances, fold, "session")
        assert words == f"session {expected}"
        assert {u[:2] for u in valid} == {f"{s:02}" for s in range(8) if s // 2 + 8 == int(expected)}
        assert len({u[:2] for u in train}) == 4
        assert ids(utterances, fold, "session", seed=5) == (train, valid, words)


def test_two_sessions_leave_speakers_to_choose_from() -> None:
    train, valid, words = ids(corpus(4), 0, "session")
    assert words == "1 of 2 training speakers"
    assert {u[:2] for u in train + valid} == {"02", "03"}
    assert {u[:2] for u in train} != {u[:2] for u in valid}


def test_half_a_session_is_not_a_session() -> None:
    assert ids(corpus(6), 0, "loso")[2] == "1 of 5 training speakers"


def test_the_seed_draws_speakers_and_utterances() -> None:
    many = corpus(12)
    drawn = {tuple(sorted({u[:2] for u in ids(many, 0, "loso", seed=seed)[1]})) for seed in range(20)}
    assert len(drawn) > 5
    assert {len(names) for names in drawn} == {2}
    nameless = corpus(6, speaker="", session="")
    train, valid, words = ids(nameless, 0, "kfold")
    assert words == "a random fifth of the training utterances, speakers shared"
    assert len(valid) == round((len(train) + len(valid)) / 5)
    assert ids(nameless, 0, "kfold", seed=1)[1] != valid
    assert ids(nameless, 0, "kfold")[1] == valid


@pytest.mark.parametrize("name", HELD_OUT)
def test_the_official_split_comes_first(name: str) -> None:
    split = {"s0": name, "s1": name, "s2": "test1", "s3": "test2"}
    utterances = [dataclasses.replace(u, fold="", split=split.get(u.speaker, "train")) for u in corpus()[::-1]]
    train, valid, words = ids(utterances, 0, "file")
    assert words == "the official validation split"
    assert valid == sorted(u.id for u in utterances if u.split == name and np.isfinite(u.valence))
    assert train == sorted(u.id for u in utterances if u.split == "train" and np.isfinite(u.valence))
    # Other protocols train on it and test it.
    assert ids(utterances, 0, "session")[2] == "session 9"
    # Where only some of it is left over, the rest would share speakers or sentences with what is tested.
    assert ids(utterances, 0, "disjoint")[2].endswith("training speakers")


def test_an_official_split_without_ratings_is_none() -> None:
    utterances = [dataclasses.replace(u, fold="", split="test" if u.speaker == "s2" else "train") for u in corpus()]
    blank = [Utterance(f"v{n}", 1, speaker="v", split="valid", label="sad") for n in range(3)]
    assert ids(utterances + blank, 0, "file")[2] == "1 of 5 training speakers"
    fold = make_folds(utterances, "file", folds=0, fold_seed=0, targets="ratings")[0]
    assert carve(utterances + blank, fold.train, fold.test, seed=0, targets="labels")[1].tolist() == [48, 49, 50]


def test_one_utterance_cannot_be_divided() -> None:
    with pytest.raises(UserError, match="training part of 1 utterances cannot be divided"):
        carve(corpus(), np.array([3]), np.array([4]), seed=0)
