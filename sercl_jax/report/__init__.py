"""Reports: a run's `report.html`, several runs side by side, and the published tables as measured here."""

from pathlib import Path

from sercl_jax.files import atomic_path, write_text
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
)
from sercl_jax.report import run as runs
from sercl_jax.report.run import Run
from sercl_jax.report.style import Drawing
from sercl_jax.report.table import Row, Table
from sercl_jax.report.tables import write_table
from sercl_jax.report.values import Estimate

__all__ = ["Estimate", "Row", "Table", "write", "write_table"]

WORST = 10  # mistakes that are listed


def write(workdir: Path, *, audio: str = "no", worst: int = WORST, cache_dir: Path | None = None) -> Path:
    """Writes `report.html`, one file that needs no other, its figures as `figures/*.png` and its tables as
    `tables/*.csv` and `*.tex`.

    Reads `results.json` and, where they exist, `run.json`, `config.json`, the training logs, `embeddings.npz`,
    `predictions.csv` and the records of the corpus. What is missing leaves its section out; what cannot be read does
    too, and the page says so. The same input gives the same bytes.

    Args:
      workdir: the run's folder; its `figures` and `tables` folders are replaced.
      audio: whether the recordings of the worst mistakes go into the page: "yes", "no", or "auto" for yes unless
        the corpus is handed out on agreement only.
      worst: how many mistakes are listed.
      cache_dir: where records lie, if not where the run had them.

    Returns:
      The path of the page.

    Raises:
      UserError: there is no finished run, `results.json` is malformed (the message names the key), or the disk is
        full.
    """
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
    with atomic_path(run.workdir / "figures") as folder:
        folder.mkdir()
        for drawing in drawings:
            (folder / f"{drawing.name}.png").write_bytes(drawing.png)
    grid.write(run.workdir / "tables", grids)
    page = html.render_report(
        results, run.facts, run.config, {drawing.name: drawing for drawing in drawings},
        {one.name: one for one in grids}, {"listings": listings, "audio_notes": players.notes},
        [*results.warnings, *problems])
    write_text(run.workdir / "report.html", page)
    return run.workdir / "report.html"


def chance(run: Run) -> float | None:
    """Of telling the next frame from its negatives by guessing: from the results, or else from the config."""
    if run.results.pretraining is not None and run.results.pretraining.chance is not None:
        return run.results.pretraining.chance
    negatives = run.config["cpc"].get("negatives") if isinstance(run.config.get("cpc"), dict) else None
    return 1 / (1 + negatives) if isinstance(negatives, int) else None


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
    drawings += curves.draw(run.curves, chance(run), results.synthetic)
    drawings += [figures.scatter(run.embeddings, results)] if run.embeddings is not None else []
    drawings += [figures.probes(results), figures.label_efficiency(results)]
    return [drawing for drawing in drawings if drawing is not None]
