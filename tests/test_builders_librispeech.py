"""LibriSpeech from trees, tars, compressed tars and zips; its transcripts; its counts; real speech in its layout."""

import functools
import gzip
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora
from sercl_jax.corpora import archives, distribution, registry
from sercl_jax.corpora.base import Options
from sercl_jax.errors import UserError

SPEAKERS = {"84": ("F", "dev-clean"), "174": ("M", "dev-clean"), "19": ("F", "train-clean-100")}
HEADER = "\ufeff; comments begin so | F | dev-clean |\r\n;ID |SEX| SUBSET |MINUTES| NAME\r\n"
CHAPTERS = {("dev-clean", "84", "121123"): 3, ("dev-clean", "84", "121550"): 2, ("dev-clean", "174", "50561"): 2,
            ("train-clean-100", "19", "198"): 3}


@functools.cache
def flac(name: str) -> bytes:
    buffer = io.BytesIO()
    seed = sum(map(ord, name))
    soundfile.write(buffer, samples(seed), 16_000, format="FLAC")
    return buffer.getvalue()


def samples(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, 500).astype(np.int16)


def tree(subsets=("dev-clean", "train-clean-100"), speakers: bool = True) -> dict[str, bytes]:
    """Path -> content of a miniature in the original layout; transcripts with CRLF and a BOM in one chapter."""
    files = {}
    for (subset, speaker, chapter), count in CHAPTERS.items():
        if subset not in subsets:
            continue
        stem = f"LibriSpeech/{subset}/{speaker}/{chapter}/{speaker}-{chapter}"
        names = [f"{speaker}-{chapter}-{number:04d}" for number in range(count)]
        files |= {f"{stem}{name[len(speaker) + len(chapter) + 1:]}.flac": flac(name) for name in names}
        text = "\n".join(f"{name} THE WORDS OF {name}" for name in names) + "\n"
        files[f"{stem}.trans.txt"] = (("\ufeff" + text.replace("\n", "\r\n") + "\r\n") if chapter == "198"
                                      else text).encode()
    if speakers:
        lines = "".join(f"{speaker:<4} | {sex} | {subset:<16} | 8.0 | A | Name\r\n"
                        for speaker, (sex, subset) in SPEAKERS.items())
        files["LibriSpeech/SPEAKERS.TXT"] = (HEADER + lines).encode()
    return files


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_tar(path: Path, files: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = (), mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for info in extra:
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def load(place, tmp_path, **options):
    return corpora.load("librispeech", cache_dir=tmp_path / "cache", manual_dir=place, progress=False,
                        **{"workers": 0, **options})


def check(corpus, subsets=("dev-clean", "train-clean-100")) -> None:
    expected = {f"{subset}/{speaker}-{chapter}-{number:04d}": (subset, speaker, f"{speaker}-{chapter}")
                for (subset, speaker, chapter), count in CHAPTERS.items() if subset in subsets
                for number in range(count)}
    assert [u.id for u in corpus.utterances] == sorted(expected)
    assert corpus.labels == ()
    for u, utterance in enumerate(corpus.utterances):
        assert (utterance.split, utterance.speaker, utterance.session) == expected[utterance.id]
        stem = utterance.id.split("/")[1]
        assert utterance.sentence == f"the words of {stem}"
        assert utterance.gender == {"F": "female", "M": "male"}[SPEAKERS[utterance.speaker][0]]
        assert utterance.label == ""
        assert np.isnan(utterance.activation)
        np.testing.assert_array_equal(corpus.waveform(u), samples(sum(map(ord, stem))))


def test_every_form_of_the_distribution_gives_the_same_corpus(tmp_path):
    files = tree()
    unpacked = write_tree(tmp_path / "tree", files)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "LibriSpeech").symlink_to(unpacked / "LibriSpeech")
    (linked / "round").symlink_to(linked)
    both = tmp_path / "both"
    write_tar(both / "dev-clean.tar.gz", tree(("dev-clean",)), mode="w:gz")
    write_tar(both / "train-clean-100.tar", tree(("train-clean-100",)))
    write_tar(both / "music.tar", {"song.wav": b"something else"})
    dotted = {f"./{name}": content for name, content in files.items()}
    places = [unpacked, unpacked / "LibriSpeech", linked, both, write_tar(tmp_path / "a.tar", dotted),
              write_tar(tmp_path / "a.tgz", files, mode="w:gz"), write_zip(tmp_path / "a.zip", files)]
    loaded = [load(place, tmp_path / str(number)) for number, place in enumerate(places)]
    for corpus in loaded:
        check(corpus)
    assert len({corpus.key for corpus in loaded}) == 1
    assert len({corpus.directory.parent.name for corpus in loaded}) == 1


def test_worker_processes_read_members_of_a_tar(tmp_path):
    check(load(write_tar(tmp_path / "a.tar", tree()), tmp_path, workers=2))


def test_a_compressed_tar_is_decompressed_once(tmp_path, monkeypatch):
    files = tree() | {"LibriSpeech/BOOKS.TXT": b"not wanted"}
    archive = write_tar(tmp_path / "train-clean-100.tar.gz", files, mode="w:gz")
    first = load(archive, tmp_path)
    (copy,) = (tmp_path / "cache" / "downloads").glob("*.tar")
    with tarfile.open(copy) as content:
        assert sorted(content.getnames()) == sorted(tree())
    monkeypatch.setattr(gzip, "open", None)
    assert load(archive, tmp_path).key == first.key
    monkeypatch.undo()
    # An archive that has changed is read again.
    os.utime(archive, (1, 1))
    check(load(archive, tmp_path))
    assert len(list((tmp_path / "cache" / "downloads").glob("*.tar"))) == 2


def test_subsets_have_records_of_their_own(tmp_path):
    unpacked = write_tree(tmp_path / "tree", tree())
    dev, train = (load(unpacked, tmp_path, subset=subset) for subset in ("dev-clean", "train-clean-100"))
    check(dev, ("dev-clean",))
    check(train, ("train-clean-100",))
    both = load(unpacked, tmp_path, subset="train-clean-100+dev-clean")
    check(both)
    assert len({corpus.directory for corpus in (dev, train, both)}) == 3
    assert len({corpus.key for corpus in (dev, train, both)}) == 3
    # The part of LibriSpeech/<subset> alone, with SPEAKERS.TXT beside it.
    assert load(unpacked / "LibriSpeech" / "dev-clean", tmp_path).key == dev.key


def test_only_the_archives_needed_are_opened(tmp_path):
    given = tmp_path / "given"
    write_tar(given / "dev-clean.tar", tree(("dev-clean",)))
    (given / "train-clean-100.tar").write_bytes(b"still being downloaded")
    write_tar(given / "another.tar", {"song.wav": b"something else"})
    check(load(given, tmp_path, subset="dev-clean"), ("dev-clean",))
    with pytest.raises(UserError, match=r"train-clean-100\.tar: is not a readable tar archive"):
        load(given, tmp_path)


def test_several_subsets_from_archives_however_they_are_called(tmp_path):
    given = tmp_path / "given"
    write_tar(given / "dev-clean.tar", tree(("dev-clean",)))
    write_tar(given / "more.tar", tree(("train-clean-100",)))
    check(load(given, tmp_path, subset="dev-clean+train-clean-100"))


def test_a_builder_without_configuration_takes_what_is_there(tmp_path):
    """As the `tfds build` command makes it."""
    archive = write_tar(tmp_path / "a.tar", tree())
    builder = registry.builder_class("librispeech")(data_dir=str(tmp_path / "data"),
                                                    options=Options(manual_dir=archive))
    assert len(builder.sources()) == sum(CHAPTERS.values())


def test_records_serve_when_the_distribution_is_gone(tmp_path):
    with pytest.raises(UserError, match=r"LibriSpeech is not on this machine yet.*--config\.data\.manual_dir"):
        load(None, tmp_path)
    unpacked = write_tree(tmp_path / "tree", tree())
    dev = load(unpacked, tmp_path, subset="dev-clean")
    assert load(None, tmp_path).key == dev.key
    load(unpacked, tmp_path, subset="train-clean-100")
    assert load(None, tmp_path, subset="dev-clean").key == dev.key
    with pytest.raises(UserError, match=r"records of 2 variants of LibriSpeech \(dev-clean-\w+, train-cl"):
        load(None, tmp_path)


def test_a_changed_distribution_is_built_anew(tmp_path):
    unpacked = write_tree(tmp_path / "tree", tree())
    before = load(unpacked, tmp_path)
    path = unpacked / "LibriSpeech" / "SPEAKERS.TXT"
    path.write_bytes(path.read_bytes().replace(b"174  | M", b"174  | F"))
    assert {u.gender for u in before.utterances if u.speaker == "174"} == {"male"}
    assert {u.gender for u in load(unpacked, tmp_path).utterances if u.speaker == "174"} == {"female"}


def test_without_speakers_gender_is_unknown(tmp_path):
    corpus = load(write_tree(tmp_path / "tree", tree(speakers=False)), tmp_path)
    assert {u.gender for u in corpus.utterances} == {""}


@pytest.mark.parametrize(("subset", "complaint"), [
    ("train-clean-360", "holds nothing that looks like LibriSpeech .no file matches train-clean-360/"),
    ("dev-clean+test-other", "no file matches test-other/"),
    ("clean", "config.data.subset: 'clean' is no subset of LibriSpeech; it has train-clean-100, "),
    ("dev-clean/../..", "is no subset of LibriSpeech"),
])
def test_missing_and_wrong_subsets(tmp_path, subset, complaint):
    with pytest.raises(UserError, match=complaint):
        load(write_tree(tmp_path / "tree", tree()), tmp_path, subset=subset)


def test_other_corpora_have_no_subsets(tmp_path):
    with pytest.raises(UserError, match="corpus demo has no subsets, and 'dev-clean' was asked for"):
        corpora.load("demo", cache_dir=tmp_path, subset="dev-clean")
    with pytest.raises(UserError, match="corpus librispeech takes no manifest"):
        corpora.load("librispeech", cache_dir=tmp_path, manifest=tmp_path / "a.csv")


def without(name: str):
    return lambda files: {path: content for path, content in files.items() if not path.endswith(name)}


def appended(name: str, line: str):
    return lambda files: {path: content + line.encode() * path.endswith(name) for path, content in files.items()}


@pytest.mark.parametrize(("change", "complaint"), [
    (without("84-121123-0001.flac"), r"84-121123\.trans\.txt, line 2: 84-121123-0001\.flac is listed, but"),
    (without("174-50561.trans.txt"), r"174-50561-0000\.flac: its chapter lacks 174-50561\.trans\.txt"),
    (lambda files: files | {"LibriSpeech/dev-clean/84/121123/84-121123-0009.flac": flac("x")},
     r"84-121123-0009\.flac: is not listed in 84-121123\.trans\.txt"),
    (appended("84-121123.trans.txt", "84-121123-0000 AGAIN\n"), r"line 4: 84-121123-0000\.flac is listed twice"),
    (lambda files: files | {"copy/" + path: content for path, content in files.items() if "/174/" in path},
     r"is there twice, also as .*174-50561"),
])
def test_transcripts_and_files_must_agree(tmp_path, change, complaint):
    with pytest.raises(UserError, match=complaint):
        load(write_tree(tmp_path / "tree", change(tree())), tmp_path)
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


def published(monkeypatch, **counts) -> None:
    monkeypatch.setattr(registry.builder_class("librispeech"), "PUBLISHED", {"dev-clean": counts["dev"]})


def test_published_counts(tmp_path, monkeypatch, capsys):
    unpacked = write_tree(tmp_path / "tree", tree())
    published(monkeypatch, dev=(7, 2))
    check(load(unpacked, tmp_path / "complete"))
    assert "utterances of" not in capsys.readouterr().err
    # SPEAKERS.TXT lists as many speakers as LibriSpeech has, so it must be LibriSpeech, and some of it is missing.
    published(monkeypatch, dev=(8, 2))
    with pytest.raises(UserError, match=r"dev-clean has 7 utterances of 2 speakers, and LibriSpeech's has 8 of 2, "
                                        r"which are all listed.*shorten SPEAKERS\.TXT"):
        load(unpacked, tmp_path / "incomplete")
    # It lists other speakers, so it is other speech in the layout.
    published(monkeypatch, dev=(2703, 40))
    check(load(unpacked, tmp_path / "other"))
    told = capsys.readouterr().err
    assert told.count("dev-clean has 7 utterances of 2 speakers, and LibriSpeech's has 2703 of 40") == 1
    load(unpacked, tmp_path / "other")
    assert "2703" not in capsys.readouterr().err


def test_the_figures_that_are_checked():
    counts = registry.builder_class("librispeech").PUBLISHED
    assert counts["train-clean-100"] == (28_539, 251)
    assert sum(utterances for utterances, _ in counts.values()) == 292_367
    assert sum(speakers for _, speakers in counts.values()) == 2484


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize(("hostile", "complaint"), [
    (entry("../evil.flac"), "reaches outside"),
    (entry("LibriSpeech/../../evil.flac"), "reaches outside"),
    (entry("/etc/evil.flac"), "reaches outside"),
    (entry("LibriSpeech/link.flac", tarfile.SYMTYPE, "/etc/passwd"), "is a symbolic link"),
    (entry("LibriSpeech/link.flac", tarfile.LNKTYPE, "../../secret"), "is a symbolic link"),
    (entry("LibriSpeech/pipe.flac", tarfile.FIFOTYPE), "neither a plain file nor a folder"),
    (entry("LibriSpeech/disk.flac", tarfile.BLKTYPE), "neither a plain file nor a folder"),
])
def test_hostile_tars_are_refused(tmp_path, suffix, hostile, complaint):
    mode = "w:gz" if suffix == ".tar.gz" else "w"
    archive = write_tar(tmp_path / f"dev{suffix}", tree(), extra=(hostile,), mode=mode)
    with pytest.raises(UserError, match=complaint):
        load(archive, tmp_path)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix not in (".lock", "")]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_damaged_tars_are_named_and_leave_nothing(tmp_path, suffix):
    whole = write_tar(tmp_path / f"whole{suffix}", tree(), mode="w:gz" if suffix == ".tar.gz" else "w").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2 // 512 * 512 + 300] ^= 0xFF
    cases = [whole[:len(whole) // 2], whole[:len(whole) // 2 // 512 * 512], b"no archive at all" * 100, b""]
    if suffix == ".tar.gz":  # it has a checksum
        cases += [bytes(flipped), whole[:-4]]
    for number, content in enumerate(cases):
        archive = tmp_path / f"{number}{suffix}"
        archive.write_bytes(content)
        with pytest.raises(UserError, match=rf"{number}{suffix}: is not a readable tar.* archive .*download it"):
            load(archive, tmp_path)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix not in (".lock", "")]


def test_a_damaged_header_inside_a_tar_does_not_end_it_quietly(tmp_path):
    archive = write_tar(tmp_path / "dev.tar", tree())
    with tarfile.open(archive) as content:
        position = content.getmembers()[4].offset
    data = bytearray(archive.read_bytes())
    data[position:position + 200] = b"\xff" * 200
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"dev\.tar: is not a readable tar archive \(truncated or damaged"):
        load(archive, tmp_path)


def test_a_tar_that_shrinks_after_it_was_listed(tmp_path):
    archive = write_tar(tmp_path / "dev.tar", {"dev/a.txt": b"x" * 5000})
    (found,) = distribution.entries(archive, "a[.]txt", "a text")
    assert found.read() == b"x" * 5000
    os.truncate(archive, 1000)
    with pytest.raises(UserError, match=r"dev\.tar: dev/a\.txt cannot be read from the archive \(488 of 5000 bytes"):
        found.read()


def test_members_are_read_without_looking_for_them(tmp_path, monkeypatch):
    archive = write_tar(tmp_path / "dev.tar", tree())
    found = distribution.entries(archive, r"[^/]+[.]flac", "FLAC")
    shutil.copy(archive, tmp_path / "copy")
    monkeypatch.setattr(tarfile, "open", None)
    monkeypatch.setattr(archives, "members", None)
    assert [one.read() for one in found] == [flac(one.relative.stem) for one in found]


def test_a_compressed_tar_needs_a_place_for_its_copy(tmp_path):
    archive = write_tar(tmp_path / "dev.tar.gz", tree(), mode="w:gz")
    with pytest.raises(UserError, match="is compressed as a whole; decompress it first"):
        distribution.entries(archive, r"[^/]+[.]flac", "FLAC")


def test_damaged_audio_is_named_or_skipped(tmp_path):
    files = tree()
    name = next(path for path in files if path.endswith("84-121123-0001.flac"))
    files[name] = files[name][:-200]
    archive = write_tar(tmp_path / "dev.tar", files)
    with pytest.raises(UserError, match=rf"dev\.tar:{name}"):
        load(archive, tmp_path)
    corpus = load(archive, tmp_path, on_error="skip")
    assert len(corpus) == sum(CHAPTERS.values()) - 1


def test_real_speech_in_the_layout(shared_corpora, tmp_path, record_property):
    archive = shared_corpora / "train-clean-100-layout-1h.tar"
    record_property("real speech in LibriSpeech's layout", archive.exists())
    if not archive.exists():
        return
    with tarfile.open(archive) as content:  # a twelfth of it, in time for a test
        kept = {info.name: content.extractfile(info).read() for info in content
                if info.isfile() and ("/1030/" in info.name or "/92/" in info.name or "SPEAKERS" in info.name)}
    corpus = load(write_tar(tmp_path / "part.tar", kept), tmp_path)
    assert len(corpus) == 32
    assert {(u.speaker, u.gender) for u in corpus.utterances} == {("1030", "male"), ("92", "female")}
    one = corpus.utterances[0]
    assert (one.id, one.sentence) == ("train-clean-100/1030-1-0000", "the result was an upset")
    found = distribution.entries(shared_corpora, r"train-clean-100/[0-9]+/[0-9]+/[^/]+[.]flac", "LibriSpeech")
    assert len(found) == 960
    first = io.BytesIO(next(item for item in found if item.relative.stem == "1030-1-0000").read())
    np.testing.assert_array_equal(corpus.waveform(0), soundfile.read(first, dtype="int16")[0])
