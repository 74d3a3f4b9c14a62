"""Reports: a run's `report.html` with its figures, and the published tables as measured here."""

from pathlib import Path

from sercl_jax.errors import UserError
from sercl_jax.files import atomic_path, write_text
from sercl_jax.report import figures, html, inputs
from sercl_jax.report.style import Drawing
from sercl_jax.report.table import Row, Table
from sercl_jax.report.tables import write_table
from sercl_jax.report.values import Estimate

__all__ = ["Estimate", "Row", "Table", "write", "write_table"]


def write(workdir: Path) -> Path:
    """Writes `report.html`, one file that needs no other, and the same figures as `figures/*.png`.

    Reads `results.json` and, where they exist, `run.json`, `config.json`, the training logs and `embeddings.npz`.
    What is missing leaves its section out; what cannot be read does too, and the page says so. The same input gives
    the same bytes.

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
    drawings = _draw(results, workdir, problems)
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


def _draw(results: inputs.Results, workdir: Path, problems: list[str]) -> list[Drawing]:
    drawings = [figures.scores(results), figures.confusion(results), figures.recalls(results),
                figures.training(inputs.read_curves(workdir), results.synthetic)]
    path = workdir / "embeddings.npz"
    if path.exists():
        try:
            drawings.append(figures.scatter(inputs.read_embeddings(path), results.synthetic))
        except UserError as error:
            problems.append(str(error))
    drawings += [figures.probes(results), figures.label_efficiency(results)]
    return [drawing for drawing in drawings if drawing is not None]
