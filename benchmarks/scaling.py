"""How training steps scale over forced host devices and over processes, for each method.

    python -m benchmarks.scaling --json scaling.json --table scaling.md
    python -m benchmarks.scaling --methods cpc --counts 1,2 --size tiny

The batch stays the same while the devices multiply, and the loss after the last step is compared with that of one.

Devices: one process pretends to have N devices (`--xla_force_host_platform_device_count`). They share its cores, all
of which one device already uses: a step cannot get faster. What it takes longer than with one device is the cost of
partition and collectives; nothing about real accelerators follows from it.

Processes: N processes join on loopback through `jax.distributed`, as hosts do, each reads its own rows, and each is
held on one core (the i-th on core i modulo the cores there are). Up to the number of cores each brings a core of its
own, so that speed-ups over one process are real; beyond it they share, and only the overhead shows. The link is
memory, faster than any network.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sercl_jax import workers
from sercl_jax.errors import UserError

from . import small_stages, timing

METHODS = ("serugcl", "cpc", "supcon")
PATIENCE_SECONDS = 1800


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help=f"of {', '.join(small_stages.KINDS)}")
    parser.add_argument("--counts", default="1,2,4", help="of devices and of processes; 1 is always among them")
    parser.add_argument("--ways", default="devices,processes", help="devices, processes or both")
    parser.add_argument("--size", choices=small_stages.SIZES, default="small")
    parser.add_argument("--repeats", type=int, default=7, help="timed turns")
    parser.add_argument("--steps", type=int, default=10, help="in a turn")
    parser.add_argument("--threads", type=int, default=workers.cpu_count(), help="CPUs for all of them together")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    parser.add_argument("--table", type=Path, help="where to write the table, as Markdown")
    arguments = parser.parse_args(argv)
    arguments.methods, arguments.ways = arguments.methods.split(","), arguments.ways.split(",")
    if unknown := set(arguments.methods) - set(small_stages.KINDS):
        raise UserError(f"--methods: {min(unknown)!r} is none of {', '.join(small_stages.KINDS)}.")
    if unknown := set(arguments.ways) - {"devices", "processes"}:
        raise UserError(f"--ways: {min(unknown)!r} is neither devices nor processes.")
    try:
        arguments.counts = sorted({1, *(int(count) for count in arguments.counts.split(","))})
    except ValueError:
        raise UserError(f"--counts={arguments.counts}: whole numbers are wanted, such as 1,2,4.") from None
    if min(arguments.counts[0], arguments.repeats, arguments.steps) < 1:
        raise UserError("--counts, --repeats and --steps: must be at least 1.")
    sizes = small_stages.SIZES[arguments.size]
    for name in arguments.methods:
        for count in arguments.counts:
            if sizes[name]["batch"] % count:
                raise UserError(f"--counts: {name} has batches of {sizes[name]['batch']}; {count} cannot share them.")
    return arguments


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything the JSON holds."""
    began = timing.machine()
    methods = {}
    for name in arguments.methods:
        size = small_stages.SIZES[arguments.size][name]
        methods[name] = {"size": size, "ways": {
            way: [_measure(name, size, way, count, arguments) for count in arguments.counts]
            for way in arguments.ways}}
    return {"benchmark": "scaling", "size": arguments.size, "repeats": arguments.repeats,
            "steps_per_repeat": arguments.steps, "cores": arguments.threads, "methods": methods, "date": timing.now(),
            "versions": timing.versions("jax", "jaxlib"), "machine": began | {"load_after": list(os.getloadavg())}}


def _measure(name: str, size: dict[str, int], way: str, count: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Steps on so many devices or processes, each set in processes of its own."""
    settings = {"kind": name, "size": size, "repeats": arguments.repeats, "steps": arguments.steps}
    if way == "devices":
        told = _run([settings], [{"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}])
    else:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
        joining = {"coordinator": coordinator, "processes": count} if count > 1 else {}
        told = _run([{**settings, **joining, **({"process_id": i} if joining else {}), "core": i}
                     for i in range(count)], [{"XLA_FLAGS": ""}] * count)
    # A turn is over when its slowest process is.
    seconds = np.max([one["seconds"] for one in told], axis=0)
    return {"count": count, "step_seconds": timing.summary(seconds), "loss": told[0]["loss"],
            "devices": told[0]["devices"], "input_wait": max(one["waited"] for one in told)}


def _run(settings: Sequence[dict[str, Any]], environments: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    package = __package__ or "benchmarks"
    root = str(Path(__file__).resolve().parents[package.count(".") + 1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    started = [subprocess.Popen([sys.executable, "-m", f"{package}.scaling_worker", json.dumps(one)], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"} | more)
               for one, more in zip(settings, environments, strict=True)]
    try:
        ended = [process.communicate(timeout=PATIENCE_SECONDS) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, err) in zip(started, ended, strict=True):
        if process.returncode:
            raise UserError(f"A process of the benchmark failed: {err.strip()[-400:]}")
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def table(result: dict[str, Any]) -> str:
    """Markdown: a row for each method, way and number."""
    lines = ["| method | over | N | ms per step | times as fast as one | of what its cores allow | loss less that of "
             "one |", "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, told in result["methods"].items():
        for way, rows in told["ways"].items():
            one = rows[0]
            for row in rows:
                faster = one["step_seconds"]["median"] / row["step_seconds"]["median"]
                allowed = min(row["count"], result["cores"]) if way == "processes" else 1
                lines.append(f"| {name} | {way} | {row['count']} | {1e3 * row['step_seconds']['median']:.3g} | "
                             f"{faster:.2f} | {100 * faster / allowed:.0f} % | {row['loss'] - one['loss']:.1e} |")
    lines += ["", f"{result['cores']} cores. Forced host devices share all cores, as the threads of one device do. "
              "Each process has one core; beyond the number of cores they share. "
              "Neither says what accelerators or networks do; see SCALING.md for that."]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    def show(result: dict[str, Any]) -> None:
        print(table(result))

    return timing.run(argv, parse, measure, show, table)


if __name__ == "__main__":
    sys.exit(main())
