"""Checkpoints and models: whole or absent, refused when damaged, never pickled."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sercl_jax.checkpoint import Checkpoints, load_model, save_model
from sercl_jax.errors import UserError

# TensorStore answers Orbax when Orbax has already given up over another array.
CLOSED_LOOP = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")
SETTINGS = {"optim": {"lr": 0.1, "name": "adam"}, "seed": 0}


def state(step):
    rng = np.random.default_rng(step)
    return {"step": np.int32(step), "params": {"w": rng.normal(size=(40, 30)).astype(np.float32)},
            "optimizer": (np.asarray(rng.integers(9), np.int32), {"mu": -0.0 * rng.normal(size=7)}),
            "fixed": {}, "flags": rng.random(5) > 0.5, "bytes": rng.integers(0, 255, 6).astype(np.uint8)}


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, tuple):
        return all(same(a, b) for a, b in zip(one, other, strict=True))
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def saved(directory, scores, settings=SETTINGS):
    """Saves steps 1, 2, ... with these scores."""
    checkpoints = Checkpoints(directory, settings, scored=any(score is not None for score in scores))
    for step, score in enumerate(scores, 1):
        checkpoints.save(step, state(step), score)
    checkpoints.wait()
    checkpoints.close()


def steps(directory):
    return sorted(int(path.name) for path in directory.iterdir() if path.name != "settings.json")


def test_round_trip_to_the_bit(tmp_path):
    saved(tmp_path / "c", [None, None])
    checkpoints = Checkpoints(tmp_path / "c", SETTINGS)
    assert (checkpoints.latest(), checkpoints.best()) == (2, None)
    assert same(checkpoints.restore(state(9)), state(2))
    checkpoints.close()
    assert steps(tmp_path / "c") == [2]


@pytest.mark.parametrize(("scores", "best"), [((0.1, 0.5, 0.3, 0.2), 2), ((0.5, 0.5, None, 0.4, None), 2),
                                              ((-3.0, -2.0), 2), ((0.4, None), 1)])
def test_the_last_and_the_best_are_kept(tmp_path, scores, best):
    saved(tmp_path / "c", scores)
    checkpoints = Checkpoints(tmp_path / "c", SETTINGS, scored=True)
    assert (checkpoints.latest(), checkpoints.best()) == (len(scores), best)
    assert same(checkpoints.restore(state(0), best), state(best))
    checkpoints.close()
    assert steps(tmp_path / "c") == sorted({best, len(scores)})


def test_nothing_scored_yet(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", SETTINGS, scored=True)
    assert (checkpoints.latest(), checkpoints.best()) == (None, None)
    checkpoints.save(1, state(1))
    checkpoints.wait()
    assert (checkpoints.latest(), checkpoints.best()) == (1, None)
    checkpoints.close()


def test_another_training_is_refused(tmp_path):
    saved(tmp_path / "c", [None])
    other = {"optim": {"lr": 0.2, "name": "adam"}, "batch": 8}
    with pytest.raises(UserError, match=r"batch \('absent' there, 8 here\); optim\.lr \(0\.1 there, 0\.2 here\); "
                                        r"seed \(0 there, 'absent' here\)"):
        Checkpoints(tmp_path / "c", other)
    (tmp_path / "c" / "settings.json").write_text('{"optim": ')
    with pytest.raises(UserError, match=r"settings\.json: cannot be read"):
        Checkpoints(tmp_path / "c", SETTINGS)


def test_unfinished_checkpoints_of_a_killed_run_are_removed(tmp_path):
    saved(tmp_path / "c", [None])
    shutil.copytree(tmp_path / "c" / "1", tmp_path / "c" / "2.orbax-checkpoint-tmp")
    (tmp_path / "c" / ".settings.json.0123abcd.tmp").write_text("{")
    checkpoints = Checkpoints(tmp_path / "c", SETTINGS)
    assert checkpoints.latest() == 1
    checkpoints.close()
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"1", "settings.json"}


def damages(directory):
    """Yields the name of each file of a folder, truncated, with one byte changed, and removed; then mends it."""
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        changed = bytearray(whole)
        for position in (len(whole) // 2,) if whole else ():
            changed[position] ^= 0x5A
        for kind, content in (("cut", whole[:len(whole) // 2]), ("changed", bytes(changed)), ("removed", None)):
            if content is None:
                path.unlink()
            elif content != whole:
                path.write_bytes(content)
            else:
                continue
            yield path, kind
            path.write_bytes(whole)


@CLOSED_LOOP
def test_a_damaged_checkpoint_is_never_taken_for_whole(tmp_path):
    saved(tmp_path / "c", [0.9, 0.1])
    refused, told = set(), []
    largest = max((p for p in (tmp_path / "c" / "2").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    for path, kind in damages(tmp_path / "c" / "2"):
        try:
            checkpoints = Checkpoints(tmp_path / "c", SETTINGS, scored=True)
            assert same(checkpoints.restore(state(0), 2), state(2)), (path, kind)
            checkpoints.close()
        except UserError as error:
            refused.add((path, kind))
            told.append(str(error))
    assert {(largest, "cut"), (largest, "changed"), (largest, "removed")} <= refused
    assert all(str(tmp_path / "c") in line and "\n" not in line for line in told)
    shutil.rmtree(tmp_path / "c" / "2")
    checkpoints = Checkpoints(tmp_path / "c", SETTINGS, scored=True)
    assert same(checkpoints.restore(state(0)), state(1)), "as the message says, the one before is taken"
    checkpoints.close()


def test_another_structure_is_refused(tmp_path):
    saved(tmp_path / "c", [None])
    checkpoints = Checkpoints(tmp_path / "c", SETTINGS)
    for other, told in (({"step": np.int32(0)}, r"bytes \('uint8\[6\]' there, 'absent' here\)"),
                        ({**state(1), "params": {"w": np.zeros((4, 4), np.float32)}},
                         r"\(params/w \('float32\[40, 30\]' there, 'float32\[4, 4\]' here\)\)"),
                        ({**state(1), "flags": np.zeros(5, np.int32)}, r"flags \('bool\[5\]' there, 'int32\[5\]'"),
                        ({**state(1), "more": np.zeros(3)}, r"\(more \('absent' there, 'float64\[3\]' here\)")):
        with pytest.raises(UserError, match=rf"c/1: the checkpoint cannot be read .*{told}"):
            checkpoints.restore(other)
    checkpoints.close()


FULL = """
import resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import test_checkpoint as t
from sercl_jax.checkpoint import Checkpoints, save_model
from sercl_jax.errors import UserError
directory = Path(sys.argv[1])
t.saved(directory / "c", [None])
save_model(directory / "model", {"w": t.state(1)["params"]["w"]}, {"a": t.state(1)["flags"]}, {"k": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
checkpoints = Checkpoints(directory / "c", t.SETTINGS)
def attempt(function, *arguments):
    try:
        function(*arguments)
    except UserError as error:
        print(error)
def save():
    checkpoints.save(2, t.state(2))
    checkpoints.wait()
attempt(save)
attempt(checkpoints.save, 3, t.state(3))
attempt(checkpoints.wait)
checkpoints.close()
attempt(save_model, directory / "model", {"w": t.state(2)["params"]["w"]}, {}, {})
attempt(save_model, directory / "model", {"w": t.state(2)["flags"]}, {"a": t.state(2)["params"]["w"]}, {})
"""


def test_a_full_disk_leaves_the_last_whole_one(tmp_path):
    """Files of this process may not grow beyond 2000 bytes: writing fails as on a full disk."""
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path, here, here.parent], capture_output=True, text=True,
                          timeout=120, env={**os.environ, "XLA_FLAGS": ""}, check=False)
    assert done.returncode == 0, done.stderr
    assert "absl" not in done.stderr, "what Orbax logs is told once, as a UserError"
    told = done.stdout.splitlines()
    assert len(told) == 4, told
    for line in told[:2]:
        assert line.startswith(f"{tmp_path}/c: the checkpoint could not be written (")
        assert "File too large" in line
        assert line.endswith("the one before it is kept. Free some space and run the same command again.")
    for line in told[2:]:
        assert line.startswith(f"{tmp_path}/model: ")
        assert "nothing was changed. Free some space" in line
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"1", "settings.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"c", "model"}
    checkpoints = Checkpoints(tmp_path / "c", SETTINGS)
    assert same(checkpoints.restore(state(0)), state(1))
    checkpoints.save(2, state(2))
    checkpoints.wait()
    assert same(checkpoints.restore(state(0)), state(2)), "with space again, it goes on"
    checkpoints.close()
    assert same(load_model(tmp_path / "model")[0], {"w": state(1)["params"]["w"]})


def model(directory, step=1, metadata=None):
    save_model(directory, {"params": state(step)["params"], "stats": {"n": np.int32(step)}},
               {"svm/dual": state(step)["flags"], "labels": np.array(["angry", "sad"])}, metadata or {"step": step})


def test_models_round_trip_and_replace(tmp_path):
    for step in (1, 2):
        model(tmp_path / "m", step, {"labels": ["angry", "sad"], "step": step, "text": "ü"})
        variables, arrays, metadata = load_model(tmp_path / "m")
        assert same(variables, {"params": state(step)["params"], "stats": {"n": np.int32(step)}})
        assert same(arrays, {"svm/dual": state(step)["flags"], "labels": np.array(["angry", "sad"])})
        assert metadata == {"labels": ["angry", "sad"], "step": step, "text": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@CLOSED_LOOP
def test_a_damaged_model_is_never_taken_for_whole(tmp_path):
    model(tmp_path / "m")
    whole, refused = load_model(tmp_path / "m"), set()
    for path, kind in damages(tmp_path / "m"):
        try:
            variables, arrays, metadata = load_model(tmp_path / "m")
            assert same(variables, whole[0]), (path, kind)
            assert same(arrays, whole[1]), (path, kind)
            if path.name != "model.json":  # JSON with one changed byte may still be JSON
                assert metadata == whole[2], (path, kind)
        except UserError:
            refused.add((path.name, kind))
    assert {("arrays.npz", "cut"), ("arrays.npz", "changed"), ("arrays.npz", "removed"), ("model.json", "cut"),
            ("model.json", "removed")} <= refused
    assert any(kind == "changed" and name not in ("arrays.npz", "model.json") for name, kind in refused)
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path)


def test_nothing_is_pickled(tmp_path):
    with pytest.raises(TypeError, match="would be pickled"):
        save_model(tmp_path / "m", {"w": np.ones(2)}, {"a": np.array([None, {}])}, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(tmp_path / "m", {"w": np.ones(2)}, {}, {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_settings_are_read_as_json(tmp_path):
    """Tuples become lists on disk and must not count as a difference."""
    saved(tmp_path / "c", [None], {"hidden": (3, 4)})
    saved(tmp_path / "c", [], {"hidden": (3, 4)})
    assert json.loads((tmp_path / "c" / "settings.json").read_text()) == {"hidden": [3, 4]}
