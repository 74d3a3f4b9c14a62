"""Every damage gets a clear error or a counted skip; no record is ever wrong, and nothing half-built is trusted."""

import json
import os
import re
import unicodedata
import zipfile
from pathlib import Path

import damaged
import numpy as np
import pytest
from damaged import BAD_AUDIO, GOOD_AUDIO, GOOD_SAMPLES, MANIFEST, Change

from sercl_jax import corpora
from sercl_jax.corpora import index, registry
from sercl_jax.corpora.base import Options, Request
from sercl_jax.errors import UserError


def load(name: str, place: Path, cache: Path, **options) -> corpora.Corpus:
    given = {"manifest": place / MANIFEST} if name == "manifest" else {"manual_dir": place}
    return corpora.load(name, cache_dir=cache, workers=0, progress=False, **given, **options)


def records(cache: Path) -> list[Path]:
    """Everything that a later run could take for records."""
    return [path for pattern in ("*.array_record*", index.FILE, "dataset_info.json") for path in cache.rglob(pattern)]


def samples(corpus: corpora.Corpus) -> dict[str, np.ndarray]:
    return {utterance.id: corpus.waveform(u) for u, utterance in enumerate(corpus.utterances)}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, waveform in expected.items():
        np.testing.assert_array_equal(found[name], waveform, err_msg=name)


@pytest.mark.parametrize("name", BAD_AUDIO)
def test_bad_audio_is_named_and_nothing_is_built(tmp_path, name):
    content, complaint = BAD_AUDIO[name]
    folder = damaged.write(tmp_path / "data", {"a.wav": GOOD_AUDIO["a.wav"], name: content})
    (folder / MANIFEST).write_text(damaged.manifest("a.wav", name), encoding="utf-8")
    with pytest.raises(UserError, match=complaint) as error:
        load("manifest", folder, tmp_path / "cache")
    assert str(folder / name) in str(error.value)
    assert "line 3" in str(error.value)
    assert "on_error=skip" in str(error.value)
    assert not records(tmp_path / "cache")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Good and bad audio in turns."""
    folder = damaged.write(tmp_path_factory.mktemp("mixed"), GOOD_AUDIO | {n: c for n, (c, _) in BAD_AUDIO.items()})
    names = sorted([*GOOD_AUDIO, *BAD_AUDIO], key=lambda name: name[::-1])
    (folder / MANIFEST).write_text(damaged.manifest(*names), encoding="utf-8")
    return folder


def check_skipped(corpus: corpora.Corpus, told: str) -> None:
    same(samples(corpus), GOOD_SAMPLES)
    assert f"{len(BAD_AUDIO)} utterances were left out" in told
    skipped = json.loads((corpus.directory / index.SKIPPED).read_text(encoding="utf-8"))
    assert len(skipped) == len(BAD_AUDIO)
    for row in skipped:
        assert re.search(BAD_AUDIO[row["id"]][1], row["reason"])


def test_skipping_leaves_every_other_record_as_it_is(mixed, tmp_path, capsys):
    corpus = load("manifest", mixed, tmp_path, on_error="skip")
    check_skipped(corpus, capsys.readouterr().err)
    assert corpus == load("manifest", mixed, tmp_path, on_error="skip")
    check_skipped(corpus, capsys.readouterr().err)  # whoever uses the records later is told, too
    with pytest.raises(UserError, match="on_error=skip"):  # and who wants everything does not get them
        load("manifest", mixed, tmp_path)
    with pytest.raises(UserError, match="on_error is 'ignore'"):
        load("manifest", mixed, tmp_path, on_error="ignore")


def test_skipping_in_parallel_is_the_same(mixed, tmp_path, capsys):
    corpus = corpora.load("manifest", cache_dir=tmp_path, manifest=mixed / MANIFEST, workers=2, progress=False,
                          on_error="skip")
    check_skipped(corpus, capsys.readouterr().err)


def test_mended_audio_is_built(tmp_path):
    folder = damaged.write(tmp_path / "data", {"a.wav": GOOD_AUDIO["a.wav"], "b.flac": b""})
    (folder / MANIFEST).write_text(damaged.manifest("a.wav", "b.flac"), encoding="utf-8")
    with pytest.raises(UserError):
        load("manifest", folder, tmp_path / "cache")
    partial = load("manifest", folder, tmp_path / "cache", on_error="skip")
    (folder / "b.flac").write_bytes(GOOD_AUDIO["b.flac"])
    whole = load("manifest", folder, tmp_path / "cache")
    assert whole.key != partial.key
    same(samples(whole), {name: GOOD_SAMPLES[name] for name in ("a.wav", "b.flac")})
    assert not (whole.directory / index.SKIPPED).exists()


TREES = [(name, make, change) for name, make, changes in (
    ("manifest", damaged.listed, damaged.MANIFESTS), ("ravdess", damaged.ravdess, damaged.RAVDESS),
    ("librispeech", damaged.librispeech, damaged.LIBRISPEECH),
    ("msp_podcast", damaged.msp_podcast, damaged.MSP_PODCAST)) for change in changes]


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """What each corpus is without damage: key, samples."""
    found = {}
    for name, make in {name: make for name, make, _ in TREES}.items():
        place = damaged.write(tmp_path_factory.mktemp(name), make())
        corpus = load(name, place, place / "cache")
        found[name] = corpus.key, samples(corpus)
    return found


@pytest.mark.parametrize(("name", "make", "change"), TREES, ids=[f"{n}: {c.name}" for n, _, c in TREES])
def test_changes_of_a_tree(tmp_path, undamaged, name, make, change: Change):
    place = damaged.write(tmp_path / "data", change.apply(make()))
    place.mkdir(exist_ok=True)
    if not change.complaint:
        corpus = load(name, place, tmp_path / "cache")
        assert corpus.key == undamaged[name][0]
        same(samples(corpus), undamaged[name][1])
        return
    for on_error in ("raise", "skip"):  # skipping is for audio; lists must be right
        with pytest.raises(UserError, match=change.complaint) as error:
            load(name, place, tmp_path / "cache", on_error=on_error)
        assert str(place) in str(error.value)
        assert len(str(error.value)) < 700
    assert not records(tmp_path / "cache")
    corpus = load(name, damaged.write(tmp_path / "mended", make()), tmp_path / "cache")
    same(samples(corpus), undamaged[name][1])


def test_bad_audio_in_a_tree_and_in_an_archive(tmp_path, undamaged, capsys):
    expected = undamaged["ravdess"][1]
    bad = {"Actor_03/03-01-05-01-01-01-03.wav": "empty.wav",
           "Actor_03/03-01-02-02-01-02-03.wav": "truncated_body.wav",
           "Actor_03/03-01-08-01-02-01-03.wav": "nan.wav"}
    files = damaged.ravdess() | {path: BAD_AUDIO[name][0] for path, name in bad.items()}
    place = damaged.write(tmp_path / "data", files)
    with pytest.raises(UserError, match=r"data/Actor_03/03-01-02-02-01-02-03\.wav: is truncated"):
        load("ravdess", place, tmp_path / "cache")
    assert not records(tmp_path / "cache")
    (tmp_path / "zip").mkdir()
    with zipfile.ZipFile(tmp_path / "zip" / "ravdess.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    for given in (place, tmp_path / "zip"):
        corpus = load("ravdess", given, tmp_path / given.name, on_error="skip")
        left = {Path(path).stem for path in bad}
        same(samples(corpus), {name: x for name, x in expected.items() if name not in left})
        skipped = json.loads((corpus.directory / index.SKIPPED).read_text(encoding="utf-8"))
        assert {row["id"] for row in skipped} == left
        assert "3 utterances were left out" in capsys.readouterr().err


def test_a_link_out_of_the_tree(tmp_path, undamaged):
    files = damaged.ravdess()
    content = files.pop(damaged.ONE)
    place = damaged.write(tmp_path / "data", files)
    damaged.write(tmp_path, {"secret.wav": content})
    (place / damaged.ONE).symlink_to(tmp_path / "secret.wav")
    with pytest.raises(UserError, match="is a link that leads out of the corpus") as error:
        load("ravdess", place, tmp_path / "cache")
    assert str(place / damaged.ONE) in str(error.value)
    assert not records(tmp_path / "cache")
    # A corpus that is linked into place as a whole, or folder by folder, is another matter.
    whole = damaged.write(tmp_path / "whole", damaged.ravdess())
    (tmp_path / "linked").symlink_to(whole)
    (tmp_path / "by_folder").mkdir()
    (tmp_path / "by_folder" / "Actor_03").symlink_to(whole / "Actor_03")
    for linked in ("linked", "by_folder"):
        assert load("ravdess", tmp_path / linked, tmp_path / "cache").key == undamaged["ravdess"][0]


def test_a_link_that_leads_nowhere_and_one_in_a_circle(tmp_path):
    files = damaged.ravdess()
    del files[damaged.ONE]
    for target in ("nowhere.wav", Path(damaged.ONE).name):
        place = damaged.write(tmp_path / target, files)
        (place / damaged.ONE).symlink_to(target)
        with pytest.raises(UserError) as error:
            load("ravdess", place, tmp_path / "cache")
        assert Path(damaged.ONE).stem in str(error.value)
    assert not records(tmp_path / "cache")


def test_a_folder_where_a_file_should_be(tmp_path):
    files = damaged.ravdess()
    del files[damaged.ONE]
    place = damaged.write(tmp_path / "data", files)
    (place / damaged.ONE).mkdir()
    with pytest.raises(UserError, match="has 59 of the 60 recordings"):
        load("ravdess", place, tmp_path / "cache")


@pytest.mark.parametrize("disk", ["NFC", "NFD"])
@pytest.mark.parametrize("given", ["NFC", "NFD"])
def test_unicode_names_in_a_manifest(tmp_path, disk, given):
    """A file is found whichever form its name has on the disk, and whichever the editor wrote."""
    folder = damaged.write(tmp_path / "data", {unicodedata.normalize(disk, "é.wav"): GOOD_AUDIO["d é.wav"]})
    (folder / MANIFEST).write_text(damaged.manifest(unicodedata.normalize(given, "é.wav")), encoding="utf-8")
    corpus = load("manifest", folder, tmp_path / "cache")
    np.testing.assert_array_equal(corpus.waveform(0), GOOD_SAMPLES["d é.wav"])


def test_chinese_names_in_either_form(tmp_path):
    """CASIA's folders have Chinese names; its public part has 24 files of every name."""
    emotions = ("angry", "fear", "happy", "neutral", "sad", "surprise")
    files = {f"录音 é/{speaker}/{emotion}/{number}.wav": b"audio"
             for speaker in ("liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang") for emotion in emotions
             for number in range(201, 251)}
    found = []
    for place in (damaged.write(tmp_path / "plain", files),
                  damaged.write(tmp_path / "other", damaged.decomposed(files) | damaged.leavings(files))):
        options = Options(manual_dir=place, progress=False)
        builder_class = registry.builder_class("casia")
        configuration = builder_class.configuration(Request(options=options, records=tmp_path))
        builder = builder_class(data_dir=str(tmp_path), config=configuration, options=options)
        found.append((configuration.name, [source.utterance.id for source in builder.sources()]))
    assert found[0] == found[1]
    assert len(found[0][1]) == 1200


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """Root reads everything, so the refusal is played."""
    folder = damaged.write(tmp_path / "data", {"a.wav": GOOD_AUDIO["a.wav"], "b.flac": GOOD_AUDIO["b.flac"]})
    (folder / MANIFEST).write_text(damaged.manifest("a.wav", "b.flac"), encoding="utf-8")
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path.name == "b.flac":
            raise PermissionError(13, os.strerror(13), str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"b\.flac .*cannot be read \(Permission denied\)"):
        load("manifest", folder, tmp_path / "cache")
    corpus = load("manifest", folder, tmp_path / "cache", on_error="skip")
    same(samples(corpus), {"a.wav": GOOD_SAMPLES["a.wav"]})
