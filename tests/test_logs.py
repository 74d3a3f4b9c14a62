"""Metrics on disk: JSON lines and TensorBoard, resumed, cut off, on a full disk."""

import errno

import numpy as np
import pytest
import toy

from sercl_jax import logs
from sercl_jax.errors import UserError


def log(directory, step=0):
    return logs.MetricsLog(directory, "toy", step=step, steps=10, progress=False)


def write(directory, start, stop, offset=0.0):
    with log(directory, start) as opened:
        for step in range(start + 1, stop + 1):
            opened.write(step, {"loss": step + offset, "score": -step})
            opened.advance()
    return opened.history


def test_lines_and_events(tmp_path):
    history = write(tmp_path, 0, 4)
    assert history == logs.read(tmp_path) == [{"step": s, "loss": float(s), "score": -s} for s in range(1, 5)]
    assert toy.shown(tmp_path / "tensorboard") == {"loss": {s: float(s) for s in range(1, 5)},
                                                   "score": {s: -float(s) for s in range(1, 5)}}


def test_resuming_removes_what_lies_after_the_checkpoint(tmp_path):
    write(tmp_path, 0, 6)
    assert write(tmp_path, 3, 5, offset=0.25) == logs.read(tmp_path)
    assert [line["loss"] for line in logs.read(tmp_path)] == [1, 2, 3, 4.25, 5.25]
    assert toy.shown(tmp_path / "tensorboard")["loss"] == {1: 1, 2: 2, 3: 3, 4: 4.25, 5: 5.25}
    write(tmp_path, 0, 2, offset=0.5)
    assert toy.shown(tmp_path / "tensorboard")["loss"] == {1: 1.5, 2: 2.5}


@pytest.mark.parametrize("cut", range(1, 32, 5))
def test_a_half_written_line_is_left_out(tmp_path, cut):
    write(tmp_path, 0, 3)
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(whole[:-cut])
    left = logs.read(tmp_path)
    assert left == [{"step": s, "loss": float(s), "score": -s} for s in range(1, 4 if cut == 1 else 3)]
    write(tmp_path, 2, 3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


def test_no_folder_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert write(None, 0, 2) == [{"step": s, "loss": float(s), "score": -s} for s in (1, 2)]
    assert list(tmp_path.iterdir()) == []
    assert logs.read(tmp_path) == []


def test_leftovers_of_killed_runs_go(tmp_path):
    (tmp_path / ".metrics.jsonl.0123abcd.tmp").write_text("half")
    write(tmp_path, 0, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "tensorboard"}


def test_events_on_a_full_disk(tmp_path, monkeypatch):
    def full(path, events):
        raise OSError(errno.ENOSPC, "No space left on device")

    with log(tmp_path) as opened:
        opened.write(1, {"loss": np.float64(1.0)})
        monkeypatch.setattr(logs, "_append", full)
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); free some space"):
            opened.write(2, {"loss": 2.0})
    with pytest.raises(UserError, match=r"tfevents.*: cannot be written \(No space left"):
        log(tmp_path, 1)


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the folder cannot be made"):
        log(tmp_path / "file" / "toy")


def test_the_bar_tells_the_latest_values(tmp_path, capsys):
    with logs.MetricsLog(tmp_path, "toy", step=4, steps=5) as opened:
        opened.write(5, {"epoch": 1.0, "loss": 0.123456})
        opened.advance()
    told = capsys.readouterr().err
    assert "toy" in told
    assert "5/5" in told
    assert "loss=0.1235" in told
    assert "epoch" not in told
