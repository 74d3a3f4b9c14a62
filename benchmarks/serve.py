"""How `python -m sercl_jax.serve` holds up: many clients at a time, for a while.

    python -m benchmarks.serve --workdir RUN [--corpus_zip FILE | --folder DIR] [--clients N] [--seconds N]
        [--threads N] [--json FILE]

The server is a process of its own, asked over loopback by as many clients as are wanted, each of which sends the next
recording as soon as it has its answer. The recordings are the audio files of a zip or a folder; without either, the
embedded demo corpus. Clients are threads of this process and take their part of the same CPUs.

`latency_seconds` is from sending to having read the answer: percentiles over all requests. `errors` counts answers
that were not 200 by status, and connections that failed by what failed; `lost` counts requests without an answer of
their own, which must be none. `memory` is what the server holds, looked at every second, without pages of mapped
files. "growth" is the median of the last quarter minus that of the second one: a server that keeps something of every
request grows. `cpu_seconds_per_request` is what the server itself computes, whatever else the machine does.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soundfile

from sercl_jax.errors import UserError
from sercl_jax.predicting import finding

from . import predict, rss, timing
from .serve_clients import Client, about, server

FLAT = 0.05  # share of the memory by which a server may grow


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    before = timing.machine()
    with tempfile.TemporaryDirectory() as folder:
        found = finding.find([str(predict.recordings(arguments, Path(folder)))])
        recordings = [(quote(path.name), path.read_bytes(), soundfile.info(path).duration) for path in found]
    with server(arguments.workdir) as (process, place, ready):
        held, cpu = [rss.now(process)], -cpu_seconds(process)
        start = time.perf_counter()
        clients = [Client(place, recordings, k * len(recordings) // arguments.clients, start + arguments.seconds)
                   for k in range(arguments.clients)]
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            time.sleep(min(1.0, arguments.seconds / 20))
            held.append(rss.now(process))
        cpu += cpu_seconds(process)
        taken = max(client.ended for client in clients) - start
        model = about(place)
    latencies = np.array([seconds for client in clients for seconds in client.latencies])
    errors = sum((client.errors for client in clients), Counter())
    answered = len(latencies) - sum(count for name, count in errors.items() if name.isdigit())
    return {"benchmark": "serve", "date": timing.now(), "machine": before, "threads": arguments.threads,
            "model": {name: model[name] for name in ("method", "kind", "corpus")}, "clients": arguments.clients,
            "seconds": taken, "start_seconds": ready, "recordings": len(recordings),
            "sent": sum(client.sent for client in clients), "answered": answered, "errors": dict(errors),
            "lost": sum(client.lost for client in clients), "requests_per_second": answered / taken,
            "times_real_time": sum(client.audio_seconds for client in clients) / taken,
            "cpu_seconds_per_request": cpu / max(answered, 1),
            "latency_seconds": _percentiles(latencies), "memory": _memory([one["own"] for one in held]),
            "versions": timing.versions("jax", "fastapi", "uvicorn"), "notes": predict.notes(before)}


def cpu_seconds(process: int) -> float:
    """What all threads of a process have computed so far (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _percentiles(seconds: np.ndarray) -> dict[str, float | None]:
    names = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    return {name: float(np.percentile(seconds, p)) if len(seconds) else None for name, p in names.items()}


def _memory(held: Sequence[int]) -> dict[str, Any]:
    """Bytes over time, from before the first request on."""
    values = np.array(held)
    quarter = max(len(values) // 4, 1)
    second, last = values[quarter:2 * quarter], values[-quarter:]
    growth = float(np.median(last) - np.median(second)) if len(values) > 1 else 0.0
    return {"before": held[0], "after": held[-1], "peak": int(values.max()), "growth": growth,
            "flat": bool(growth <= FLAT * np.median(values)), "samples": [int(value) for value in held]}


def show(result: dict[str, Any]) -> None:
    """Some lines for people."""
    latency, memory, model = result["latency_seconds"], result["memory"], result["model"]
    print(f"{model['method']} trained on {model['corpus']}, {result['clients']} clients for "
          f"{result['seconds']:.0f} s, {result['threads']} threads; ready after {result['start_seconds']:.1f} s")
    print(f"{result['answered']} of {result['sent']} requests answered, "
          f"{result['requests_per_second']:.1f} a second, "
          f"{result['times_real_time']:.0f} times real time; errors {result['errors'] or 0}, lost {result['lost']}")
    if result["answered"]:
        print(", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in latency.items()),
              f"; {1000 * result['cpu_seconds_per_request']:.0f} ms of CPU each", sep="")
    print(f"memory {memory['before'] / 2**20:.0f} MiB before, {memory['after'] / 2**20:.0f} after, peak "
          f"{memory['peak'] / 2**20:.0f}, {'flat' if memory['flat'] else 'growing'} "
          f"({memory['growth'] / 2**20:+.1f} MiB from the second quarter to the last)")
    for line in result["notes"]:
        print(f"note: {line}", file=sys.stderr)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = predict.parser_of("serve", __doc__)
    parser.add_argument("--clients", type=int, default=16, help="that ask at the same time")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they ask")
    arguments = parser.parse_args(argv)
    for name in ("clients", "seconds"):
        if getattr(arguments, name) <= 0:
            raise UserError(f"--{name}={getattr(arguments, name):g}: must be positive.")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    return timing.run(argv, parse, measure, show)


if __name__ == "__main__":
    sys.exit(main())
