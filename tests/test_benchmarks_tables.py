"""Figures, tables, rooflines and ceilings of the benchmarks, and the search for the largest batch."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks import ceilings, memory, our_step, roofline, stepping, summary, timing


def result(**changes: Any) -> dict[str, Any]:
    """A plausible result of a step with a peer."""
    told = {"flops": {"analytic": 4e9, "xla": 5e9}, "bytes_accessed": 1e9, "matmul_ceiling_flops_per_second": 1e11,
            "copy_ceiling_bytes_per_second": 1e10}
    made: dict[str, Any] = {
        "benchmark": "serugcl", "title": "SERUGCL step", "precision": "float32", "batch": 8, "nodes": 120,
        "device": {"kind": "cpu", "platform": "cpu"}, "date": "2026-01-01", "compile_seconds": 3.0, "loss": 1.0,
        "memory": {"peak_over_imports": 3e8, "xla": {"total": 2e8}}, "threads": 2,
        "machine": {"processor": "P", "cpus": 4, "load": [0.5, 0, 0], "busy": 0.02}, "versions": {"jax": "1"},
        "step_seconds": {"median": 0.1, "quartiles": [0.09, 0.12], "min": 0.08}, **told,
        **stepping.rates(told, 8, 2.0, 0.1), "ratio": {"median": 2.5, "quartiles": [2.4, 2.6], "of_minima": 2.5},
        "memory_ratio": 1.25,
        "peer": {"name": "It", "fastest": "dense", "versions": {"torch": "2"},
                 "forms": {"dense": {"ratio": {"median": 2.5}, "loss": 1.0}, "other": {"error": "no compiler"}}}}
    return {**made, **changes}


def test_rates_and_shares() -> None:
    found = result()
    assert {name: found[name] for name in ("utterances_per_second", "audio_hours_per_second", "flops_per_second",
                                           "bytes_per_second", "flops_per_byte", "share_of_ceiling",
                                           "share_of_copy_ceiling", "share_of_roofline")} == pytest.approx({
        "utterances_per_second": 80, "audio_hours_per_second": 160 / 3600, "flops_per_second": 4e10,
        "bytes_per_second": 1e10, "flops_per_byte": 4, "share_of_ceiling": 0.4, "share_of_copy_ceiling": 1,
        "share_of_roofline": 1})


def test_implausible_figures_are_told() -> None:
    assert stepping.implausible(result()) == []
    for changes, words in (
            ({"compile_seconds": 0.0}, "compile_seconds is 0.0"), ({"loss": math.nan}, "loss is nan"),
            ({"utterances_per_second": math.inf}, "utterances_per_second is inf"),
            ({"share_of_ceiling": 1.1}, "above the matrix product ceiling"),
            ({"flops": {"analytic": 4e9, "xla": 1e8}}, "XLA counts 0.025 times"),
            ({"memory": {"peak_over_imports": -1, "xla": {"total": 1}}}, "peak memory over imports is -1"),
            ({"peer": {"forms": {"odd": {"ratio": {"median": 1000}}}}}, "odd: the peer's time over ours is 1e+03"),
            ({"peer": {"forms": {"odd": {"loss": math.nan}}}}, "odd: the peer's loss is nan")):
        found = stepping.implausible(result(**changes))
        assert len(found) == 1, found
        assert words in found[0]


def test_a_busy_machine_is_told() -> None:
    machine = result()["machine"]
    assert stepping.notes(result()) == stepping.notes(result(machine={**machine, "busy": None})) == []
    assert "others took 50 % of the CPUs" in stepping.notes(result(machine={**machine, "busy": 0.5}))[0]
    busy = timing.machine()["busy"]
    assert busy is None or 0 <= busy <= 1


def test_lines_for_people_tell_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    timed = {"step_seconds": {"median": 0.25, "min": 0.2}, "ratio": {"median": 2.5}, "memory_ratio": 1.25,
             "memory": {"peak_over_imports": 4e8, "device_peak": 5e8}}
    peer = {"name": "It", "fastest": "dense", "forms": {"dense": timed, "other": {"error": "no compiler"}}}
    stepping.print_result(result(peer=peer, implausible=["odd"], notes=["busy"], profile=["a.xplane.pb"]))
    out, err = capsys.readouterr()
    assert "It, dense: median 0.2500 s" in out
    assert "on the device 0.500 GB" in out
    assert "It, other: no compiler" in out
    assert "Peer's time over ours, dense: median 2.50" in out
    assert "Trace: a.xplane.pb" in out
    assert err == "implausible: odd\nnotes: busy\n"


def test_tables_hold_results_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    share = {"median": 0.97, "quartiles": [0.96, 0.98]}
    written = {
        "serugcl": result(implausible=["too good"], notes=["it was busy"]),
        "input": {"benchmark": "input", "device": {"kind": "cpu", "platform": "cpu"}, "models": {"cpc": {
            "batch": 8, "real_steps_per_second": 1.94, "resident_steps_per_second": 2.0, "share_of_resident": share,
            "input_alone_steps_per_second": 50.0}}},
        "features": {"benchmark": "features", "corpus": "demo", "files": 6, "ratio": {"median": 1.5}},
        "memory": {"benchmark": "memory", "found": [{"title": "CPC, 10 s", "precision": "float32", "remat": True,
                                                     "largest": [{"gib": 16.0, "batch": 70, "bytes": 15 * 2**30}]}]},
        "unknown": {"benchmark": "unknown", "ratio": {"median": 4.0}}}
    for name, value in written.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    page, figure = tmp_path / "all.md", tmp_path / "all.png"
    assert summary.main([str(tmp_path), "--markdown", str(page), "--plot", str(figure)]) == 0
    text = page.read_text()
    assert text == capsys.readouterr().out
    lines = text.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    step = next(row for row in rows if row[0].startswith("SERUGCL"))
    assert len(step) == len(rows[0])
    assert step[-3:] == ["It, dense", "2.5 (2.4 to 2.6)", "1.25"]
    assert step[10] == "40 %"
    assert ["cpc", "cpu", "8", "1.94", "2", "97.0 %", "50"] in rows
    assert ["demo", "6", "1.5"] in rows
    assert ["CPC, 10 s", "float32", "yes", "16", "70", "15.00"] in rows
    assert ["unknown", "4"] in rows
    assert {"- serugcl: too good", "- serugcl: it was busy"} < set(lines)
    assert any("P, 2 of 4 CPUs" in line and "torch 2" in line for line in lines)
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("content", "words"), [("{", "cannot be read as JSON"), ("[1]", "is no benchmark's result"),
                                                (None, "holds no")])
def test_summary_says_what_is_wrong(content: str | None, words: str, tmp_path: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    assert summary.main([str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_a_roof_is_the_highest_that_was_measured_for_a_device_and_precision() -> None:
    half = result(precision="bfloat16", matmul_ceiling_flops_per_second=3e11)
    slow = result(matmul_ceiling_flops_per_second=1e10, copy_ceiling_bytes_per_second=2e10)
    other = {"benchmark": "input", "device": {"kind": "cpu"}}
    found = roofline.roofs([slow, half, other, result()])
    assert found == {("cpu", "float32"): (1e11, 2e10), ("cpu", "bfloat16"): (3e11, 1e10)}
    np.testing.assert_allclose(roofline.attainable(np.array([1.0, 5.0, 100.0]), 1e11, 2e10), [2e10, 1e11, 1e11])


def test_ceilings_count_what_is_computed_and_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float] = []

    def fastest(function: Any) -> float:
        function()
        function()
        seconds.append(0.001 * 2**len(seconds))
        return seconds[-1]

    monkeypatch.setattr(ceilings, "_fastest", fastest)
    device = jax.devices()[0]
    # 2 n^3 in 1 ms, and 8 times as much in 2 ms.
    assert ceilings.matmul(device, "float32", (8, 16)) == pytest.approx(2 * 16**3 / 0.002)
    seconds.clear()
    assert ceilings.copy(device, (4096, 8192)) == pytest.approx(2 * 8192 / 0.002)
    seconds[:] = [0.0] * 6
    # After 64 ms nothing larger is tried.
    assert ceilings.matmul(device, "bfloat16", (8, 16)) == pytest.approx(2 * 8**3 / 0.064)


# The largest batch.

@given(slope=st.floats(1, 1e3), start=st.floats(0, 1e3), bend=st.just(0) | st.floats(1e-6, 1e-3),
       limit=st.floats(0, 1e5), multiple=st.sampled_from([1, 4]))
@example(slope=10, start=500, bend=0, limit=1e5, multiple=4)
def test_the_largest_batch_fits(slope: float, start: float, bend: float, limit: float, multiple: int) -> None:
    calls: list[int] = []

    def size(batch: int) -> int:
        calls.append(batch)
        return int(start + slope * batch + bend * slope * batch**2)

    known = {8: size(8), 32: size(32)}
    found = memory.largest(size, limit, known, multiple)
    assert found % multiple == 0
    assert len(calls) <= 2 + memory.TRIES
    assert known == {batch: size(batch) for batch in known}
    if found:
        assert size(found) <= limit
    room, bent = limit - start, bend * slope
    best = room / slope if bend == 0 else (math.sqrt(max(slope**2 + 4 * bent * room, 0)) - slope) / (2 * bent)
    best = max(math.floor(best) // multiple * multiple, 0)
    assert 0.8 * best - multiple <= found <= best + multiple
    if bend == 0:  # the line is the truth, but for whole bytes
        assert abs(found - best) <= multiple


def test_memory_of_a_step_is_what_its_arrays_and_products_take(tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a step whose memory is known: x [B, 1000] in, and two of that size on the way."""
    def loss(variables: Any, batch: Any, key: jax.Array) -> Any:
        h = jnp.sin(batch["x"] @ variables["params"]["w"])
        return jnp.sum(jnp.cos(h) ** 2), {"n": (jnp.sum(h), jnp.float32(1))}

    def toy(arguments: Any, remat: bool) -> memory.Step:
        return memory.Step(loss, lambda: {"params": {"w": jnp.zeros((1000, 1000))}},
                           lambda b: {"x": jax.ShapeDtypeStruct((b, 1000), np.float32)}, (64, 256), 4, 1e-3)

    monkeypatch.setitem(memory.METHODS, "cpc", toy)
    out = tmp_path / "memory.json"
    # The main process's threads are for the other tests, too.
    monkeypatch.setattr(memory.timing, "use_threads", lambda threads: None)
    monkeypatch.setattr(our_step, "import_all", lambda *modules: 0)
    assert memory.main(["--method", "cpc", "--gib", "0.03,0.001", "--remat", "no", "--json", str(out)]) == 0
    told = json.loads(out.read_text())["found"][0]
    small, large = told["largest"]
    assert (small, large["gib"]) == ({"gib": 0.001, "batch": 0, "bytes": 0}, 0.03)
    assert large["batch"] % 4 == 0
    assert 0.9 * 0.03 * 2**30 < large["bytes"] <= 0.03 * 2**30
    first, last = told["analysed"][0], told["analysed"][-1]
    assert first["bytes"] >= 3 * 4_000_000  # weights and Adam's moments
    # x itself and a few more of its size; weights and their gradient don't grow.
    assert 1 <= (last["bytes"] - first["bytes"]) / (last["batch"] - first["batch"]) / 4000 <= 8


@pytest.mark.parametrize("method", list(memory.METHODS))
def test_steps_of_every_method_are_made_of_shapes(method: str) -> None:
    arguments = memory.parse(["--nodes", "12", "--seconds", "0.8", "--model", "tiny"])
    step = memory.METHODS[method](arguments, True)
    lowered = memory.lowered(step, jax.devices()[0], 8)
    batch = lowered.in_avals[0][1]
    assert {x.shape[:2] for x in jax.tree.leaves(batch)} == {(1, 8)}


@pytest.mark.parametrize(("arguments", "named"), [
    (["--gib", "big"], "--gib=big"), (["--gib", "0,16"], "--gib=0"), (["--method", "svm"], "'svm'"),
    (["--nodes", "1"], "--nodes=1")])
def test_memory_refuses_impossible_numbers(arguments: list[str], named: str,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    assert memory.main(arguments) == 2
    assert named in capsys.readouterr().err
