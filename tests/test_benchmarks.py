"""The benchmarks as processes, and the contract of their JSON."""

import gzip
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import forms, pairs, serugcl, serugcl_ours, stepping, timing
from sercl_jax.errors import UserError
from tests.benchmark_scripts import check_step, run, without


def test_serugcl_writes_every_figure_without_torch(tmp_path: Path) -> None:
    out, trace = tmp_path / "new", tmp_path / "trace"
    done = run("benchmarks.serugcl", "--batch", "4", "--nodes", "12", "--repeats", "2", "--seconds", "2",
               "--json", str(out / "result.json"), "--markdown", str(out / "table.md"),
               "--plot", str(out / "roofline.png"), "--profile", str(trace),
               **without(tmp_path, "torch", "torch_geometric"))
    assert done.returncode == 0, done.stderr
    result = json.loads((out / "result.json").read_text())
    assert {name: result[name] for name in ("benchmark", "nodes", "repeats", "precision", "features")} == {
        "benchmark": "serugcl", "nodes": 12, "repeats": 2, "precision": "float32", "features": 76}
    check_step(result, batch=4, audio_seconds=2)
    # XLA counts what is done to single numbers too, which weighs more in so small a step, and what devices do twice.
    assert result["flops"]["analytic"] < result["flops"]["xla"] < 3 * result["flops"]["analytic"]
    assert "utterances/s" in done.stdout
    assert "| SERUGCL step, 12 nodes | cpu | float32 | 4 |" in (out / "table.md").read_text()
    assert (out / "roofline.png").read_bytes().startswith(b"\x89PNG")
    # What TensorBoard's profiler and Perfetto look for.
    names = {Path(file).name for file in result["profile"]}
    assert {name.partition(".")[2] for name in names} == {"xplane.pb", "trace.json.gz", "json.gz"}
    for file in result["profile"]:
        assert Path(file).parts[:2] == ("plugins", "profile")
        assert (trace / file).stat().st_size > 1000
    perfetto = next(file for file in result["profile"] if "perfetto" in file)
    events = json.loads(gzip.decompress((trace / perfetto).read_bytes()))["traceEvents"]
    assert sum(event.get("name") == "train" for event in events) == stepping.PROFILED_STEPS


def test_serugcl_names_the_extra_when_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"torch.*: pip install 'sercl_jax\[peer\]'"):
        stepping.check_peer(serugcl.METHOD)


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


class Form(Sleeper):
    """A peer's side."""

    def facts(self) -> dict[str, Any]:
        return {"memory": {"peak_over_imports": len(self.repeats)}, "jax": os.environ["JAX_PLATFORMS"],
                "tunables": os.environ.get("GLIBC_TUNABLES")}

    def double(self, value: int) -> int:
        return 2 * value


def make_form(form: str, keep_freed: bool, platform: str) -> Form:
    if form == "broken":
        raise OSError("cannot be compiled")
    return Form(f"{form} on {platform}, {keep_freed}")


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


def test_every_form_is_timed_beside_ours_and_the_fastest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    peer = "tests.test_benchmarks:make_form"
    with pairs.processes({"ours": side("a")}) as (running, _):
        own, found = forms.take_turns(running["ours"], peer, ("broken", "good"), {"platform": "cpu"}, 2, 1)
        assert own.shape == (2,)
        assert found["broken"] == {"error": "OSError: cannot be compiled"}
        assert list(found) == ["broken", "broken, our memory settings", "good", "good, our memory settings"]
        assert [found[name]["tunables"] for name in list(found)[2:]] == [None, "glibc.malloc.hugetlb=1"]
        assert found["good"]["jax"] == "cpu"  # the device is left to torch
        own, found = forms.take_turns(running["ours"], peer, ("good",), {"platform": "gpu"}, 1, 1)
        assert list(found) == ["good"]  # the process's memory is no matter there
        with pytest.raises(UserError, match="cannot be compiled"):
            forms.take_turns(running["ours"], peer, ("broken",), {"platform": "gpu"}, 1, 1)
    with pairs.processes({"form": pairs.Side(peer, {"form": "a", "keep_freed": True, "platform": "cpu"},
                                             forms.PEER)}) as (running, _):
        assert running["form"].call("double", value=21) == 42


def test_the_fastest_form_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms.timing, "versions", lambda *names: dict.fromkeys(names, "1"))

    def fact(ratio: float, **memory: int) -> dict[str, Any]:
        return {"ratio": {"median": ratio}, "memory": memory}

    timed = {"slow": fact(3.0, peak_over_imports=5), "fast": fact(1.5, peak_over_imports=6),
             "broken": {"error": "no"}}
    found = forms.compare(timed, {"peak_over_imports": 4}, "it", ("torch", "transformers"))
    assert (found["ratio"], found["memory_ratio"], found["peer"]["fastest"]) == ({"median": 1.5}, 1.5, "fast")
    assert found["peer"]["versions"] == {"torch": "1", "transformers": "1"}
    # Of the device, where both have one.
    timed = {"on it": fact(2.0, peak_over_imports=5, device_peak=30)}
    assert forms.compare(timed, {"peak_over_imports": 4, "device_peak": 10}, "it", ())["memory_ratio"] == 3


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
