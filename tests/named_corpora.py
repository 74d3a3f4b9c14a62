"""Miniature corpora whose names say what is in them: complete lists of names, tiny audio, every way to give them."""

import functools
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from sercl_jax import corpora
from sercl_jax.corpora import registry
from sercl_jax.corpora.base import Options
from sercl_jax.types import Utterance

Texts = Mapping[str, bytes]  # path -> content of files that are not audio


@functools.cache
def wav(name: str) -> bytes:
    samples = np.random.default_rng(sum(map(ord, name))).integers(-9000, 9000, 400).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV")
    return buffer.getvalue()


def samples(name: str) -> np.ndarray:
    return soundfile.read(io.BytesIO(wav(name)), dtype="int16")[0]


def write_tree(folder: Path, names: Sequence[str], texts: Texts | None = None) -> Path:
    for name in [*names, *(texts or {})]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((texts or {}).get(name) or wav(path.name))
    return folder


def write_zip(path: Path, names: Sequence[str], texts: Texts | None = None, audio: bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, wav(Path(name).name) if audio is None else audio)
        for name, content in (texts or {}).items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, names: Sequence[str], texts: Texts | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name in [*names, *(texts or {})]:
            content = (texts or {}).get(name) or wav(Path(name).name)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def litter(folder: Path) -> None:
    """What macOS leaves behind."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
        path.with_name(".DS_Store").write_bytes(b"\0")


def load(corpus: str, place: Path | None, cache: Path, **options) -> corpora.Corpus:
    return corpora.load(corpus, cache_dir=cache, manual_dir=place, workers=0, progress=False, **options)


def utterances(corpus: str, place: Path, folder: Path) -> list[Utterance]:
    """What would be built, without decoding."""
    options = Options(manual_dir=place, download_dir=folder / "downloads", progress=False)
    builder = registry.builder_class(corpus)(data_dir=str(folder / "data"), options=options)
    return [source.utterance for source in builder.sources()]


def check_places(corpus: str, names: Sequence[str], folder: Path, texts: Texts | None = None) -> corpora.Corpus:
    """Builds the corpus from an archive, and finds the same in a folder, a tree and other archives."""
    archive = write_zip(folder / "zip" / f"{corpus}.zip", [f"top/{name}" for name in names],
                        {f"top/{name}": text for name, text in (texts or {}).items()})
    write_zip(folder / "zip" / "another.zip", ["wav/03a01Fa.wav"])
    tree = write_tree(folder / "tree", names, texts)
    litter(tree)
    expected = utterances(corpus, archive, folder)
    for place in (archive.parent, tree, write_tar(folder / "a.tar", names, texts),
                  write_tar(folder / "a.tar.gz", names, texts)):
        assert utterances(corpus, place, folder) == expected, place
    built = load(corpus, archive, folder / "cache")
    assert [u.id for u in built.utterances] == sorted(u.id for u in expected)
    # Records are there, wherever the distribution is now.
    assert load(corpus, tree, folder / "cache").key == load(corpus, None, folder / "cache").key == built.key
    assert len(list((folder / "cache" / "records").rglob("utterances.json"))) == 1
    return built
