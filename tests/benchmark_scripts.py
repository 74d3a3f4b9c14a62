"""Runs benchmarks as users do, and checks what the JSON of every training step's benchmark must hold."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


# Figures of no use come sooner from programs that are hardly optimised.
QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m ...` from the repository, on one device."""
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | QUICK | environment
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=env, input=stdin, capture_output=True,
                          text=True, timeout=300, check=False)


def without(folder: Path, *packages: str) -> dict[str, str]:
    """An environment in which importing these packages fails."""
    for name in packages:
        (folder / f"{name}.py").write_text("raise RuntimeError('imported without --peer')")
    return {"PYTHONPATH": str(folder)}


def check_step(result: dict[str, Any], batch: int, audio_seconds: float) -> None:
    """What holds of every result without a peer."""
    assert result["batch"] == batch
    assert result["device"]["platform"] == "cpu"
    assert 1 <= result["threads"] <= result["machine"]["cpus"]
    assert not {"ratio", "memory_ratio", "peer"} & result.keys()
    seconds = result["step_seconds"]
    low, high = seconds["quartiles"]
    assert 0 < seconds["min"] <= low <= seconds["median"] <= high < 60
    for value in (result["compile_seconds"], result["loss"], result["matmul_ceiling_flops_per_second"],
                  result["copy_ceiling_bytes_per_second"], result["bytes_accessed"]):
        assert math.isfinite(value)
        assert value > 0
    median, flops, moved = seconds["median"], result["flops"]["analytic"], result["bytes_accessed"]
    product, copy = result["matmul_ceiling_flops_per_second"], result["copy_ceiling_bytes_per_second"]
    expected = {"utterances_per_second": batch / median,
                "audio_hours_per_second": batch * audio_seconds / median / 3600,
                "flops_per_second": flops / median, "bytes_per_second": moved / median,
                "flops_per_byte": flops / moved, "share_of_ceiling": flops / median / product,
                "share_of_copy_ceiling": moved / median / copy,
                "share_of_roofline": flops / median / min(product, copy * flops / moved)}
    assert {name: result[name] for name in expected} == pytest.approx(expected)
    memory = result["memory"]
    assert memory["peak"] - memory["after_imports"] == memory["peak_over_imports"] > 1e6
    parts = memory["xla"]
    assert parts["total"] == (parts["arguments"] + parts["results"] + parts["workspace"] + parts["program"]
                              - parts["aliased"])
    assert parts["total"] > parts["aliased"] > 0  # the state takes its own place
    assert result["implausible"] == []
