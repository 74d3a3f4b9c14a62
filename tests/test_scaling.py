"""The benchmarks of the training loop run to the end in a small size, and say what they should."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import dispatch, scaling
from sercl_jax.errors import UserError

ROOT = Path(scaling.__file__).parents[1]


def run(module, tmp_path, *flags):
    """JSON and table of a benchmark in a process of its own."""
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{module}", "--size=tiny", "--repeats=2", "--steps=2",
                           f"--json={tmp_path / 'out.json'}", f"--table={tmp_path / 'out.md'}", *flags], cwd=ROOT,
                          env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "out.json").read_text()), (tmp_path / "out.md").read_text()


def test_dispatch(tmp_path):
    told, table = run("dispatch", tmp_path, "--models=recognizer", "--steps-per-dispatch=2")
    ways = told["models"]["recognizer"]["ways"]
    assert [(way["resident"], way["steps_per_dispatch"]) for way in ways] == [("no", 1), ("no", 2), ("yes", 1),
                                                                              ("yes", 2)]
    assert ways[0]["gain"]["median"] == 1
    assert [way["loss"] for way in ways[1:]] == pytest.approx([ways[0]["loss"]] * 3, rel=1e-4)
    assert all(way["step_seconds"]["median"] > 0 and 0 <= way["input_wait"] <= 1 for way in ways)
    assert len(table.splitlines()) == 6


def test_scaling(tmp_path):
    told, table = run("scaling", tmp_path, "--methods=cpc", "--counts=2")
    ways = told["methods"]["cpc"]["ways"]
    for way, devices in (("devices", [1, 2]), ("processes", [1, 2])):
        assert [row["devices"] for row in ways[way]] == devices
        assert ways[way][1]["loss"] == pytest.approx(ways[way][0]["loss"], rel=1e-4)
    assert "Forced host devices share all cores" in table
    assert [line.split("|")[2:4] for line in table.splitlines()[2:6]] == [
        [f" {way} ", f" {count} "] for way in ("devices", "processes") for count in (1, 2)]


def test_table_of_scaling():
    """Two processes on two cores that take two thirds of the time have 75 % of what is there."""
    rows = [{"count": n, "step_seconds": {"median": ms / 1e3}, "loss": 1.0} for n, ms in ((1, 30), (2, 20), (4, 20))]
    result = {"cores": 2, "methods": {"cpc": {"ways": {"processes": rows}}}}
    cells = [[cell.strip() for cell in line.split("|")] for line in scaling.table(result).splitlines()[2:5]]
    assert [row[4:7] for row in cells] == [["30", "1.00", "100 %"], ["20", "1.50", "75 %"], ["20", "1.50", "75 %"]]


@pytest.mark.parametrize(("parse", "arguments", "words"), [
    (scaling.parse, ["--methods=cpd"], "'cpd' is none of"), (scaling.parse, ["--counts=1,x"], "whole numbers"),
    (scaling.parse, ["--counts=3"], "batches of 16; 3 cannot share"), (scaling.parse, ["--ways=hosts"], "neither"),
    (dispatch.parse, ["--models=x"], "'x' is none of"), (dispatch.parse, ["--steps-per-dispatch=99"], "from 1 to"),
    (dispatch.parse, ["--repeats=0"], "at least 1")])
def test_mistakes_are_told(parse, arguments, words):
    with pytest.raises(UserError, match=words):
        parse(arguments)
