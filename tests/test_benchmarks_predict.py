"""The benchmark of predictions on a small run: its JSON's contract, and what it refuses."""

import json
import zipfile

import numpy as np
import pytest
import small_corpus
import soundfile

from benchmarks import predict, summary
from sercl_jax import config as config_lib
from sercl_jax import experiment
from tests.benchmark_scripts import run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    manifest = small_corpus.write(folder / "corpus")
    config = config_lib.base("serugcl", "corpus=manifest,tiny,protocol=kfold,folds=2")
    config.data.manifest, config.data.cache_dir, config.data.workers = str(manifest), str(folder / "cache"), 1
    config.eval.baseline, config.eval.report = "no", False
    experiment.run(config.lock(), folder / "run", quiet=True)
    return folder / "run"


def test_json_contract(workdir, tmp_path):
    with zipfile.ZipFile(tmp_path / "audio.zip", "w") as archive:
        for path in sorted((workdir.parent / "corpus").glob("ann_*.wav")):
            archive.write(path, f"wav/{path.name}")
        archive.writestr("notes.txt", "no audio")
    done = run("benchmarks.predict", "--workdir", str(workdir), "--corpus_zip", str(tmp_path / "audio.zip"),
               "--repeats", "3", "--starts", "1", "--json", str(tmp_path / "new" / "result.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "new" / "result.json").read_text(encoding="utf-8"))
    assert result["benchmark"] == "predict"
    assert result["model"] == {"method": "serugcl", "kind": "classes", "corpus": "manifest"}
    assert result["files"] == 9
    minutes = sum(soundfile.info(path).duration for path in (workdir.parent / "corpus").glob("ann_*.wav")) / 60
    assert result["audio_minutes"] == pytest.approx(minutes)
    low, high = result["seconds"]["quartiles"]
    assert 0 < result["seconds"]["min"] <= low <= result["seconds"]["median"] <= high < result["first_pass_seconds"]
    assert result["times_real_time"]["median"] == pytest.approx(60 * minutes / result["seconds"]["median"])
    assert result["files_per_second"]["median"] == pytest.approx(9 / result["seconds"]["median"])
    assert result["command_seconds"]["median"] > result["seconds"]["median"]
    assert min(found["min"] for found in result["start_seconds"].values()) > 0
    assert 0 < result["cpu_seconds"]["min"] < 60
    assert result["memory"]["peak"] > 50 << 20
    assert f"{result['times_real_time']['median']:.1f} times real time" in done.stdout
    page = summary.markdown([result]).splitlines()
    row = page[page.index("## Predictions") + 4].split(" | ")
    assert row[0] == "| serugcl (classes)"
    assert row[2] == f"9, {minutes:.1f} minutes"
    assert float(row[7].split()[0]) == pytest.approx(result["times_real_time"]["median"], rel=0.01)


@pytest.mark.parametrize(("arguments", "reason"), [
    (["--repeats", "0"], "--repeats=0"), (["--starts", "0"], "--starts=0"), (["--threads", "100000"], "--threads"),
    (["--corpus_zip", "absent.zip"], "absent.zip: not a readable zip"), (["--folder", "absent"], "no such file")])
def test_what_is_refused(workdir, capsys, arguments, reason):
    assert predict.main(["--workdir", str(workdir), *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_recordings_that_cannot_be_used(workdir, tmp_path, capsys):
    """No figure comes of files that fail."""
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16_000)
    assert predict.main(["--workdir", str(workdir), "--folder", str(tmp_path)]) == 2
    assert "digital silence" in capsys.readouterr().err
