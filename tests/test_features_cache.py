"""The feature cache: one extraction whatever happens, on real files and with real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sercl_jax import features
from sercl_jax.errors import UserError
from sercl_jax.features import logmel, pitch
from sercl_jax.types import Utterance


class Corpus:
    """Twelve short utterances of noise; counts how often their samples are read."""

    name = "noise"

    def __init__(self, key: str = "0123"):
        self.key = key
        self.utterances = tuple(Utterance(id=f"u{i:02}", num_samples=3000 + 500 * i) for i in range(12))
        self.reads = 0

    def __len__(self) -> int:
        return len(self.utterances)

    def waveform(self, u: int) -> np.ndarray:
        self.reads += 1
        return (np.random.default_rng(u).normal(0, 3000, 3000 + 500 * u)).astype(np.int16)


class Killed(Corpus):
    """Its process is killed while the eighth utterance is read."""

    def waveform(self, u: int) -> np.ndarray:
        if u == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().waveform(u)


class Held(Corpus):
    """Says that it has begun, and goes on when a line arrives."""

    def waveform(self, u: int) -> np.ndarray:
        if u == 0:
            print("begun", flush=True)
            sys.stdin.readline()
        return super().waveform(u)


def command(corpus: str, cache: Path, workers: int = 0, before: str = "") -> list[str]:
    code = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "if __name__ == '__main__':\n"
            "    import pathlib, resource, test_features_cache as t\n"
            "    from sercl_jax import features\n"
            f"    {before or 'pass'}\n"
            f"    corpus = t.{corpus}()\n"
            f"    features.extract(corpus, 'logmel', cache_dir=pathlib.Path({str(cache)!r}), workers={workers},"
            " progress=False)\n"
            "    print('reads', corpus.reads)\n")
    return [sys.executable, "-c", code]


def extract(cache: Path, corpus: Corpus | None = None, name: str = "logmel"):
    return features.extract(corpus or Corpus(), name, cache_dir=cache, workers=0, progress=False)


def content(cache: Path) -> dict[str, bytes]:
    return {str(p.relative_to(cache)): p.read_bytes() for p in sorted(cache.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", ["is10_librosa", "logmel"])
def test_frames_are_those_of_each_utterance_in_order(tmp_path: Path, name: str):
    corpus = Corpus()
    found = extract(tmp_path, corpus, name)
    assert len(found) == 12
    assert found.names == features.feature_names(name)
    assert found.hop == 0.01
    assert isinstance(found.values, np.memmap)
    assert found.values.dtype == np.float32
    for u in range(12):
        np.testing.assert_array_equal(found[u], features.describe(corpus.waveform(u), name))


def test_a_second_call_reads_no_sample(tmp_path: Path):
    first = extract(tmp_path)
    again = Corpus()
    second = extract(tmp_path, again)
    assert again.reads == 0
    assert second.key == first.key
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.offsets, second.offsets)


def test_processes_give_the_same_bytes(tmp_path: Path):
    features.extract(Corpus(), "is10_librosa", cache_dir=tmp_path / "two", workers=2, progress=False)
    extract(tmp_path / "none", name="is10_librosa")
    assert content(tmp_path / "two") == content(tmp_path / "none")


def test_the_key_follows_corpus_features_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keys = [extract(tmp_path).key, extract(tmp_path, Corpus(key="4567")).key,
            extract(tmp_path, name="is10_librosa").key]
    for module, setting, value in ((logmel, "NUM_BANDS", 39), (logmel, "LOW", 50.0), (logmel, "FLOOR", 1e-9)):
        with monkeypatch.context() as patch:
            patch.setattr(module, setting, value)
            patch.setattr(module, "NAMES", tuple(f"logmel[{i}]" for i in range(logmel.NUM_BANDS)))
            keys.append(extract(tmp_path).key)
    with monkeypatch.context() as patch:
        patch.setattr(pitch, "VOICED", 0.6)
        keys.append(extract(tmp_path, name="is10_librosa").key)
    assert len(set(keys)) == 7
    assert len([p for p in (tmp_path / "features").iterdir() if p.is_dir()]) == 7


@pytest.mark.parametrize("damage", ["truncated", "missing", "empty", "foreign"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str):
    good = extract(tmp_path)
    before = content(tmp_path)
    folder = tmp_path / "features" / good.key
    del good
    if damage == "truncated":
        os.truncate(folder / "values.npy", 5000)
    elif damage == "missing":
        (folder / "offsets.npy").unlink()
    elif damage == "empty":
        (folder / "facts.json").write_text("")
    else:
        (folder / "facts.json").write_text('{"key": "another", "names": []}')
    extract(tmp_path)
    assert content(tmp_path) == before


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_run_again_gives_the_same_bytes(tmp_path: Path, workers: int):
    # The pipes close only when the workers are gone too: a time-out here means that they outlived their parent.
    killed = subprocess.run(command("Killed", tmp_path / "killed", workers), capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert any(name.endswith("values.npy") for name in content(tmp_path / "killed"))
    extract(tmp_path / "killed")
    extract(tmp_path / "whole")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_two_at_once_extract_once(tmp_path: Path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command("Held", tmp_path), **pipes) as first:
        assert first.stdout.readline() == "begun\n"
        with subprocess.Popen(command("Corpus", tmp_path), **pipes) as second:
            assert "Another process is making the logmel features of noise" in second.stderr.readline()
            first_output, first_error = first.communicate("go on\n", timeout=60)
            second_output, _ = second.communicate(timeout=60)
    assert first.returncode == second.returncode == 0, first_error
    assert first_output == "reads 12\n"
    assert second_output == "reads 0\n"


def test_a_full_disk_leaves_nothing(tmp_path: Path):
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"
    result = subprocess.run(command("Corpus", tmp_path, before=limit), capture_output=True, text=True, timeout=60)
    assert result.returncode != 0
    assert "UserError" in result.stderr
    assert "cannot be written" in result.stderr
    assert [p.name for p in (tmp_path / "features").iterdir() if p.suffix != ".lock"] == []


def test_records_that_disagree_with_their_index_are_refused(tmp_path: Path):
    corpus = Corpus()
    corpus.utterances = (*corpus.utterances[:3], Utterance(id="odd", num_samples=99), *corpus.utterances[4:])
    with pytest.raises(UserError, match="noise: utterance odd has 4500 samples where its index says 99"):
        extract(tmp_path, corpus)
    assert [p for p in (tmp_path / "features").iterdir() if p.is_dir()] == []


def test_unknown_names_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="features=is09"):
        extract(tmp_path, name="is09")
    with pytest.raises(UserError, match=r"functionals=is09.*IS10"):
        features.functionals(Corpus(), "is09", cache_dir=tmp_path)


@pytest.mark.parametrize(("feature_set", "count"), [("IS10", 1582), ("eGeMAPSv02", 88), ("ComParE_2016", 6373)])
def test_functionals_are_opensmile_s_and_cached(tmp_path: Path, feature_set: str, count: int):
    opensmile = pytest.importorskip("opensmile", reason="openSMILE is not installed: functionals were NOT tested")
    corpus = Corpus()
    corpus.utterances = corpus.utterances[6:8]
    corpus.waveform = lambda u: Corpus().waveform(u + 6)
    values, names = features.functionals(corpus, feature_set, cache_dir=tmp_path, workers=0, progress=False)
    assert values.shape == (2, count)
    assert len(set(names)) == count
    smile = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)
    direct = smile.process_signal(Corpus().waveform(6).astype(np.float32) / 32768, 16_000)
    assert tuple(direct.columns) == names
    np.testing.assert_allclose(values[0], direct.to_numpy()[0], rtol=1e-5, atol=1e-5)
    corpus.waveform = None  # not read again
    again, _ = features.functionals(corpus, feature_set, cache_dir=tmp_path, workers=0, progress=False)
    np.testing.assert_array_equal(values, again)
