"""A table of results as Markdown, CSV, LaTeX, HTML and a plot: ours, the paper's, the difference."""

import csv
import io
from pathlib import Path

from sercl_jax.files import atomic_path, write_text
from sercl_jax.report import grid, html, table_figure, values
from sercl_jax.report.table import Table
from sercl_jax.report.values import Estimate


def write_table(directory: Path, table: Table) -> None:
    """Writes table.md, table.csv, table.tex, table.png and table.html into `directory`, each whole or not at all.

    Raises:
      UserError: a file cannot be written.
    """
    write_text(directory / "table.md", markdown(table))
    write_text(directory / "table.csv", comma_separated(table))
    write_text(directory / "table.tex", latex(table))
    drawing = table_figure.draw(table)
    with atomic_path(directory / "table.png") as temporary:
        temporary.write_bytes(drawing.png)
    header, body = cells(table)
    page = html.render_table(table.title, table.caption, header, body, drawing, key(table), table.synthetic)
    write_text(directory / "table.html", page)


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and lines as plain text, without columns that would be empty."""
    with_interval = any(value.ci is not None for row in table.rows for value in row.metrics.values())
    with_paper = any(row.paper for row in table.rows)
    with_gap = with_paper and not table.paper_corpus
    with_note = any(row.note for row in table.rows)
    header = [""]
    for metric in table.columns:
        header.append(values.heading(metric))
        header += ["95 % interval"] * with_interval
        header += [table.paper_name] * with_paper + ["difference"] * with_gap
    header += ["note"] * with_note
    body = []
    for row in table.rows:
        line = [row.name]
        for metric in table.columns:
            ours = row.metrics.get(metric)
            line.append("not run" if ours is None else values.estimate(metric, ours))
            if with_interval:
                line.append("" if ours is None else values.interval(metric, ours.ci))
            if with_paper:
                paper = (row.paper or {}).get(metric)
                line.append("" if paper is None else values.estimate(metric, paper))
            if with_gap:
                gap = row.difference(metric)
                line.append("" if gap is None else values.difference(metric, gap))
        body.append(line + [row.note] * with_note)
    return header, body


def markdown(table: Table) -> str:
    """The table with its title and caption; differences are ours minus the paper's."""
    header, body = cells(table)
    aligned = ["---:" if 0 < i < len(header) - (header[-1] == "note") else ":---" for i in range(len(header))]
    lines = [f"## {_markdown(table.title)}", "", _markdown(table.caption), ""]
    lines += ["| " + " | ".join(_markdown(cell) for cell in line) + " |" for line in [header]]
    lines.append("| " + " | ".join(aligned) + " |")
    lines += ["| " + " | ".join(_markdown(cell) for cell in line) + " |" for line in body]
    return "\n".join([*lines, "", key(table), ""])


def key(table: Table) -> str:
    """How to read the numbers."""
    spread = any(value.std for row in table.rows for value in row.metrics.values())
    parts = ["Mean ± standard deviation over seeds"] if spread else []
    if any(row.paper for row in table.rows) and not table.paper_corpus:
        parts.append("difference = ours - paper" + (
            ", in percentage points" if any(map(values.is_percentage, table.columns)) else ""))
    return "; ".join(parts) + "." if parts else ""


def comma_separated(table: Table) -> str:
    """One line per row, fractions in full precision, for further work."""
    parts = ("mean", "std", "low", "high", "paper", "paper_std", "difference")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", "series", "x", *(f"{metric}_{part}" for metric in table.columns for part in parts),
                     "note"])
    for row in table.rows:
        numbers: list[float | None] = []
        for metric in table.columns:
            ours = row.metrics.get(metric, Estimate(float("nan")))
            low, high = ours.ci or (None, None)
            paper = (row.paper or {}).get(metric)
            numbers += [ours.mean if metric in row.metrics else None, ours.std, low, high,
                        paper and paper.mean, paper and paper.std,
                        None if table.paper_corpus else row.difference(metric)]
        writer.writerow([row.name, row.series, "" if row.x is None else repr(row.x),
                         *("" if value is None else repr(float(value)) for value in numbers), row.note])
    return buffer.getvalue()


def latex(table: Table) -> str:
    """A `table` environment for the booktabs package."""
    header, body = cells(table)
    notes = header[-1] == "note"
    return grid.latex(f"{table.title}. {table.caption}", header, body,
                      "l" + "r" * (len(header) - 1 - notes) + "l" * notes)


def _markdown(text: str) -> str:
    for old, new in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("\n", " "), ("*", "\\*"), ("`", "\\`")):
        text = text.replace(old, new)
    return text
