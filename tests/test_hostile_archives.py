"""Archives and trees as the world has them: hostile, damaged, or renamed on the way."""

import gzip
import io
import os
import struct
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sercl_jax.corpora import distribution, members
from sercl_jax.errors import UserError

FILES = {"wav/a.wav": b"first" * 400, "wav/b.wav": b"second" * 300, "read me.txt": b"text"}
PATTERN = "wav/[^/]+[.]wav"


def found(place: Path, pattern: str = PATTERN, **options) -> dict[str, bytes]:
    """What a builder would see: names in the distribution, and contents."""
    return {entry.relative.as_posix(): entry.read()
            for entry in distribution.entries(place, pattern, "Corpus", progress=False, **options)}


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_tree(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write(form: str, path: Path, files: dict[str, bytes]) -> Path:
    if form == "tree":
        return write_tree(path / "tree", files)
    if form == "zip":
        return write_zip(path / "c.zip", files)
    return write_tar(path / f"c.{form}", files, "w:gz" if form == "tar.gz" else "w")


FORMS = pytest.mark.parametrize("form", ["tree", "zip", "tar", "tar.gz"])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_usual_compression(tmp_path, method):
    assert found(write_zip(tmp_path / "c.zip", FILES, method)) == {
        "wav/a.wav": FILES["wav/a.wav"], "wav/b.wav": FILES["wav/b.wav"]}


@pytest.mark.parametrize(("name", "mode", "complaint"), [
    ("../evil.wav", 0o644, "reaches outside"), ("wav/../../evil.wav", 0o644, "reaches outside"),
    ("wav\\..\\..\\evil.wav", 0o644, "reaches outside"), ("/etc/evil.wav", 0o644, "reaches outside"),
    ("C:/evil.wav", 0o644, "reaches outside"), ("C:evil.wav", 0o644, "reaches outside"),
    ("\\\\server\\evil.wav", 0o644, "reaches outside"), ("wav/link.wav", 0o120777, "is a symbolic link"),
])
def test_zips_that_reach_outside(tmp_path, name, mode, complaint):
    path = write_zip(tmp_path / "c.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, "../../../etc/passwd")
    with pytest.raises(UserError, match=rf"c\.zip: the entry .* {complaint}.*; download it again"):
        found(path)
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("name", ["../evil.wav", "/evil.wav", "wav/../../evil.wav"])
def test_tars_that_reach_outside(tmp_path, name):
    with pytest.raises(UserError, match=r"c\.tar: the entry .* reaches outside"):
        found(write("tar", tmp_path, FILES | {name: b""}))


def bomb(path: Path, *, listed: int | None = None, name: str = "wav/bomb.wav") -> Path:
    """A zip of a million bytes that holds a gigabyte of zeros, and may list any other size."""
    block = bytes(1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    one = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = one * 1024 + packer.flush()
    crc = 0
    for _ in range(1024):
        crc = zlib.crc32(block, crc)
    sizes = struct.pack("<III", crc, len(packed), 1 << 30 if listed is None else listed)
    common = struct.pack("<HHHHH", 20, 0, zipfile.ZIP_DEFLATED, 0, 33) + sizes + struct.pack("<HH", len(name), 0)
    local = b"PK\3\4" + common + name.encode()
    central = b"PK\1\2\x14\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode()
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    path.write_bytes(local + packed + central + end)
    assert path.stat().st_size < 2 << 20
    return path


LIMITED = """
import resource, sys
from pathlib import Path
from sercl_jax.corpora import distribution
from sercl_jax.errors import UserError
from sercl_jax.corpora import tars
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (100 << 20),) * 2)
try:
    for entry in distribution.entries(Path(sys.argv[1]), "wav/[^/]+[.]wav", "Corpus", progress=False,
                                      copies=Path(sys.argv[2])):
        print("read", len(entry.read()))
except UserError as error:
    print("refused", error)
"""


def limited(place: Path) -> str:
    """What comes of it in a process that may have 100 MiB more than it starts with."""
    run = subprocess.run([sys.executable, "-c", LIMITED, str(place), str(place.parent / "copies")], text=True,
                         capture_output=True, timeout=120, check=False, cwd=Path(__file__).parents[1])
    assert run.returncode == 0, run.stderr[-1000:]
    return run.stdout


@pytest.mark.parametrize(("listed", "complaint"), [
    (None, "has 1024 MiB, more than any file of a corpus"),
    (500 << 20, "claims to hold 500 MiB in 1[0-9]{6} bytes, as zip bombs do"),
    (10 << 20, "cannot be read from the archive .more instead of the 10485760 bytes that are listed"),
    (16, "claims to hold 16 bytes in 1[0-9]{6}; download the archive again"),
])
def test_a_zip_bomb_of_a_gigabyte(tmp_path, listed, complaint):
    told = limited(bomb(tmp_path / "c.zip", listed=listed))
    assert told.startswith("refused"), told
    with pytest.raises(UserError, match=complaint):
        raise UserError(told)
    assert "c.zip:" in told


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_small_packages_that_hold_far_more_than_they_list(tmp_path, method):
    """bzip2 and LZMA pack zeros a thousand times better than deflate, and zipfile unpacks them without a bound."""
    path = write_zip(tmp_path / "c.zip", {"wav/a.wav": bytes(160 << 20)}, method)
    data = path.read_bytes()
    assert len(data) < 1 << 16
    path.write_bytes(data.replace(struct.pack("<I", 160 << 20), struct.pack("<I", 8 << 20)))
    assert "more instead of the 8388608 bytes that are listed" in limited(path)


def test_a_compressed_tar_of_a_gigabyte(tmp_path):
    info = tarfile.TarInfo("wav/bomb.wav")
    info.size = 1 << 30
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, 1 << 30
    zeros = gzip.compress(bytes(1 << 20)) * 1024
    for number, header in enumerate((info, pax)):
        (tmp_path / f"{number}.tar.gz").write_bytes(gzip.compress(header.tobuf()) + zeros)
    assert "0.tar.gz:wav/bomb.wav: has 1024 MiB, more than any file" in limited(tmp_path / "0.tar.gz")
    assert "is not a readable tar.gz archive (a name or attribute of 1024 MiB)" in limited(tmp_path / "1.tar.gz")
    assert not [path for path in (tmp_path / "copies").iterdir() if path.suffix != ".lock"]


def test_a_tar_and_a_file_of_absurd_size(tmp_path):
    info = tarfile.TarInfo("wav/bomb.wav")
    info.size = 1 << 40
    path = tmp_path / "c.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(UserError, match=r"c\.tar"):
        found(path)
    write_tree(tmp_path / "tree", FILES)
    with (tmp_path / "tree" / "wav" / "b.wav").open("r+b") as file:
        file.truncate(members.LARGEST + 1)  # without taking any room
    with pytest.raises(UserError, match=r"b\.wav: has 512 MiB, more than any file of a corpus"):
        found(tmp_path / "tree")


def test_overlapping_entries(tmp_path):
    """A better zip bomb: many entries of the list share one packed file."""
    path = write_zip(tmp_path / "c.zip", {"wav/a.wav": os.urandom(4000)})
    data = path.read_bytes()
    place = data.index(b"PK\1\2")
    central = data[place:data.index(b"PK\5\6")]
    copies = b"".join(central.replace(b"wav/a.wav", b"wav/%c.wav" % letter) for letter in b"abcdefgh")
    path.write_bytes(data[:place] + copies + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 8, 8, len(copies), place, 0))
    with pytest.raises(UserError, match="its entries overlap, as in a zip bomb"):
        found(path)


def change(path: Path, offset: int, value: int) -> None:
    """Sets two bytes of every header of a zip, counted from its flags."""
    data = bytearray(path.read_bytes())
    for mark, where in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = data.find(mark)
        while place >= 0:
            data[place + where + offset:place + where + offset + 2] = struct.pack("<H", value)
            place = data.find(mark, place + 1)
    path.write_bytes(data)


@pytest.mark.parametrize(("offset", "value", "complaint"), [
    (0, 1, r"c\.zip:wav/a\.wav: is encrypted; unpack the archive with its password, and give the folder"),
    (2, 9, r"c\.zip:wav/a\.wav: is compressed by Deflate64, .*; unpack it with another program"),
    (2, 77, "is compressed by method 77, which cannot be read here"),
    (2, 0, r"c\.zip: wav/a\.wav cannot be read from the archive"),
])
def test_zips_that_cannot_be_read(tmp_path, offset, value, complaint):
    path = write_zip(tmp_path / "c.zip", FILES)
    change(path, offset, value)
    with pytest.raises(UserError, match=complaint):
        found(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_a_name_that_is_there_twice(tmp_path, form):
    """Which of them a program unpacks depends on the program."""
    for second, name in ((FILES["wav/a.wav"], "same"), (b"other", "other")):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / f"c.{form}"
        if form == "zip":
            write_zip(path, FILES)
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr("wav/a.wav", second)
        else:
            with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as archive:
                for content in (FILES["wav/a.wav"], b"b", second):
                    info = tarfile.TarInfo("wav/b.wav" if content == b"b" else "wav/a.wav")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    options = {"copies": tmp_path / "copies"}
    assert found(tmp_path / "same" / f"c.{form}", **options)["wav/a.wav"] == FILES["wav/a.wav"]
    with pytest.raises(UserError, match=r"holds 'wav/a\.wav' twice, with another content"):
        found(tmp_path / "other" / f"c.{form}", **options)


@FORMS
def test_what_macos_leaves_is_no_audio(tmp_path, form):
    junk = {"wav/._a.wav": b"\0\5\x16\7", "__MACOSX/wav/a.wav": b"resource", "__MACOSX/wav/._b.wav": b"resource",
            "wav/.DS_Store": b"Bud1", "wav/.DS_Store.wav": b"kept, as nobody writes it", ".DS_Store": b"Bud1"}
    given = found(write(form, tmp_path, junk | FILES), copies=tmp_path / "copies")
    assert set(given) == {"wav/a.wav", "wav/b.wav", "wav/.DS_Store.wav"}
    assert given["wav/a.wav"] == FILES["wav/a.wav"]


def test_an_archive_that_macos_left(tmp_path):
    write("zip", tmp_path, FILES)
    (tmp_path / "._c.zip").write_bytes(b"\0\5\x16\7")
    assert set(found(tmp_path)) == {"wav/a.wav", "wav/b.wav"}


@FORMS
def test_upper_case_endings(tmp_path, form):
    place = write(form, tmp_path, {"wav/a.WAV": b"1", "wav/b.Wav": b"2", "wav/c.wav": b"3"})
    assert found(place, copies=tmp_path / "copies") == {"wav/a.wav": b"1", "wav/b.wav": b"2", "wav/c.wav": b"3"}


@FORMS
@pytest.mark.parametrize("names", [("WAV/a.wav",), ("wav/a.wav", "Wav/b.wav"), ("WAV/A.WAV", "WAV/B.WAV")])
def test_other_wrong_cases_are_named(tmp_path, form, names):
    place = write(form, tmp_path, dict.fromkeys(names, b"1"))
    complaint = rf"{names[-1][:3]}/[ABab][.](wav|WAV): Corpus spells it otherwise.*rename it"
    with pytest.raises(UserError, match=complaint):
        found(place, copies=tmp_path / "copies")


@FORMS
@pytest.mark.parametrize("form_of_names", ["NFC", "NFD"])
def test_unicode_normal_forms(tmp_path, form, form_of_names):
    pattern = unicodedata.normalize("NFC", "Gefühl/[^/]+[.]wav")
    name = unicodedata.normalize(form_of_names, "Gefühl/Ärger é.wav")
    given = found(write(form, tmp_path, {name: b"1"}), pattern, copies=tmp_path / "copies")
    assert given == {unicodedata.normalize("NFC", name): b"1"}


@FORMS
def test_two_names_that_differ_in_their_spelling_only(tmp_path, form):
    files = {unicodedata.normalize("NFC", "wav/é.wav"): b"1", unicodedata.normalize("NFD", "wav/é.wav"): b"2"}
    with pytest.raises(UserError, match="twice"):
        found(write(form, tmp_path, files), copies=tmp_path / "copies")


@pytest.mark.parametrize(("raw", "name"), [
    ("Gefühl".encode(), "Gefühl"),  # UTF-8 that is not marked as such: macOS, Linux
    ("Gefühl".encode("cp437"), "Gefühl"),  # DOS, and what the format prescribes
    ("Gefühl".encode("latin-1"), "Gef\u207fhl"),  # old Windows and Unix; nothing tells it from DOS
])
def test_zips_without_unicode(tmp_path, raw, name):
    path = write_zip(tmp_path / "c.zip", {"wav/XXXXXXX.wav"[:4 + len(raw)] + ".wav": b"1"})
    placeholder = b"XXXXXXX"[:len(raw)]
    path.write_bytes(path.read_bytes().replace(placeholder, raw))
    assert found(path) == {f"wav/{name}.wav": b"1"}


def test_zips_with_backslashes(tmp_path):
    path = write_zip(tmp_path / "c.zip", {"wavXa.wav": b"1"})
    path.write_bytes(path.read_bytes().replace(b"wavXa", b"wav\\a"))
    assert found(path) == {"wav/a.wav": b"1"}


def test_links_of_folders_are_followed(tmp_path):
    write_tree(tmp_path / "disk", FILES)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "wav").symlink_to(tmp_path / "disk" / "wav")
    (tmp_path / "corpus" / "again").symlink_to(tmp_path / "corpus")  # round in a circle
    (tmp_path / "linked").symlink_to(tmp_path / "disk")
    assert set(found(tmp_path / "corpus")) == {"wav/a.wav", "wav/b.wav"}
    assert set(found(tmp_path / "linked")) == {"wav/a.wav", "wav/b.wav"}


def test_links_of_files_must_stay_in_the_tree(tmp_path):
    tree = write_tree(tmp_path / "corpus", {"wav/a.wav": b"1", "annex/1234": b"2"})
    (tree / "wav" / "b.wav").symlink_to("../annex/1234")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.wav").write_bytes(b"3")
    (tmp_path / "elsewhere" / "d.wav").symlink_to("c.wav")
    (tree / "more").mkdir()
    (tree / "more" / "wav").symlink_to(tmp_path / "elsewhere")
    assert found(tree) == {"wav/a.wav": b"1", "wav/b.wav": b"2", "more/wav/c.wav": b"3", "more/wav/d.wav": b"3"}
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"private")
    (tree / "wav" / "e.wav").symlink_to(secret)
    with pytest.raises(UserError, match=r"corpus/wav/e\.wav: is a link that leads out of the corpus, to .*secret.wav"
                                        "; put the file there instead, or link its whole folder"):
        found(tree)
    # A sibling whose path begins with the same letters is outside, too.
    (tree / "wav" / "e.wav").unlink()
    write_tree(tmp_path / "corpus2", {"x": b""})
    (tree / "wav" / "e.wav").symlink_to(tmp_path / "corpus2" / "x")
    with pytest.raises(UserError, match="leads out of the corpus"):
        found(tree)


@pytest.mark.parametrize("target", ["nowhere", "b.wav"])
def test_links_that_lead_nowhere(tmp_path, target):
    tree = write_tree(tmp_path / "corpus", {"wav/a.wav": b"1"})
    (tree / "wav" / "b.wav").symlink_to(target)
    with pytest.raises(UserError, match=r"wav/b\.wav: the link leads nowhere .*; fetch its content.*or remove it"):
        found(tree)


def test_what_is_named_like_a_file_and_is_none(tmp_path):
    tree = write_tree(tmp_path / "corpus", {"wav/a.wav": b"1", "wav/folder.wav/inside": b"2"})
    os.mkfifo(tree / "wav" / "pipe.wav")  # opening it would wait for ever
    assert found(tree) == {"wav/a.wav": b"1"}


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_archives_cut_off_anywhere(tmp_path, form):
    whole = write(form, tmp_path, FILES).read_bytes()
    assert found(tmp_path / f"c.{form}", copies=tmp_path / "whole")
    end = len(whole.rstrip(b"\0")) if form == "tar" else len(whole)
    for number, size in enumerate(range(0, end, max(1, end // 40))):
        cut = tmp_path / f"{number}.{form}"
        cut.write_bytes(whole[:size])
        with pytest.raises(UserError, match=rf"/{number}\.{form}: is not a readable .* archive .*download it again"):
            found(cut, copies=tmp_path / "copies")
    copies = tmp_path / "copies"
    assert not copies.exists() or not [path for path in copies.iterdir() if path.suffix != ".lock"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_archives_with_wrong_bytes(tmp_path, form, data):
    """Either a message that names the archive, or files with a right content; a tar has checksums of headers only."""
    path = tmp_path / f"c.{form}"
    if not path.exists():
        write(form, tmp_path, FILES)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    content = bytearray((tmp_path / "whole").read_bytes())
    headers = st.integers(0, len(content) - 1) if form == "zip" else st.integers(0, 511)
    for place, value in data.draw(st.lists(st.tuples(headers, st.integers(0, 255)), min_size=1, max_size=4)):
        content[place] = value
    path.write_bytes(content)
    told = ""
    try:
        given = found(path)
    except UserError as error:
        given, told = {}, str(error)
    assert bool(given) != (str(path) in told)
    assert form == "tar" or set(given.values()) <= set(FILES.values())
