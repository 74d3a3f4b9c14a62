"""The plot of a table: ours beside the paper's, or the lines of a sweep."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sercl_jax.report import marks, style, values
from sercl_jax.report.style import Drawing
from sercl_jax.report.table import Row, Table


def draw(table: Table, name: str = "table") -> Drawing:
    """Points with error bars (95 % interval, else one standard deviation); the paper's are hollow diamonds."""
    with style.drawing():
        sweep = table.x_label and any(row.x is not None for row in table.rows)
        return _sweep(table, name) if sweep else _names(table, name)


def _names(table: Table, name: str) -> Drawing:
    names = [row.name for row in table.rows]
    height = 0.9 + 0.32 * max(1, sum(name.count("\n") * 0.5 + 1 for name in marks.wrapped(names)))
    figure, axes = style.new_figure(2.9 * len(table.columns) + marks.name_width(names), height, 1,
                                    len(table.columns))
    for axis, metric in zip(axes, table.columns, strict=True):
        for place, row in enumerate(table.rows):
            if metric in row.metrics:
                marks.point(axis, place, metric, row.metrics[metric])
            if row.paper is not None and metric in row.paper:
                marks.paper_point(axis, place, metric, row.paper[metric])
        marks.name_places(axis, names, shown=axis is axes[0])
        axis.set_xlabel(values.heading(metric))
        axis.margins(x=0.08)
        axis.xaxis.set_major_locator(MaxNLocator(5))
    _legend(figure, axes, table)
    return style.finish(figure, name, table.title, _bars(table), _words(table), table.synthetic)


def _sweep(table: Table, figure_name: str) -> Drawing:
    """A line of panels for each metric, a panel for each series: their horizontal axes need not mean the same."""
    series = list(dict.fromkeys(row.series for row in table.rows if row.x is not None))
    figure, axes = style.new_figure(max(2.6 * len(series), 4.2), 0.5 + 2.2 * len(table.columns), len(table.columns),
                                    len(series), sharey="row")
    for panel, axis in enumerate(axes):
        metric, name = table.columns[panel // len(series)], series[panel % len(series)]
        _line(axis, metric, [row for row in table.rows if row.x is not None and row.series == name])
        if panel % len(series) == 0:
            axis.set_ylabel(values.heading(metric))
        if panel >= len(axes) - len(series):
            axis.set_xlabel(name or table.x_label)
    _legend(figure, axes, table)
    return style.finish(figure, figure_name, table.title, _bars(table), _words(table), table.synthetic)


def _line(axis: Axes, metric: str, rows: Sequence[Row]) -> None:
    points = sorted(((row.x, row.metrics[metric]) for row in rows if row.x is not None and metric in row.metrics),
                    key=lambda point: point[0])
    scale = values.scale(metric)
    for x, score in points:
        axis.plot([x, x], [scale * end for end in marks.bar(score)], color=style.ACCENT, linewidth=1.6, alpha=0.45,
                  solid_capstyle="butt")
    axis.plot([x for x, _ in points], [scale * score.mean for _, score in points], "o-", color=style.ACCENT,
              markersize=5)
    for row in rows:
        if row.x is not None and row.paper is not None and metric in row.paper:
            marks.paper_point(axis, row.x, metric, row.paper[metric], upright=True)
    positions = sorted({row.x for row in rows if row.x is not None})
    if positions[0] > 0 and positions[-1] / positions[0] > 20:
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.set_xticks(positions, [f"{position:g}" for position in positions])


def _legend(figure: Figure, axes: Sequence[Axes], table: Table) -> None:
    if any(row.paper for row in table.rows):
        ours = axes[0].plot([], [], "o", color=style.ACCENT, markersize=6, label="ours")
        paper = axes[0].plot([], [], "D", color=style.CONTRAST, markerfacecolor="none", markersize=6,
                             markeredgewidth=1.5, label=table.paper_name)
        figure.legend(handles=ours + paper, loc="outside upper left", ncols=2)


def _bars(table: Table) -> str:
    intervals = any(value.ci is not None for row in table.rows for value in row.metrics.values())
    shown = "95 % intervals" if intervals else "one standard deviation over seeds"
    paper = ""
    if any(row.paper for row in table.rows):
        corpus = f" on {table.paper_corpus}" if table.paper_corpus else ""
        spread = any(value.std for row in table.rows for value in (row.paper or {}).values())
        paper = (f" Hollow diamonds are the paper's values{corpus}"
                 f"{', their bars one standard deviation over its runs' if spread else ''}.")
    return f"Bars: {shown}.{paper}"


def _words(table: Table) -> str:
    parts = []
    for row in table.rows:
        scores = ", ".join(f"{metric} {values.estimate(metric, row.metrics[metric])}"
                           for metric in table.columns if metric in row.metrics)
        parts.append(f"{row.name}: {scores or 'not run'}")
    return f"{table.title}. " + "; ".join(parts) + "."
