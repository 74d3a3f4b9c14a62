"""IEMOCAP: a miniature in the original layout with its irregularities, and the published counts at full size."""

import functools
import io
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora
from sercl_jax.corpora import registry
from sercl_jax.corpora.base import Options
from sercl_jax.errors import UserError

CODES = {"angry": "ang", "happy": "hap", "excited": "exc", "neutral": "neu", "sad": "sad"}
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
# Dialogue -> turns: who speaks and number, emotion, valence, activation, dominance.
DIALOGUES = {
    "Ses01F_impro01": [("F000", "neu", 2.5, 2.0, 3.0), ("M000", "ang", 1.5, 4.0, 4.5),
                       ("F001", "xxx", 2.0, 2.5, 3.5)],
    "Ses01M_script01_1": [("F000", "hap", 4.5, 3.0, 2.5), ("M001", "fru", 2.0, 3.5, 3.0)],
    "Ses01F_script01_1": [("M000", "sad", 1.0, 1.5, 2.0)],
    "Ses03M_impro05a": [("F003", "exc", 5.0, 4.5, 4.0), ("M004", "oth", 3.0, 3.0, 3.0)],
    "Ses05M_script01_1b": [("F017", "sur", 3.5, 4.0, 2.0), ("M010", "fea", 1.5, 4.0, 1.5),
                           ("M011", "dis", 2.0, 2.5, 4.0)],
}
LABELS = {"neu": "neutral", "ang": "angry", "xxx": "", "hap": "happy", "fru": "frustrated", "sad": "sad",
          "exc": "excited", "oth": "other", "sur": "surprised", "fea": "fearful", "dis": "disgusted"}


def turn_lines(dialogue: str, turns, newline: str = "\n") -> bytes:
    """An EmoEvaluation file as released: raters' lines under each turn, some of them incomplete."""
    text = HEADER
    for number, (who, emotion, valence, activation, dominance) in enumerate(turns):
        text += (f"[{6.2901 + number:.4f} - {8.2357 + number:.4f}]\t{dialogue}_{who}\t{emotion}\t"
                 f"[{valence:.4f}, {activation:.4f}, {dominance:.4f}]\n"
                 "C-E2:\tNeutral;\t()\nC-E3:\tNeutral; Anger;\t(a [remark] in brackets)\nC-F1:\tHappiness;\t()\n"
                 "A-E3:\tval 3; act 2; dom  2;\t()\nA-E4:\tval 2; act 3; dom  ;\t(mixed)\n"
                 "A-M1:\tval 5; act 5;\t()\n\n")
    return text.replace("\n", newline).encode()


def samples(name: str) -> np.ndarray:
    return np.random.default_rng(sum(map(ord, name))).integers(-9000, 9000, 480).astype(np.int16)


@functools.cache
def wav(name: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples(name), 16_000, format="WAV")
    return buffer.getvalue()


def tree(dialogues=DIALOGUES) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for number, (dialogue, turns) in enumerate(dialogues.items()):
        session = f"IEMOCAP_full_release/Session{dialogue[4]}"
        evaluation = f"{session}/dialog/EmoEvaluation"
        content = turn_lines(dialogue, turns, newline="\r\n" if number == 1 else "\n")
        files[f"{evaluation}/{dialogue}.txt"] = (b"\xef\xbb\xbf" if number == 2 else b"") + content
        files[f"{evaluation}/._{dialogue}.txt"] = b"\0\5\26\7 Mac OS X \xb0\x02"
        # Single raters and self-assessments: other formats, other labels.
        files[f"{evaluation}/Categorical/{dialogue}_e2_cat.txt"] = f"{dialogue}_F000 :Anger; ()".encode()
        files[f"{evaluation}/Attribute/{dialogue}_e3_atr.txt"] = f"{dialogue}_F000 :act 1; ()".encode()
        files[f"{evaluation}/Self-evaluation/{dialogue}_f1_cat.txt"] = b"[1.0 - 2.0]\tnothing\tlike\t[a, turn]"
        files[f"{session}/dialog/wav/{dialogue}.wav"] = wav(dialogue)
        for who, *_ in turns:
            files[f"{session}/sentences/wav/{dialogue}/{dialogue}_{who}.wav"] = wav(f"{dialogue}_{who}")
            files[f"{session}/sentences/wav/{dialogue}/._{dialogue}_{who}.wav"] = b"\0\5\26\7"
    return files


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def expected() -> dict[str, tuple]:
    """Utterance -> label, speaker, session, sentence, gender and ratings, as the release's documents define them."""
    rows = {}
    for dialogue, turns in DIALOGUES.items():
        for who, emotion, valence, activation, dominance in turns:
            rows[f"{dialogue}_{who}"] = (
                LABELS[emotion], f"Ses0{dialogue[4]}{who[0]}", dialogue[4], dialogue.split("_", 1)[1],
                {"F": "female", "M": "male"}[who[0]], valence, activation, dominance)
    return rows


def publish(monkeypatch, dialogues=DIALOGUES) -> None:
    """As if the miniature were what was published."""
    builder = registry.builder_class("iemocap")
    names = {code: label for label, code in CODES.items()}
    usual = [(dialogue, turn[0], names[turn[1]]) for dialogue, turns in dialogues.items() for turn in turns
             if turn[1] in names]
    per_session: dict[str, dict[str, int]] = {
        session: dict.fromkeys(CODES, 0) | Counter(label for dialogue, _, label in usual if dialogue[4] == session)
        for session in "12345"}
    monkeypatch.setattr(builder, "PER_SESSION", per_session)
    monkeypatch.setattr(builder, "PER_SPEAKER",
                        Counter(f"Ses0{dialogue[4]}{who[0]}" for dialogue, who, _ in usual))
    monkeypatch.setattr(builder, "PER_KIND",
                        Counter("improvised" if "impro" in dialogue else "scripted" for dialogue, _, _ in usual))
    monkeypatch.setattr(builder, "USUAL_COUNT", len(usual))


def load(place, tmp_path, **options):
    return corpora.load("iemocap", cache_dir=tmp_path / "cache", manual_dir=place, workers=0, progress=False,
                        **{"labels": "all", **options})


def test_all_turns_of_tree_and_archives(tmp_path, monkeypatch):
    publish(monkeypatch)
    unpacked = write_tree(tmp_path / "tree", tree())
    with tarfile.open(tmp_path / "iemocap.tar.gz", "w:gz") as archive:
        archive.add(unpacked / "IEMOCAP_full_release", "IEMOCAP_full_release")
    with zipfile.ZipFile(tmp_path / "iemocap.zip", "w") as archive:
        for name, content in tree().items():
            archive.writestr(name, content)
    places = [unpacked, unpacked / "IEMOCAP_full_release", tmp_path / "iemocap.tar.gz", tmp_path / "iemocap.zip"]
    loaded = [load(place, tmp_path / str(number)) for number, place in enumerate(places)]
    assert len({corpus.key for corpus in loaded}) == 1
    rows = expected()
    assert [u.id for u in loaded[0].utterances] == sorted(rows)
    for u, one in enumerate(loaded[0].utterances):
        assert (one.label, one.speaker, one.session, one.sentence, one.gender, one.valence, one.activation,
                one.dominance) == rows[one.id]
        np.testing.assert_array_equal(loaded[2].waveform(u), samples(one.id))


def test_the_speaker_is_who_speaks_not_who_wears_the_markers(tmp_path, monkeypatch):
    publish(monkeypatch)
    speakers = {u.id: u.speaker for u in load(write_tree(tmp_path / "tree", tree()), tmp_path).utterances}
    assert speakers["Ses01F_impro01_M000"] == "Ses01M"
    assert speakers["Ses03M_impro05a_F003"] == "Ses03F"
    assert speakers["Ses05M_script01_1b_F017"] == "Ses05F"


def test_usual_classes_improvised_and_scripted(tmp_path, monkeypatch):
    publish(monkeypatch)
    unpacked = write_tree(tmp_path / "tree", tree())
    usual = load(unpacked, tmp_path, labels="usual")
    assert usual.labels == ("angry", "happy", "neutral", "sad")
    assert Counter(u.label for u in usual.utterances) == {"happy": 2, "angry": 1, "neutral": 1, "sad": 1}
    assert {u.id for u in load(unpacked, tmp_path, labels="usual", where="sentence=impro*").utterances} == {
        "Ses01F_impro01_F000", "Ses01F_impro01_M000", "Ses03M_impro05a_F003"}
    assert {u.id for u in load(unpacked, tmp_path, labels="usual", where="sentence=script*").utterances} == {
        "Ses01M_script01_1_F000", "Ses01F_script01_1_M000"}
    # The same text by both starters is one sentence, so that folds can keep its takes together.
    assert {u.sentence for u in usual.utterances if "script" in u.id} == {"script01_1"}


def changed(old: bytes, new: bytes):
    return lambda files: {name: content.replace(old, new) for name, content in files.items()}


@pytest.mark.parametrize(("change", "complaint"), [
    (changed(b"impro01_M000\tang", b"impro01_M000\trage"),
     r"Ses01F_impro01\.txt, line 11: Ses01F_impro01_M000 has the unknown emotion code 'rage'; IEMOCAP has ang, hap"),
    (changed(b"[1.5000, 4.0000, 4.5000]", b"[1.5000, 4.0000]"), r"line 11: .* is not \[start - end\] TURN EMOTION"),
    (changed(b"\tSes03M_impro05a_F003\t", b"\tSes03M_impro05b_F003\t"),
     "'Ses03M_impro05b_F003' is no turn of the dialogue Ses03M_impro05a"),
    (changed(b"Ses01F_impro01_F001\txxx", b"Ses01F_impro01_F000\txxx"), "Ses01F_impro01_F000 is there twice"),
    (lambda files: {name: content for name, content in files.items() if "/Ses05M_script01_1b_M010." not in name},
     r"the turn Ses05M_script01_1b_M010 has no Ses05M_script01_1b_M010\.wav below sentences/wav"),
    (changed(b"impro01_F000\tneu", b"impro01_F000\tsad"),
     "utterances in session 1 are not those its users report .neutral: 0 instead of 1; sad: 2 instead of 1"),
    (lambda files: {name: content for name, content in files.items() if "Session3" not in name},
     "session 3 are not those its users report .excited: 0 instead of 1"),
    (lambda files: {name: HEADER.encode() if name.endswith("EmoEvaluation/Ses03M_impro05a.txt") else content
                    for name, content in files.items()}, r"Ses03M_impro05a\.txt: holds no turn"),
    (lambda files: files | {"copy/" + name: content for name, content in files.items() if "Session5" in name},
     "is there twice; give one copy"),
    (lambda files: {"readme.txt": b"nothing else"}, "holds nothing that looks like IEMOCAP"),
])
def test_what_is_not_the_release_is_refused(tmp_path, monkeypatch, change, complaint):
    publish(monkeypatch)
    with pytest.raises(UserError, match=complaint):
        load(write_tree(tmp_path / "tree", change(tree())), tmp_path)
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


def test_speakers_by_the_dialogue_would_be_noticed(tmp_path, monkeypatch):
    """The counts per speaker tell the right speakers from those that other toolkits take."""
    publish(monkeypatch)
    wrong = Counter(name[:6] for name in expected() if expected()[name][0] in CODES)
    monkeypatch.setattr(registry.builder_class("iemocap"), "PER_SPEAKER", wrong)
    with pytest.raises(UserError, match="utterances per speaker, of the usual classes, are not those"):
        load(write_tree(tmp_path / "tree", tree()), tmp_path)


def test_nothing_given(tmp_path):
    with pytest.raises(UserError, match=r"IEMOCAP is not on this machine.*--config\.data\.manual_dir"):
        load(None, tmp_path)


# Class by session as published (CORPORA.md), and how many of each session's are improvised, which fixes nothing but
# the sums: improvised 289 angry, 947 happy and excited, 1099 neutral, 608 sad.
PUBLISHED = {"1": (229, 135, 143, 384, 194), "2": (137, 117, 210, 362, 197), "3": (240, 135, 151, 320, 305),
             "4": (327, 65, 238, 258, 143), "5": (170, 143, 299, 384, 245)}
SPEAKERS = {"1": (528, 557), "2": (481, 542), "3": (522, 629), "4": (528, 503), "5": (590, 651)}
IMPROVISED = 2943


def full_size() -> dict[str, list]:
    """5,531 turns with the published margins, and 300 of other classes; 30 turns to a dialogue."""
    dialogues: dict[str, list] = {}
    improvised = 0
    for session, counts in PUBLISHED.items():
        emotions = [code for code, count in zip(("ang", "hap", "exc", "neu", "sad"), counts, strict=True)
                    for _ in range(count)]
        np.random.default_rng(int(session)).shuffle(emotions)
        women, men = SPEAKERS[session]
        speakers = ["F"] * women + ["M"] * men
        for number, (emotion, letter) in enumerate(zip(emotions, speakers, strict=True)):
            kind = "impro" if improvised < IMPROVISED else "script"
            improvised += kind == "impro"
            name = f"Ses0{session}{'FM'[number % 2]}_{kind}{number // 30:02d}"
            dialogues.setdefault(name, []).append((f"{letter}{number:03d}", emotion, 2.5, 3.0, 3.5))
        for number, emotion in enumerate(["fru", "xxx", "sur"] * 20):
            dialogues[name].append((f"M9{number:02d}", emotion, 2.5, 3.0, 3.5))
    return dialogues


def write_full_size(place: Path, dialogues: dict[str, list]) -> Path:
    """Nothing is decoded, so empty files stand for the audio."""
    with zipfile.ZipFile(place, "w") as archive:
        for name, turns in dialogues.items():
            session = f"Session{name[4]}"
            archive.writestr(f"{session}/dialog/EmoEvaluation/{name}.txt", turn_lines(name, turns))
            for who, *_ in turns:
                archive.writestr(f"{session}/sentences/wav/{name}/{name}_{who}.wav", b"")
    return place


def sources(place: Path, tmp_path: Path):
    builder = registry.builder_class("iemocap")(data_dir=str(tmp_path / "data"), options=Options(manual_dir=place))
    return builder.sources()


def test_published_counts_at_full_size(tmp_path):
    dialogues = full_size()
    found = sources(write_full_size(tmp_path / "release.zip", dialogues), tmp_path)
    assert len(found) == 5531 + 300
    labels = Counter(source.utterance.label for source in found)
    assert (labels["angry"], labels["happy"] + labels["excited"], labels["neutral"], labels["sad"]) == (
        1103, 1636, 1708, 1084)
    # One utterance of another class, and it is refused.
    turns = next(iter(dialogues.values()))
    position = next(position for position, turn in enumerate(turns) if turn[1] == "neu")
    turns[position] = (turns[position][0], "fru", *turns[position][2:])
    with pytest.raises(UserError, match=r"session 1 are not .*neutral: 383 instead of 384"):
        sources(write_full_size(tmp_path / "spoilt.zip", dialogues), tmp_path)


def test_the_figures_that_are_checked():
    builder = registry.builder_class("iemocap")
    assert {session: tuple(counts[label] for label in ("angry", "happy", "excited", "neutral", "sad"))
            for session, counts in builder.PER_SESSION.items()} == PUBLISHED
    assert {session: (builder.PER_SPEAKER[f"Ses0{session}F"], builder.PER_SPEAKER[f"Ses0{session}M"])
            for session in "12345"} == SPEAKERS
    assert sum(builder.PER_SPEAKER.values()) == sum(builder.PER_KIND.values()) == builder.USUAL_COUNT == 5531
    assert builder.PER_KIND["improvised"] == IMPROVISED


def test_another_count_of_the_usual_classes_is_refused(tmp_path, monkeypatch):
    publish(monkeypatch)
    unpacked = write_tree(tmp_path / "tree", tree())
    load(unpacked, tmp_path)
    monkeypatch.setattr(registry.builder_class("iemocap"), "USUAL_COUNT", 5531)
    with pytest.raises(UserError, match=r"has 5 utterances of its usual classes .* instead of the published 5531"):
        load(unpacked, tmp_path, labels="usual")


def test_skipped_audio_is_not_counted_against_the_corpus(tmp_path, monkeypatch):
    publish(monkeypatch)
    files = tree()
    silent = next(name for name in files if name.endswith("/Ses01F_impro01_M000.wav"))
    files[silent] = files[silent][:44]
    unpacked = write_tree(tmp_path / "tree", files)
    with pytest.raises(UserError, match=r"Ses01F_impro01_M000\.wav"):
        load(unpacked, tmp_path)
    assert len(load(unpacked, tmp_path, labels="usual", on_error="skip")) == 4
