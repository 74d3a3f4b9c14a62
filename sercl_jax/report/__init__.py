"""Reports: a run's `report.html` with its figures, and the published tables as measured here."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sercl_jax.errors import UserError
from sercl_jax.files import atomic_path, write_text
from sercl_jax.report import curves, figures, html, inputs, rating_figures, similarity_figure
from sercl_jax.report.style import Drawing
from sercl_jax.report.table import Row, Table
from sercl_jax.report.tables import write_table
from sercl_jax.report.values import Estimate

__all__ = ["Estimate", "Row", "Table", "write", "write_table"]

T = TypeVar("T")


def write(workdir: Path) -> Path:
    """Writes `report.html`, one file that needs no other, and the same figures as `figures/*.png`.

    Reads `results.json` and, where they exist, `run.json`, `config.json`, the training logs, `embeddings.npz` and, of
    runs that predict ratings, `predictions.csv`. What is missing leaves its section out; what cannot be read does
    too, and the page says so. The same input gives the same bytes.

    Args:
      workdir: the run's folder; its `figures` folder is replaced.

    Returns:
      The path of the page.

    Raises:
      UserError: `results.json` is missing or malformed (the message names the key), or the disk is full.
    """
    workdir = Path(workdir)
    results = inputs.read_results(workdir / "results.json")
    problems: list[str] = []
    run = _read_object(workdir / "run.json", problems)
    config = run.get("config") or _read_object(workdir / "config.json", problems)
    drawings = _draw(results, _chance(results, config), workdir, problems)
    with atomic_path(workdir / "figures") as folder:
        folder.mkdir()
        for drawing in drawings:
            (folder / f"{drawing.name}.png").write_bytes(drawing.png)
    page = html.render_report(results, run, config, {drawing.name: drawing for drawing in drawings},
                              [*results.warnings, *problems])
    write_text(workdir / "report.html", page)
    return workdir / "report.html"


def _read_object(path: Path, problems: list[str]) -> dict:
    if not path.exists():
        return {}
    try:
        found = inputs.read_json(path)
    except UserError as error:
        problems.append(str(error))
        return {}
    return found if isinstance(found, dict) else {}


def _chance(results: inputs.Results, config: dict) -> float | None:
    """Of telling the next frame from its negatives by guessing: from the results, or else from the config."""
    if results.pretraining is not None and results.pretraining.chance is not None:
        return results.pretraining.chance
    negatives = config["cpc"].get("negatives") if isinstance(config.get("cpc"), dict) else None
    return 1 / (1 + negatives) if isinstance(negatives, int) else None


def _draw(results: inputs.Results, chance: float | None, workdir: Path, problems: list[str]) -> list[Drawing]:
    drawings = [figures.scores(results), figures.confusion(results), figures.recalls(results)]
    if results.rated:
        ratings = _read(inputs.read_ratings, workdir / "predictions.csv", problems)
        drawings += [rating_figures.scatter(ratings, results.synthetic)] if ratings is not None else []
    drawings.append(rating_figures.identified(results))
    if results.similarity:
        panel = results.similarity.get("before"), results.similarity["after"]
        drawings.append(similarity_figure.draw({"": panel}, results.synthetic))
    drawings += curves.draw(inputs.read_curves(workdir), chance, results.synthetic)
    embeddings = _read(inputs.read_embeddings, workdir / "embeddings.npz", problems)
    drawings += [figures.scatter(embeddings, results)] if embeddings is not None else []
    drawings += [figures.probes(results), figures.label_efficiency(results)]
    return [drawing for drawing in drawings if drawing is not None]


def _read(reader: Callable[[Path], T | None], path: Path, problems: list[str]) -> T | None:
    """What an optional file holds; what is wrong with it goes to `problems`."""
    if not path.exists():
        return None
    try:
        return reader(path)
    except UserError as error:
        problems.append(str(error))
        return None
