"""Folds: disjoint as promised, every labelled utterance tested once, the same for any order of input."""

import dataclasses
import math
import random
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold, StratifiedKFold

from sercl_jax.errors import UserError
from sercl_jax.protocol_sheet import protocol_sheet
from sercl_jax.splits import PROTOCOLS as ALL_PROTOCOLS
from sercl_jax.splits import SEEDED_PROTOCOLS, Fold, is_speaker_disjoint, make_folds, usual_protocol
from sercl_jax.types import Utterance
from sercl_jax.validation import Carved, carve_fold

PROTOCOLS = tuple(name for name in ALL_PROTOCOLS if name not in ("emobox", "corpus"))  # which have tests of their own
LABELS = ("angry", "neutral", "sad")


def corpus(speakers: int = 4, sentences: int = 4, takes: int = 1, unlabelled: int = 3) -> list[Utterance]:
    """Every speaker says every sentence with every emotion; plus some utterances without a label."""
    made = [Utterance(id=f"{s:02}-{t:02}-{label}-{k}", num_samples=16_000, label=label, speaker=f"s{s}",
                      session=f"{s // 2}", sentence=f"t{t}", fold=str(s % 3))
            for s in range(speakers) for t in range(sentences) for label in LABELS for k in range(takes)]
    return made + [Utterance(id=f"x{n}", num_samples=16_000, speaker="s0") for n in range(unlabelled)]


def ids(utterances: list[Utterance], fold: Fold) -> tuple[str, list[str], list[str]]:
    return fold.name, [utterances[u].id for u in fold.train], [utterances[u].id for u in fold.test]


@settings(deadline=None, max_examples=60)
@given(protocol=st.sampled_from(PROTOCOLS), speakers=st.integers(3, 6), sentences=st.integers(2, 5),
       folds=st.integers(4, 12), fold_seed=st.integers(0, 2**31), shuffle=st.randoms(use_true_random=False))
def test_every_protocol_keeps_its_promise(protocol: str, speakers: int, sentences: int, folds: int, fold_seed: int,
                                          shuffle: random.Random) -> None:
    utterances = corpus(speakers, sentences, takes=2)
    made = make_folds(utterances, protocol, folds=folds, fold_seed=fold_seed)

    tested = np.concatenate([fold.test for fold in made])
    labelled = [u for u in range(len(utterances)) if utterances[u].label]
    assert sorted(tested.tolist()) == labelled
    for fold in made:
        assert not set(fold.train.tolist()) & set(fold.test.tolist())
        assert {utterances[u].label for u in fold.train} == set(LABELS)
        apart = {"loso": ["speaker"], "speakers": ["speaker"], "session": ["session"], "sentence": ["sentence"],
                 "disjoint": ["speaker", "sentence"], "file": ["fold"]}.get(protocol, [])
        for field in apart:
            assert not {getattr(utterances[u], field) for u in fold.train} & {
                getattr(utterances[u], field) for u in fold.test}
        if protocol != "disjoint":  # nothing but what is tested is kept from training
            assert len(fold.train) + len(fold.test) == len(labelled)

    shuffled = shuffle.sample(utterances, len(utterances))
    again = make_folds(shuffled, protocol, folds=folds, fold_seed=fold_seed)
    assert [ids(utterances, fold) for fold in made] == [ids(shuffled, fold) for fold in again]


def test_speakers_are_dealt_into_groups_of_about_equal_size() -> None:
    made = make_folds(corpus(6, 4), "speakers", folds=3, fold_seed=1)
    assert [len(fold.test) for fold in made] == [2 * 4 * len(LABELS)] * 3
    assert len(make_folds(corpus(4, 4), "speakers", folds=5, fold_seed=1)) == 4  # as many as there are speakers


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_fold_seed_matters_for_the_seeded_protocols_only(protocol: str) -> None:
    utterances = corpus(6, 6)
    one, other = ([ids(utterances, fold) for fold in make_folds(utterances, protocol, folds=9, fold_seed=seed)]
                  for seed in (0, 1))
    assert (one != other) == (protocol in SEEDED_PROTOCOLS)


def test_kfold_is_scikit_learns_over_sorted_ids() -> None:
    utterances = corpus(5, 4, unlabelled=0)[::-1]
    ordered = sorted(utterances, key=lambda u: u.id)
    expected = StratifiedKFold(5, shuffle=True, random_state=7).split(ordered, [u.label for u in ordered])
    made = make_folds(utterances, "kfold", folds=5, fold_seed=7)
    for fold, (train, test) in zip(made, expected, strict=True):
        assert ids(utterances, fold)[1:] == ([ordered[u].id for u in train], [ordered[u].id for u in test])


def rated(utterances: list[Utterance]) -> list[Utterance]:
    """Ratings without labels; every seventh utterance has none, every fifth a valence only."""
    ratings = [{"valence": 2.0} if n % 5 == 0 else {"activation": 1.0, "valence": 2.0, "dominance": 3.0}
               for n in range(len(utterances))]
    return [dataclasses.replace(u, label="", **({} if n % 7 == 3 else ratings[n]))
            for n, u in enumerate(sorted(utterances, key=lambda u: u.id))]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rated_utterances_are_divided_without_regard_to_classes(protocol: str) -> None:
    utterances = rated(corpus(6, 4, unlabelled=0))[::-1]
    made = make_folds(utterances, protocol, folds=8, fold_seed=3, targets="ratings")
    tested = np.concatenate([fold.test for fold in made])
    assert sorted(tested.tolist()) == [u for u in range(len(utterances)) if not np.isnan(utterances[u].valence)]
    assert 0 < len(tested) < len(utterances)
    for fold in made:
        assert not set(fold.train.tolist()) & set(fold.test.tolist())
        assert set(fold.train.tolist()) < set(tested.tolist())
    sheet = protocol_sheet(utterances, made, targets="ratings")
    assert sheet["left_out"] == 0
    assert [row["test_classes"] for row in sheet["folds"]] == [{}] * len(made)
    # Where no draw is involved, the folds are those of labels.
    labelled = [dataclasses.replace(u, label="" if np.isnan(u.valence) else LABELS[n % 3])
                for n, u in enumerate(utterances)]
    if protocol not in ("kfold", "graphcl"):
        assert [ids(utterances, fold) for fold in made] == [
            ids(labelled, fold) for fold in make_folds(labelled, protocol, folds=8, fold_seed=3)]


def test_kfold_of_ratings_is_scikit_learns_over_sorted_ids() -> None:
    utterances = rated(corpus(5, 4, unlabelled=0))[::-1]
    ordered = sorted((u for u in utterances if not np.isnan(u.valence)), key=lambda u: u.id)
    expected = KFold(5, shuffle=True, random_state=7).split(ordered)
    made = make_folds(utterances, "kfold", folds=5, fold_seed=7, targets="ratings")
    for fold, (train, test) in zip(made, expected, strict=True):
        assert ids(utterances, fold)[1:] == ([ordered[u].id for u in train], [ordered[u].id for u in test])


@pytest.mark.parametrize(("utterances", "protocol", "folds", "message"), [
    (corpus(), "kfold", 2, "none of the 51 utterances has a rating; evaluation needs ratings"),
    (rated(corpus(1, 1, unlabelled=0)), "kfold", 4, r"folds=4: there are fewer rated utterances \(3\) than folds"),
    (rated(corpus(1, 1, unlabelled=0)), "kfold", 1, "at least 2"),
    (rated(corpus(2, 1, unlabelled=0))[:5], "loso", 0, r"fold 'speaker s0' has too few rated utterances \(1\)"),
    ([dataclasses.replace(u, speaker="") for u in rated(corpus())], "loso", 0,
     "of 44 rated utterances have no speaker"),
    ([dataclasses.replace(u, fold="", split="train") for u in rated(corpus())], "file", 0,
     "no split=test among the rated utterances"),
])
def test_ratings_that_cannot_be_divided_are_refused(utterances: list[Utterance], protocol: str, folds: int,
                                                    message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_folds(utterances, protocol, folds=folds, fold_seed=0, targets="ratings")


def test_unknown_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="targets='rating'; known: labels, ratings"):
        make_folds(corpus(), "kfold", folds=2, fold_seed=0, targets="rating")


def test_disjoint_grids_grow_with_folds_and_stop_at_what_there_is() -> None:
    utterances = corpus(6, 5)
    assert [len(make_folds(utterances, "disjoint", folds=n, fold_seed=0)) for n in (4, 10, 25, 30, 100)] == [
        4, 10, 25, 30, 30]
    # Six groups of one speaker by five of one sentence: training is 5/6 x 4/5 of all.
    assert {len(fold.train) for fold in make_folds(utterances, "disjoint", folds=30, fold_seed=0)} == {60}


def test_folds_are_named_by_what_is_tested_in_numeric_order() -> None:
    utterances = [dataclasses.replace(u, session=str(10 * int(u.session) + 2)) for u in corpus(24, 1, unlabelled=0)]
    names = [fold.name for fold in make_folds(utterances, "session", folds=0, fold_seed=0)]
    assert names[:3] == ["session 2", "session 12", "session 22"]
    assert names[-1] == "session 112"


def test_file_splits_train_on_train_and_test_each_test_set() -> None:
    split = {"s0": "train", "s1": "validation", "s2": "test1", "s3": "test2"}
    utterances = [dataclasses.replace(u, fold="", split=split[u.speaker]) for u in corpus(4, 2)]
    made = make_folds(utterances, "file", folds=0, fold_seed=0)
    assert [fold.name for fold in made] == ["test1", "test2"]
    for fold in made:
        assert {utterances[u].speaker for u in fold.train} == {"s0"}
        assert {utterances[u].split for u in fold.test} == {fold.name}
    assert protocol_sheet(utterances, made)["left_out"] == 12  # s0 and s1


def test_file_folds_may_have_rows_that_only_train() -> None:
    utterances = [dataclasses.replace(u, fold="", split="train") if u.speaker == "s0" else
                  dataclasses.replace(u, fold="only") for u in corpus(3, 2)]
    fold, = make_folds(utterances, "file", folds=0, fold_seed=0)
    assert {utterances[u].speaker for u in fold.train} == {"s0"}
    assert {utterances[u].speaker for u in fold.test} == {"s1", "s2"}


def change(field: str, value: str, speaker: str = "s1") -> list[Utterance]:
    return [dataclasses.replace(u, **{field: value}) if u.speaker == speaker or speaker == "" else u
            for u in corpus()]


@pytest.mark.parametrize(("utterances", "protocol", "folds", "message"), [
    (corpus(), "lose", 10, r"protocol=lose: .*did you mean loso"),
    (corpus(), "xyz", 10, r"Known: kfold, graphcl, loso"),
    (corpus()[-3:], "kfold", 2, r"none of the 3 utterances has a label"),
    (corpus(2, 2), "kfold", 5, r"the class 'angry' has fewer utterances \(4\) than there are folds; use folds=4"),
    ([*corpus(), Utterance("z", 1, "bored")], "kfold", 2, r"'bored' has fewer utterances \(1\).*leave the class out"),
    (corpus(), "kfold", 1, "at least 2"),
    (corpus(), "disjoint", 3, "at least 4"),
    (change("speaker", ""), "loso", 0, r"12 of 48 labelled utterances have no speaker, such as '01-00-angry-0'"),
    (change("session", ""), "session", 0, "have no session"),
    (change("sentence", ""), "disjoint", 10, "have no sentence"),
    (corpus(1), "loso", 0, "only one speaker, 's0'"),
    (corpus(4, 1), "sentence", 0, "only one sentence, 't0'"),
    (change("label", "bored"), "loso", 0, r"fold 'speaker s1' tests bored, which its 36 training utterances lack"),
    ([u for u in corpus(2) if u.label == "angry"], "loso", 0, "has the one class 'angry'"),
    (change("fold", ""), "file", 0, r"12 labelled utterances have no fold, such as '01-00-angry-0'"),
    (change("fold", "1", ""), "file", 0, "all utterances are in the one fold '1'"),
    ([dataclasses.replace(u, fold="", split="tain") for u in corpus()], "file", 0, "fold='' and split='tain'"),
    ([dataclasses.replace(u, fold="", split="train") for u in corpus()], "file", 0, "no split=test"),
    ([dataclasses.replace(u, fold="", split="test") for u in corpus()], "file", 0, "no split=train"),
    ([*corpus(), corpus()[0]], "kfold", 2, "1 utterance ids occur more than once, such as '00-00-angry-0'"),
])
def test_what_cannot_be_divided_is_refused(utterances: list[Utterance], protocol: str, folds: int,
                                           message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_folds(utterances, protocol, folds=folds, fold_seed=0)


def test_speaker_disjoint_is_told_from_the_folds_themselves() -> None:
    utterances = corpus()
    told = {protocol: is_speaker_disjoint(utterances, make_folds(utterances, protocol, folds=4, fold_seed=0))
            for protocol in PROTOCOLS}
    assert told == {"kfold": False, "graphcl": False, "loso": True, "speakers": True, "session": True,
                    "sentence": False, "disjoint": True, "file": True}
    unknown = change("speaker", "")
    assert not is_speaker_disjoint(unknown, make_folds(unknown, "session", folds=0, fold_seed=0))


def test_the_sheet_counts_classes_and_names_leaks() -> None:
    utterances = corpus(3, 2, takes=2, unlabelled=1)
    sheet = protocol_sheet(utterances, make_folds(utterances, "loso", folds=0, fold_seed=0))
    assert sheet["left_out"] == 0
    assert sheet["folds"][1] == {
        "name": "speaker s1", "train": 24, "test": 12, "train_classes": dict.fromkeys(LABELS, 8),
        "test_classes": dict.fromkeys(LABELS, 4), "test_speakers": 1, "shared_speakers": 0, "shared_sentences": 2,
        "same_take": 0}
    assert sheet["warnings"] == ["Training and test share sentences in 3 of 3 folds: the figures do not tell how "
                                 "well unknown sentences are recognised."]

    random_folds = make_folds(utterances, "kfold", folds=12, fold_seed=0)
    sheet = protocol_sheet(utterances, random_folds)
    takes = 0
    for fold in random_folds:
        known = {(utterances[u].speaker, utterances[u].sentence, utterances[u].label) for u in fold.train}
        takes += sum((utterances[u].speaker, utterances[u].sentence, utterances[u].label) in known
                     for u in fold.test)
    assert takes > 0
    assert sum(row["same_take"] for row in sheet["folds"]) == takes
    assert len(sheet["warnings"]) == 3

    unknown = change("sentence", "")
    sheet = protocol_sheet(unknown, make_folds(unknown, "loso", folds=0, fold_seed=0))
    assert sheet["warnings"] == ["Some sentences are unknown: whether training and test share sentences cannot be "
                                 "told."]
    assert {row["same_take"] for row in sheet["folds"]} == {None}


def test_emodb_folds_of_the_real_file_names(shared_corpora: Path | None) -> None:
    if shared_corpora is None:
        return  # conftest says so at the end
    with zipfile.ZipFile(shared_corpora / "emodb-download.zip") as archive:
        names = [Path(name).stem for name in archive.namelist() if name.endswith(".wav")]
    utterances = [Utterance(name, 1, label=name[5], speaker=name[:2], sentence=name[2:5]) for name in names]
    folds = make_folds(utterances, "loso", folds=0, fold_seed=0)
    assert {fold.name: len(fold.test) for fold in folds} == {
        f"speaker {name}": n for name, n in zip(("03", "08", "09", "10", "11", "12", "13", "14", "15", "16"),
                                                (49, 58, 43, 38, 55, 35, 61, 69, 56, 71), strict=True)}
    # 121 of the 535 have another take of the same speaker, sentence and emotion.
    takes = Counter((u.speaker, u.sentence, u.label) for u in utterances)
    assert sum(n for n in takes.values() if n > 1) == 121
    sheet = protocol_sheet(utterances, make_folds(utterances, "kfold", folds=10, fold_seed=0))
    assert 60 < sum(row["same_take"] for row in sheet["folds"]) <= 121
    cells = make_folds(utterances, "disjoint", folds=100, fold_seed=0)
    assert sum(len(fold.test) for fold in cells) == 535


# One corpus left out.


def joined(corpora: dict[str, tuple[str, ...]], each: int = 3) -> list[Utterance]:
    """Corpora with these emotions, as `corpora.joined` makes them; and an unlabelled utterance of each."""
    return [Utterance(f"{name}/{label or 'x'}{n}", 1, label=label, speaker=f"{name}/s{n % 2}", corpus=name,
                      valence=float(n))
            for name, labels in corpora.items() for label in (*labels, "") for n in range(each)]


EMOTIONS = ("angry", "bored", "calm", "happy", "neutral", "sad")


@settings(deadline=None, max_examples=60)
@given(sets=st.lists(st.sets(st.sampled_from(EMOTIONS), min_size=1), min_size=2, max_size=4),
       shuffle=st.randoms(use_true_random=False))
def test_each_corpus_is_tested_by_the_others_on_what_both_have(sets: list[set[str]], shuffle: random.Random) -> None:
    known = {f"c{n}": tuple(sorted(labels)) for n, labels in enumerate(sets)}
    utterances = shuffle.sample(everything := joined(known), len(everything))
    common = {name: set(labels) & {label for other, theirs in known.items() if other != name for label in theirs}
              for name, labels in known.items()}
    if any(len(both) < 2 for both in common.values()):
        with pytest.raises(UserError, match="fewer than two emotions in common"):
            make_folds(utterances, "corpus", folds=0, fold_seed=0)
        return
    made = make_folds(utterances, "corpus", folds=0, fold_seed=0)
    assert [fold.name for fold in made] == [f"corpus {name}" for name in sorted(known)]
    for fold, name in zip(made, sorted(known), strict=True):
        assert ids(utterances, fold)[1:] == tuple(
            sorted(u.id for u in utterances if (u.corpus == name) == tested and u.label in common[name])
            for tested in (False, True))
        lost = 3 * len(set(known[name]) - common[name])
        unwanted = sum(3 * len(set(labels) - common[name]) for other, labels in known.items() if other != name)
        assert [note.split()[:2] for note in fold.notes] == (
            ([[str(lost), "tested"]] if lost else []) + ([[str(unwanted), "training"]] if unwanted else []))
        assert is_speaker_disjoint(utterances, [fold])
    sheet = protocol_sheet(utterances, made)
    assert len(sheet["notes"]) == sum(len(fold.notes) for fold in made)
    assert sheet["left_out"] == sum(u.label != "" for u in utterances) - sum(len(fold.test) for fold in made)


def test_the_notes_name_what_no_other_corpus_has() -> None:
    utterances = joined({"berlin": ("angry", "bored", "sad"), "toronto": ("angry", "calm", "sad")})
    berlin, toronto = make_folds(utterances, "corpus", folds=0, fold_seed=0)
    assert berlin.notes == ("3 tested utterances are left out, because no other corpus has them: bored 3.",
                            "3 training utterances are left out, because berlin has none of them: calm 3.")
    assert toronto.notes[0].endswith("calm 3.")
    rated = make_folds(utterances, "corpus", folds=0, fold_seed=0, targets="ratings")
    assert [(len(fold.train), len(fold.test), fold.notes) for fold in rated] == [(12, 12, ())] * 2


def test_only_some_corpora_are_tested_if_so_asked() -> None:
    utterances = joined(dict.fromkeys(("a", "b", "c"), ("angry", "sad")))
    for tested, expected in (("b", ["b"]), ("c+a", ["c", "a"]), ("a + a", ["a"]), ("", ["a", "b", "c"])):
        made = make_folds(utterances, "corpus", folds=0, fold_seed=0, tested=tested)
        assert [fold.name.removeprefix("corpus ") for fold in made] == expected
        assert {len(fold.train) for fold in made} == {12}
    with pytest.raises(UserError, match=r"config.eval.tested=bb: unknown. Did you mean 'b'\?"):
        make_folds(utterances, "corpus", folds=0, fold_seed=0, tested="a+bb")


@pytest.mark.parametrize("utterances", [corpus(), joined({"only": ("angry", "sad")}),
                                        [*joined({"a": LABELS, "b": LABELS}), *corpus()]])
def test_one_corpus_cannot_be_left_out(utterances: list[Utterance]) -> None:
    with pytest.raises(UserError, match="protocol=corpus: trains on some corpora and tests another"):
        make_folds(utterances, "corpus", folds=0, fold_seed=0)


# What auto stands for.


@pytest.mark.parametrize(("utterances", "expected"), [
    (joined({"a": LABELS, "b": LABELS}), "corpus"),
    (corpus(), "file"),
    ([dataclasses.replace(u, fold="", split=("train", "test")[n % 2]) for n, u in enumerate(corpus())], "file"),
    ([dataclasses.replace(u, fold="") for u in corpus(unlabelled=0)], "session"),
    ([dataclasses.replace(u, fold="", session="") for u in corpus()], "loso"),
    ([dataclasses.replace(u, fold="", session="", speaker=f"s{n % 101}") for n, u in enumerate(corpus(9, 9))],
     "speakers"),  # nobody leaves out each of a hundred
    ([dataclasses.replace(u, fold="", session="", speaker="s" * (n > 0)) for n, u in enumerate(corpus())], "kfold"),
    ([dataclasses.replace(u, fold="", session="", speaker="s") for u in corpus()], "kfold"),
])
def test_auto_is_the_first_that_can_be(utterances: list[Utterance], expected: str) -> None:
    assert usual_protocol(utterances, "auto") == expected
    assert usual_protocol(utterances, "kfold") == "kfold"
    assert make_folds(utterances, expected, folds=3, fold_seed=0)


def test_so_many_folds_that_they_would_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sercl_jax.splits.folds.MOST_POSITIONS", 150)
    assert len(make_folds(corpus(3, 4), "loso", folds=0, fold_seed=0)) == 3  # 3 x 36
    for protocol, field in (("loso", "speaker"), ("sentence", "sentence")):
        with pytest.raises(UserError, match=f"Leaving out each {field} in turn makes 4 folds of 48 utterances"):
            make_folds(corpus(), protocol, folds=0, fold_seed=0)


# Protocols that published work uses, on utterances as the builders make them.


def iemocap() -> list[Utterance]:
    """Sessions of two speakers; whose markers a dialogue's name tells says nothing of who speaks."""
    return [Utterance(f"Ses0{s}{worn}_impro01_{letter}{n:03}", 1, label=label, speaker=f"Ses0{s}{letter}",
                      session=str(s), sentence="impro01")
            for s in range(1, 6) for worn in "FM" for letter in "FM"
            for n, label in enumerate(("angry", "happy", "neutral", "sad"))]


def test_iemocap_by_session_and_by_speaker() -> None:
    utterances = iemocap()
    sessions = make_folds(utterances, "session", folds=0, fold_seed=0)
    assert [fold.name for fold in sessions] == [f"session {s}" for s in range(1, 6)]
    assert {len(fold.test) for fold in sessions} == {16}
    speakers = make_folds(utterances, "loso", folds=0, fold_seed=0)
    assert len(speakers) == 10
    for fold in speakers:
        assert {u.split("_")[-1][0] for u in ids(utterances, fold)[2]} == {fold.name[-1]}
    assert is_speaker_disjoint(utterances, sessions)
    assert is_speaker_disjoint(utterances, speakers)
    assert usual_protocol(utterances, "auto") == "session"


def msp_podcast() -> list[Utterance]:
    """The official partitions; test3 has neither labels nor speakers, some speakers are unknown."""
    sizes = {"train": 12, "validation": 6, "test": 6, "test2": 3, "test3": 3}
    made = [Utterance(f"MSP-PODCAST_{split}_{n:04}", 1, label=("angry", "neutral", "")[n % 3], valence=4.0,
                      speaker="" if n == 1 else f"{split}{n % 2}", session=f"{split}{n % 3}", split=split)
            for split, size in sizes.items() for n in range(size)]
    return [dataclasses.replace(u, label="", speaker="", valence=math.nan) if u.split == "test3" else u for u in made]


@pytest.mark.parametrize("targets", ["labels", "ratings"])
def test_msp_podcasts_partitions(targets: str) -> None:
    utterances = msp_podcast()
    assert usual_protocol(utterances, "auto") == "file"
    made = make_folds(utterances, "file", folds=0, fold_seed=0, targets=targets)
    assert [fold.name for fold in made] == ["test", "test2"]
    share = 2 / 3 if targets == "labels" else 1  # no agreement: no label, but ratings
    for fold, size in zip(made, (6, 3), strict=True):
        assert fold.validation is not None
        assert [len(part) / share for part in (fold.train, fold.validation, fold.test)] == [12, 6, size]
        assert {utterances[u].split for u in fold.validation} == {"validation"}
    carved = carve_fold(utterances, made[0], seed=0, targets=targets)
    assert carved.words == "the official validation split"
    assert carved.validation.tolist() == made[0].validation.tolist()
    sheet = protocol_sheet(utterances, made, targets=targets, carved=[carved, carved])
    assert sheet["left_out"] == 18 * share
    assert "Some speakers are unknown: whether training and test share speakers cannot be told." in sheet["warnings"]


def test_validation_sessions_whose_speakers_train_are_passed_over() -> None:
    """In podcasts a host speaks in many sessions."""
    utterances = [Utterance(f"{session}-{n}", 1, label=LABELS[n % 3], session=session, speaker=speaker)
                  for session, speakers in (("1", "ab"), ("2", "cd"), ("3", "ce"), ("4", "fg"))
                  for k, speaker in enumerate(speakers) for n in range(3 * k, 3 * k + 3)]
    first, *_, last = make_folds(utterances, "session", folds=0, fold_seed=0)
    carved = carve_fold(utterances, first, seed=0, targets="labels")
    assert carved.words == "1 of 5 training speakers"  # session 2 has c, who speaks in session 3
    assert not {utterances[u].speaker for u in carved.train} & {utterances[u].speaker for u in carved.validation}
    assert carve_fold(utterances, last, seed=0, targets="labels").words == "session 1"


# The sheet against plain loops.


@settings(deadline=None, max_examples=40)
@given(fields=st.lists(st.tuples(*[st.sampled_from(("", "x", "y"))] * 2, st.sampled_from(("", *LABELS)),
                                 st.integers(0, 2)), min_size=4, max_size=24))
def test_the_sheet_counts_what_loops_count(fields: list[tuple[str, str, str, int]]) -> None:
    utterances = [Utterance(f"u{n}", 1, label=label, speaker=speaker, sentence=sentence)
                  for n, (speaker, sentence, label, _) in enumerate(fields)]
    train, validation, test = (np.flatnonzero([part == k for *_, part in fields]) for k in range(3))
    row, = protocol_sheet(utterances, [Fold("one", np.concatenate([train, validation]), test)],
                          carved=[Carved(train, validation, "")])["folds"]
    seen = [utterances[u] for u in (*train, *validation)]
    tested = [utterances[u] for u in test]
    for field in ("speaker", "sentence"):
        left, right = {getattr(u, field) for u in seen}, {getattr(u, field) for u in tested}
        assert row[f"shared_{field}s"] == (None if "" in left | right else len(left & right))
    for part, chosen in (("train", train), ("validation", validation), ("test", test)):
        counted = Counter(utterances[u].label for u in chosen)
        assert row[part] == len(chosen)
        assert row[f"{part}_classes"] == {name: counted[name] for name in sorted(counted) if name}
    takes = {(u.speaker, u.sentence, u.label) for u in seen}
    if row["same_take"] is not None:
        assert row["same_take"] == sum((u.speaker, u.sentence, u.label) in takes for u in tested)
    assert (row["same_take"] is None) == (None in (row["shared_speakers"], row["shared_sentences"]))
