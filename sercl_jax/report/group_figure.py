"""Scores of speakers or sentences as dots, from the hardest to the easiest."""

from collections.abc import Mapping

from matplotlib.lines import Line2D

from sercl_jax.report import groups, marks, style, values
from sercl_jax.report.groups import Group
from sercl_jax.report.style import Drawing

SHOWN = 40  # groups; the table and the CSV have all


def draw(name: str, kind: str, metric: str, by_run: Mapping[str, Mapping[str, Group]],
         synthetic: bool) -> Drawing | None:
    """A line for each group that any run scores, a dot for each run.

    Args:
      name: of the figure.
      kind: "speaker" or "sentence".
      metric: that the scores are of.
      by_run: name of the run -> its groups.
      synthetic: whether the data are.
    """
    runs = list(by_run.values())
    known = list(dict.fromkeys(group for run in runs for group, found in run.items() if found.score is not None))
    if len(known) < 2:
        return None
    shown = groups.order(known, runs)[:SHOWN]
    scale = values.scale(metric)
    with style.drawing():
        figure, (axis,) = style.new_figure(5.6, 0.9 + 0.24 * len(shown) + 0.12 * (len(by_run) > 1) * len(by_run))
        for place, group in enumerate(shown):
            scores = [scale * score for run in runs if group in run and (score := run[group].score) is not None]
            axis.plot([min(scores), max(scores)], [place, place], color=style.MUTED, linewidth=1, alpha=0.5)
        for number, run in enumerate(runs):
            points = [(scale * score, place) for place, group in enumerate(shown)
                      if group in run and (score := run[group].score) is not None]
            axis.plot([x for x, _ in points], [y for _, y in points], linestyle="none", markersize=6,
                      markeredgecolor=style.PAPER, markeredgewidth=0.5, **marks.of_series(number, len(runs)))
        marks.name_places(axis, [marks.short(group) for group in shown])
        axis.set_xlabel(values.heading(metric))
        axis.margins(x=0.04)
        if len(runs) > 1:
            columns = max(1, min(3, 58 // (5 + max(len(marks.short(run)) for run in by_run))))
            figure.legend(handles=[
                Line2D([], [], linestyle="none", markersize=6, label=f"\u200b{marks.short(run)}",
                       **marks.of_series(number, len(runs))) for number, run in enumerate(by_run)],
                loc="outside lower left", ncols=columns)
        more = f" The {len(shown)} hardest of {len(known)}." if len(known) > len(shown) else ""
        what = ("CCC_avg of each" if metric == "CCC_avg" else "Mean recall of the emotions of each")
        words = "; ".join(f"{group} " + ", ".join(
            f"{f'{run} ' if len(runs) > 1 else ''}{values.number(metric, score)}" for run, found in by_run.items()
            if group in found and (score := found[group].score) is not None) for group in shown)
        return style.finish(figure, name, f"{kind.capitalize()}s", f"{what} {kind}, mean over seeds, the hardest "
                            f"first.{more}", f"{values.heading(metric)} by {kind}: {words}.", synthetic)
