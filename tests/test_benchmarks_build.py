"""The benchmark of builds, as a process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from benchmarks import build

ROOT = Path(build.__file__).parents[1]


def test_json_contract(tmp_path):
    out = tmp_path / "result.json"
    done = subprocess.run([sys.executable, "-m", "benchmarks.build", "--hours", "0.01,0.05", "--workers", "2",
                           "--json", out], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["benchmark"] == "build"
    assert result["workers"] == 2
    small, large = result["builds"]
    assert 0.01 <= small["hours"] < 0.015
    assert 0.05 <= large["hours"] < 0.055
    for one in (small, large):
        seconds = one["seconds"]
        assert one["hours_per_minute"] == pytest.approx(one["hours"] * 60 / seconds["build"])
        assert seconds["list"] + seconds["write"] + seconds["index"] + seconds["wait"] == pytest.approx(
            seconds["build"])
        assert min(seconds.values()) > 0
        assert one["memory"]["builder"] > 30 << 20
        assert one["memory"]["worker"] > 20 << 20
        # Two bytes a sample, hardly compressible below a third.
        assert 0.3 < one["bytes"] / (one["hours"] * 3600 * 32_000) < 1.1
    assert f"{large['hours_per_minute']:.2f} h of audio a minute" in done.stdout


def test_what_is_generated_is_laid_out_as_librispeech(tmp_path):
    root = build.generate(tmp_path, 0.5)
    files = sorted(root.rglob("*.flac"))
    assert sum(soundfile.info(path).duration for path in files) == pytest.approx(1800, abs=build.LONGEST)
    assert len({path.stat().st_ino for path in files}) == build.DISTINCT
    for path in files:
        speaker, chapter, _ = path.stem.split("-")
        assert path.parent == root / "train-clean-100" / speaker / chapter
        assert f"{path.stem} " in (path.parent / f"{speaker}-{chapter}.trans.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("hours", ["", "0", "1,-2", "one"])
def test_hours_that_are_none(hours, capsys):
    assert build.timing.run(["--hours", hours], build.parse, build.run, build.show) == 2
    assert "error: --hours takes positive numbers" in capsys.readouterr().err
