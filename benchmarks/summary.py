"""Tables of what benchmarks have written.

    python -m benchmarks.summary DIR [--markdown FILE] [--plot FILE.png]

Reads every DIR/*.json of a benchmark; prints the tables, writes them as one Markdown page, and draws the steps under
their device's ceilings.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sercl_jax import commands, files
from sercl_jax.errors import UserError

from . import roofline

Result = Mapping[str, Any]


def markdown(results: Sequence[Result]) -> str:
    """Every result in the table of its kind, then under what they were measured and what is implausible."""
    parts = []
    for title, names, header, rows in _TABLES:
        chosen = [result for result in results if result["benchmark"] in names]
        if chosen:
            lines = [row for result in chosen for row in rows(result)]
            parts.append(_table(title, header, lines))
    known = {name for _, names, _, _ in _TABLES for name in names}
    rest = [result for result in results if result["benchmark"] not in known and "ratio" in result]
    if rest:
        lines = [[result["benchmark"], _number(result["ratio"]["median"])] for result in rest]
        parts.append(_table("Others", ("benchmark", "peer's time over ours"), lines))
    conditions = [line for result in results for line in _conditions(result)]
    if conditions:
        parts.append("## Conditions\n\n" + "\n".join(f"- {line}" for line in conditions))
    for title in ("implausible", "notes"):
        told = [f"- {result['benchmark']}: {line}" for result in results for line in result.get(title, ())]
        if told:
            parts.append(f"## {title.capitalize()}\n\n" + "\n".join(told))
    return "\n\n".join(parts) + "\n"


def _table(title: str, header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return f"## {title}\n\n" + "\n".join(map(_row, (header, ["---"] * len(header), *lines)))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _spread(told: Mapping[str, Any], digits: int = 4) -> str:
    low, high = told["quartiles"]
    return f"{told['median']:.{digits}g} ({low:.{digits}g} to {high:.{digits}g})"


_STEPS = ("step", "device", "precision", "batch", "seconds (quartiles)", "utterances/s", "hours of audio/s",
          "compiled in s", "GFLOP (XLA's)", "GFLOP/s", "of matmul peak", "of copy peak", "peak memory",
          "XLA's memory, GB", "peer, fastest form", "peer's time over ours (quartiles)", "peer's memory over ours")


def _step_rows(result: Result) -> list[list[str]]:
    memory = result["memory"]
    peak = (f"{memory['device_peak'] / 1e9:.3g} GB (device)" if "device_peak" in memory
            else f"{memory['peak_over_imports'] / 1e9:.3g} GB (process, over imports)")
    peer = ([f"{result['peer']['name']}, {result['peer']['fastest']}", _spread(result["ratio"], 3),
             f"{result['memory_ratio']:.2f}"] if "ratio" in result else ["", "", ""])
    what = [result["title"], *(str(result[name]) for name in ("model", "source") if name in result)]
    what += [f"{result[name]} {name}" for name in ("nodes", "frames") if name in result]
    return [[", ".join(what), result["device"]["kind"], result["precision"], str(result["batch"]),
             _spread(result["step_seconds"]), _number(result["utterances_per_second"]),
             _number(result["audio_hours_per_second"]), f"{result['compile_seconds']:.1f}",
             f"{result['flops']['analytic'] / 1e9:.4g} ({result['flops']['xla'] / 1e9:.4g})",
             _number(result["flops_per_second"] / 1e9), f"{100 * result['share_of_ceiling']:.0f} %",
             f"{100 * result['share_of_copy_ceiling']:.0f} %", peak, f"{memory['xla']['total'] / 1e9:.3g}", *peer]]


def _input_rows(result: Result) -> list[list[str]]:
    return [[name, result["device"]["kind"], str(told["batch"]), f"{told['real_steps_per_second']:.4g}",
             f"{told['resident_steps_per_second']:.4g}", f"{100 * told['share_of_resident']['median']:.1f} %",
             f"{told['input_alone_steps_per_second']:.4g}"]
            for name, told in result["models"].items()]


def _feature_rows(result: Result) -> list[list[str]]:
    return [[str(result.get("corpus", "")), str(result.get("files", "")), _number(result["ratio"]["median"])]]


def _memory_rows(result: Result) -> list[list[str]]:
    return [[found["title"], found["precision"], "yes" if found["remat"] else "no", f"{one['gib']:g}",
             f"{one['batch']}", f"{one['bytes'] / 2**30:.2f}"]
            for found in result["found"] for one in found["largest"]]


def _prediction_rows(result: Result) -> list[list[str]]:
    starts, model = result["start_seconds"], result["model"]
    return [[f"{model['method']} ({model['kind']})", result["device"]["kind"],
             f"{result['files']}, {result['audio_minutes']:.1f} minutes", _spread(starts["empty"], 3),
             _spread(starts["warm"], 3), _spread(result["command_seconds"], 3), _number(
                 result["files_per_second"]["median"]), _spread(result["times_real_time"], 3)]]


def _serving_rows(result: Result) -> list[list[str]]:
    latency, memory = result["latency_seconds"], result["memory"]
    times = [f"{1000 * latency[name]:.0f}" if result["answered"] else "" for name in ("p50", "p90", "p99")]
    return [[f"{result['model']['method']} ({result['model']['kind']})", str(result["clients"]),
             f"{result['seconds']:.0f}", f"{result['answered']} of {result['sent']}",
             _number(result["requests_per_second"]), *times, _number(result["times_real_time"]),
             f"{memory['before'] / 2**20:.0f}, {memory['after'] / 2**20:.0f}"]]


_TABLES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], Callable[[Result], list[list[str]]]], ...] = (
    ("Training steps", ("serugcl", "cpc", "supcon"), _STEPS, _step_rows),
    ("Input", ("input",), ("training", "device", "batch", "steps/s from records", "steps/s with resident batches",
                           "share", "batches/s of the input alone"), _input_rows),
    ("Features", ("features",), ("corpus", "files", "openSMILE's time over ours"), _feature_rows),
    ("Largest batch by XLA's memory analysis, an estimate", ("memory",),
     ("step", "precision", "remat", "GiB", "batch", "GiB needed"), _memory_rows),
    ("Predictions", ("predict",), ("model", "device", "recordings", "first answer in s, nothing compiled",
                                   "first answer in s", "whole command in s", "recordings/s once running",
                                   "times real time"), _prediction_rows),
    ("Serving", ("serve",), ("model", "clients", "seconds", "answered", "requests/s", "p50 in ms", "p90", "p99",
                             "times real time", "MiB before, after"), _serving_rows),
)


def _conditions(result: Result) -> list[str]:
    told = [result["benchmark"]]
    if "date" in result:
        told.append(result["date"])
    if "device" in result:
        told.append(f"{result['device']['kind']} ({result['device']['platform']})")
    if "machine" in result:
        machine = result["machine"]
        told.append(f"{machine['processor']}, {result.get('threads', '?')} of {machine['cpus']} CPUs, load "
                    f"{machine['load'][0]:.1f} before")
    versions = {**result.get("versions", {}), **result.get("peer", {}).get("versions", {})}
    told += [f"{name} {version}" for name, version in versions.items()]
    if result.get("git", {}).get("revision"):
        told.append(f"revision {result['git']['revision'][:12]}{' and changes' * bool(result['git']['changed'])}")
    return [", ".join(told)] if len(told) > 1 else []


def read(folder: Path) -> list[dict[str, Any]]:
    """All results in a folder, by file name.

    Raises:
      UserError: there are none, or a file is none.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as JSON ({error}).") from error
        if not isinstance(result, dict) or "benchmark" not in result:
            raise UserError(f"{path}: is no benchmark's result; it has no \"benchmark\".")
        results.append(result)
    if not results:
        raise UserError(f"{folder}: holds no *.json of a benchmark.")
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--markdown", type=Path, help="where to write the tables")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="where to draw the steps")
    arguments = parser.parse_args(argv)
    return commands.status(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    results = read(arguments.folder)
    page = markdown(results)
    print(page, end="")
    if arguments.markdown:
        files.write_text(arguments.markdown.resolve(), page)
    if arguments.plot:
        roofline.write(arguments.plot.resolve(), results)


if __name__ == "__main__":
    sys.exit(main())
