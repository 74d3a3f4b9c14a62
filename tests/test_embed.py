"""Embeddings of recordings: padding, lengths, files good and bad, formats, the command line."""

import subprocess
import sys
import urllib.parse

import jax
import kaldiio
import numpy as np
import pytest
import soundfile
from pyarrow import parquet

import sercl_jax
from sercl_jax import checkpoint, embed, embed_formats, files, representations, resources
from sercl_jax.errors import UserError
from sercl_jax.models.cpc import CpcSettings, initializer
from sercl_jax.types import Utterance

SETTINGS = CpcSettings(channels=8, context=12, future=3, negatives=4, norm="channel")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Of a pre-training."""
    folder = tmp_path_factory.mktemp("run")
    variables = initializer(SETTINGS)(jax.random.key(0), {})
    facts = {"settings": {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}}
    checkpoint.save_model(folder / "models" / "seed0", variables, {}, facts)
    files.write_json(folder / "config.json", {"method": "cpc", "setup": "pretrain", "data": {"trim": False}})
    files.write_json(folder / "results.json", {"corpus": "noise"})
    return folder


@pytest.fixture(scope="module")
def model(workdir):
    return sercl_jax.load(workdir)


def _noise(samples, seed=0):
    return np.random.default_rng(seed).integers(-5000, 5000, samples).astype(np.int16)


def test_company_and_padding_change_nothing(model):
    """Each waveform alone gives what it gives beside others of other lengths."""
    waveforms = [_noise(n, n) for n in (400, 16000, 7777, 40000)]
    together = model.embed(waveforms, level="frame")
    for waveform, frames in zip(waveforms, together, strict=True):
        assert frames.shape == (len(waveform) // 160, 12)
        np.testing.assert_allclose(model.embed(waveform, level="frame"), frames, atol=1e-6)


def test_floats_are_the_same_audio(model):
    waveform = _noise(3200)
    frames = model.embed(waveform, level="frame")
    np.testing.assert_allclose(model.embed(waveform / 32768, level="frame"), frames, atol=1e-6)
    np.testing.assert_allclose(model.embed(waveform), representations.statistics(frames), atol=1e-6)


def test_statistics_are_mean_and_deviation():
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_allclose(representations.statistics(x), [*x.mean(0), *x.std(0)], rtol=1e-5)


@pytest.mark.parametrize(("waveform", "told"), [
    (np.zeros((2, 400), np.int16), "transpose"), (np.zeros(400, np.uint8), "uint8"), (np.full(400, np.nan), "NaN")])
def test_what_is_no_waveform_is_refused(model, waveform, told):
    with pytest.raises(UserError, match=told):
        model.embed(waveform)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        embed.run(tmp_path, [__file__], tmp_path / "x.npz", progress=False)


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    soundfile.write(folder / "a.wav", _noise(8000), 16000)
    soundfile.write(folder / "b 50%.flac", np.stack([_noise(8820), _noise(8820)], 1), 44100)
    (folder / "notes.txt").write_text("no audio")
    (folder / "._a.wav").write_bytes(b"Mac litter")
    return folder


def test_a_pre_training_that_is_not_there_is_named(workdir, tmp_path):
    with pytest.raises(UserError, match="no pre-training with seed 7; it has 0"):
        embed.run(workdir, [__file__], tmp_path / "x.npz", seed=7)


def test_frames_of_files_are_found_by_their_offsets(workdir, model, recordings, tmp_path):
    assert embed.run(workdir, [str(recordings)], tmp_path / "x.npz", level="frame", progress=False) == 0
    with np.load(tmp_path / "x.npz") as made:
        assert made["ids"].tolist() == [str(recordings / "a.wav"), str(recordings / "b 50%.flac")]
        assert made["offsets"].tolist() == [0, 50, 70]
        assert made["frames"].shape == (70, 12)
        assert made["frames"].dtype == np.float32
        assert made["seconds"] == 0.01
        np.testing.assert_allclose(made["frames"][:50], model.embed(_noise(8000), level="frame"), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x.npz"]


def test_nothing_of_a_long_recording_is_left_out(workdir, model, tmp_path):
    soundfile.write(tmp_path / "long.wav", _noise(31 * 16000), 16000)
    embed.run(workdir, [str(tmp_path)], tmp_path / "x.npz", level="frame", progress=False)
    with np.load(tmp_path / "x.npz") as made:
        assert made["offsets"].tolist() == [0, 3100]
        np.testing.assert_allclose(made["frames"], model.embed(_noise(31 * 16000), level="frame"), atol=1e-6)


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
        assert len(made["ids"]) == 2


@pytest.mark.parametrize("path", ["absent.wav", "."])
def test_nothing_to_embed_is_an_error_and_writes_nothing(workdir, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    assert embed.main([f"--workdir={workdir}", "--out=x.npz", path]) == 2
    assert not (tmp_path / "x.npz").exists()


def test_what_was_there_stays_if_nothing_can_be_used(workdir, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    for name in ("x.npz", "x.parquet", "x.ark"):
        (tmp_path / name).write_bytes(b"before")
        assert embed.main([f"--workdir={workdir}", f"--out={tmp_path / name}", str(tmp_path / "broken.wav")]) == 2
        assert (tmp_path / name).read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 4


def test_parquet_has_a_row_for_each_recording(workdir, model, recordings, tmp_path):
    embed.run(workdir, [str(recordings)], tmp_path / "x.parquet", progress=False)
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.schema.field("embedding").type.list_size == 24
    rows = table.to_pydict()
    assert rows["id"] == [str(recordings / "a.wav"), str(recordings / "b 50%.flac")]
    assert rows["seconds"] == [0.5, 0.2]
    np.testing.assert_allclose(rows["embedding"][0], model.embed(_noise(8000)), atol=1e-6)


def test_parquet_has_a_row_for_each_frame(workdir, model, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_formats, "_GROUP", 100)  # several groups of rows
    embed.run(workdir, [str(recordings)], tmp_path / "x.parquet", level="frame", progress=False)
    rows = parquet.read_table(tmp_path / "x.parquet").to_pydict()
    assert rows["id"] == [str(recordings / "a.wav")] * 50 + [str(recordings / "b 50%.flac")] * 20
    assert rows["frame"] == [*range(50), *range(20)]
    np.testing.assert_allclose(rows["start"], 0.01 * np.array(rows["frame"]), atol=1e-12)
    np.testing.assert_allclose(rows["embedding"][:50], model.embed(_noise(8000), level="frame"), atol=1e-6)
    assert parquet.ParquetFile(tmp_path / "x.parquet").num_row_groups == 2


@pytest.mark.parametrize(("level", "shapes"), [("utterance", [(24,), (24,)]), ("frame", [(50, 12), (20, 12)])])
def test_kaldi_s_archive_and_index_name_the_same(workdir, model, recordings, tmp_path, level, shapes):
    embed.run(workdir, [str(recordings)], tmp_path / "x.scp", level=level, progress=False)
    indexed = kaldiio.load_scp(str(tmp_path / "x.scp"))
    names = [str(recordings / name) for name in ("a.wav", "b 50%.flac")]
    assert [urllib.parse.unquote(key) for key in indexed] == names
    archived = dict(kaldiio.load_ark(str(tmp_path / "x.ark")))
    assert list(archived) == list(indexed)
    assert not any(" " in key for key in archived)
    for key, shape in zip(archived, shapes, strict=True):
        assert archived[key].shape == shape
        assert np.array_equal(archived[key], indexed[key])
    np.testing.assert_allclose(archived[names[0]], model.embed(_noise(8000), level=level), atol=1e-6)


def test_an_index_is_sorted_by_bytes(tmp_path):
    with embed_formats.writer("kaldi", tmp_path / "x", "utterance", 0.01) as writer:
        for name in ("b", "a", "B", "ä"):
            writer.write(name, 1.0, np.arange(3))
    assert [line.split()[0] for line in (tmp_path / "x.scp").read_text().splitlines()] == ["B", "a", "b", "ä"]
    assert kaldiio.load_scp(str(tmp_path / "x.scp"))["ä"].tolist() == [0, 1, 2]


def test_names_that_are_no_text_are_written_as_such(tmp_path):
    name = b"\xff.wav".decode("utf-8", "surrogateescape")
    for form in embed_formats.FORMATS:
        with embed_formats.writer(form, tmp_path / f"x.{form}", "utterance", 0.01) as writer:
            writer.write(name, 1.0, np.zeros(3))
    with np.load(tmp_path / "x.npz") as made:
        assert made["ids"].tolist() == ["\\xff.wav"]
    assert parquet.read_table(tmp_path / "x.parquet").to_pydict()["id"] == ["\\xff.wav"]
    assert list(kaldiio.load_scp(str(tmp_path / "x.scp"))) == ["\\xff.wav"]


def test_formats_are_told_by_the_suffix_or_wanted(tmp_path):
    assert [embed_formats.format_of(tmp_path / name) for name in ("x.npz", "x.PARQUET", "x.ark", "x.scp")] == [
        "npz", "parquet", "kaldi", "kaldi"]
    assert embed_formats.format_of(tmp_path / "x", "kaldi") == "kaldi"
    with pytest.raises(UserError, match=r"x\.csv: the suffix tells no format"):
        embed_formats.format_of(tmp_path / "x.csv")
    (tmp_path / "x.ark").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        embed_formats.format_of(tmp_path / "x.scp")


def test_a_missing_package_is_told_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(resources, "installed", lambda module: False)
    assert embed.main([f"--workdir={tmp_path}", f"--out={tmp_path / 'x.parquet'}", "."]) == 2
    assert "sercl_jax[embed]" in capsys.readouterr().err


def test_an_error_on_the_way_leaves_nothing(tmp_path):
    def interrupted(form):
        with embed_formats.writer(form, tmp_path / "x", "frame", 0.01) as writer:
            writer.write("a", 1.0, np.zeros((4, 3)))
            raise RuntimeError

    for form in embed_formats.FORMATS:
        with pytest.raises(RuntimeError):
            interrupted(form)
    assert not list(tmp_path.iterdir())


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
