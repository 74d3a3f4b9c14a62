"""Reports: a run's `report.html`, several runs side by side, and the published tables as measured here.

matplotlib and the rest are imported when something is drawn.
"""

from pathlib import Path

from sercl_jax.report.table import Row, Table
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
    from sercl_jax.report import single

    return single.write(Path(workdir), audio=audio, worst=worst, cache_dir=cache_dir)


def write_table(directory: Path, table: Table) -> None:
    """Writes table.md, table.csv, table.tex, table.png and table.html into `directory`, each whole or not at all.

    Raises:
      UserError: a file cannot be written.
    """
    from sercl_jax.report import tables

    tables.write_table(directory, table)
