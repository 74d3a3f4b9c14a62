"""The benchmarks as processes, and the contract of their JSON."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import pairs, serugcl, serugcl_ours, timing
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
        serugcl.check_peer()


@pytest.mark.parametrize(("arguments", "named"), [
    (["--threads", "0"], "--threads=0"), (["--threads", "100000"], "--threads=100000"),
    (["--forms", "sparse,other"], "'other'"), (["--batch", "1"], "--batch=1"), (["--repeats", "0"], "--repeats=0")])
def test_serugcl_refuses_impossible_numbers(arguments: list[str], named: str,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert serugcl.main(arguments) == 2
    assert named in capsys.readouterr().err


def test_features_help() -> None:
    done = run("benchmarks.features", "--help")
    assert done.returncode == 0, done.stderr
    assert "--corpus_zip" in done.stdout


def test_batches_differ_and_their_neighbours_are_alike() -> None:
    first, second = (serugcl_ours.random_batch(seed, 4, 50) for seed in (0, 1))
    assert not np.array_equal(first["x"], second["x"])
    assert not set(first["index"]) & set(second["index"])
    x = first["x"]
    assert 0.8 < np.mean(x[:, 1:] * x[:, :-1]) < 1
    np.testing.assert_allclose(x.std(), 1, atol=0.1)


class Sleeper:
    """A side made in another process: counts its steps."""

    def __init__(self, name: str):
        print(f"{name} is made")  # must not be taken for an answer
        self.name, self.repeats = name, list[int]()

    def __call__(self, repeat: int) -> None:
        if self.name == "fails later":
            os._exit(3)
        self.repeats.append(repeat)

    def facts(self) -> dict[str, Any]:
        return {"repeats": self.repeats, "tunables": os.environ.get("GLIBC_TUNABLES"), "pid": os.getpid()}


def make(name: str) -> Sleeper:
    if name == "mendable":
        raise UserError("--name=mendable: choose another.")
    if name == "broken":
        raise OSError("no such thing\nmore")
    return Sleeper(name)


def side(name: str, environment: Mapping[str, str] | None = None) -> pairs.Side:
    return pairs.Side("tests.test_benchmarks:make", {"name": name}, environment or {})


def test_sides_run_in_processes_of_their_own_in_their_own_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    sides = {"a": side("a", pairs.TRAINING), "broken": side("broken"), "b": side("b")}
    with pairs.processes(sides) as (running, failed):
        assert failed == {"broken": "OSError: no such thing"}
        seconds = pairs.take_turns(running, turns=2, steps=3)
        facts = {name: process.facts() for name, process in running.items()}
    assert {name: values.shape for name, values in seconds.items()} == {"a": (2,), "b": (2,)}
    assert all((values >= 0).all() and (values < 1).all() for values in seconds.values())
    # Before the timed steps of a turn its first one, as often as it takes to wake up.
    expected = [*[0] * pairs.WAKING_STEPS, 0, 1, 2, *[3] * pairs.WAKING_STEPS, 3, 4, 5]
    assert [facts[name]["repeats"] for name in "ab"] == [expected] * 2
    assert [facts[name]["tunables"] for name in "ab"] == ["glibc.malloc.hugetlb=1", None]
    assert len({os.getpid(), *(facts[name]["pid"] for name in "ab")}) == 3
    assert 0 <= facts["a"]["idle_cpu_seconds"] < 1
    for name in "ab":
        with pytest.raises(ProcessLookupError):
            os.kill(facts[name]["pid"], 0)


def test_a_side_that_dies_or_complains_is_told() -> None:
    with pairs.processes({"a": side("fails later")}) as (running, _), pytest.raises(
            pairs.SideError, match="ended with status 3"):
        pairs.take_turns(running, turns=1)
    with pytest.raises(UserError, match="--name=mendable"), pairs.processes({"a": side("mendable")}):
        pass


def test_turns_rotate() -> None:
    calls: list[tuple[str, int, int]] = []

    class Recorder:
        def __init__(self, name: str):
            self.name = name

        def time(self, first: int, steps: int) -> float:
            calls.append((self.name, first, steps))
            return 2.0 * len(calls)

    sides: Any = {name: Recorder(name) for name in ("a", "b", "c")}
    seconds = pairs.take_turns(sides, 3, steps=2)
    assert calls == [("a", 0, 2), ("b", 0, 2), ("c", 0, 2), ("c", 2, 2), ("a", 2, 2), ("b", 2, 2),
                     ("b", 4, 2), ("c", 4, 2), ("a", 4, 2)]
    assert {name: values.tolist() for name, values in seconds.items()} == {
        "a": [1.0, 5.0, 9.0], "b": [2.0, 6.0, 7.0], "c": [3.0, 4.0, 8.0]}


def test_summary() -> None:
    assert timing.summary(np.array([5.0, 1.0, 2.0, 3.0, 4.0])) == {"median": 3.0, "quartiles": [2.0, 4.0], "min": 1.0}


def test_implausible_figures_are_told() -> None:
    figures = {"rate": 3.0, "seconds": 0.0, "count": -1.0, "ratio": math.nan, "other": math.inf, "fine": 1.0}
    told = timing.implausible(figures, 2.0, ("rate",))
    assert [line.split()[0] for line in told] == ["seconds", "count", "ratio", "other", "rate"]
    assert timing.implausible({"rate": 1.0}, 2.0, ("rate",)) == []
