"""From a fresh clone to predictions on new files, in three commands, as a newcomer types them.

The first one, `make install`, is really run, but for pip: in its place a line makes the packages of this environment
visible in the new one. That pip installs them is what `.ci/run` shows, which begins with the same target's rules in a
fresh clone; here it would take minutes and a network.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from small_corpus import write

ROOT = Path(__file__).resolve().parents[1]
SPEAKERS = {"ann": 1, "bob": 2, "cem": 3, "dora": 4}


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A clone of what is committed, beside a folder of recordings named by emotion, and new ones."""
    place = tmp_path_factory.mktemp("newcomer")
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(place / "sercl_jax")], check=True)
    write(place / "all")
    for path in (place / "all").glob("*.wav"):
        speaker, sentence, emotion = path.stem.split("_")
        folder = place / "new" if (speaker, sentence) == ("dora", "s3") else place / "recordings" / emotion
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(path, folder / f"{sentence}-{SPEAKERS[speaker]}.wav" if folder.name != "new" else
                    folder / f"{emotion}.wav")
    return place


def run(clone: Path, *command: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "SERCL_CACHE": str(clone / "cache"), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=clone / "sercl_jax", env=environment, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_three_commands_lead_to_predictions_on_new_files(clone):
    packages = sysconfig.get_paths()["purelib"]
    site = f".venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    instead_of_pip = clone / "pip"
    instead_of_pip.write_text(f"#!/bin/sh\nprintf '%s\\n' '{clone / 'sercl_jax'}' '{packages}' > {site}/here.pth\n",
                              encoding="utf-8")
    instead_of_pip.chmod(0o755)
    run(clone, "make", "install", f"PYTHON={sys.executable}", f"PIP={instead_of_pip}")

    python = ".venv/bin/python"
    trained = run(clone, python, "-m", "sercl_jax.main", "--config=configs/serugcl.py:corpus=folder,tiny",
                  f"--config.data.manual_dir={clone / 'recordings'}", "--config.data.workers=1",
                  "--config.eval.baseline=no", "--workdir=runs/mine")
    assert "33 recordings" in trained.stderr
    assert "3 classes: angry 11, neutral 11, sad 11" in trained.stderr
    assert "speakers unknown" in trained.stderr
    results = json.loads((clone / "sercl_jax/runs/mine/results.json").read_text(encoding="utf-8"))
    assert (results["corpus"], results["protocol"]["name"], results["protocol"]["folds"]) == ("folder", "kfold", 10)
    assert (clone / "sercl_jax/runs/mine/report.html").stat().st_size > 10_000

    new = sorted(str(path) for path in (clone / "new").glob("*.wav"))
    told = run(clone, python, "-m", "sercl_jax.predict", "--workdir=runs/mine", "--format=json", *new)
    found = json.loads(told.stdout)
    assert [Path(one["path"]).stem for one in found] == ["angry", "neutral", "sad"]
    # Tones whose pitch and loudness differ this much, even a few steps of a tiny model tell apart.
    assert [one["label"] for one in found] == ["angry", "neutral", "sad"]
    assert all(sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-4) for one in found)

    source = run(clone, python, "-c", "import sercl_jax; print(sercl_jax.__file__)").stdout
    assert source.startswith(str(clone))  # the clone's own code, not that of the tests
