"""Miniatures of all corpora, and how to take them for what was published."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax.corpora import registry
from tests import named_corpora
from tests import test_builders_casia as casia
from tests import test_builders_crema_d as crema_d
from tests import test_builders_emodb as emodb
from tests import test_builders_emovo as emovo
from tests import test_builders_iemocap as iemocap
from tests import test_builders_librispeech as librispeech
from tests import test_builders_msp_podcast as msp_podcast
from tests import test_builders_nemo as nemo
from tests import test_builders_ravdess as ravdess
from tests import test_builders_savee as savee
from tests import test_builders_urdu as urdu

_CREMA_D = crema_d.clips(1001, 1002, 1003)


def manifest(folder: Path, seconds: float = 0.05) -> Path:
    """Five files of noise and the list of them."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(5):
        noise = random.integers(-9000, 9000, round(16_000 * seconds) + number).astype(np.int16)
        soundfile.write(folder / f"{number}.wav", noise, 16_000)
    (folder / "m.csv").write_text("path,label,speaker,valence\n" + "".join(
        f"{number}.wav,{'sad' if number % 2 else 'happy'},{number % 3},{number / 4 if number else ''}\n"
        for number in range(5)), encoding="utf-8")
    return folder


def folder(place: Path) -> Path:
    """Eight files of noise in a folder for each of two emotions."""
    random = np.random.default_rng(0)
    for number in range(8):
        path = place / ("sad" if number % 2 else "happy") / f"{'anna' if number < 4 else 'ben'}_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.integers(-9000, 9000, 800 + number).astype(np.int16), 16_000)
    return place


# Corpus -> writes its miniature into a folder; the others are synthetic.
WRITE: dict[str, Callable[[Path], object]] = {
    "casia": lambda folder: casia.write_tree(folder, casia.public(2)),
    "crema_d": lambda folder: named_corpora.write_tree(folder, _CREMA_D, crema_d.TABLES),
    "emodb": lambda folder: emodb.write_zip(folder / "download.zip", emodb.names()),
    "emovo": lambda folder: named_corpora.write_tree(folder, emovo.NAMES),
    "folder": folder,
    "iemocap": lambda folder: iemocap.write_tree(folder, iemocap.tree()),
    "librispeech": lambda folder: librispeech.write_tree(folder, librispeech.tree()),
    "manifest": manifest,
    "msp_podcast": lambda folder: msp_podcast.write_tree(folder, msp_podcast.release()),
    "nemo": lambda folder: named_corpora.write_tree(folder, nemo.files("MP0"), nemo.listing(nemo.files("MP0"))),
    "ravdess": lambda folder: ravdess.write_tree(folder, ravdess.names(1)),
    "savee": lambda folder: named_corpora.write_tree(folder, savee.NAMES),
    "urdu": lambda folder: named_corpora.write_tree(folder, urdu.NAMES),
}


def publish(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the miniatures were what was published, and the synthetic corpora spoke less."""
    builder = registry.builder_class
    monkeypatch.setattr(builder("casia"), "PUBLISHED", {"public": {"parallel": 2}})
    monkeypatch.setattr(builder("crema_d"), "NAMES", frozenset(Path(name).stem for name in _CREMA_D))
    iemocap.publish(monkeypatch)
    monkeypatch.setattr(builder("nemo"), "COUNTS", {
        "label": dict(zip(nemo.EMOTIONS.values(), nemo.FEWER["MP0"], strict=True)), "speaker": {"MP0": 256},
        "gender": {"male": 256}})
    monkeypatch.setattr(registry.module("demo", "acting"), "SPEAKERS", ("s01",))
    monkeypatch.setattr(registry.module("demo_unlabelled", "demo_unlabelled_dataset_builder"), "SPEAKERS", ("u01",))
