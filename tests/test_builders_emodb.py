"""EMO-DB from a folder, a zip, an unpacked tree and a web server; the published counts; the real archive."""

import functools
import http.server
import io
import threading
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import corpora
from sercl_jax.corpora import registry
from sercl_jax.errors import UserError

PER_LETTER = {"W": 127, "L": 81, "N": 79, "F": 71, "A": 69, "T": 62, "E": 46}
PER_SPEAKER = {"03": 49, "08": 58, "09": 43, "10": 38, "11": 55, "12": 35, "13": 61, "14": 69, "15": 56, "16": 71}
MALE = {"03", "10", "11", "12", "15"}
PER_EMOTION = {"angry": 127, "bored": 81, "neutral": 79, "happy": 71, "fearful": 69, "sad": 62, "disgusted": 46}


def names() -> list[str]:
    """535 file names with the published margins; who says what is made up."""
    letters = [letter for letter, count in PER_LETTER.items() for _ in range(count)]
    speakers = [speaker for speaker, count in PER_SPEAKER.items() for _ in range(count)]
    np.random.default_rng(0).shuffle(letters)
    texts = [f"{text}{version}" for version in "abcdef" for text in ("a01", "a02", "a04", "a05", "a07", "b01", "b02",
                                                                     "b03", "b09", "b10")]
    used: Counter = Counter()
    result = []
    for speaker, letter in zip(speakers, letters, strict=True):
        text = texts[used[speaker, letter]]
        used[speaker, letter] += 1
        result.append(f"{speaker}{text[:3]}{letter}{text[3]}.wav")
    return result


@functools.cache
def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    samples = np.random.default_rng(seed).integers(-9000, 9000, 480).astype(np.int16)
    soundfile.write(buffer, samples, 16_000, format="WAV")
    return buffer.getvalue()


def write_zip(path: Path, members: list[str], extra: tuple = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for seed, name in enumerate(members):
            archive.writestr(f"wav/{name}", wav(seed))
        archive.writestr("erkennung.txt", "Satz;Erkennung in %".encode("latin-1"))
        for entry, content in extra:
            archive.writestr(entry, content)
    return path


def load(place, tmp_path, **options):
    return corpora.load("emodb", cache_dir=tmp_path / "cache", manual_dir=place, workers=0, progress=False, **options)


@pytest.fixture
def archive(tmp_path) -> Path:
    return write_zip(tmp_path / "given" / "download.zip", names())


def check(corpus) -> None:
    assert Counter(u.label for u in corpus.utterances) == PER_EMOTION
    assert Counter(u.speaker for u in corpus.utterances) == PER_SPEAKER
    assert all(u.gender == ("male" if u.speaker in MALE else "female") for u in corpus.utterances)
    assert [u.id for u in corpus.utterances] == sorted(name[:-4] for name in names())
    assert all(u.sentence == u.id[2:5] and u.session == "" for u in corpus.utterances)
    for u in (0, 200, 534):
        content = wav(names().index(f"{corpus.utterances[u].id}.wav"))
        np.testing.assert_array_equal(corpus.waveform(u), soundfile.read(io.BytesIO(content), dtype="int16")[0])


def test_zip_folder_and_tree_give_the_same_corpus(archive, tmp_path):
    write_zip(archive.parent / "another-corpus.zip", ["hello.wav"])
    tree = tmp_path / "tree" / "emodb"
    with zipfile.ZipFile(archive) as content:
        content.extractall(tree)
    places = [archive, archive.parent, tree, tree / "wav", tree.parent]
    loaded = [load(place, tmp_path / str(number)) for number, place in enumerate(places)]
    assert len({corpus.key for corpus in loaded}) == 1
    for corpus in loaded:
        check(corpus)


@pytest.mark.parametrize(("change", "complaint"), [
    (lambda files: files[:-1], "all: 534 instead of 535"),
    (lambda files: [*files, "03a01Fz.wav"], "all: 536 instead of 535"),
    (lambda files: [f"{name[:5]}{'L' if name[5] == 'W' else name[5]}{'x' if name[5] == 'W' else name[6]}.wav"
                    if index == next(i for i, n in enumerate(files) if n[5] == "W") else name
                    for index, name in enumerate(files)], "angry: 126 instead of 127; bored: 82 instead of 81"),
    (lambda files: ["16" + files[0][2:6] + "z.wav", *files[1:]], "03: 48 instead of 49; 16: 72 instead of 71"),
    (lambda files: ["03a01Xa.wav", *files[1:]], r"03a01Xa\.wav has the unknown emotion code 'X'"),
])
def test_unpublished_counts_are_refused(tmp_path, change, complaint):
    archive = write_zip(tmp_path / "download.zip", change(names()))
    with pytest.raises(UserError, match=complaint):
        load(archive, tmp_path)
    assert not list((tmp_path / "cache").rglob("*.array_record*"))


def symlink(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(("entry", "complaint"), [
    (zipfile.ZipInfo("../evil.wav"), "reaches outside"),
    (zipfile.ZipInfo("wav/../../evil.wav"), "reaches outside"),
    (zipfile.ZipInfo("/etc/evil.wav"), "reaches outside"),
    (symlink("wav/link.wav"), "is a symbolic link"),
])
def test_archives_with_escaping_entries_are_refused(tmp_path, entry, complaint):
    archive = write_zip(tmp_path / "download.zip", names(), extra=((entry, b"/etc/passwd"),))
    with pytest.raises(UserError, match=complaint):
        load(archive, tmp_path)


def test_damaged_and_wrong_distributions(tmp_path):
    (tmp_path / "download.zip").write_bytes(b"PK not a zip")
    (tmp_path / "empty").mkdir()
    for place, complaint in [(tmp_path / "download.zip", "not a readable zip archive"),
                             (tmp_path / "empty", "holds nothing that looks like EMO-DB"),
                             (tmp_path / "none", "there is no such file or folder")]:
        with pytest.raises(UserError, match=complaint):
            load(place, tmp_path)


def test_damaged_entry_is_named(archive, tmp_path):
    data = bytearray(archive.read_bytes())
    position = data.index(b"RIFF") + 100
    data[position] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"download\.zip: wav/03.*\.wav cannot be read from the archive .*CRC"):
        load(archive, tmp_path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server for tmp_path/site, in the place of EMO-DB's."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "site"))

        def log_message(self, *args):
            pass

    (tmp_path / "site").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}"
    builder = registry.builder_class("emodb")
    monkeypatch.setitem(vars(__import__("sys").modules[builder.__module__]), "URLS",
                        (f"{address}/gone.zip", f"{address}/download.zip"))
    yield tmp_path / "site"
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_where_nothing_is_given(server, tmp_path):
    write_zip(server / "download.zip", names())
    check(load(None, tmp_path))
    (server / "download.zip").unlink()
    assert (tmp_path / "cache" / "downloads" / "emodb.zip").exists()  # fetched once


def test_failed_download_says_what_to_do(server, tmp_path):
    with pytest.raises(UserError, match=r"cannot be downloaded .*gone\.zip.*--config\.data\.manual_dir"):
        load(None, tmp_path)
    with pytest.raises(UserError, match=r"downloading is switched off.*--config\.data\.manual_dir"):
        load(None, tmp_path, download=False)
    assert not (tmp_path / "cache" / "downloads" / "emodb.zip").exists()


def test_the_real_archive(shared_corpora, tmp_path, record_property):
    """Runs on the distribution if it is beside the checkout; the summary line of conftest.py says whether it was."""
    archive = None if shared_corpora is None else shared_corpora / "emodb-download.zip"
    record_property("real EMO-DB", archive is not None and archive.exists())
    if archive is None or not archive.exists():
        return
    corpus = load(shared_corpora, tmp_path)
    assert len(corpus) == 535
    assert sum(u.num_samples for u in corpus.utterances) == 23_793_475
    assert Counter(u.label for u in corpus.utterances) == PER_EMOTION
    assert Counter(u.speaker for u in corpus.utterances) == PER_SPEAKER
    with zipfile.ZipFile(archive) as content:
        for u in (0, 300):
            file = io.BytesIO(content.read(f"wav/{corpus.utterances[u].id}.wav"))
            expected = soundfile.read(file, dtype="int16")[0]
            np.testing.assert_array_equal(corpus.waveform(u), expected)
