"""Several runs on one page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sercl_jax.errors import UserError
from sercl_jax.files import write_text
from sercl_jax.report import (
    compare_tables,
    curves,
    details,
    figures,
    grid,
    html,
    inputs,
    page_tables,
    paired,
    rating_figures,
    similarity_figure,
    style,
    table_figure,
)
from sercl_jax.report import run as run_files
from sercl_jax.report.run import Run
from sercl_jax.report.style import Drawing
from sercl_jax.report.table import Row, Table

PAGE = "report.html"


def write(runs: Sequence[Run], out: Path, *, audio: str = "auto", worst: int = 10) -> Path:
    """Writes OUT/report.html, one file that needs no other, OUT/figures/*.png and OUT/tables/*.csv and *.tex.

    The same input gives the same bytes. Nothing but OUT is written to.

    Args:
      runs: two or more with different names; the first is what the others are compared with.
      out: made if missing; what an earlier comparison left there is replaced.
      audio: whether recordings of the worst mistakes go into the page: "yes", "no", or "auto" for yes unless the
        corpus is handed out on agreement only.
      worst: how many mistakes of each run are listed.

    Returns:
      The path of the page.

    Raises:
      UserError: fewer than two runs, runs of different kinds, or a folder that holds something else.
    """
    check(runs, out)
    problems: list[tuple[str, str]] = [(run.name, text) for run in runs for text in (
        *run.results.warnings, *run.problems)]
    players = details.Players(audio)
    comparisons = paired.against(runs[1:], runs[0])
    groups = {one.grid.name: one for one in (details.speakers(runs), details.sentences(runs)) if one is not None}
    listings = details.worst_of_each(runs, worst, players)
    grids = [one for one in (
        compare_tables.scores(runs), compare_tables.overview(runs), compare_tables.differences(comparisons),
        compare_tables.tests(comparisons), compare_tables.recalls(runs), *(one.grid for one in groups.values()),
        *(listing.grid for listing in listings), compare_tables.settings(runs)) if one is not None]
    sheets = {run.name: replace(found, name=f"protocol_sheet_{number + 1}") for number, run in enumerate(runs)
              if (found := page_tables.sheet(run.results)) is not None}
    drawings = {one.name: one for one in (
        *_drawings(runs), *(one.drawing for one in groups.values())) if one is not None}
    style.save(out / "figures", drawings.values())
    grid.write(out / "tables", [*grids, *sheets.values()])
    corpora = " and ".join(dict.fromkeys(html.corpus_name(run.results) for run in runs))
    write_text(out / PAGE, html.render_comparison(
        f"{len(runs)} runs on {corpora}", runs=runs, synthetic=any(run.results.synthetic for run in runs),
        verdict=compare_tables.verdict(runs, comparisons), unpaired=compare_tables.unpaired(comparisons),
        warnings=_merged(problems, len(runs)),
        notes=_merged([(run.name, text) for run in runs for text in run.results.notes], len(runs)),
        grids={one.name: one for one in grids}, sheets=sheets, drawings=html.figures(drawings),
        hardest={name: one.hardest for name, one in groups.items()}, listings=listings, audio_notes=players.notes,
        protocols={run.name: html.protocol(run.results) for run in runs}))
    return out / PAGE


def check(runs: Sequence[Run], out: Path) -> None:
    """Raises `UserError` unless these runs can be compared in that folder."""
    if len(runs) < 2:
        raise UserError("a comparison needs two runs or more.")
    if len({run.kind for run in runs}) > 1:
        words = {"classes": "predicts classes", "ratings": "predicts ratings", "frames": "is a pre-training"}
        raise UserError("these runs have no score in common: " + ", ".join(
            f"{run.name} {words[run.kind]}" for run in runs) + ". Compare runs of one kind at a time.")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / PAGE).exists())
                         or (out / "results.json").exists() or (out / "config.json").exists()):
        raise UserError(f"--out={out}: holds something else; choose a new folder.")


def _drawings(runs: Sequence[Run]) -> list[Drawing | None]:
    synthetic = any(run.results.synthetic for run in runs)
    drawings = [_scores(runs)]
    for number, run in enumerate(runs):
        suffix = f"-{number + 1}"
        drawings.append(figures.confusion(run.results, suffix))
        if run.kind == "ratings" and (found := run_files.optional(
                inputs.read_ratings, run.workdir / "predictions.csv", [])) is not None:
            drawings.append(rating_figures.scatter(found, run.results.synthetic, suffix))
        if run.embeddings is not None:
            drawings.append(figures.scatter(run.embeddings, run.results, suffix))
    logs = [replace(curve, run=run.name) for run in runs for curve in run.curves]
    chances = {run_chance for run in runs if (run_chance := inputs.chance(run.results, run.config)) is not None}
    drawings += curves.draw(logs, chances.pop() if len(chances) == 1 else None, synthetic)
    panels: dict[str, Any] = {run.name: (run.results.similarity.get("before"), run.results.similarity["after"])
                              for run in runs if run.results.similarity}
    drawings.append(similarity_figure.draw(panels, synthetic) if panels else None)
    return drawings


def _scores(runs: Sequence[Run]) -> Drawing | None:
    columns = compare_tables.common_metrics(runs)
    if not columns:
        return None
    rows = [Row(run.name, {metric: run.results.metrics[metric] for metric in columns}) for run in runs]
    synthetic = any(run.results.synthetic for run in runs)
    return replace(table_figure.draw(Table("Scores", "", columns, rows, synthetic), "scores"),
                   caption="Points with 95 % intervals from a bootstrap over speakers. Intervals that overlap do not "
                           "mean that a difference is not there: the paired differences tell.")


def _merged(texts: Sequence[tuple[str, str]], runs: int) -> list[tuple[str, str]]:
    """(names of the runs, text), what several runs say once."""
    found: dict[str, list[str]] = {}
    for name, text in texts:
        found.setdefault(text, []).append(name)
    return [("All runs" if len(set(names)) == runs else ", ".join(dict.fromkeys(names)), text)
            for text, names in found.items()]
