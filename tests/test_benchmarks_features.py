"""The benchmark of features: what it compares, and what it says."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_features_pitch import pulses

pytest.importorskip("opensmile", reason="openSMILE is not installed: the benchmark of features was NOT tested")

from benchmarks import features as benchmark  # after the check: it needs openSMILE

pytestmark = pytest.mark.usefixtures("quick_compilation")


def make_zip(path: Path, count: int) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(count):
            rng = np.random.default_rng(k)
            file = io.BytesIO()
            signal = pulses(rng.normal(100 + 20 * k, 1, 90))[:9000] + rng.normal(0, 0.003, 9000)
            soundfile.write(file, signal, 16_000, format="WAV", subtype="PCM_16")
            archive.writestr(f"wav/{k}.wav", file.getvalue())


def test_it_times_every_side_on_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]):
    make_zip(tmp_path / "made.zip", 3)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)  # this process goes on afterwards
    monkeypatch.setattr("sys.argv", ["features", "--corpus_zip", str(tmp_path / "made.zip"), "--files", "2",
                                     "--repeats", "2", "--workers", "1", "--json", str(tmp_path / "result.json")])
    benchmark.main()
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["corpus"], result["files"], result["frames"]) == ("made", 2, 102)
    assert set(result["seconds"]) == set(result["start_seconds"]) == {"is10_jax", "is10_librosa", "is10", "one_pass"}
    assert result["ratio"] == result["ratios"]["is10_jax"]["is10"]
    assert set(result["agreement"]) == {"is10_jax", "is10_librosa"}
    for found in result["agreement"].values():
        assert len(found) == 76
        assert min(found.values()) > 0.999
    told = capsys.readouterr().out
    assert "| lspFreq[7] |" in told
    assert "openSMILE's time over that of is10_jax" in told


def test_agreement_alone_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]):
    make_zip(tmp_path / "made.zip", 1)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    monkeypatch.setattr("sys.argv", ["features", "--corpus_zip", str(tmp_path / "made.zip"), "--agreement",
                                     "--workers", "1"])
    benchmark.main()
    told = capsys.readouterr().out
    assert "1 files of made" in told
    assert "openSMILE's time" not in told


def test_correlation_of_constants():
    assert benchmark.correlation(np.ones(3), np.ones(3)) == 1
    assert benchmark.correlation(np.ones(3), np.arange(3.0)) == 0
    assert benchmark.correlation(np.arange(3.0), -np.arange(3.0)) == pytest.approx(-1)
