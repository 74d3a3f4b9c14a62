"""The figure of a results grid, from tables on disk."""

import csv
import io

import numpy as np
import pytest
from matplotlib import image

from benchmarks import grid_figure

COLUMNS = ("name", "series", "UA_mean", "UA_low", "UA_high")
CELLS = {"a": [("trained", 0.6, 0.5, 0.7), ("untrained", 0.55, 0.5, 0.6)], "b": [("trained", 0.8, 0.7, 0.9)]}


@pytest.fixture
def grid(tmp_path):
    for name, rows in CELLS.items():
        path = tmp_path / "grid" / name / "table.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *[(row[0], f"cell {name}", *row[1:]) for row in rows]])
    return tmp_path / "grid"


def test_every_row_of_every_cell_is_in_the_csv_and_the_figure_is_drawn(grid, tmp_path):
    assert grid_figure.main([f"--workdir={grid}", f"--plot={tmp_path / 'x.png'}", f"--csv={tmp_path / 'x.csv'}"]) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text(encoding="utf-8"))))
    assert [(row["series"], row["name"], row["UA_mean"]) for row in rows] == [
        ("cell a", "trained", "0.6"), ("cell a", "untrained", "0.55"), ("cell b", "trained", "0.8")]
    pixels = image.imread(tmp_path / "x.png")[..., :3]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_a_folder_without_a_grid_is_told(tmp_path, capsys):
    assert grid_figure.main([f"--workdir={tmp_path}", f"--plot={tmp_path / 'x.png'}"]) == 2
    assert "table.csv" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
