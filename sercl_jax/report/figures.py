"""The figures of a run's report."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from sercl_jax.report import marks, projection, style, values
from sercl_jax.report.inputs import Embeddings, Results
from sercl_jax.report.style import Drawing
from sercl_jax.report.values import Estimate

_LEGEND = 24  # groups named in a scatter plot's legend


def scores(results: Results) -> Drawing | None:
    """Every metric with its interval, beside the baselines and the paper."""
    if not results.metrics:
        return None
    metrics = [metric for metric in results.metrics if metric in ("UA", "WA", "F1") or metric.startswith("CCC")]
    metrics = metrics or list(results.metrics)
    systems: list[tuple[str, Mapping[str, Estimate]]] = [(values.ours(results.protocol), results.metrics)]
    systems += [(baseline.name, baseline.metrics) for baseline in results.baselines]
    names = [name for name, _ in systems] + (["Paper"] if results.paper and not results.paper_beside else [])
    with style.drawing():
        figure, axes = style.new_figure(2.3 * len(metrics) + marks.name_width(names), 1.0 + 0.34 * len(names), 1,
                                        len(metrics))
        for axis, metric in zip(axes, metrics, strict=True):
            for place, (_, measured) in enumerate(systems):
                if metric in measured:
                    marks.point(axis, place, metric, measured[metric], style.ACCENT if place == 0 else style.MUTED)
            if results.paper_beside:
                for place, paper in enumerate((results.paper, *(baseline.paper for baseline in results.baselines))):
                    if metric in paper:
                        marks.paper_point(axis, place, metric, paper[metric])
            elif metric in results.paper:
                axis.axvline(values.scale(metric) * results.paper[metric].mean, color=style.CONTRAST, linewidth=1,
                             linestyle=(0, (4, 3)))
                marks.paper_point(axis, len(systems), metric, results.paper[metric])
            marks.name_places(axis, names, shown=axis is axes[0])
            axis.set_xlabel(values.heading(metric))
            axis.margins(x=0.12)
            axis.xaxis.set_major_locator(MaxNLocator(4))
        words = "; ".join(f"{name}: " + ", ".join(
            f"{metric} {values.estimate(metric, measured[metric])} {values.interval(metric, measured[metric].ci)}"
            for metric in metrics if metric in measured) for name, measured in systems)
        caption = "Points with 95 % intervals from a bootstrap over speakers."
        if results.paper_beside:
            caption += " The paper's values are the hollow diamonds, with standard deviations over its runs."
        elif results.paper:
            spread = any(value.std for value in results.paper.values())
            caption += " The paper's value is the hollow diamond and the dashed line; it comes " + (
                "with a standard deviation over its runs." if spread else "without an interval.")
        return style.finish(figure, "scores", "Scores", caption, words + ".", results.synthetic)


def confusion(results: Results, suffix: str = "") -> Drawing | None:
    """Fig. 5: share of each true class that was given each label, with counts; `suffix` is of the figure's name."""
    if results.confusion is None:
        return None
    counts, labels = results.confusion, [marks.short(label) for label in results.labels]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    with style.drawing():
        side = 1.5 + 0.62 * len(labels)
        figure, (axis,) = style.new_figure(side + 0.4, side)
        for true in range(len(labels)):
            for given in range(len(labels)):
                _cell(axis, given, true, shares[true, given], counts[true, given])
        axis.set_xlim(-0.5, len(labels) - 0.5)
        axis.set_ylim(len(labels) - 0.5, -0.5)
        axis.set_aspect("equal")
        axis.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xlabel("predicted")
        axis.set_ylabel("true")
        axis.grid(visible=False)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        mean = f", mean of {len(results.runs)} runs" if len(results.runs) > 1 else ""
        words = "; ".join(_confused(labels, shares, true) for true in range(len(labels)))
        return style.finish(figure, f"confusion{suffix}", "Confusion matrix",
                            f"Upper number: percentage of the true class (its row); lower number: utterances{mean}. "
                            "Test predictions of all folds pooled.",
                            f"Confusion matrix, true classes in rows. {words}.", results.synthetic)


def recalls(results: Results) -> Drawing | None:
    """Recall of each class, sorted."""
    if not results.per_class:
        return None
    order = sorted(results.per_class, key=lambda label: (-results.per_class[label], label))
    with style.drawing():
        figure, (axis,) = style.new_figure(5.6, 0.8 + 0.28 * len(order))
        for place, label in enumerate(order):
            recall = 100 * results.per_class[label]
            axis.plot([0, recall], [place, place], color=style.ACCENT, linewidth=1.2, alpha=0.45)
            axis.plot(recall, place, "o", color=style.ACCENT, markersize=6)
            axis.annotate(f"{recall:.1f}", (recall, place), xytext=(8, 0), textcoords="offset points", va="center",
                          fontsize=8.5)
        marks.name_places(axis, order)
        axis.set_xlim(0, 109)
        axis.set_xticks(range(0, 101, 20))
        axis.set_xlabel("recall %")
        mean = np.mean([results.per_class[label] for label in order])
        return style.finish(figure, "recall", "Recall of each class", "Their mean is UA.",
                            "Recall: " + ", ".join(f"{label} {100 * results.per_class[label]:.1f} %"
                                                   for label in order) + f"; mean {100 * mean:.1f} %.",
                            results.synthetic)


def scatter(embeddings: Embeddings, results: Results, suffix: str = "") -> Drawing | None:
    """t-SNE of the embeddings by emotion and by speaker, trained above untrained if both are known."""
    if len(embeddings.values) < projection.SMALLEST:
        return None
    chosen = projection.subsample(len(embeddings.values))
    emotions = np.asarray(embeddings.labels)[chosen]
    speakers = np.asarray(embeddings.speakers)[chosen]
    lines = [("trained", embeddings.values)]
    if embeddings.untrained is not None:
        lines.append(("untrained", embeddings.untrained))
    with style.drawing():
        legend = max(_legend_lines(sorted(set(groups.tolist()))) for groups in (emotions, speakers))
        figure, axes = style.new_figure(7.6, 3.2 * len(lines) + 0.2 * legend, len(lines), 2)
        for line, (name, vectors) in enumerate(lines):
            points = projection.tsne(vectors[chosen])
            which = f", {name}" if len(lines) > 1 else ""
            _groups(axes[2 * line], points, emotions, f"By emotion{which}", line == len(lines) - 1)
            _groups(axes[2 * line + 1], points, speakers, f"By speaker{which}", line == len(lines) - 1)
        number = f"{len(chosen)} of {len(embeddings.values)}" if len(chosen) < len(embeddings.values) else (
            f"all {len(chosen)}")
        standardised = "standardised" if results.rated else "standardised as for the classifier"
        caption = (f"t-SNE of {number} embeddings, {standardised}, started from principal components. "
                   "Neighbours mean something; distances between clusters and their sizes do not.")
        caption += " No emotion class was used in training." if results.rated else ""
        return style.finish(figure, f"tsne{suffix}", "Embeddings in the plane", caption,
                            f"Scatter plots of {number} embeddings, coloured by {len(set(emotions))} emotions and by "
                            f"{len(set(speakers))} speakers.", results.synthetic)


def probes(results: Results) -> Drawing | None:
    """Does it learn emotion or speakers: UA of each classifier beside its chance level."""
    if "UA" not in results.metrics or not results.probes:
        return None
    bars = [("emotion", results.metrics["UA"], 1 / len(results.labels) if results.labels else None)]
    bars += [(name, scores["UA"], scores["chance"].mean if "chance" in scores else None)
             for name, scores in results.probes.items()]
    with style.drawing():
        figure, (axis,) = style.new_figure(5.6, 0.9 + 0.34 * len(bars))
        for place, (_, score, chance) in enumerate(bars):
            marks.point(axis, place, "UA", score)
            if chance is not None:
                axis.plot(100 * chance, place, "|", color=style.CONTRAST, markersize=13, markeredgewidth=2)
        marks.name_places(axis, [name for name, _, _ in bars])
        axis.set_xlim(0, 104)
        axis.set_xlabel(values.heading("UA"))
        words = "; ".join(f"{name} {100 * score.mean:.1f} %" + ("" if chance is None else
                                                               f", chance {100 * chance:.1f} %")
                          for name, score, chance in bars)
        return style.finish(figure, "probes", "Emotion or speaker?",
                            "How well a classifier names the emotion, and how well one names the speaker, from the "
                            "same embeddings. Ticks: chance.", words + ".", results.synthetic)


def label_efficiency(results: Results) -> Drawing | None:
    """UA of the classifier when it sees a share of the labels only."""
    points = sorted((share, scores["UA"]) for share, scores in results.label_efficiency if "UA" in scores)
    if not points:
        return None
    with style.drawing():
        figure, (axis,) = style.new_figure(5.6, 2.9)
        x = [100 * share for share, _ in points]
        mean = np.array([100 * score.mean for _, score in points])
        spread = np.array([100 * (score.std or 0.0) for _, score in points])
        axis.fill_between(x, mean - spread, mean + spread, color=style.ACCENT, alpha=0.15, linewidth=0)
        axis.plot(x, mean, "o-", color=style.ACCENT, markersize=5)
        axis.set_xscale("log")
        axis.set_xticks(x, [f"{share:g}" for share in x])
        axis.minorticks_off()
        axis.set_xlabel("labels used, %")
        axis.set_ylabel("UA %")
        return style.finish(figure, "label_efficiency", "Label efficiency",
                            "The encoder is the same; only the classifier's labels are fewer. Band: one standard "
                            "deviation.", "; ".join(f"{share:g} % of labels: UA {value:.1f} %"
                                                     for share, value in zip(x, mean, strict=True)) + ".",
                            results.synthetic)


def _cell(axis: Axes, x: int, y: int, share: float, count: float) -> None:
    axis.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=style.ACCENT, alpha=share, linewidth=0))
    axis.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor="none", edgecolor=style.GRID, linewidth=0.6))
    color = style.ON_ACCENT if share > 0.6 else style.INK if count else style.MUTED
    if not count:
        axis.text(x, y, "0", ha="center", va="center", fontsize=8, color=color)
        return
    axis.text(x, y - 0.12, f"{100 * share:.0f}", ha="center", va="center", fontsize=10, color=color)
    axis.text(x, y + 0.24, f"{count:g}" if count == int(count) else f"{count:.1f}", ha="center", va="center",
              fontsize=7, color=color)


def _confused(labels: Sequence[str], shares: np.ndarray, true: int) -> str:
    others = shares[true].copy()
    others[true] = 0
    text = f"{labels[true]} {100 * shares[true, true]:.0f} % right"
    worst = int(others.argmax())
    return text + (f", most often taken for {labels[worst]} ({100 * others[worst]:.0f} %)" if others[worst] else "")


def _groups(axis: Axes, points: np.ndarray, groups: np.ndarray, title: str, legend: bool) -> None:
    names = sorted(set(groups.tolist()))
    handles = []
    for index, name in enumerate(names):
        color = style.SERIES[index % len(style.SERIES)]
        # With more groups than colours a colour comes back with another marker.
        marker = style.MARKERS[(index + index // len(style.SERIES)) % len(style.MARKERS)]
        mine = points[groups == name]
        axis.plot(mine[:, 0], mine[:, 1], marker, color=color, markersize=4, markeredgewidth=0.4,
                  markeredgecolor=style.PAPER, alpha=0.9)
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="none", markersize=5,
                              label=f"\u200b{marks.short(name) or 'unknown'}"))  # a leading _ would hide it
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    if legend:
        if len(handles) > _LEGEND:
            handles = [*handles[:_LEGEND], Line2D([], [], linestyle="none", label=f"and {len(names) - _LEGEND} more")]
        axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), handletextpad=0.1,
                    ncols=_legend_columns(names), columnspacing=0.9)


def _legend_columns(names: Sequence[str]) -> int:
    """As many columns as fit under a panel."""
    widest = max(len(marks.short(name)) for name in names)
    return max(1, min(4, 44 // (widest + 5)))


def _legend_lines(names: Sequence[str]) -> int:
    return -(-min(len(names), _LEGEND + 1) // _legend_columns(names))
