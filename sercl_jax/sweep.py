"""Tables: a row is an experiment; what rows have in common is loaded, trained and compiled once."""

import re
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sercl_jax import evaluate, experiment, files, published, report, runs
from sercl_jax.errors import UserError
from sercl_jax.evaluate import Predictions
from sercl_jax.workbench import Workbench

QUOTED = "quoted"  # as `embedding`: a row of the paper that is shown and not run
METRICS = ("UA", "WA")


def run(config: ConfigDict, workdir: Path) -> list[report.Table]:
    """Runs every row and writes the table as Markdown, CSV, LaTeX, HTML and a plot, anew after each row.

    A row that is finished is not run again, so a sweep that was stopped goes on where it was.

    Args:
      config: as made by `config.table`.
      workdir: rows go to its folder `rows`, trainings, which rows may share, to `train`.

    Raises:
      UserError: anything the user must mend.
    """
    workdir = workdir.resolve()
    with files.locked(workdir / "run", f"table in {workdir.name}"):
        files.remove_leftovers_below(workdir)
        return _run(config, workdir)


def _run(config: ConfigDict, workdir: Path) -> list[report.Table]:
    bench = Workbench()
    done: dict[str, tuple[dict[str, Any], list[Predictions]]] = {}
    keys = list(config.rows)
    for number, key in enumerate(keys):
        row = config.rows[key]
        row_config = variant(config, row)
        if row_config.embedding == QUOTED:
            continue
        name = f"{row.series}, {row.name}" if row.series else row.name
        print(f"[{number + 1}/{len(keys)}] {name}", file=sys.stderr, flush=True)
        # Named by what it is, not by its place: rows may be added to a table that has been run.
        directory = workdir / "rows" / f"{_slug(name)}-{files.digest(experiment.identity(row_config))}"
        found = experiment.run(row_config, directory, bench=bench, store=workdir / "train", quiet=True)
        done[key] = found, _predictions(directory)
        ua = found["metrics"]["UA"]
        print(f"    UA {100 * ua['mean']:.2f} % [{100 * ua['ci95'][0]:.1f}, {100 * ua['ci95'][1]:.1f}]",
              file=sys.stderr, flush=True)
        tables = _write(config, workdir, done)
    if not done:
        raise UserError("config.rows: there is no row to run.")
    print((workdir / "table.md").read_text(encoding="utf-8"))
    print(f"Written to {workdir}: table.md, table.csv, table.tex, table.html, table.png")
    return tables


def variant(config: ConfigDict, row: ConfigDict) -> ConfigDict:
    """The config of one row.

    Raises:
      UserError: the row changes a knob that does not exist.
    """
    plain = config.copy_and_resolve_references().unlock()
    del plain["rows"], plain["table"]
    # Within a table only the figures count; the probes and baselines of single runs are rows of their own here.
    plain.eval.update(probes=False, untrained=False, baseline="no", report=False)
    plain.final_model = False
    plain.lock()
    try:
        plain.update(row.change.to_dict())
    except KeyError as error:
        raise UserError(f"row {row.name!r}: {error}") from error
    return plain


def _predictions(directory: Path) -> list[Predictions]:
    found = [runs.load(path) for path in sorted((directory / "predictions" / "ours").glob("*.npz"))]
    return [predictions for predictions in found if predictions is not None]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _write(config: ConfigDict, workdir: Path,
           done: dict[str, tuple[dict[str, Any], list[Predictions]]]) -> list[report.Table]:
    """One table or, where rows come in blocks, one for each block and all of them in table.md."""
    names = list(dict.fromkeys(config.rows[key].series for key in config.rows))
    blocks = [None] if config.table.x_label or names == [""] else names
    tables = []
    for block in blocks:
        table = _table(config, block, done)
        if any(row.metrics for row in table.rows):
            tables.append(table)
            report.write_table(workdir if block is None else workdir / _slug(block), table)
    if blocks != [None]:
        files.write_text(workdir / "table.md", "\n".join(
            (workdir / _slug(b) / "table.md").read_text(encoding="utf-8") for b in names
            if (workdir / _slug(b) / "table.md").exists()))
    return tables


def _table(config: ConfigDict, block: str | None,
           done: dict[str, tuple[dict[str, Any], list[Predictions]]]) -> report.Table:
    numbers = getattr(published, config.table.published) if config.table.published else {}
    corpus = config.data.corpus
    rows = []
    for key in config.rows:
        row = config.rows[key]
        if block is not None and row.series != block:
            continue
        paper = numbers.get(row.paper, {}).get(corpus)
        metrics = {}
        if key in done:
            metrics = {name: report.Estimate(v["mean"], v["std"], (v["ci95"][0], v["ci95"][1]))
                       for name, v in done[key][0]["metrics"].items() if name in METRICS}
        rows.append(report.Row(row.name, metrics, paper._asdict() if paper else None, _against(config, key, done),
                               float(row.x) if row.x else None, row.series))
    first = next(iter(done.values()))[0]
    title = config.table.title if block is None else f"{config.table.title}: {block}"
    return report.Table(title, _caption(config, first if block is None else _first(config, block, done) or first),
                        METRICS, rows, synthetic=first["synthetic"], x_label=config.table.x_label)


def _first(config: ConfigDict, block: str,
           done: dict[str, tuple[dict[str, Any], list[Predictions]]]) -> dict[str, Any] | None:
    return next((found for key, (found, _) in done.items() if config.rows[key].series == block), None)


def _against(config: ConfigDict, key: str, done: dict[str, tuple[dict[str, Any], list[Predictions]]]) -> str:
    """Paired differences to the rows that this one is to be compared with."""
    parts = []
    for name in config.rows[key].against:
        other = next((k for k in config.rows if config.rows[k].name == name
                      and config.rows[k].series == config.rows[key].series), None)
        if other is None:
            raise UserError(f"row {config.rows[key].name!r}: there is no row {name!r} to compare with.")
        if key in done and other in done:
            ua = evaluate.compare(done[key][1], done[other][1])["UA"]
            parts.append(f"UA {100 * ua['mean']:+.2f} [{100 * ua['ci95'][0]:+.2f}, {100 * ua['ci95'][1]:+.2f}] "
                         f"against {name}")
    return "; ".join(parts)


def _caption(config: ConfigDict, found: dict[str, Any]) -> str:
    protocol = found["protocol"]
    seeds = f"{len(protocol['seeds'])} model seed{'s' * (len(protocol['seeds']) > 1)}"
    seeds += f" x {len(protocol['fold_seeds'])} fold seed{'s' * (len(protocol['fold_seeds']) > 1)}"
    data = f"{found['corpus']} ({'synthetic' if found['synthetic'] else 'real'} speech)"
    notes = [published.NOTES[config.table.note]] if config.table.note else []
    if config.table.published:
        notes.append(published.NOTES["protocol"])
    return " ".join([f"Corpus {data}; protocol {protocol['name']}, {protocol['folds']} folds, "
                     f"{protocol['training']}, normalise={protocol['normalise']}; {seeds}; intervals from a "
                     "bootstrap over speakers.", *notes])
