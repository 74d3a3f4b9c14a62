"""The benchmark of the server under load, as a process and in its parts."""

import http.server
import io
import json
import os
import threading
import time

import numpy as np
import pytest
import soundfile

from benchmarks import rss, serve
from benchmarks.serve_clients import Client
from sercl_jax.errors import UserError
from tests.benchmark_scripts import run as run_benchmark
from tests.inference_runs import config_of, run
from tests.small_corpus import EMOTIONS, SENTENCES, SPEAKERS, write


@pytest.mark.usefixtures("quick_compilation")
def test_json_contract(tmp_path):
    write(tmp_path / "corpus")
    knobs = {"train.epochs": 1, "eval.rbf_c": (), "eval.linear_c": (0.1,)}
    workdir = run(config_of(tmp_path / "corpus", "protocol=loso", **knobs), tmp_path / "run")
    out = tmp_path / "result.json"
    done = run_benchmark("benchmarks.serve", "--workdir", str(workdir), "--folder", str(tmp_path / "corpus"),
                         "--clients", "3", "--seconds", "1.5", "--json", str(out),
                         SERCL_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    assert (result["benchmark"], result["clients"], result["errors"], result["lost"]) == ("serve", 3, {}, 0)
    assert result["recordings"] == len(SPEAKERS) * len(SENTENCES) * len(EMOTIONS)
    assert result["sent"] == result["answered"] >= 3
    assert 1.5 <= result["seconds"] < 60
    assert result["requests_per_second"] == pytest.approx(result["answered"] / result["seconds"])
    assert result["times_real_time"] == pytest.approx(0.45 * result["requests_per_second"], rel=0.15)
    latency = result["latency_seconds"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"] < 60
    assert 0 < result["cpu_seconds_per_request"] < 2 * result["seconds"]
    memory = result["memory"]
    assert min(memory["samples"]) > 50 << 20
    assert (memory["before"], memory["after"]) == (memory["samples"][0], memory["samples"][-1])
    assert f"{result['answered']} of {result['sent']} requests answered" in done.stdout


def test_a_run_that_cannot_be_served_is_told(tmp_path, capsys):
    with pytest.raises(UserError, match=r"serve failed: error: .*absent"), serve.server(tmp_path / "absent"):
        pass


class _Odd(http.server.BaseHTTPRequestHandler):
    """Answers in turn: well, busy, with another's answer, no JSON, and then not at all."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        assert b'filename="a.wav"\r\n\r\nRIFF' in body
        turns = self.server.turns
        turn = turns.pop(0) if turns else "gone"
        if turn == "gone":
            self.close_connection = True
            return
        content = {"well": b'{"path": "a.wav", "seconds": 1.0}', "busy": b'{"error": "busy"}',
                   "other's": b'{"path": "b.wav", "seconds": 1.0}', "no JSON": b"<html>"}[turn]
        self.send_response(503 if turn == "busy" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing."""


def test_every_kind_of_failure_counts():
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(16_000, np.int16), 16_000, format="WAV")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Odd) as server:
        server.turns = ["well", "busy", "other's", "no JSON", "gone"]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        recordings = [("a.wav", sound.getvalue(), 1.0)]
        client = Client(f"127.0.0.1:{server.server_address[1]}", recordings, 0, time.perf_counter() + 60)
        client.start()
        while client.sent < 8:
            thread.join(0.01)
        client._end = 0.0
        client.join()
        server.shutdown()
        thread.join()
    assert client.audio_seconds == 1.0
    assert client.errors == {"503": 1, "JSONDecodeError": 1, "RemoteDisconnected": client.sent - 4}
    assert client.lost == client.sent - 2
    assert len(client.latencies) == 3


def test_what_grows_is_not_flat():
    flat = serve._memory([50, 100, 101, 100, 102, 101, 100, 101])
    grown = serve._memory([50, 100, 110, 120, 130, 140, 150, 160])
    assert (flat["flat"], grown["flat"]) == (True, False)
    assert (grown["before"], grown["after"], grown["peak"], grown["growth"]) == (50, 160, 160, 40)
    assert serve._memory([7])["flat"]


def test_cpu_of_a_process():
    before, start = serve.cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() < start + 0.3:
        continue
    assert serve.cpu_seconds(os.getpid()) - before == pytest.approx(time.process_time() - start, abs=0.05)


def test_memory_of_other_processes():
    own, other = rss.now(), rss.now(os.getpid())
    assert other["total"] == pytest.approx(own["total"], rel=0.1)
    with pytest.raises(UserError, match="process 99999999"):
        rss.now(99999999)


@pytest.mark.parametrize("flags", [["--clients", "0"], ["--seconds", "-1"]])
def test_impossible_numbers(flags, capsys):
    assert serve.main(["--workdir", "absent", *flags]) == 2
    assert f"{flags[0]}={flags[1]}" in capsys.readouterr().err
