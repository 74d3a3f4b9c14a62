"""Tables: a row is an experiment; what rows have in common is loaded, trained and compiled once."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sercl_jax import evaluate, experiment, files, parallel, published, ratings, report, runs, workdirs
from sercl_jax.errors import UserError
from sercl_jax.evaluate import Predictions
from sercl_jax.ratings import RatingPredictions
from sercl_jax.report import values
from sercl_jax.workbench import Workbench

QUOTED = "quoted"  # as `embedding` or `arm`: a row of the paper that is shown and not run
COLUMNS = ("UA", "WA", "CCC_avg", "CCC_act", "CCC_val", "CCC_dom")  # of which a table shows those that rows have

Runs = Sequence[Predictions] | Sequence[RatingPredictions]
Done = dict[str, tuple[dict[str, Any], Runs]]  # row -> its results and the predictions behind them


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
    if not parallel.is_main_process():
        return _run(config, workdir)
    with files.locked(workdir / "run", f"table in {workdir.name}"):
        files.remove_leftovers_below(workdir)
        return _run(config, workdir)


def _run(config: ConfigDict, workdir: Path) -> list[report.Table]:
    main = parallel.is_main_process()  # it alone tells and writes
    bench = Workbench(progress=main)
    done: Done = {}
    tables: list[report.Table] = []
    keys = list(config.rows)
    for number, key in enumerate(keys):
        row = config.rows[key]
        row_config = variant(config, row)
        if is_quoted(row_config):
            continue
        name = f"{row.series}, {row.name}" if row.series else row.name
        if main:
            print(f"[{number + 1}/{len(keys)}] {name}", file=sys.stderr, flush=True)
        # Named by what it is, not by its place: rows may be added to a table that has been run.
        directory = workdir / "rows" / f"{_slug(name)}-{files.digest(workdirs.identity(row_config))}"
        found = experiment.run(row_config, directory, bench=bench, store=workdir / "train", quiet=True)
        if not main:
            continue
        done[key] = found, _predictions(directory, found["protocol"])
        if config.table.complete and config.eval.report and not (directory / "report.html").exists():
            report.write(directory)
        metric = _columns([found])[0]
        score = _estimate(found["metrics"][metric])
        print(f"    {values.heading(metric)} {values.estimate(metric, score)} {values.interval(metric, score.ci)}",
              file=sys.stderr, flush=True)
        tables = _write(config, workdir, done)
    if not main:
        return []
    if not done:
        raise UserError("config.rows: there is no row to run.")
    print((workdir / "table.md").read_text(encoding="utf-8"))
    print(f"Written to {workdir}: table.md, table.csv, table.tex, table.html, table.png")
    return tables


def is_quoted(row_config: ConfigDict) -> bool:
    """Whether a row is shown and not run."""
    return any(key in row_config and row_config[key] == QUOTED for key in ("embedding", "arm"))


def variant(config: ConfigDict, row: ConfigDict) -> ConfigDict:
    """The config of one row.

    Raises:
      UserError: the row changes a knob that does not exist.
    """
    plain = config.copy_and_resolve_references().unlock()
    del plain["rows"], plain["table"]
    if not config.table.complete:
        # Only the figures count; the probes and baselines of single runs are rows of their own here.
        less = {"probes": False, "untrained": False, "baseline": "no", "report": False}
        plain.eval.update({key: value for key, value in less.items() if key in plain.eval})
        plain.final_model = False
    plain.lock()
    try:
        plain.update(row.change.to_dict())
    except KeyError as error:
        raise UserError(f"row {row.name!r}: {error}") from error
    return plain


def _predictions(directory: Path, protocol: Mapping[str, Any]) -> Runs:
    """The row's own runs: of ratings, under the name of its set-up, or of classes."""
    if "targets" in protocol:
        paths = sorted((directory / "predictions" / protocol["setup"]).glob("*.npz"))
        return [found for found in map(ratings.load, paths) if found is not None]
    paths = sorted((directory / "predictions" / "ours").glob("*.npz"))
    return [found for found in map(runs.load, paths) if found is not None]


def _compare(ours: Runs, theirs: Runs) -> dict[str, dict[str, Any]]:
    compare: Any = evaluate.compare if isinstance(ours[0], Predictions) else ratings.compare
    return compare(ours, theirs)


def _columns(results: Iterable[dict[str, Any]]) -> list[str]:
    measured = {name for found in results for name in found["metrics"]}
    return [name for name in COLUMNS if name in measured]


def _estimate(figure: dict[str, Any]) -> report.Estimate:
    return report.Estimate(figure["mean"], figure["std"], (figure["ci95"][0], figure["ci95"][1]))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _write(config: ConfigDict, workdir: Path, done: Done) -> list[report.Table]:
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


def _table(config: ConfigDict, block: str | None, done: Done) -> report.Table:
    numbers = getattr(published, config.table.published) if config.table.published else {}
    columns = _columns(found for found, _ in done.values())
    rows = []
    for key in config.rows:
        row = config.rows[key]
        if block is not None and row.series != block:
            continue
        tested = _tested(config, row)
        corpus = _paper_corpus(tested, numbers)
        paper = numbers.get(row.paper, {}).get(corpus)
        metrics = {}
        if key in done:
            metrics = {name: _estimate(figure) for name, figure in done[key][0]["metrics"].items() if name in columns}
        rows.append(report.Row(row.name, metrics, paper._asdict() if paper else None,
                               _against(config, key, columns[0], done), float(row.x) if row.x else None, row.series))
    first = next(iter(done.values()))[0]
    title = config.table.title if block is None else f"{config.table.title}: {block}"
    return report.Table(title, _caption(config, first if block is None else _first(config, block, done) or first),
                        columns, rows, synthetic=first["synthetic"], x_label=config.table.x_label,
                        paper_corpus="" if corpus == tested else corpus)


def _tested(config: ConfigDict, row: ConfigDict) -> str:
    """The corpus that a row tests, or those that are joined."""
    if "target" not in config:
        return config.data.corpus
    return config.corpora[row.change.target if "target" in row.change else config.target].corpus


def _paper_corpus(tested: str, numbers: Mapping[str, Mapping[str, Any]]) -> str:
    """Which of the paper's corpora stands beside ours: the same one or, if its table has but one, that."""
    known = {corpus for line in numbers.values() for corpus in line}
    return next(iter(known)) if len(known) == 1 else tested


def _first(config: ConfigDict, block: str, done: Done) -> dict[str, Any] | None:
    return next((found for key, (found, _) in done.items() if config.rows[key].series == block), None)


def _against(config: ConfigDict, key: str, metric: str, done: Done) -> str:
    """Paired differences to the rows that this one is to be compared with."""
    parts = []
    for name in config.rows[key].against:
        other = next((k for k in config.rows if config.rows[k].name == name
                      and config.rows[k].series == config.rows[key].series), None)
        if other is None:
            raise UserError(f"row {config.rows[key].name!r}: there is no row {name!r} to compare with.")
        if key in done and other in done:
            gap = _estimate(_compare(done[key][1], done[other][1])[metric])
            parts.append(f"{metric} {values.difference(metric, gap.mean)} "
                         f"{values.interval(metric, gap.ci, signed=True)} against {name}")
    return "; ".join(parts)


def _caption(config: ConfigDict, found: dict[str, Any]) -> str:
    protocol = found["protocol"]
    data = f"{found['corpus']} ({'synthetic' if found['synthetic'] else 'real'} speech)"
    words = [f"protocol {protocol['name']}", _plural(protocol["folds"], "fold")]
    words += [protocol["training"]] if "training" in protocol else []
    words += [f"normalise={protocol['normalise']}"] if "normalise" in protocol else []
    seeds = _plural(len(protocol["seeds"]), "model seed")
    seeds += f" x {_plural(len(protocol['fold_seeds']), 'fold seed')}" if "fold_seeds" in protocol else ""
    validation = f"; validation: {protocol['validation']}" if "validation" in protocol else ""
    notes = [published.NOTES[config.table.note]] if config.table.note else []
    notes += [published.PROTOCOLS[config.table.published]] if config.table.published else []
    return " ".join([f"Corpus {data}; {', '.join(words)}{validation}; {seeds}; intervals from a bootstrap over "
                     "speakers.", *notes])


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
