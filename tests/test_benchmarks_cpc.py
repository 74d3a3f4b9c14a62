"""The benchmarks of CPC and of the input as processes, and the contract of their JSON."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cpc, cpc_ours, input_stages, rss, stepping
from benchmarks import input as input_benchmark
from sercl_jax.errors import UserError
from sercl_jax.models.cpc import CpcSettings
from tests.benchmark_scripts import check_step, run, without


def test_cpc_json_contract_without_torch(tmp_path: Path) -> None:
    out = tmp_path / "new" / "result.json"
    done = run("benchmarks.cpc", "--batch", "2", "--seconds", "0.8", "--channels", "8", "--context", "8",
               "--repeats", "2", "--precision", "bfloat16", "--json", str(out), **without(tmp_path, "torch"))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert {name: result[name] for name in ("benchmark", "frames", "repeats", "precision")} == {
        "benchmark": "cpc", "frames": 80, "repeats": 2, "precision": "bfloat16"}
    assert {name: result["settings"][name] for name in ("channels", "context", "negatives", "norm", "dtype")} == {
        "channels": 8, "context": 8, "negatives": 50, "norm": "channel", "dtype": "bfloat16"}
    check_step(result, batch=2, audio_seconds=0.8)
    assert 0 < result["loss"] < 20
    assert "hours of audio per second" in done.stdout


def test_cpc_names_the_extra_when_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"pip install 'sercl_jax\[peer\]'"):
        stepping.check_peer(cpc.METHOD)


@pytest.mark.parametrize(("arguments", "named"), [
    (["--threads", "100000"], "--threads=100000"), (["--forms", "shared,other"], "'other'"),
    (["--batch", "0"], "--batch=0"), (["--seconds", "0.6"], "--seconds=0.6"),
    (["--seconds", "nan"], "--seconds=nan")])
def test_cpc_refuses_impossible_numbers(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cpc.main(arguments) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "named"), [
    (["--utterances", "many"], "--utterances=many"), (["--utterances", "20,0"], "--utterances=0"),
    (["--trainings", "huge"], "'huge'"), (["--batches", "1"], "--batches=1"), (["--batch", "0"], "--batch=0")])
def test_input_refuses_impossible_numbers(arguments: list[str], named: str,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    assert input_benchmark.main(arguments) == 2
    assert named in capsys.readouterr().err


def test_analytic_flops_count_each_product() -> None:
    settings = CpcSettings(channels=3, context=5, future=2, negatives=7)
    # Outputs x inputs of each: convolutions on 320, 80, 20 and 10 frames in all, then 10 latents.
    convolutions = [320 * 3 * 10, 80 * 3 * 24, 20 * 3 * 24, 10 * 3 * 12]
    gru = 10 * 15 * (3 + 5)
    predictions = 10 * 2 * 3 * (5 + 8)
    assert cpc_ours.analytic_flops(settings, 2, 800) == (
        6 * (sum(convolutions) + gru + predictions) - 2 * convolutions[0])


def test_batches_differ_and_their_samples_are_alike() -> None:
    first, second = cpc_ours.batches(2, 16_000)
    assert not np.array_equal(first["waveform"], second["waveform"])
    assert not set(first["index"]) & set(second["index"])
    assert first["waveform"].shape == (2, 16_000)
    assert first["waveform"].dtype == np.int16
    assert first["frames"].tolist() == [100, 100]
    x = first["waveform"].astype(np.float64)
    assert np.corrcoef(x[0, 1:], x[0, :-1])[0, 1] > 0.9
    assert 2000 < x.std() < 4000


def test_peer_is_given_the_negatives_of_each_prediction() -> None:
    settings = CpcSettings(channels=4, context=4, future=3, negatives=50, share=100)
    batch = cpc_ours.random_batch(0, 2, 150 * 160)
    candidates, negatives = cpc_ours.draws(settings, batch)
    assert candidates.shape == (2, 3, 2, 51)
    assert negatives.shape == (2, 3, 150, 50)
    for k in (1, 3):
        for t in (0, 74, 75, 149 - k):  # two sets for 75 predictions each
            chosen, drawn = set(negatives[1, k - 1, t].tolist()), set(candidates[1, k - 1, t // 75].tolist())
            assert len(chosen) == 50
            assert chosen < drawn
            assert t + k not in chosen


def test_peak_follows_what_a_process_holds() -> None:
    before = rss.now()
    held = np.ones(50_000_000, np.uint8)
    after = rss.now()
    assert after["own"] - before["own"] > 40_000_000
    assert rss.peak() > 0.99 * after["total"]
    assert after["total"] > before["total"] + 40_000_000
    assert held[-1]


def test_generated_corpus(tmp_path: Path) -> None:
    corpus = input_stages.build(tmp_path, 23)
    assert len(corpus) == 23
    seconds = np.array([utterance.seconds for utterance in corpus.utterances])
    assert (seconds > input_stages.SHORTEST - 0.01).all()
    assert (seconds < input_stages.LONGEST + 0.01).all()
    assert seconds.std() > 1
    assert corpus.waveform(22).any()
    assert {u.label for u in corpus.utterances} == set(input_stages.LABELS)


def test_each_method_trains_on_what_is_in_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_stages, "LONGEST", 2.4)  # fewer shapes to compile
    corpus = input_stages.build(tmp_path, 9)
    shapes = {"serugcl": {"x": (4, 120, 76), "mask": (4, 120)}, "cpc": {"waveform": (4, 12_800)},
              "supcon-tiny": {"x": (4, 39, 32), "mask": (4, 39)}}
    for name, expected in shapes.items():
        training = dataclasses.replace(input_stages.TRAININGS[name], batch=4, seconds=0.8)
        stage = input_stages.stage(training, corpus, tmp_path / "cache")
        made = [stage.batch(step) for step in range(5)]
        for batch in made:  # one shape, that of the batch which stays on the device
            assert {field: batch[field].shape for field in expected} == expected
        first = next(iter(expected))
        assert not np.array_equal(made[0][first], made[1][first])
        assert len({u for batch in made for u in batch["index"].tolist()}) > 6


def test_input_json_contract(tmp_path: Path) -> None:
    out = tmp_path / "new" / "input.json"
    done = run("benchmarks.input", "--utterances", "6,21", "--trainings", "cpc-small", "--batch", "2",
               "--seconds", "0.8", "--repeats", "2", "--steps", "3", "--batches", "4", "--json", str(out),
               "--markdown", str(tmp_path / "input.md"), "--profile", str(tmp_path / "trace"))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert (result["benchmark"], result["repeats"]) == ("input", 2)
    told = result["models"]["cpc-small"]
    assert {name: told[name] for name in ("batch", "seconds", "steps", "utterances")} == {
        "batch": 2, "seconds": 0.8, "steps": 3, "utterances": 21}
    for kind in ("real", "resident"):
        assert told[f"{kind}_steps_per_second"] == pytest.approx(1 / told["step_seconds"][kind]["median"])
    assert told["ratio"]["median"] > 0
    assert told["share_of_resident"]["quartiles"] == pytest.approx(
        [1 / told["ratio"]["quartiles"][1], 1 / told["ratio"]["quartiles"][0]], rel=0.2)
    assert told["input_alone_steps_per_second"] > 0
    trace = told["trace"]
    assert (tmp_path / "trace" / "cpc-small" / trace["file"]).stat().st_size > 1000
    assert 0 < trace["first_wait_seconds"] < trace["seconds"]
    assert 0 <= trace["later_waits_seconds"] < trace["seconds"] - trace["first_wait_seconds"]
    assert trace["waiting_share"] == pytest.approx(
        trace["later_waits_seconds"] / (trace["seconds"] - trace["first_wait_seconds"]))
    assert "% of the time waiting for input" in done.stdout
    assert 0 <= told["waiting_seconds"]["median"] <= told["step_seconds"]["real"]["median"]
    assert [one["utterances"] for one in result["alone"]] == [6, 21]
    for one in result["alone"]:
        memory = one["memory"]
        assert one["audio_hours_per_second"] == pytest.approx(one["batches_per_second"] * 1.6 / 3600)
        assert one["growth_while_reading"] == memory["read"]["own"] - memory["reading"]["own"]
        assert memory["peak"] > 0.99 * memory["read"]["total"] > 0  # the system counts the peak a little late
    assert result["alone"][1]["audio_bytes"] > result["alone"][0]["audio_bytes"]
    assert "steps/s with real input" in done.stdout
    assert "| cpc-small | cpu | 2 |" in (tmp_path / "input.md").read_text()
