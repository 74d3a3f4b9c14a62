"""Training over real processes: each reads its own rows; one that dies ends the others, and any number goes on."""

import json
import signal
import socket

import numpy as np
import pytest
import toy
from small_corpus import command, finish, start, write

from sercl_jax import parallel
from sercl_jax.errors import UserError

KNOBS = {"steps": 48, "checkpoint_every": 4, "log_every": 4}


def address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def spawn(tmp_path, processes, **more):
    """The toy stage in so many processes."""
    where = address()
    return [toy.spawn(workdir=str(tmp_path / "run"), out=str(tmp_path / f"{i}.npy"), coordinator=where,
                      processes=processes, process_id=i, announce=True, **KNOBS, **more) for i in range(processes)]


def hurt(processes, victim, step, sign):
    """Sends a signal to one process when it makes a batch of this step; what the others end with, and tell."""
    for line in processes[victim].stdout:
        if line.strip().isdigit() and int(line) >= step:
            break
    processes[victim].send_signal(sign)
    others = [process for i, process in enumerate(processes) if i != victim]
    told = [process.communicate(timeout=90) for process in others]
    processes[victim].kill()
    processes[victim].communicate(timeout=60)
    return [(process.returncode, err) for process, (_, err) in zip(others, told, strict=True)]


def assert_clear(ended):
    for status, err in ended:
        assert status != 0
        assert ("another process has ended or cannot be reached" in err
                or "Terminating process because the JAX distributed service detected fatal errors" in err), err


def test_killed_and_resumed_with_other_numbers_of_processes(tmp_path):
    whole = toy.run(tmp_path / "whole", **KNOBS)
    ended = hurt(spawn(tmp_path, 4, heartbeat=10), victim=3, step=15, sign=signal.SIGKILL)
    assert_clear(ended)
    assert any("with the same command, in any number" in err for _, err in ended), ended
    processes = spawn(tmp_path, 2, heartbeat=10)
    assert_clear(hurt(processes, victim=0, step=31, sign=signal.SIGKILL))

    process = toy.spawn(workdir=str(tmp_path / "run"), out=str(tmp_path / "w.npy"), announce=True, **KNOBS)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    made = [int(line) for line in out.splitlines() if line.isdigit()]
    assert 20 <= made[1] <= 34, f"went on from a checkpoint of the two processes: {made}"
    np.testing.assert_allclose(np.load(tmp_path / "w.npy"), whole.variables["params"]["w"], atol=2e-5)
    lines = [[json.loads(line) for line in (tmp_path / name / "toy/metrics.jsonl").read_text().splitlines()]
             for name in ("whole", "run")]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]]
    np.testing.assert_allclose([line["loss"] for line in lines[0]], [line["loss"] for line in lines[1]], rtol=1e-4)


@pytest.mark.parametrize("resident", ["no", "yes"])
def test_two_processes_are_one(tmp_path, resident):
    """Each reads half of every batch, and both end with what one process has."""
    whole = toy.run(None, **KNOBS)
    processes = spawn(tmp_path, 2, resident=resident, steps_per_dispatch=4)
    told = [process.communicate(timeout=90) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    for i, (out, _) in enumerate(told):
        np.testing.assert_allclose(np.load(tmp_path / f"{i}.npy"), whole.variables["params"]["w"], atol=2e-5)
        read = [line for line in out.splitlines() if line.startswith("read")]
        first = ["read 8"]  # of the first batch, for shapes
        assert read == first + ["read 4"] * (KNOBS["steps"] if resident == "no" else 0), out
    assert np.array_equal(np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy"))


def test_a_process_that_hangs_is_given_up(tmp_path):
    """Its connections stay open, so only its missing signs of life can tell."""
    assert_clear(hurt(spawn(tmp_path, 2, heartbeat=5), victim=1, step=15, sign=signal.SIGSTOP))


def test_the_command_line_in_two_processes(tmp_path, monkeypatch):
    """One workdir, written and told of by process 0 alone."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    where = address()
    run = command(write(tmp_path / "corpus"), tmp_path / "cache", tmp_path / "run", "--config.eval.report=False",
                  "--config.eval.probes=False", "--config.eval.untrained=False", "--config.final_model=False")
    joined = [[*run, f"--coordinator={where}", "--num_processes=2", f"--process_id={i}"] for i in range(2)]
    processes = [start(arguments, tmp_path / f"log{i}") for i, arguments in enumerate(joined)]
    for i, process in enumerate(processes):
        finish(process, tmp_path / f"log{i}")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["protocol"]["name"] == "loso"
    assert "SERUGCL" in (tmp_path / "log0").read_text()
    assert "SERUGCL" not in (tmp_path / "log1").read_text(), "one of them tells"


def test_numbers_need_an_address():
    with pytest.raises(UserError, match="also need coordinator=HOST:PORT"):
        parallel.initialize(None, 2, 0)
