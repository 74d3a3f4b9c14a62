"""Representations of recordings: padding, lengths, files good and bad, the command line."""

import subprocess
import sys

import jax
import numpy as np
import pytest
import soundfile

from sercl_jax import bucketed, checkpoint, embed, representations
from sercl_jax.errors import UserError
from sercl_jax.models.cpc import CpcSettings, initializer
from sercl_jax.types import Utterance

SETTINGS = CpcSettings(channels=8, context=12, future=3, negatives=4, norm="channel")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    variables = initializer(SETTINGS)(jax.random.key(0), {})
    facts = {"settings": {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}}
    checkpoint.save_model(folder / "models" / "seed0", variables, {}, facts)
    return folder


def _noise(samples, seed=0):
    return np.random.default_rng(seed).integers(-5000, 5000, samples).astype(np.int16)


def test_company_and_padding_change_nothing(workdir):
    """Each waveform alone gives what it gives beside others of other lengths."""
    model = embed.Embedder(workdir)
    waveforms = [_noise(n, n) for n in (400, 16000, 7777, 40000, 100)]
    together = model.many_frames(waveforms)
    for waveform, frames in zip(waveforms, together, strict=True):
        assert frames.shape == (max(len(waveform) // 160, 1), 12)
        np.testing.assert_allclose(model.frames(waveform), frames, atol=1e-6)


def test_floats_are_the_same_audio(workdir):
    model = embed.Embedder(workdir)
    waveform = _noise(3200)
    np.testing.assert_allclose(model.frames(waveform / 32768), model.frames(waveform), atol=1e-6)
    np.testing.assert_allclose(model.utterance(waveform), representations.statistics(model.frames(waveform)))


def test_statistics_are_mean_and_deviation():
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_allclose(representations.statistics(x), [*x.mean(0), *x.std(0)], rtol=1e-5)


@pytest.mark.parametrize("waveform", [np.zeros((2, 400), np.int16), np.zeros(400, np.int32), np.full(400, np.nan)])
def test_what_is_no_waveform_is_refused(workdir, waveform):
    with pytest.raises(UserError, match="waveform"):
        embed.Embedder(workdir).frames(waveform)


def test_a_workdir_without_cpc_is_named(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        embed.Embedder(tmp_path)
    checkpoint.save_model(tmp_path / "model", {"encoder0": {"a": np.zeros(2)}}, {}, {})
    with pytest.raises(UserError, match="no CPC"):
        embed.Embedder(tmp_path)


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    soundfile.write(folder / "a.wav", _noise(8000), 16000)
    soundfile.write(folder / "b.flac", np.stack([_noise(8820), _noise(8820)], 1), 44100)
    (folder / "notes.txt").write_text("no audio")
    (folder / "._a.wav").write_bytes(b"Mac litter")
    return folder


def test_a_pre_training_that_is_not_there_is_named(workdir):
    with pytest.raises(UserError, match="no pre-training with seed 7; it has 0"):
        embed.Embedder(workdir, seed=7)


def test_frames_of_files_are_found_by_their_offsets(workdir, recordings, tmp_path):
    assert embed.run(workdir, [str(recordings)], tmp_path / "x.npz", level="frame", seed=0, progress=False) == 0
    with np.load(tmp_path / "x.npz") as made:
        assert [name.rsplit("/", 1)[-1] for name in made["ids"]] == ["a.wav", "b.flac"]
        assert made["offsets"].tolist() == [0, 50, 70]
        assert made["frames"].shape == (70, 12)
        assert made["seconds"] == 0.01
        model = embed.Embedder(workdir)
        np.testing.assert_allclose(made["frames"][:50], model.frames(_noise(8000)), atol=1e-6)


def test_a_recording_that_is_cut_is_told(workdir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(representations, "LONGEST", 1.0)
    monkeypatch.setattr(bucketed, "SECONDS", (1.0,))
    for name, samples in (("long", 16160), ("short", 16000)):
        soundfile.write(tmp_path / f"{name}.wav", _noise(samples), 16000)
    embed.run(workdir, [str(tmp_path)], tmp_path / "x.npz", level="frame", seed=0, progress=False)
    with np.load(tmp_path / "x.npz") as made:
        assert made["offsets"].tolist() == [0, 100, 200]
    told = capsys.readouterr().err
    assert "long.wav: only its first 1 seconds" in told
    assert "short.wav" not in told


def test_a_bad_file_is_reported_and_the_rest_go_on(workdir, recordings, tmp_path):
    (recordings / "broken.wav").write_bytes(b"RIFF")
    arguments = [f"--workdir={workdir}", f"--out={tmp_path / 'x.npz'}", str(recordings)]
    done = subprocess.run([sys.executable, "-m", "sercl_jax.embed", *arguments], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1, done.stderr
    assert "broken.wav" in done.stderr
    assert "Traceback" not in done.stderr
    with np.load(tmp_path / "x.npz") as made:
        assert made["embeddings"].shape == (2, 24)


@pytest.mark.parametrize("path", ["absent.wav", "."])
def test_nothing_to_embed_is_an_error_and_writes_nothing(workdir, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    assert embed.main([f"--workdir={workdir}", "--out=x.npz", path]) == 2
    assert not (tmp_path / "x.npz").exists()


class _Counting:
    """A corpus that counts how often its samples are read."""

    name, key = "counting", "abc"
    utterances = tuple(Utterance(id=str(n), num_samples=n) for n in (1600, 3200, 500_000))

    def __init__(self):
        self.reads = 0

    def __len__(self):
        return 3

    def waveform(self, u):
        self.reads += 1
        return _noise(self.utterances[u].num_samples, u)


def test_contexts_are_computed_once_and_long_recordings_cut(tmp_path):
    corpus = _Counting()
    variables = initializer(SETTINGS)(jax.random.key(0), {})
    first = representations.contexts(corpus, SETTINGS, variables, cache_dir=tmp_path, progress=False)
    reads = corpus.reads
    again = representations.contexts(corpus, SETTINGS, variables, cache_dir=tmp_path, progress=False)
    assert corpus.reads == reads
    assert np.diff(first.offsets).tolist() == [10, 20, 3000]
    assert np.array_equal(first.values, again.values)
    other = initializer(SETTINGS)(jax.random.key(1), {})
    assert representations.contexts(corpus, SETTINGS, other, cache_dir=tmp_path, progress=False).key != first.key
