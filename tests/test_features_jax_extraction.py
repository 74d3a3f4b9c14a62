"""Corpora through the device: packed into rows, over several devices, in order, cached."""

from pathlib import Path

import numpy as np
import pytest
from test_features_cache import Corpus
from test_features_pitch import pulses

from sercl_jax import features
from sercl_jax.errors import UserError
from sercl_jax.features import jax_extraction
from sercl_jax.types import Utterance

pytestmark = pytest.mark.usefixtures("quick_compilation")


class Mixed(Corpus):
    """Voiced utterances of very different lengths, the eighth longer than a usual row."""

    name = "mixed"

    def __init__(self) -> None:
        super().__init__()
        self.lengths = [900, 6000, 1, 20_400, 12_000, 960, 3000, 40_000, 159, 8000, 17_000, 5000]
        self.utterances = tuple(Utterance(id=f"u{i:02}", num_samples=n) for i, n in enumerate(self.lengths))

    def waveform(self, u: int) -> np.ndarray:
        self.reads += 1
        rng = np.random.default_rng(u)
        return np.round(20_000 * pulses(rng.normal(100 + 10 * u, 1, 600))[:self.lengths[u]]).astype(np.int16)


@pytest.fixture(scope="module")
def traces(quick_compilation: None) -> list[tuple[int, ...]]:
    jax_extraction._mapped.cache_clear()
    return []


@pytest.fixture(autouse=True)
def _count_traces(monkeypatch: pytest.MonkeyPatch, traces: list[tuple[int, ...]]) -> None:
    """Short rows, and a note of every shape that is compiled."""
    original = jax_extraction.jax_is10.describe_rows

    def noted(waveforms, layout):
        traces.append(waveforms.shape)
        return original(waveforms, layout)

    monkeypatch.setattr(jax_extraction.jax_is10, "describe_rows", noted)
    monkeypatch.setattr(jax_extraction, "_LONGEST_ROW", 128)


def extract(cache: Path, corpus: Corpus):
    return features.extract(corpus, "is10_jax", cache_dir=cache, progress=False)


def test_utterances_of_any_length_come_in_order(tmp_path: Path, traces: list[tuple[int, ...]]):
    corpus = Mixed()
    found = extract(tmp_path, corpus)
    assert traces == [(1, 128 * 160), (1, 256 * 160)]  # two shapes: the usual row, and one for the long utterance
    reference = features.extract(corpus, "is10_librosa", cache_dir=tmp_path, workers=0, progress=False)
    assert found.names == reference.names == features.feature_names("is10_jax")
    np.testing.assert_array_equal(found.offsets, reference.offsets)
    assert found.key != reference.key
    scale = reference.values.std(0) + 1e-3
    np.testing.assert_allclose(found.values / scale, reference.values / scale, atol=0.01)
    corpus.reads = 0
    np.testing.assert_array_equal(extract(tmp_path, corpus).values, found.values)
    assert corpus.reads == 0


def test_one_utterance_is_described_as_in_a_corpus(tmp_path: Path):
    corpus = Mixed()
    found = extract(tmp_path, corpus)
    for u in (0, 2, 3, 8):
        waveform = corpus.waveform(u)
        np.testing.assert_allclose(features.describe(waveform, "is10_jax"), found[u], rtol=1e-5, atol=1e-5)
        floats = (waveform / 32768).astype(np.float32)
        np.testing.assert_allclose(features.describe(floats, "is10_jax"), found[u], rtol=1e-5, atol=1e-5)


def test_a_progress_bar_counts_utterances(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    features.extract(Mixed(), "is10_jax", cache_dir=tmp_path)
    assert "Extracting is10_jax features of mixed: 100%" in capsys.readouterr().err


def test_records_that_disagree_with_their_index_are_refused(tmp_path: Path):
    corpus = Corpus()
    corpus.utterances = (*corpus.utterances[:3], Utterance(id="odd", num_samples=99), *corpus.utterances[4:])
    with pytest.raises(UserError, match="noise: utterance odd has 4500 samples where its index says 99"):
        extract(tmp_path, corpus)
    assert [p for p in (tmp_path / "features").iterdir() if p.is_dir()] == []


def test_unusable_waveforms_are_refused():
    with pytest.raises(UserError, match="1 of the waveform's 2 samples"):
        features.describe(np.array([0, np.nan]), "is10_jax")
