"""The plot of a table: ours beside the paper's, or the lines of a sweep."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sercl_jax.report import style, values
from sercl_jax.report.style import Drawing
from sercl_jax.report.table import Row, Table


def draw(table: Table) -> Drawing:
    """Points with error bars (95 % interval, else one standard deviation); the paper's are hollow diamonds."""
    with style.drawing():
        return _sweep(table) if table.x_label else _names(table)


def _names(table: Table) -> Drawing:
    rows = list(table.rows)
    height = 1.1 + 0.32 * max(1, len(rows))
    figure, axes = style.new_figure(3.4 * len(table.columns) + 1.4, height, 1, len(table.columns))
    for axis, metric in zip(axes, table.columns, strict=True):
        scale = _scale(metric)
        for place, row in enumerate(rows):
            _point(axis, row, metric, scale, place)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_yticks(range(len(rows)), [row.name for row in rows] if axis is axes[0] else [""] * len(rows))
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.set_xlabel(values.heading(metric))
    _legend(figure, axes, table)
    return style.finish(figure, "table", table.title, _bars(table), _words(table), table.synthetic)


def _point(axis: Axes, row: Row, metric: str, scale: float, place: int) -> None:
    if metric in row.metrics:
        low, high = _bar(row, metric)
        axis.plot([scale * low, scale * high], [place, place], color=style.ACCENT, linewidth=2, alpha=0.55,
                  solid_capstyle="butt")
        axis.plot(scale * row.metrics[metric].mean, place, "o", color=style.ACCENT, markersize=6)
    if row.paper is not None and metric in row.paper:
        axis.plot(scale * row.paper[metric], place, "D", color=style.CONTRAST, markerfacecolor="none",
                  markersize=6, markeredgewidth=1.4)


def _sweep(table: Table) -> Drawing:
    figure, axes = style.new_figure(3.4 * len(table.columns), 3.0, 1, len(table.columns))
    series = list(dict.fromkeys(row.series for row in table.rows if row.x is not None))
    positions = sorted({row.x for row in table.rows if row.x is not None})
    for axis, metric in zip(axes, table.columns, strict=True):
        scale = _scale(metric)
        for index, name in enumerate(series):
            points = sorted(((row.x, row) for row in table.rows
                             if row.x is not None and row.series == name and metric in row.metrics),
                            key=lambda point: point[0])
            color = style.SERIES[index % len(style.SERIES)]
            marker = style.MARKERS[index % len(style.MARKERS)]
            x = [position for position, _ in points]
            means = [scale * row.metrics[metric].mean for _, row in points]
            bars = [_bar(row, metric) for _, row in points]
            axis.fill_between(x, [scale * low for low, _ in bars], [scale * high for _, high in bars],
                              color=color, alpha=0.15, linewidth=0)
            axis.plot(x, means, color=color, marker=marker, markersize=5, label=name or "ours")
            paper = [(place, scale * row.paper[metric]) for place, row in points if row.paper and metric in row.paper]
            if paper:
                axis.plot(*zip(*paper, strict=True), "D", color=color, markerfacecolor="none", markersize=6,
                          markeredgewidth=1.4)
        if positions and positions[0] > 0 and positions[-1] / positions[0] > 20:
            axis.set_xscale("log")
            axis.set_xticks(positions, [f"{position:g}" for position in positions])
            axis.minorticks_off()
        axis.set_xlabel(table.x_label)
        axis.set_title(values.heading(metric))
    _legend(figure, axes, table, len(series) > 1)
    return style.finish(figure, "table", table.title, _bars(table), _words(table), table.synthetic)


def _legend(figure: Figure, axes: Sequence[Axes], table: Table, series: bool = False) -> None:
    handles = list(axes[0].get_legend_handles_labels()[0]) if series else []
    if not series:
        handles.append(axes[0].plot([], [], "o", color=style.ACCENT, markersize=6, label="ours")[0])
    if any(row.paper for row in table.rows):
        handles.append(axes[0].plot([], [], "D", color=style.CONTRAST if not series else style.MUTED,
                                    markerfacecolor="none", markersize=6, label="paper")[0])
    if len(handles) > 1:
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4))


def _scale(metric: str) -> float:
    return 100.0 if values.is_percentage(metric) else 1.0


def _bar(row: Row, metric: str) -> tuple[float, float]:
    ours = row.metrics[metric]
    if ours.ci is not None:
        return ours.ci
    spread = ours.std or 0.0
    return ours.mean - spread, ours.mean + spread


def _bars(table: Table) -> str:
    intervals = any(value.ci is not None for row in table.rows for value in row.metrics.values())
    shown = "95 % intervals" if intervals else "one standard deviation over seeds"
    paper = " Hollow diamonds are the paper's values." if any(row.paper for row in table.rows) else ""
    return f"Bars: {shown}.{paper}"


def _words(table: Table) -> str:
    parts = []
    for row in table.rows:
        scores = ", ".join(f"{metric} {values.estimate(metric, row.metrics[metric])}"
                           for metric in table.columns if metric in row.metrics)
        parts.append(f"{row.name}: {scores or 'not run'}")
    return f"{table.title}. " + "; ".join(parts) + "."
