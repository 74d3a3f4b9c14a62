"""The command itself: a real process with a real model, and what it says when it cannot start."""

import os
import signal
import socket
import subprocess
import sys

import httpx
import numpy as np
import pytest
import soundfile

import sercl_jax
from sercl_jax import resources
from sercl_jax.predicting import answers
from sercl_jax.serve import __main__ as command
from tests.inference_runs import config_of, run
from tests.serving import form, sound
from tests.small_corpus import write

pytestmark = pytest.mark.usefixtures("quick_compilation")
COMMAND = [sys.executable, "-m", "sercl_jax.serve"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    write(folder / "corpus")
    knobs = {"train.epochs": 1, "eval.rbf_c": (), "eval.linear_c": (0.1,)}
    return run(config_of(folder / "corpus", "protocol=loso", **knobs), folder / "run")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "SERCL_CACHE": str(tmp_path_factory.mktemp("cache"))}


def test_it_serves_until_it_is_told_to_stop(workdir, environment):
    process = subprocess.Popen([*COMMAND, f"--workdir={workdir}", "--port=0", "--max_seconds=20"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    try:
        ready = process.stdout.readline()
        assert ready.startswith("Ready after "), process.stderr.read()
        url = ready.split()[4]
        with httpx.Client(base_url=url, timeout=60) as client:
            assert "<h1>" in client.get("/").text
            assert client.get("/model").json()["labels"] == ["angry", "neutral", "sad"]
            path = workdir.parent / "corpus" / "ann_s1_angry.wav"
            told = client.post("/predict", **form(path.read_bytes(), path.name)).json()
            assert client.post("/predict", **form(sound(21.0))).status_code == 413
            assert client.post("/predict", content=b"no sound").status_code == 415
            with socket.create_connection(url.removeprefix("http://").split(":")) as gone:
                gone.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nRIFF")
            while client.get("/health").json()["requests"]:
                continue  # until it has noticed
    finally:
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert errors == f"{workdir} is loaded; compiling its programs ...\n\nStopped.\n"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    samples, rate = soundfile.read(path, dtype="int16")
    expected = answers.plain(sercl_jax.load(workdir).predict(samples, rate))
    assert told["label"] == expected["label"]
    assert told["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
    assert told["path"] == path.name
    assert np.isclose(told["seconds"], len(samples) / rate)


def test_a_port_that_is_taken_is_told(workdir, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command.main([f"--workdir={workdir}", f"--port={port}"]) == 2
    assert f"--port={port}: cannot be listened on (Address already in use)" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "words"), [
    (["--port=70000"], "--port=70000"), (["--port=-1"], "--port=-1"),
    (["--host=no such host"], "--host=no such host"),
    (["--host=192.0.2.1", "--port=0"], "cannot be listened on"), (["--max_mb=0"], "--max_mb=0"),
    (["--workdir=absent", "--port=0"], "absent")])
def test_what_cannot_be_started_is_told(flags, words, capsys):
    arguments = flags if flags[0].startswith("--workdir") else ["--workdir=absent", *flags]
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(resources, "installed", lambda name: name != "uvicorn")
    assert command.main(["--workdir=absent"]) == 2
    assert "serve needs uvicorn: pip install 'sercl_jax[serve]'" in capsys.readouterr().err


def test_help_needs_nothing_and_teaches(tmp_path):
    for name in ("fastapi", "uvicorn", "jax"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not installed')")
    done = subprocess.run([*COMMAND, "--help"], env={**os.environ, "PYTHONPATH": str(tmp_path)}, text=True,
                          capture_output=True, check=True)
    for word in ("curl -F file=@", "--max_seconds", "/openapi.json", "sercl_jax[serve]", "--bundle"):
        assert word in done.stdout
