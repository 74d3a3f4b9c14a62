"""EmoBox's published folds: on our utterances, whatever is wrong in the files."""

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import emobox_tree
import numpy as np
import pytest
from emobox_tree import EMODB_MAP, Row, dealt, emodb, emodb_row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sercl_jax.errors import UserError
from sercl_jax.protocol_sheet import protocol_sheet
from sercl_jax.splits import Fold, Published, is_speaker_disjoint, make_folds
from sercl_jax.types import Utterance
from sercl_jax.validation import carve_fold

UTTERANCES = emodb()
ROWS = [emodb_row(u) for u in UTTERANCES]


def folds_of(utterances: list[Utterance], place: Path, corpus: str = "emodb", targets: str = "labels",
             **known: object) -> tuple[Fold, ...]:
    return make_folds(utterances, "emobox", folds=0, fold_seed=0, targets=targets,
                      emobox=Published(place, corpus, **known))  # type: ignore[arg-type]


def names(utterances: list[Utterance], folds: tuple[Fold, ...]) -> list[tuple[str, set[str], set[str]]]:
    return [(fold.name, {utterances[u].id for u in fold.train}, {utterances[u].id for u in fold.test})
            for fold in folds]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(2, 6), shuffle=st.randoms(use_true_random=False),
       forms=st.sampled_from([("jsonl", "json"), ("jsonl",), ("json",)]))
def test_folds_are_the_published_ones_whatever_the_order(tmp_path_factory: pytest.TempPathFactory, count: int,
                                                         shuffle: random.Random, forms: tuple[str, ...]) -> None:
    place = tmp_path_factory.mktemp("emobox")
    # By emotion, so that every one of them is in every training part.
    rows = sorted(shuffle.sample(ROWS, len(ROWS)), key=lambda row: row.emotion)
    expected = dealt(rows, count)
    emobox_tree.write(place, "emodb", expected, labels=EMODB_MAP, forms=forms)
    utterances = shuffle.sample(UTTERANCES, len(UTTERANCES))
    made = folds_of(utterances, place)
    assert names(utterances, made) == [(f"fold {k}", {row.key for row in parts["train"]},
                                        {row.key for row in parts["test"]}) for k, parts in expected.items()]
    for fold in made:
        assert fold.validation is None
        assert fold.notes == ()
        ids = [utterances[u].id for u in fold.train]
        assert ids == sorted(ids)
    assert sorted(np.concatenate([fold.test for fold in made]).tolist()) == list(range(len(UTTERANCES)))


@pytest.mark.parametrize("inside", ["", "data", "data/emodb"])
def test_a_clone_its_data_or_one_dataset_can_be_given(tmp_path: Path, inside: str) -> None:
    emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 3), labels=EMODB_MAP)
    emobox_tree.write(tmp_path, "casia", {1: {"train": [], "test": []}})  # another, which is not looked at
    assert len(folds_of(UTTERANCES, tmp_path / inside)) == 3


def test_a_renamed_copy_of_one_dataset_can_be_given(tmp_path: Path) -> None:
    folder = emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 3), labels=EMODB_MAP)
    folder.rename(tmp_path / "berlin")
    assert len(folds_of(UTTERANCES, tmp_path / "berlin", "manifest")) == 3


@pytest.mark.parametrize(("corpus", "dataset"), [("msp_podcast", "msppodcast"), ("crema_d", "cremad")])
def test_datasets_are_named_without_underscores(tmp_path: Path, corpus: str, dataset: str) -> None:
    emobox_tree.write(tmp_path, dataset, dealt(ROWS, 2), labels=EMODB_MAP)
    assert len(folds_of(UTTERANCES, tmp_path, corpus)) == 2


def test_folds_come_in_numeric_order(tmp_path: Path) -> None:
    emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 12), labels=EMODB_MAP)
    assert [fold.name for fold in folds_of(UTTERANCES, tmp_path)] == [f"fold {k}" for k in range(1, 13)]


def test_files_of_the_older_format_are_ignored(tmp_path: Path) -> None:
    folder = emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 2), labels=EMODB_MAP)
    before = names(UTTERANCES, folds_of(UTTERANCES, tmp_path))
    for part in ("train", "test"):  # with other keys, and other utterances
        old = {"key": "emodb-99z99Wa", "audio": "downloads/emodb/wav/99z99Wa.wav", "label": "anger"}
        (folder / "fold_1" / f"emodb_{part}_fold1.jsonl").write_text(json.dumps(old) + "\n")
        (folder / "fold_1" / f"._emodb_{part}_fold_1.jsonl").write_bytes(b"\0\5\26\7")
    (tmp_path / "data" / "track2").mkdir()
    (tmp_path / "data" / "track2" / "EMODB_selected.jsonl").write_text(
        json.dumps({"wav_filename": "a.wav", "label": "happy", "speaker": "02F"}))
    assert names(UTTERANCES, folds_of(UTTERANCES, tmp_path)) == before


@pytest.mark.parametrize("valid", ["absent", "empty"])
def test_without_a_validation_part_one_is_carved_by_speakers(tmp_path: Path, valid: str) -> None:
    tested = {u.id for u in UTTERANCES if u.speaker == "03"}
    parts = {"train": [row for row in ROWS if row.key not in tested], "test": [r for r in ROWS if r.key in tested]}
    emobox_tree.write(tmp_path, "emodb", {1: parts | ({"valid": []} if valid == "empty" else {})}, labels=EMODB_MAP)
    fold, = folds_of(UTTERANCES, tmp_path)
    carved = carve_fold(UTTERANCES, fold, seed=1, targets="labels")
    assert carved.words == "1 of 2 training speakers"
    assert {UTTERANCES[u].speaker for u in carved.train} | {UTTERANCES[u].speaker for u in carved.validation} == {
        "08", "09"}
    assert sorted([*carved.train, *carved.validation]) == sorted(fold.train)
    drawn = {UTTERANCES[carve_fold(UTTERANCES, fold, seed=seed, targets="labels").validation[0]].speaker
             for seed in range(9)}
    assert drawn == {"08", "09"}


def test_an_official_validation_part_is_used_and_never_trained_on(tmp_path: Path) -> None:
    by = {name: [row for row in ROWS if row.key.startswith(name)] for name in ("03", "08", "09")}
    emobox_tree.write(tmp_path, "emodb", {1: {"train": by["03"], "valid": by["08"], "test": by["09"]}},
                      labels=EMODB_MAP)
    fold, = folds_of(UTTERANCES, tmp_path)
    carved = carve_fold(UTTERANCES, fold, seed=0, targets="labels")
    assert carved.words == "the official validation split"
    for part, speaker in ((carved.train, "03"), (carved.validation, "08"), (fold.test, "09")):
        assert {UTTERANCES[u].speaker for u in part} == {speaker}
    sheet = protocol_sheet(UTTERANCES, [fold], carved=[carved])
    row, = sheet["folds"]
    assert (row["train"], row["validation"], row["test"]) == (12, 12, 12)
    assert row["validation_classes"] == {"angry": 4, "bored": 4, "neutral": 4}
    assert (row["shared_speakers"], row["validation_shared_speakers"]) == (0, 0)


def test_speakers_are_ours_and_leakage_is_told(tmp_path: Path) -> None:
    emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 4), labels=EMODB_MAP)
    folds = folds_of(UTTERANCES, tmp_path)
    assert not is_speaker_disjoint(UTTERANCES, folds)
    sheet = protocol_sheet(UTTERANCES, folds)
    assert [row["shared_speakers"] for row in sheet["folds"]] == [3] * 4
    assert any("share speakers in 4 of 4 folds" in warning for warning in sheet["warnings"])


# What is left out of the corpus is counted; what it never had is refused.


def test_what_the_corpus_lacks_is_refused_with_number_and_example(tmp_path: Path) -> None:
    emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 3), labels=EMODB_MAP)
    some = [u for u in UTTERANCES if u.speaker != "09"]
    with pytest.raises(UserError, match=r"emodb_t\w+_fold_\d.jsonl, line \d+: wav/09\w+.wav is not in corpus emodb, "
                                        r"nor are 11 others of the 36 utterances of EmoBox's emodb.*complete corpus"):
        folds_of(some, tmp_path)


def test_what_was_skipped_or_not_chosen_is_counted(tmp_path: Path) -> None:
    emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 3), labels=EMODB_MAP)
    bad = UTTERANCES[0].id
    built = {u.id: u.label for u in UTTERANCES if u.id != bad}
    chosen = [u for u in UTTERANCES if u.speaker != "09" and u.id != bad]
    made = folds_of(chosen, tmp_path, labels=built, skipped=[bad])
    assert sorted(np.concatenate([fold.test for fold in made]).tolist()) == list(range(len(chosen)))
    for fold in made:
        assert fold.notes[0] == "1 of EmoBox's utterances are left out, because their audio cannot be used."
        assert fold.notes[1].startswith("12 of EmoBox's utterances are left out, because they have no label, or "
                                        "because of config.data.labels or config.data.where")
    assert [note.partition(":")[0] for note in protocol_sheet(chosen, made)["notes"]] == [
        f"Fold {k}" for k in (1, 1, 2, 2, 3, 3)]
    with pytest.raises(UserError, match="is not in corpus emodb, nor are 0 others"):
        folds_of(chosen, tmp_path, labels=built)


def test_a_fold_of_which_nothing_was_chosen_is_left_out_and_told(tmp_path: Path) -> None:
    by_speaker = {k: {"train": [row for row in ROWS if not row.key.startswith(name)],
                      "test": [row for row in ROWS if row.key.startswith(name)]}
                  for k, name in ((1, "03"), (2, "08"), (3, "09"))}
    emobox_tree.write(tmp_path, "emodb", by_speaker, labels=EMODB_MAP)
    chosen = [u for u in UTTERANCES if u.speaker != "08"]
    made = folds_of(chosen, tmp_path, labels={u.id: u.label for u in UTTERANCES})
    assert [fold.name for fold in made] == ["fold 1", "fold 3"]
    assert "tested in fold 2 is among" in made[0].notes[-1]
    assert {chosen[u].speaker for u in made[0].train} == {"09"}
    others = emodb(("10",))
    with pytest.raises(UserError, match="none of the utterances that EmoBox tests is among those chosen"):
        folds_of(others, tmp_path, labels={u.id: u.label for u in [*UTTERANCES, *others]})


def test_utterances_that_emobox_lacks_take_no_part(tmp_path: Path) -> None:
    emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 3), labels=EMODB_MAP)
    more = [*UTTERANCES, *emodb(("16",))]
    made = folds_of(more, tmp_path)
    assert names(more, made) == names(UTTERANCES, folds_of(UTTERANCES, tmp_path))
    assert protocol_sheet(more, made)["left_out"] == 12


# Labels.


def test_labels_are_compared_with_tolerance(tmp_path: Path) -> None:
    """`neutral` for the map's `Neutral`, `boredem`, and no map at all."""
    for place, labels in ((tmp_path / "a", EMODB_MAP), (tmp_path / "b", None)):
        emobox_tree.write(place, "emodb", dealt(ROWS, 2), labels=labels)
        assert len(folds_of(UTTERANCES, place)) == 2


def test_emovos_map_has_another_name(tmp_path: Path) -> None:
    utterances = [Utterance(f"{code}-{who}-{text}", 1, label=label, speaker=who)
                  for code, label in (("gio", "happy"), ("tri", "sad")) for who in ("f1", "m1", "m2")
                  for text in "ab"]
    rows = [Row(u.id, f"{u.speaker}/{u.id}.wav", u.id[:3]) for u in utterances]
    emobox_tree.write(tmp_path, "emovo", dealt(rows, 3), labels={"gio": "Happy", "tri": "Sad"},
                      labels_name="label_dict.json")
    assert len(folds_of(utterances, tmp_path, "emovo")) == 3


def test_a_contradicting_label_is_refused(tmp_path: Path) -> None:
    rows = [row if n else row._replace(emotion="sad") for n, row in enumerate(ROWS)]
    emobox_tree.write(tmp_path, "emodb", dealt(rows, 2), labels=EMODB_MAP)
    with pytest.raises(UserError, match=r"fold_1.jsonl, line 1: 03a01Wa is 'sad' for EmoBox \(Sad\), and angry in "):
        folds_of(UTTERANCES, tmp_path)
    # Ratings are divided whatever the labels.
    rated = [dataclasses.replace(u, valence=1.0) for u in UTTERANCES]
    assert len(folds_of(rated, tmp_path, targets="ratings")) == 2


def test_merged_classes_do_not_contradict(tmp_path: Path) -> None:
    emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 2), labels=EMODB_MAP)
    merged = [dataclasses.replace(u, label="angry" if u.label == "bored" else u.label) for u in UTTERANCES]
    with pytest.raises(UserError, match=r"is 'boredem' for EmoBox \(Boredom\), and angry"):
        folds_of(merged, tmp_path)
    made = folds_of(merged, tmp_path, labels={u.id: u.label for u in UTTERANCES})
    assert names(merged, made) == names(UTTERANCES, folds_of(UTTERANCES, tmp_path))


def test_iemocaps_excited_are_happy_there(tmp_path: Path) -> None:
    codes = {"neu": "neutral", "hap": "happy", "exc": "excited", "ang": "angry"}
    # The dialogue's letter says who wears the markers, the last token who speaks.
    utterances = [Utterance(f"Ses0{s}{worn}_impro01_{spoke}00{n}", 1, label=label, speaker=f"Ses0{s}{spoke}",
                            session=str(s)) for s in range(1, 6) for worn in "FM" for spoke in "FM"
                  for n, label in enumerate(codes.values())]
    raw = {label: code for code, label in codes.items()}
    rows = {s: [Row(u.id, f"Session{s}/sentences/wav/{u.id[:14]}/{u.id}.wav", raw[u.label]) for u in utterances
                if u.session == str(s)] for s in range(1, 6)}
    folds = {s: {"train": [row for other in rows if other != s for row in rows[other]], "test": rows[s]}
             for s in rows}
    emobox_tree.write(tmp_path, "iemocap", folds,
                      labels={"neu": "Neutral", "hap": "Happy", "ang": "Angry", "sad": "Sad", "exc": "Happy"})
    usual = [dataclasses.replace(u, label="happy" if u.label == "excited" else u.label) for u in utterances]
    for chosen in (usual, utterances):
        made = folds_of(chosen, tmp_path, "iemocap", labels={u.id: u.label for u in utterances})
        assert is_speaker_disjoint(chosen, made)
        for fold, session in zip(made, "12345", strict=True):
            assert {chosen[u].session for u in fold.test} == {session}
            assert {chosen[u].speaker for u in fold.test} == {f"Ses0{session}F", f"Ses0{session}M"}


def test_msp_podcasts_disagreements_are_unlabelled(tmp_path: Path) -> None:
    codes = {"A": "angry", "N": "neutral", "X": ""}
    utterances = [Utterance(f"MSP-PODCAST_{n:04}_{code}", 1, label=label, split=split, valence=4.0)
                  for n, split in enumerate(("train", "train", "validation", "test"))
                  for code, label in codes.items()]
    rows = {split: [Row(u.id, f"Audio/{u.id}.wav", u.id[-1]) for u in utterances if u.split == split]
            for split in ("train", "validation", "test")}
    emobox_tree.write(tmp_path, "msppodcast", {1: {"train": rows["train"], "valid": rows["validation"],
                                                   "test": rows["test"]}},
                      labels={"A": "Angry", "N": "Neutral", "X": "No-agreement"})
    built = {u.id: u.label for u in utterances}
    fold, = folds_of(utterances, tmp_path, "msp_podcast", labels=built)
    assert [len(part) for part in (fold.train, fold.validation, fold.test)] == [4, 2, 2]  # type: ignore[arg-type]
    assert "4 of EmoBox's utterances are left out, because they have no label" in fold.notes[0]
    fold, = folds_of(utterances, tmp_path, "msp_podcast", targets="ratings", labels=built)
    assert [len(part) for part in (fold.train, fold.validation, fold.test)] == [6, 3, 3]  # type: ignore[arg-type]
    assert fold.notes == ()
    # Unlabelled here and labelled there is a contradiction.
    emobox_tree.write(tmp_path, "msppodcast", {1: {"train": [row._replace(emotion=row.emotion.replace("X", "A"))
                                                             for row in rows["train"]], "test": rows["test"]}},
                      labels={"A": "Angry", "N": "Neutral"})
    with pytest.raises(UserError, match=r"is 'A' for EmoBox \(Angry\), and unlabelled in corpus msp_podcast"):
        folds_of(utterances, tmp_path, "msp_podcast", labels=built)


# Damaged or wrong files.


def _change(part: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "fold_1" / f"emodb_{part}_fold_1.jsonl"
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    return damage


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(("damage", "message"), [
    (_change("train", lambda lines: [*lines, lines[0]]), r"train_fold_1.jsonl, line 19: \w+ is listed twice, also"),
    (_change("test", lambda lines: [lines[0][:40], *lines[1:]]), r"test_fold_1.jsonl, line 1: is not JSON"),
    (_change("test", lambda lines: ["[]", *lines[1:]]), r"line 1: has no text 'key'"),
    (_change("test", lambda lines: [lines[0].replace('"emo"', '"label"')]), r"line 1: has no text 'emo'"),
    (_change("test", lambda lines: [lines[0].replace('"anger"', "3")]), r"line 1: has no text 'emo'"),
    (_change("train", lambda lines: []), "fold_1: has no train part, emodb_train_fold_1.jsonl, or it is empty"),
    (_remove("fold_1/emodb_test_fold_1.jsonl"), "fold_1: has no test part"),
    (lambda folder: (folder / "fold_1" / "emodb_test_fold_1.jsonl").write_bytes(b"\xff\xfe"), "is not UTF-8 text"),
    (lambda folder: (folder / "fold_1" / "copy_test_fold_1.jsonl").write_text(""), "holds 2 test parts"),
    (lambda folder: (folder / "label_map.json").write_text('["anger"]'), "label_map.json: does not map labels"),
    (lambda folder: (folder / "label_map.json").write_text("{"), "label_map.json: is not JSON"),
])
def test_damaged_files_are_named(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    folder = emobox_tree.write(tmp_path, "emodb", dealt(ROWS, 2), labels=EMODB_MAP, forms=("jsonl",))
    damage(folder)
    with pytest.raises(UserError, match=message):
        folds_of(UTTERANCES, tmp_path)


def test_what_trains_is_never_tested(tmp_path: Path) -> None:
    good = dealt(ROWS, 2)
    for other in ("train", "valid"):
        parts = {**good[1], other: [*good[1][other], good[1]["test"][0]]}
        emobox_tree.write(tmp_path, "emodb", {1: parts}, labels=EMODB_MAP)
        with pytest.raises(UserError, match=r"is in fold 1 twice, also in .*what trains must not be tested"):
            folds_of(UTTERANCES, tmp_path)


def test_what_validates_is_never_trained_on(tmp_path: Path) -> None:
    good = dealt(ROWS, 2)
    emobox_tree.write(tmp_path, "emodb", {1: {**good[1], "valid": good[1]["train"][:1]}}, labels=EMODB_MAP)
    with pytest.raises(UserError, match="is in fold 1 twice"):
        folds_of(UTTERANCES, tmp_path)


def test_nothing_is_tested_twice(tmp_path: Path) -> None:
    good = dealt(ROWS, 3)
    moved = good[1]["test"][0]
    again = {"train": [row for row in good[2]["train"] if row != moved], "test": [*good[2]["test"], moved]}
    emobox_tree.write(tmp_path, "emodb", {**good, 2: again}, labels=EMODB_MAP)
    with pytest.raises(UserError, match=r"fold_2.jsonl, line 13: 03a01Wa is tested twice, also in .*fold_1.jsonl, "):
        folds_of(UTTERANCES, tmp_path)


@pytest.mark.parametrize(("prepare", "corpus", "message"), [
    (lambda place: None, "emodb", "holds no folds of EmoBox"),
    (lambda place: emobox_tree.write(place, "casia", dealt(ROWS, 2)), "casio",
     "EmoBox has no folds of corpus casio.* Did you mean 'casia'"),
    (lambda place: place.rmdir(), "emodb", "config.data.emobox_dir is no folder"),
])
def test_folders_without_the_dataset_are_refused(tmp_path: Path, prepare: Callable[[Path], object], corpus: str,
                                                 message: str) -> None:
    place = tmp_path / "clone"
    place.mkdir()
    prepare(place)
    with pytest.raises(UserError, match=message):
        folds_of(UTTERANCES, place, corpus)


def test_the_folder_must_be_named() -> None:
    with pytest.raises(UserError, match=r"protocol=emobox needs the published fold files: --config[.]data[.]emobox"):
        make_folds(UTTERANCES, "emobox", folds=0, fold_seed=0)


# Names of utterances.


def ravdess() -> list[Utterance]:
    """All 1440 utterances, as the corpus names them."""
    known = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
    emotions = {f"{number:02}": label for number, label in enumerate(known, start=1)}
    return [Utterance(f"03-01-{emotion}-{strength}-{text}-{take}-{actor:02}", 1, label=label, speaker=f"{actor:02}",
                      sentence=text)
            for actor in range(1, 25) for emotion, label in emotions.items() for strength in ("01", "02")
            if (emotion, strength) != ("01", "02") for text in ("01", "02") for take in ("01", "02")]


# As EmoBox publishes them.
RAVDESS_FOLDS = ("01 11 20 21", "04 10 12 14", "08 09 19 23", "03 05 07 24", "02 15 16 18", "06 13 17 22")
RAVDESS_MAP = {"Angry": "Angry", "Surprised": "Surprise", "Sad": "Sad", "Disgust": "Disgust", "Happy": "Happy",
               "Calm": "Calm", "Neutral": "Neutral", "Fearful": "Fear"}


def test_ravdess_folds_test_the_published_actors(tmp_path: Path) -> None:
    utterances = ravdess()
    assert len(utterances) == 1440
    raw = {"disgusted": "Disgust"}
    rows = [Row(u.id, f"audio/Audio_Speech_Actors_01-24/Actor_{u.speaker}/{u.id}.wav",
                raw.get(u.label, u.label.capitalize())) for u in utterances]
    folds = {}
    for k, actors in enumerate(RAVDESS_FOLDS, start=1):
        tested = [u.speaker in actors.split() for u in utterances]
        folds[k] = {"train": [row for row, t in zip(rows, tested, strict=True) if not t],
                    "test": [row for row, t in zip(rows, tested, strict=True) if t], "valid": []}
    emobox_tree.write(tmp_path, "ravdess", folds, labels=RAVDESS_MAP, forms=("jsonl",))
    made = folds_of(utterances, tmp_path, "ravdess")
    assert is_speaker_disjoint(utterances, made)
    for fold, actors in zip(made, RAVDESS_FOLDS, strict=True):
        assert {utterances[u].speaker for u in fold.test} == set(actors.split())
        assert (len(fold.train), len(fold.test)) == (1200, 240)
        assert Counter(utterances[u].label for u in fold.test)["neutral"] == 16
    # Half of the corpus is not enough.
    with pytest.raises(UserError, match="nor are 719 others of the 1440 utterances of EmoBox's ravdess"):
        folds_of([u for u in utterances if int(u.speaker) <= 12], tmp_path, "ravdess")


CASIA_FOLDS = ("wangzhe", "zhaozuoxiang", "liuchanhg", "zhaoquanyin")  # who is tested, as published
CASIA_EMOTIONS = {"neutral": "neutral", "angry": "angry", "surprise": "surprised", "sad": "sad", "happy": "happy",
                  "fear": "fearful"}


def casia_tree(place: Path) -> None:
    """The 1200 public recordings, whose file names occur 24 times."""
    rows = {name: [Row(f"{n}-{name}-{emotion}", f"{name}/{emotion}/{n}.wav", emotion)
                   for emotion in CASIA_EMOTIONS for n in range(201, 251)] for name in CASIA_FOLDS}
    emobox_tree.write(place, "casia", {
        k: {"train": [row for other in CASIA_FOLDS if other != name for row in rows[other]], "test": rows[name]}
        for k, name in enumerate(CASIA_FOLDS, start=1)}, forms=("jsonl",))


@pytest.mark.parametrize("half", ["", "parallel/"])
def test_casia_folds_test_the_published_speakers(tmp_path: Path, half: str) -> None:
    casia_tree(tmp_path)
    last = 250 if not half else 300  # the full release has more, which EmoBox does not have
    utterances = [Utterance(f"{half}{name}/{emotion}/{n}", 1, label=label, speaker=name)
                  for name in CASIA_FOLDS for emotion, label in CASIA_EMOTIONS.items() for n in range(201, last + 1)]
    made = folds_of(utterances, tmp_path, "casia")
    for fold, name in zip(made, CASIA_FOLDS, strict=True):
        assert {utterances[u].speaker for u in fold.test} == {name}
        assert (len(fold.train), len(fold.test)) == (900, 300)


def test_casia_without_one_speaker_or_without_names_is_never_mistaken(tmp_path: Path) -> None:
    casia_tree(tmp_path)
    two = [Utterance(f"{name}/{emotion}/{n}", 1, label=label, speaker=name) for name in ("wangzhe", "liuchanhg")
           for emotion, label in CASIA_EMOTIONS.items() for n in range(201, 251)]
    for known in (two, two[:300]):
        with pytest.raises(UserError, match=f"nor are {1200 - len(known) - 1} others of the 1200"):
            folds_of(known, tmp_path, "casia")
    flat = [Utterance(f"{emotion}/{n}", 1, label=label) for emotion, label in CASIA_EMOTIONS.items()
            for n in range(201, 251)]
    with pytest.raises(UserError, match=r"are both the utterance 'neutral/201' here"):
        folds_of(flat, tmp_path, "casia")


@pytest.mark.parametrize(("name", "wav", "key"), [
    ("JE/n23", "JE_n23.wav", "JE-n23"),  # SAVEE, in folders of speakers
    ("JE_n23", "JE_n23.wav", "JE-n23"),
    ("wav/JE_n23.wav", "JE_n23.wav", "JE-n23"),  # a manifest's path
    ("my/copy/JE_N23.WAV", "audio/JE_n23.wav", "JE-n23"),
    ("Ore\u0301au/29a13Ja.wav", "Or\u00e9au/29a13Ja.wav", "29a13Ja"),
    ("a/m0372.flac#1917.34-1925.26", "a/pavoque.flac", "a-m0372.flac#1917.34-1925.26"),
    ("1052_WSI_ANG_XX", "AudioWAV/1052_WSI_ANG_XX.wav", "1052-WSI-ANG-XX"),
])
def test_names_are_found_however_they_are_written(tmp_path: Path, name: str, wav: str, key: str) -> None:
    utterances = [Utterance(name, 1, label="neutral"), *(Utterance(f"other{n}", 1, label=("neutral", "sad")[n % 2])
                                                         for n in range(4))]
    train = [Row(u.id, f"{u.id}.wav", u.label) for u in utterances[1:]]
    emobox_tree.write(tmp_path, "savee", {1: {"train": train, "test": [Row(key, wav, "neutral")]}})
    fold, = folds_of(utterances, tmp_path, "savee")
    assert fold.test.tolist() == [0]


def test_a_file_name_that_two_share_tells_nothing(tmp_path: Path) -> None:
    utterances = [Utterance(f"{folder}/1.wav", 1, label=folder) for folder in ("sad", "angry")]
    rows = [Row("x1", "x/1.wav", "sad"), Row("y2", "y/2.wav", "angry")]
    emobox_tree.write(tmp_path, "mine", {1: {"train": rows[:1], "test": rows[1:]}})
    with pytest.raises(UserError, match=r"x/1.wav is not in corpus mine, nor are 1 others"):
        folds_of(utterances, tmp_path, "mine")
