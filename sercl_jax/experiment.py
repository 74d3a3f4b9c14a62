"""One experiment: corpora, training, folds; results.json and report.html in a workdir."""

import importlib
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ml_collections import ConfigDict

from sercl_jax import files, parallel, provenance, report, results, workdirs
from sercl_jax.errors import UserError
from sercl_jax.workbench import Workbench, cache_directory

# By method, or by method and set-up: module and class of the steps.
_PROCEDURES = {
    "serugcl": ("classification", "Classification"),
    "cpc:probe": ("classification", "Classification"),
    "cpc:pretrain": ("pretraining", "Pretraining"),
    "cpc": ("recognition", "Recognition"),
    "supcon": ("adaptation", "Adaptation"),
}


class Procedure(Protocol):
    """The steps of one kind of experiment."""

    def run(self) -> dict[str, Any]:
        """Does everything that is left to do; returns what goes to results.json."""


def run(config: ConfigDict, workdir: Path, *, bench: Workbench | None = None, store: Path | None = None,
        quiet: bool = False) -> dict[str, Any]:
    """Builds what is missing, trains, evaluates and reports; returns the results.

    Run again on the same workdir it resumes or, if finished, returns what is there.

    Args:
      config: as made by a file of configs/.
      workdir: made if missing; refused if it belongs to another config, or to a corpus that has changed since.
      bench: what to share with other experiments.
      store: where trainings lie; WORKDIR/train by default.
      quiet: no progress bars, no printed result, no report.

    Raises:
      UserError: anything the user must mend.
    """
    workdir = workdir.resolve()
    bench = bench or Workbench(progress=not quiet)
    with files.locked(workdir / "run", f"run in {workdir.name}"):
        files.remove_leftovers_below(workdir)
        workdirs.claim(config, workdir)
        finished = (workdir / results.RESULTS).exists()
        keys = _corpus_keys(config, bench, finished)
        if keys is not None:
            workdirs.claim_corpora(workdir, keys)
        if finished:
            found = results.read(workdir)
            if not quiet:
                print(f"{workdir} is finished.")
                if config.eval.report and not (workdir / "report.html").exists():
                    report.write(workdir)  # killed between the result and its report
                _print(found, workdir)
            return found
        parallel.enable_compilation_cache(cache_directory(config) / "compiled")
        procedure = _procedure(config)(config, workdir, bench, store or workdir / "train", quiet)
        provenance.record(workdir, json.loads(config.to_json_best_effort()), seed=config.seed)
        found = {**procedure.run(), "command": shlex.join(["python", "-m", "sercl_jax.main", *sys.argv[1:]])}
        results.write(workdir, found)
    if config.eval.report and not quiet:
        report.write(workdir)
    if not quiet:
        _print(found, workdir)
    return found


def _corpus_keys(config: ConfigDict, bench: Workbench, finished: bool) -> dict[str, str] | None:
    """What the corpora hold; None for a finished run whose corpus is gone: its result can still be shown."""
    try:
        return bench.corpus_keys(config)
    except UserError:
        if finished:
            return None
        raise


def _procedure(config: ConfigDict) -> Callable[..., Procedure]:
    name = f"{config.method}:{config.setup}" if "setup" in config else config.method
    module, made = _PROCEDURES.get(name) or _PROCEDURES[config.method]
    return getattr(importlib.import_module(f"sercl_jax.{module}"), made)


def _print(found: dict[str, Any], workdir: Path) -> None:
    protocol = found["protocol"]
    synthetic = ", synthetic data" if found.get("synthetic") else ""
    details = [protocol["name"], f"{protocol['folds']} folds" if "folds" in protocol else "",
               protocol.get("training", ""), f"normalise={protocol['normalise']}" if "normalise" in protocol else ""]
    print(f"\n{found['corpus']}{synthetic}: {', '.join(filter(None, details))}")
    lines = [(protocol.get("embedding") or protocol.get("setup", found["method"]), found["metrics"], None)]
    lines += [(b["name"], b["metrics"], b["difference"]) for b in found.get("baselines", [])]
    width = max(len(name) for name, _, _ in lines)
    for name, metrics, difference in lines:
        shown = [m for m in metrics if m != "F1"]
        text = "  ".join(_estimate(m, metrics[m]) for m in shown)
        gap = f"   ours is {_estimate(shown[0], difference[shown[0]], '+')}" if difference else ""
        print(f"  {name:<{width}}  {text}{gap}")
    for warning in found.get("warnings", []):
        print(f"  note: {warning}")
    if (workdir / "report.html").exists():
        print(f"  report: {workdir / 'report.html'}")


def _estimate(name: str, value: dict[str, Any], sign: str = "") -> str:
    """Accuracies in per cent, concordance as it is."""
    scale, digits, unit = (1, 3, "") if name.startswith("CCC") else (100, 2, " %")
    low, high = value["ci95"]
    return (f"{name} {scale * value['mean']:{sign}.{digits}f}{unit} "
            f"[{scale * low:{sign}.{digits - (scale == 100)}f}, {scale * high:{sign}.{digits - (scale == 100)}f}]")
