"""A training that is killed at any moment ends as one that never was: real processes, `kill -9`."""

import json
import signal

import numpy as np
import toy

STEPS = 60
KNOBS = {"steps": STEPS, "checkpoint_every": 4, "log_every": 3}


def killed_when(step, **arguments):
    """Runs the stage and kills it as soon as it makes a batch of this step or a later one."""
    with toy.spawn(announce=True, **arguments) as process:
        for line in process.stdout:
            if line.strip().isdigit() and int(line) >= step:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_killed_three_times(tmp_path):
    whole = toy.run(tmp_path / "whole", **KNOBS)
    seed = int(np.random.SeedSequence().entropy % 2**32)
    steps = np.sort(np.random.default_rng(seed).choice(np.arange(2, STEPS - 4), 3, replace=False))
    arguments = {"workdir": str(tmp_path / "killed"), "out": str(tmp_path / "w.npy"), **KNOBS}
    for step in steps:
        killed_when(step, **arguments)
    process = toy.spawn(announce=True, **arguments)
    out, err = process.communicate(timeout=100)
    told = f"killed at {steps.tolist()} (seed {seed})\n{err}"
    assert process.returncode == 0, told
    assert int(out.split()[0]) <= steps[-1], told
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), whole.variables["params"]["w"], told)

    lines = (tmp_path / "killed/toy/metrics.jsonl").read_bytes()
    assert lines == (tmp_path / "whole/toy/metrics.jsonl").read_bytes(), told
    logged = {}
    for line in map(json.loads, lines.splitlines()):
        for name, value in line.items():
            if name != "step":
                logged.setdefault(name, {})[line["step"]] = float(np.float32(value))
    assert toy.shown(tmp_path / "killed/toy/tensorboard") == logged, told
    left = {path.name for path in (tmp_path / "killed/toy/checkpoints").iterdir()}
    assert left == {str(STEPS), "settings.json"}, told
    assert {path.name for path in (tmp_path / "killed/toy").iterdir()} == {"checkpoints", "metrics.jsonl",
                                                                           "tensorboard"}, told


def test_second_process_waits(tmp_path):
    """Two processes of one command: one trains, the other takes over what it left."""
    arguments = {"workdir": str(tmp_path / "run"), **KNOBS}
    processes = [toy.spawn(out=str(tmp_path / f"{i}.npy"), announce=True, **arguments) for i in range(2)]
    told = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    made = sorted([[int(line) for line in out.splitlines() if line.isdigit()] for out, _ in told], key=len)
    assert made == [[0], [0, *range(STEPS)]], "the second one only draws its shapes"
    np.testing.assert_array_equal(np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy"))
