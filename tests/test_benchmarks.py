"""The benchmarks as processes, and the contract of their JSON."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import serugcl, timing
from sercl_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | environment
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=env, capture_output=True, text=True,
                          timeout=300, check=False)


def test_serugcl_json_contract_without_torch(tmp_path: Path) -> None:
    for name in ("torch", "torch_geometric"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported without --peer')")
    out = tmp_path / "new" / "result.json"
    done = run("benchmarks.serugcl", "--batch", "4", "--nodes", "12", "--repeats", "2", "--json", str(out),
               PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert {name: result[name] for name in ("benchmark", "batch", "nodes", "repeats", "precision", "features")} == {
        "benchmark": "serugcl", "batch": 4, "nodes": 12, "repeats": 2, "precision": "float32", "features": 76}
    assert result["device"]["platform"] == "cpu"
    assert 1 <= result["threads"] <= result["machine"]["cpus"]
    assert "ratio" not in result
    assert "peer" not in result

    seconds = result["step_seconds"]
    low, high = seconds["quartiles"]
    assert 0 < seconds["min"] <= low <= seconds["median"] <= high < 60
    for value in (result["compile_seconds"], result["loss"], result["matmul_ceiling_flops_per_second"]):
        assert math.isfinite(value)
        assert value > 0
    assert result["utterances_per_second"] == pytest.approx(4 / seconds["median"])
    assert result["flops_per_second"] == pytest.approx(result["flops"]["analytic"] / seconds["median"])
    assert result["share_of_ceiling"] == pytest.approx(
        result["flops_per_second"] / result["matmul_ceiling_flops_per_second"])
    # XLA counts what is done to single numbers too, which weighs more in so small a step.
    assert result["flops"]["analytic"] < result["flops"]["xla"] < 2 * result["flops"]["analytic"]
    assert result["implausible"] == []
    assert "utterances/s" in done.stdout


def test_serugcl_names_the_extra_when_torch_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'sercl_jax\[peer\]'"):
        serugcl.check_peer("cpu")


@pytest.mark.parametrize(("arguments", "named"), [
    (["--threads", "0"], "--threads=0"), (["--threads", "100000"], "--threads=100000"),
    (["--batch", "1"], "--batch=1"), (["--repeats", "0"], "--repeats=0")])
def test_serugcl_refuses_impossible_numbers(arguments: list[str], named: str,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert serugcl.main(arguments) == 2
    assert named in capsys.readouterr().err


def test_features_help() -> None:
    done = run("benchmarks.features", "--help")
    assert done.returncode == 0, done.stderr
    assert "--corpus_zip" in done.stdout


def test_batches_differ_and_their_neighbours_are_alike() -> None:
    first, second = (serugcl.random_batch(seed, 4, 50) for seed in (0, 1))
    assert not np.array_equal(first["x"], second["x"])
    assert not set(first["index"]) & set(second["index"])
    x = first["x"]
    assert 0.8 < np.mean(x[:, 1:] * x[:, :-1]) < 1
    np.testing.assert_allclose(x.std(), 1, atol=0.1)


def test_interleave_gives_every_side_the_same_repeats() -> None:
    calls: list[tuple[str, int]] = []
    sides = {name: lambda repeat, name=name: calls.append((name, repeat)) for name in ("a", "b", "c")}
    seconds = timing.interleave(sides, 3)
    assert calls == [("a", 0), ("b", 0), ("c", 0), ("c", 1), ("a", 1), ("b", 1), ("b", 2), ("c", 2), ("a", 2)]
    assert {name: values.shape for name, values in seconds.items()} == {"a": (3,), "b": (3,), "c": (3,)}
    assert all((values >= 0).all() for values in seconds.values())


def test_summary() -> None:
    assert timing.summary(np.array([5.0, 1.0, 2.0, 3.0, 4.0])) == {"median": 3.0, "quartiles": [2.0, 4.0], "min": 1.0}


def test_implausible_figures_are_told() -> None:
    figures = {"rate": 3.0, "seconds": 0.0, "count": -1.0, "ratio": math.nan, "other": math.inf, "fine": 1.0}
    told = timing.implausible(figures, 2.0, ("rate",))
    assert [line.split()[0] for line in told] == ["seconds", "count", "ratio", "other", "rate"]
    assert timing.implausible({"rate": 1.0}, 2.0, ("rate",)) == []
