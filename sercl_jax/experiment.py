"""One experiment: corpora, training, folds; results.json and report.html in a workdir."""

import contextlib
import importlib
import io
import json
import shlex
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ml_collections import ConfigDict

from sercl_jax import files, parallel, provenance, report, results, workdirs
from sercl_jax.errors import UserError
from sercl_jax.workbench import Workbench, cache_directory

# By method, or by method and set-up: module and class of the steps. A method in a file of its own embeds.
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

    Of several processes the main one alone writes to the workdir, which the others need not see; they do the same
    work in a folder of their own, which is removed.

    Args:
      config: as made by a file of configs/.
      workdir: made if missing; refused if it belongs to another config, or to a corpus that has changed since.
      bench: what to share with other experiments.
      store: where trainings lie; WORKDIR/train by default.
      quiet: no progress bars, no printed result, no report.

    Raises:
      UserError: anything the user must mend; another process has ended.
    """
    workdir = workdir.resolve()
    main = parallel.is_main_process()
    quiet = quiet or not main
    bench = bench or Workbench(progress=not quiet)
    with parallel.lost_processes_told(), _place(workdir, main) as place:
        if (found := _begin(config, workdir, place, bench)) is not None:
            if not quiet:
                print(f"{workdir} is finished.")
                if config.eval.report and not (workdir / "report.html").exists():
                    report.write(workdir)  # killed between the result and its report
                _print(found, workdir)
            return found
        parallel.enable_compilation_cache(cache_directory(config) / "compiled")
        procedure = procedure_of(config)(config, place, bench, store or workdir / "train", quiet)
        parallel.from_main(lambda: provenance.record(workdir, json.loads(config.to_json_best_effort()),
                                                     seed=config.seed), None)
        found = {**procedure.run(), "command": shlex.join(["python", "-m", "sercl_jax.main", *sys.argv[1:]])}
        parallel.from_main(lambda: results.write(workdir, found), None)
    if config.eval.report and not quiet:
        report.write(workdir)
    if not quiet:
        _print(found, workdir)
    return found


@contextlib.contextmanager
def _place(workdir: Path, main: bool) -> Iterator[Path]:
    """Where this process works: the workdir, locked, or a folder of its own."""
    if main:
        with files.locked(workdir / "run", f"run in {workdir.name}"):
            yield workdir
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def _begin(config: ConfigDict, workdir: Path, place: Path, bench: Workbench) -> dict[str, Any] | None:
    """Claims the workdir, and gives the other processes what is done already; the results, if everything is.

    Raises:
      UserError: the workdir is another run's, or the processes were started with different configs or data.
    """
    if not parallel.is_main_process():
        keys = _corpus_keys(config, bench, finished=True)
        told = io.BytesIO(parallel.bytes_from_main(lambda: b""))
        with zipfile.ZipFile(told) as archive:
            theirs = json.loads(archive.read("told.json"))
            archive.extractall(place)
        if theirs["config"] != workdirs.identity(config):
            raise UserError("The processes were started with different configs; give all of them the same command.")
        if keys is not None and theirs["keys"] not in (None, keys):
            raise UserError("The processes read different corpora; give all of them the same recordings.")
        return theirs["found"]

    found: dict[str, Any] | None = None

    def claim() -> bytes:
        nonlocal found
        files.remove_leftovers_below(workdir)
        workdirs.claim(config, workdir)
        finished = (workdir / results.RESULTS).exists()
        keys = _corpus_keys(config, bench, finished)
        if keys is not None:
            workdirs.claim_corpora(workdir, keys)
        found = results.read(workdir) if finished else None
        return b"" if parallel.alone() else _packed(workdir, {"config": workdirs.identity(config), "keys": keys,
                                                              "found": found})

    parallel.bytes_from_main(claim)
    return found


def _packed(workdir: Path, told: dict[str, Any]) -> bytes:
    """A zip file of what a run that was killed has finished, so that all processes leave out the same work."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("told.json", json.dumps(told))
        for path in sorted((workdir / "predictions").rglob("*.npz")):
            archive.write(path, path.relative_to(workdir))
    return content.getvalue()


def _corpus_keys(config: ConfigDict, bench: Workbench, finished: bool) -> dict[str, str] | None:
    """What the corpora hold; None for a finished run whose corpus is gone: its result can still be shown."""
    try:
        return bench.corpus_keys(config)
    except UserError:
        if finished:
            return None
        raise


def procedure_of(config: ConfigDict) -> Callable[..., Procedure]:
    """What makes the steps of a config's kind of experiment: (config, workdir, bench, store, quiet) -> steps."""
    name = f"{config.method}:{config.setup}" if "setup" in config else config.method
    module, made = (_PROCEDURES["serugcl"] if "method_file" in config else
                    _PROCEDURES.get(name) or _PROCEDURES[config.method])
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
