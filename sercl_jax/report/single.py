"""The report of one run."""

from pathlib import Path

from sercl_jax.files import write_text
from sercl_jax.report import (
    curves,
    details,
    figures,
    grid,
    html,
    inputs,
    page_tables,
    rating_figures,
    similarity_figure,
    style,
)
from sercl_jax.report import run as runs
from sercl_jax.report.run import Run
from sercl_jax.report.style import Drawing


def write(workdir: Path, *, audio: str, worst: int, cache_dir: Path | None) -> Path:
    """As `report.write` says."""
    run = runs.load(Path(workdir), cache_dir=cache_dir)
    results, problems = run.results, list(run.problems)
    players = details.Players(audio)
    groups = [found for found in (details.speakers([run]), details.sentences([run])) if found is not None]
    listings = details.worst_of_each([run], worst, players)
    grids = [found for found in (
        page_tables.scores(results), page_tables.differences(results, html.PAPER_PROTOCOL[results.rated]),
        page_tables.records("runs", "Scores of each run", results.runs, 0),
        page_tables.records("folds", "Scores of each fold", results.folds), page_tables.sheet(results),
        *(one.grid for one in groups), *(listing.grid for listing in listings)) if found is not None]
    drawings = _draw(run, problems) + [one.drawing for one in groups if one.drawing is not None]
    style.save(run.workdir / "figures", drawings)
    grid.write(run.workdir / "tables", grids)
    page = html.render_report(
        results, run.facts, run.config, {drawing.name: drawing for drawing in drawings},
        {one.name: one for one in grids}, {"listings": listings, "audio_notes": players.notes},
        [*results.warnings, *problems])
    write_text(run.workdir / "report.html", page)
    return run.workdir / "report.html"


def _draw(run: Run, problems: list[str]) -> list[Drawing]:
    results = run.results
    drawings = [figures.scores(results), figures.confusion(results), figures.recalls(results)]
    if results.rated:
        ratings = runs.optional(inputs.read_ratings, run.workdir / "predictions.csv", problems)
        drawings += [rating_figures.scatter(ratings, results.synthetic)] if ratings is not None else []
    drawings.append(rating_figures.identified(results))
    if results.similarity:
        panel = results.similarity.get("before"), results.similarity["after"]
        drawings.append(similarity_figure.draw({"": panel}, results.synthetic))
    drawings += curves.draw(run.curves, inputs.chance(results, run.config), results.synthetic)
    drawings += [figures.scatter(run.embeddings, results)] if run.embeddings is not None else []
    drawings += [figures.probes(results), figures.label_efficiency(results)]
    return [drawing for drawing in drawings if drawing is not None]
