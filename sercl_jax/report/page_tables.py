"""The tables of a run's page."""

from collections.abc import Mapping, Sequence
from typing import Any

from sercl_jax.report import values
from sercl_jax.report.grid import Cell, Grid
from sercl_jax.report.inputs import Results


def scores(results: Results) -> Grid | None:
    """Every metric of the run and of the systems beside it, this run's first.

    The paper is one more system or, where it has values for the baselines, too, one more column.
    """
    body = []
    systems = [(values.ours(results.protocol), results.metrics, results.paper),
               *((b.name, b.metrics, b.paper) for b in results.baselines)]
    for metric in results.metrics:
        heading = values.heading(metric)
        for name, measured, paper in systems:
            if metric in measured:
                line = [heading, name, Cell.estimate(metric, measured[metric]),
                        Cell.interval(metric, measured[metric].ci)]
                if results.paper_beside:
                    line.append(Cell.estimate(metric, paper[metric]) if metric in paper else "")
                body.append(line)
        if metric in results.paper and not results.paper_beside:
            body.append([heading, "Paper", Cell.estimate(metric, results.paper[metric]), "not stated"])
    if not body:
        return None
    return Grid("scores", "Pooled test predictions; mean ± standard deviation over seeds; 95 % intervals from a "
                "bootstrap over speakers.", ["Metric", "System", "Mean ± std", "95 % interval",
                                             *["Paper"] * results.paper_beside], body, 2)


def differences(results: Results, paper_protocol: str) -> Grid | None:
    """This run minus each other system."""
    body = []
    for baseline in results.baselines:
        for metric, gap in baseline.difference.items():
            body.append([baseline.name, values.name(metric), "paired", Cell.score(metric, gap.mean, signed=True),
                         Cell.interval(metric, gap.ci, signed=True)])
    for metric, paper in results.paper.items():
        if metric in results.metrics:
            gap_to_paper = results.metrics[metric].mean - paper.mean
            body.append(["Paper", metric, "not paired", Cell.score(metric, gap_to_paper, signed=True), ""])
    if not body:
        return None
    points = ", in percentage points" if any(map(values.is_percentage, results.metrics)) else ""
    return Grid("differences", f"Differences: this run minus the other{points}. A paired difference compares the "
                f"same test utterances.{f' {paper_protocol}' if results.paper else ''}",
                ["Against", "Metric", "Comparison", "Difference", "95 % interval"], body, 3)


def records(name: str, caption: str, rows: Sequence[Mapping[str, Any]], text_columns: int = 1) -> Grid | None:
    """Objects of one kind as a table; fractions as percentages under UA, WA and F1, CCC as it is."""
    names = list(dict.fromkeys(field for row in rows for field in row))
    if not names:
        return None
    shown = [field for field in names if field in ("UA", "WA", "F1") or not values.is_percentage(field)]
    header = [values.heading(field) if field in shown else field.replace("_", " ") for field in names]
    body = [[Cell.score(field, row[field]) if field in shown and isinstance(row.get(field), float | int)
             else plain(row.get(field, "")) for field in names] for row in rows]
    return Grid(name, caption, header, body, text_columns)


def sheet(results: Results) -> Grid | None:
    """The protocol sheet; the tested utterances of each class get a column each."""
    if not results.protocol_sheet:
        return None
    own = [name for name in dict.fromkeys(name for line in results.protocol_sheet for name in line)
           if not name.endswith("classes")]
    tested = [line.get("test_classes") or {} for line in results.protocol_sheet]
    labels = list(dict.fromkeys(label for counts in tested for label in counts))
    return Grid("protocol_sheet", "Protocol sheet: utterances, speakers and sentences of each test fold, and what it "
                "shares with its training part.",
                ["fold" if name == "name" else name.replace("_", " ") for name in own] + labels,
                [[plain(line.get(name, "")) for name in own] + [plain(counts.get(label, 0)) for label in labels]
                 for line, counts in zip(results.protocol_sheet, tested, strict=True)])


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested objects as (dotted key, text) pairs."""
    if not isinstance(value, dict):
        return [(prefix, plain(value))] if prefix or value else []
    pairs: list[tuple[str, str]] = []
    for name, inner in value.items():
        pairs += flat(inner, f"{prefix}.{name}" if prefix else str(name))
    return pairs


def plain(value: Any) -> str:
    """A value of a JSON file as text."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(item)}" for name, item in value.items())
    return str(value)
