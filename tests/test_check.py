"""`python -m sercl_jax.corpora check` finds what is wrong with a corpus, and says fine only of one that is."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import soundfile
from small_corpus import write

from sercl_jax.corpora import __main__, check, check_figure, findings, registry, scan, tables
from sercl_jax.corpora.findings import find
from sercl_jax.corpora.scan import Scan, clipped, measure
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance


def sound(seed: int = 0, size: int = 8000, amplitude: int = 9000) -> np.ndarray:
    return np.random.default_rng(seed).integers(-amplitude, amplitude, size).astype(np.int16)


def corpus(folder, rows, header="path,label,speaker,split"):
    """A manifest over files of noise that `rows` name; what is there already stays."""
    folder.mkdir(exist_ok=True)
    for number, row in enumerate(rows):
        path = folder / row.split(",")[0]
        if not path.exists():
            soundfile.write(path, sound(number), 16_000)
    manifest = folder / "m.csv"
    manifest.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return manifest


def survey(manifest, **options):
    return check.survey("manifest", manifest=manifest, cache_dir=manifest.parent / "cache", workers=0,
                        progress=False, **options)


def kinds(result) -> dict[str, bool]:
    return {finding.kind: finding.serious for finding in result.findings}


def finding(result, kind: str) -> findings.Finding:
    (found,) = (f for f in result.findings if f.kind == kind)
    return found


def test_a_good_corpus_is_fine(tmp_path):
    manifest = write(tmp_path / "data")
    result = survey(manifest)
    assert not result.findings
    text = result.text()
    assert text.splitlines()[-1] == "manifest: fine."
    assert "36 utterances" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["angry", "12", "33.3%", "4", "3", "0.00"] in rows
    assert ["all", "36", "4", "9", "0.00"] in rows
    assert ["ann", "3", "3", "3", "9"] in rows
    assert "36 files: 16000 Hz, mono, WAV PCM_16" in text
    assert not (tmp_path / "data" / "cache").exists()  # nothing is built


def damaged(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, samples in {"twin": sound(1), "copy": sound(1), "other": sound(2), "liar": sound(2),
                          "quiet": sound(3, amplitude=3), "padded": np.pad(sound(4), (2000, 1000)),
                          "nearly": np.pad(sound(5, 800), (20_000, 0)), "shifted": sound(6) + np.int16(2000)}.items():
        soundfile.write(folder / f"{name}.wav", samples, 16_000)
    soundfile.write(folder / "loud.wav", np.clip(3 * np.sin(np.arange(24_000) / 9), -1, 1), 48_000, subtype="PCM_24")
    (folder / "cut.wav").write_bytes((folder / "other.wav").read_bytes()[:9000])
    (folder / "text.wav").write_text("not sound", encoding="utf-8")
    return corpus(folder, [
        "twin.wav,sad,1,train", "copy.wav,sad,1,train", "other.wav,sad,1,train", "liar.wav,happy,1,train",
        "quiet.wav,sad,1,train", "padded.wav,sad,,train", "nearly.wav,sad,1,train", "shifted.wav,sad,1,test",
        "loud.wav,sad,2,test", "cut.wav,sad,2,test", "text.wav,,2,test", "fine.wav,,2,test"])


def test_everything_wrong_is_found(tmp_path):
    result = survey(damaged(tmp_path))
    assert kinds(result) == {
        "unusable": True, "contradicting duplicates": True, "near-empty": True, "duplicates": False, "clipped": False,
        "offset": False, "digital silence": False, "sampling rates": False, "unlabelled": False,
        "small classes": False, "speakers": False}
    assert [f.serious for f in result.findings] == sorted((f.serious for f in result.findings), reverse=True)
    assert [text.split(" (")[0].rsplit("/", 1)[-1] for text in finding(result, "unusable").where] == [
        "cut.wav", "text.wav"]
    assert finding(result, "contradicting duplicates").where == (
        "other.wav (sad, 1, train) = liar.wav (happy, 1, train)",)
    assert finding(result, "duplicates").where == ("twin.wav (sad, 1, train) = copy.wav (sad, 1, train)",)
    assert [text.split(":")[0] for text in finding(result, "near-empty").where] == ["quiet.wav", "nearly.wav"]
    assert [text.split(":")[0] for text in finding(result, "clipped").where] == ["loud.wav"]
    assert finding(result, "offset").where == ("shifted.wav: +6.1%",)
    assert finding(result, "digital silence").where == (
        "nearly.wav: 1.25 s before, 0.00 s after", "padded.wav: 0.12 s before, 0.06 s after")
    assert "16000 Hz: 9, 48000 Hz: 1" in finding(result, "sampling rates").text
    assert "2 of 12 utterances have no label" in finding(result, "unlabelled").text
    assert "1 of 12 utterances is unknown" in finding(result, "speakers").text
    assert result.text().splitlines()[-1] == "manifest: 3 problems, 8 notes."


def test_ratings(tmp_path):
    values = (1.0, 5.0, 0.5, float("nan"))
    rows = [Utterance(id=str(i), num_samples=0, valence=value) for i, value in enumerate(values)]
    scans = [Scan(digest=str(i)) for i in range(4)]
    (outside,) = (f for f in find(rows, scans, (1.0, 5.0)) if f.kind == "ratings")
    assert outside.where == ("2: valence 0.5",)
    assert outside.serious
    assert "ratings" not in {f.kind for f in find(rows, scans, None)}
    manifest = corpus(tmp_path / "data", ["a.wav,sad,1,1.5", "b.wav,sad,1,", "c.wav,sad,1,4"],
                      header="path,label,speaker,valence")
    assert "Valence: 1.5 to 4, mean 2.75, 2 of 3 rated" in survey(manifest).text()


def test_copies_of_unknown_rating_agree():
    rows = [Utterance(id=name, num_samples=0, label="sad") for name in "ab"]
    (found,) = (f for f in find(rows, [Scan(digest="same")] * 2) if "duplicates" in f.kind)
    assert not found.serious


def test_measures():
    facts = measure(np.array([0, 0, 16384, -16384, 0], np.int16))
    assert facts["peak"] == pytest.approx(20 * np.log10(0.5))
    assert facts["level"] == pytest.approx(10 * np.log10(0.5 / 5))
    assert (facts["leading"], facts["trailing"], facts["zeros"], facts["offset"]) == (2 / 16_000, 1 / 16_000, 0.6, 0)


@pytest.mark.parametrize(("samples", "expected"), [
    ([0, 1, 1, 1, 0], 3), ([1, 1, 0, 1, 1], 0), ([-1, -1, -1, -1], 4), ([1, 1, -1, -1], 0), ([0.5] * 9, 0),
    ([127 / 128] * 3 + [0] + [-1] * 3, 6), ([0.991, 0.992, 0.993], 0)])
def test_clipping_is_flat_at_full_scale(samples, expected):
    other = np.linspace(-0.5, 0.5, len(samples))
    assert clipped(np.stack([other, np.array(samples, float)], axis=1)) == expected


def test_histograms_hold_everything():
    seconds = [*np.random.default_rng(0).gamma(3.0, 1.0, 500), 600.0]
    edges = tables.duration_edges(seconds)
    assert len(edges) <= 15
    lines = tables.histogram(seconds, edges, "s").splitlines()
    assert sum(int(line.split(" s ")[1].split()[0]) for line in lines) == 501
    assert lines[-1].split()[:3] == ["over", f"{edges[-1]:g}", "s"]
    assert max(line.count("#") for line in lines) == 40
    levels = tables.level_edges([-61.0, -20.0, -19.9])
    assert levels.tolist() == list(range(-65, -10, 5))


def test_many_speakers_get_no_table_of_their_own():
    def of(count):
        return tables.speakers([Utterance(id=str(i), num_samples=0, label="sad", speaker=str(i))
                                for i in range(count)])
    assert len(of(30).splitlines()) == 31
    assert of(31) == ""
    assert tables.named([Utterance(id=str(i), num_samples=0, session=str(i % 20)) for i in range(40)],
                        "session").endswith(", 8 more)")


def command(*arguments, capsys):
    status = __main__.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_the_command(tmp_path, capsys):
    manifest = damaged(tmp_path)
    status, text, _ = command("check", "--corpus=manifest", f"--manifest={manifest}", "--workers=1",
                              f"--cache_dir={tmp_path}", f"--json={tmp_path / 'a.json'}",
                              f"--plot={tmp_path / 'a.png'}", capsys=capsys)
    assert status == 1
    assert text.splitlines()[-1] == "manifest: 3 problems, 8 notes."
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found["problems"] == 3
    assert len(found["files"]) == found["utterances"] == 12
    assert found["counts"]["1"] == {"": 0, "happy": 1, "sad": 6}
    assert found["splits"] == {"test": 3, "train": 7}
    (cut,) = (row for row in found["files"] if row["id"] == "cut.wav")
    assert "is truncated" in cut["error"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    status, text, _ = command("check", "--corpus=manifest", f"--manifest={write(tmp_path / 'good')}", "--workers=0",
                              f"--cache_dir={tmp_path}", capsys=capsys)
    assert status == 0


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--corpus=emdob", "--manual_dir=."], "did you mean 'emodb'"),
    (["--corpus=emodb", "--manual_dir=/none"], "/none: there is no such file or folder"),
    (["--corpus=manifest"], "--manifest=my.csv"),
    (["--corpus=ravdess"], "--manual_dir=FOLDER"),
    (["--corpus=emodb", "--no_download"], "--manual_dir=FOLDER"),
    (["--corpus=demo", "--workers=-1"], "--workers=-1: is negative"),
])
def test_what_cannot_be_examined(tmp_path, capsys, arguments, complaint):
    status, text, errors = command("check", f"--cache_dir={tmp_path}", *arguments, capsys=capsys)
    assert (status, text) == (2, "")
    assert complaint in errors


def test_a_distribution_that_its_builder_refuses_is_examined_all_the_same(tmp_path, capsys):
    tree = tmp_path / "wav"
    tree.mkdir()
    for number, name in enumerate(("03a01Fa", "03a01Nc", "03a01Wa")):
        soundfile.write(tree / f"{name}.wav", sound(number), 16_000)
    (tree / "03a02Fc.wav").write_bytes(b"")
    status, text, _ = command("check", "--corpus=emodb", f"--manual_dir={tmp_path}", f"--cache_dir={tmp_path / 'c'}",
                              "--workers=0", capsys=capsys)
    assert status == 1
    assert "PROBLEM: The builder of emodb refuses this distribution" in text
    assert "4 instead of 535" in text
    assert "1 of 4 utterances cannot be used" in text
    assert text.splitlines()[-1].startswith("emodb: 2 problems")


def test_archives_are_examined_like_trees(tmp_path):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(), 16_000, format="WAV")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("wav/03a01Fa.wav", buffer.getvalue())
        archive.writestr("wav/03a01Wa.wav", buffer.getvalue()[:5000])
    result = check.survey("emodb", manual_dir=tmp_path / "a.zip", cache_dir=tmp_path / "c", workers=0, progress=False)
    assert [bool(scan.error) for scan in result.scans] == [False, True]
    np.testing.assert_equal({**measure(sound())}, {name: getattr(result.scans[0], name) for name in measure(sound())})


def test_a_corpus_of_which_nothing_can_be_used(tmp_path):
    manifest = corpus(tmp_path / "data", ["a.wav,sad,1,"])
    (tmp_path / "data" / "a.wav").write_bytes(b"")
    result = survey(manifest)
    assert result.text().splitlines()[-1] == "manifest: 1 problem, 1 note."
    assert result.to_json()["seconds"] == 0
    with pytest.raises(UserError, match="nothing to plot"):
        check_figure.png(result)


def test_synthetic_corpora_have_no_files():
    source = registry.builder_class("demo")(data_dir="/none").sources()[0]
    found = scan.scan("demo", source)
    assert (found.error, found.rate, found.encoding) == ("", 0, "")
    assert found.seconds > 0.3


def test_the_list_names_every_corpus(capsys):
    status, text, _ = command("list", capsys=capsys)
    assert status == 0
    assert [line for line in text.splitlines() if not line.startswith(" ")] == list(registry.names())


def test_as_a_program_in_parallel(tmp_path):
    manifest = write(tmp_path / "data")
    done = subprocess.run([sys.executable, "-m", "sercl_jax.corpora", "check", "--corpus=manifest",
                           f"--manifest={manifest}", f"--cache_dir={tmp_path}", "--workers=2"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "manifest: fine."
    assert done.stdout.strip() == survey(manifest).text()
    assert "check of manifest" in done.stderr


@pytest.mark.parametrize(("name", "count", "expected"), [
    ("emodb", 535, {"digital silence": "3 utterances"}),
    ("ravdess", 720, {"digital silence": "105 utterances", "duplicates": "1 recording is"}),
    ("librispeech", 960, {})])
def test_real_speech(shared_corpora, tmp_path, name, count, expected):
    result = check.survey(name, manual_dir=shared_corpora, cache_dir=tmp_path, workers=0, progress=False)
    assert len(result.usable) == count
    assert result.problems == 0
    assert kinds(result).keys() == expected.keys()
    for kind, words in expected.items():
        assert finding(result, kind).text.startswith(words)
    if name == "ravdess":
        assert finding(result, "duplicates").where == ("03-01-03-01-02-01-07 (happy, 07) = 03-01-03-01-02-02-07 "
                                                       "(happy, 07)",)
