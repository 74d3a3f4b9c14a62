"""The record of a run."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import jax
import numpy as np
import pytest

from sercl_jax import provenance
from sercl_jax.errors import UserError


def test_the_record_says_under_what_a_run_was_made(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    value = provenance.record(tmp_path / "deep" / "run", {"optim": {"lr": 1e-3}}, seed=7)
    assert json.loads((tmp_path / "deep" / "run" / "run.json").read_text()) == value
    assert before <= datetime.fromisoformat(value["date"]) <= datetime.now(UTC)
    assert (value["seed"], value["config"], value["command"]) == (7, {"optim": {"lr": 1e-3}}, sys.argv)
    assert value["packages"]["jax"] == jax.__version__
    assert value["packages"]["numpy"] == np.__version__
    assert value["packages"]["orbax-checkpoint"] == metadata.version("orbax-checkpoint")
    assert value["devices"] == {"platform": "cpu", "kind": "cpu", "count": 4, "processes": 1}
    assert value["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_revision_is_this_checkouts_or_none(tmp_path):
    top = Path(provenance.__file__).parents[1]
    found = provenance.revision()
    if (top / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=top, capture_output=True, text=True, check=True)
        assert found["revision"] == head.stdout.strip()
        assert isinstance(found["changed"], bool)
    else:
        assert found == {"revision": None, "changed": None}


def test_a_package_inside_anothers_checkout_has_no_revision(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "venv" / "sercl_jax").mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "venv" / "sercl_jax" / "provenance.py"))
    assert provenance.revision() == {"revision": None, "changed": None}
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert provenance.revision() == {"revision": None, "changed": None}


def test_packages_that_are_not_installed_are_null(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGES", ("numpy", "no-such-package-here"))
    assert provenance.record(tmp_path, {}, 0)["packages"]["no-such-package-here"] is None


def test_an_unwritable_workdir(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the folder cannot be made"):
        provenance.record(tmp_path / "file" / "run", {}, 0)
