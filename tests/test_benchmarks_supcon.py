"""The benchmark of SupCon's fine-tuning step as a process, the contract of its JSON, its batches and its FLOPs."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import stepping, supcon, supcon_ours
from sercl_jax.errors import UserError
from sercl_jax.models.speech_config import NAMED
from tests.benchmark_scripts import check_step, run, without


def test_json_contract_without_torch(tmp_path: Path) -> None:
    out = tmp_path / "new" / "result.json"
    done = run("benchmarks.supcon", "--model", "tiny", "--seconds", "0.5", "--repeats", "2", "--json", str(out),
               **without(tmp_path, "torch", "transformers"))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert {name: result[name] for name in ("benchmark", "model", "samples", "frames", "repeats", "precision",
                                            "source", "dropout")} == {
        "benchmark": "supcon", "model": "tiny", "samples": 8000, "frames": 24, "repeats": 2,
        "precision": "float32", "source": "waveform", "dropout": False}
    check_step(result, batch=4, audio_seconds=0.5)
    assert result["network"]["hidden_size"] == NAMED["tiny"].hidden_size
    assert 0 < result["loss"] < 20
    # XLA counts what is done to single numbers too, which weighs more in so small a network.
    assert result["flops"]["analytic"] < result["flops"]["xla"] < 3 * result["flops"]["analytic"]
    assert "utterances/s" in done.stdout


def test_reference_for_the_peer(tmp_path: Path) -> None:
    """What the peer must reproduce: weights that transformers reads, and a loss and gradient that belong to them."""
    question = json.dumps({"model": "tiny", "dropout": True, "device": "cpu", "folder": str(tmp_path)})
    side = run("benchmarks.pairs", ".supcon_ours:write_reference", stdin=question + "\n")
    assert json.loads(side.stdout) == {"answer": None}, side.stderr
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert config["model_type"] == "wavlm"
    assert config["hidden_dropout"] == NAMED["tiny"].hidden_dropout
    with np.load(tmp_path / supcon_ours.REFERENCE) as stored:
        gradient = {name.partition("/")[2]: stored[name] for name in stored if "/" in name}
        assert np.isfinite(stored["loss"])
        assert stored["pooling"].shape == stored["pooling_gradient"].shape == (32,)
    assert gradient["encoder.layers.1.attention.q_proj.weight"].shape == (32, 32)
    # Of the kernel itself, and nothing of what is frozen.
    assert gradient["encoder.pos_conv_embed.conv.weight"].shape == (32, 8, 16)
    assert all(np.isfinite(x).all() for x in gradient.values())
    assert all(x.any() for name, x in gradient.items() if name != "masked_spec_embed")
    assert {name.partition(".")[0] for name in gradient} == {"encoder", "masked_spec_embed"}


def test_names_the_extra_when_the_peer_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"transformers: pip install 'sercl_jax\[peer\]'"):
        stepping.check_peer(supcon.METHOD)


@pytest.mark.parametrize(("arguments", "named"), [
    (["--threads", "100000"], "--threads=100000"), (["--forms", "eager,other"], "'other'"),
    (["--batch", "0"], "--batch=0"), (["--batch", "6"], "--batch=6"), (["--seconds", "0.01"], "--seconds=0.01"),
    (["--seconds", "nan"], "--seconds=nan"), (["--repeats", "0"], "--repeats=0")])
def test_refuses_impossible_numbers(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert supcon.main(arguments) == 2
    assert named in capsys.readouterr().err


def test_analytic_flops_count_each_product() -> None:
    config = dataclasses.replace(
        NAMED["tiny"], conv_dim=(3, 5), conv_kernel=(4, 2), conv_stride=(2, 2), hidden_size=8, num_attention_heads=2,
        intermediate_size=11, num_hidden_layers=3, num_conv_pos_embeddings=6, num_conv_pos_embedding_groups=4)
    batch, samples, frames = 2, 20, 4  # 20 -> 9 -> 4
    # Outputs x inputs of each.
    frozen = batch * (9 * 3 * 4 + 4 * 5 * 2 * 3 + 4 * 8 * 5)
    dense = 4 * 8 * 8 + 2 * 8 * 11  # query, key, value, output; both of the feed-forward
    attention = 2 * frames * 8
    gate = 2 * 4 * 8  # two heads, each 4 -> 8
    pooling = 2 * 8
    trained = batch * frames * (3 * (dense + attention + gate) + pooling)
    positional = batch * frames * 8 * 2 * 6
    found = supcon_ours.analytic_flops(config, batch, samples, "waveform")
    assert found == {"frozen": 2 * frozen, "transformer": 3 * 2 * trained, "positional": 2 * 2 * positional,
                     "analytic": 2 * frozen + 6 * trained}
    assert supcon_ours.analytic_flops(config, batch, samples, "features")["analytic"] == 6 * trained
    without = supcon_ours.analytic_flops(dataclasses.replace(config, model_type="hubert"), batch, samples, "features")
    assert without["analytic"] == 6 * (trained - batch * frames * 3 * gate)


def test_batches_hold_pairs() -> None:
    first, second = supcon_ours.batches(8, 4000)
    assert first["positive"].tolist() == [True] * 4 + [False] * 4
    assert first["half"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert first["waveform"].shape == (8, 4000)
    assert first["waveform"].dtype == np.float32
    assert 0.01 < np.abs(first["waveform"]).mean() < 1
    assert not np.array_equal(first["waveform"], second["waveform"])
    assert not set(first["index"]) & set(second["index"])


def test_nothing_is_drawn_without_dropout() -> None:
    plain, published = supcon_ours.network("wavlm-base", False), supcon_ours.network("wavlm-base", True)
    assert (plain.hidden_dropout, plain.attention_dropout, plain.activation_dropout, plain.feat_proj_dropout,
            plain.layerdrop, plain.apply_spec_augment) == (0, 0, 0, 0, 0, False)
    assert published.layerdrop > 0
    assert published.apply_spec_augment
