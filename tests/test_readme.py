"""What the README tells its readers to type is understood, and what it promises exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands() -> list[str]:
    """Every indented line of the README that starts a program, continued lines joined."""
    text = re.sub(r"\\\n\s+", " ", README)
    return [line.strip() for line in text.splitlines() if re.match(r" {4}(python -m|make) ", line)]


def test_the_readme_has_commands():
    assert len(_commands()) >= 6
    assert "make demo" in " ".join(_commands())


@pytest.mark.parametrize("command", [c for c in _commands() if "sercl_jax.main" in c and "--help" not in c])
def test_every_command_is_understood(command, tmp_path):
    """Resolved to the last knob, but not run: from a folder that is not the checkout, as after an installation."""
    arguments = shlex.split(command, comments=True)[3:]
    done = subprocess.run([sys.executable, "-m", "sercl_jax.main", *arguments, "--dry_run"], capture_output=True,
                          text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", re.findall(r"^ {4}make (\w+)", README, re.MULTILINE))
def test_every_make_target_exists(target):
    done = subprocess.run(["make", "--dry-run", target], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_every_choice_of_the_config_is_explained():
    from sercl_jax import config as config_lib

    base = config_lib.base("serugcl", None)
    assert base.method == "serugcl"
    table = README.partition("## Choices")[2].partition("\n## ")[0]
    for name in ("corpus", "protocol", "folds", "training", "normalise", "features", "seeds", "fold_seeds", "pooling",
                 "tiny"):
        assert f"`{name}`" in table


def test_files_and_folders_named_in_the_readme_exist():
    for name in set(re.findall(r"`((?:configs|benchmarks|data_builders)/[\w/.]+)`", README)):
        assert (ROOT / name).exists(), name
