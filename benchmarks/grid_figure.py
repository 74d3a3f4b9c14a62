"""One figure of a results grid: what was trained beside what it must beat, under every protocol and normalisation.

    python -m benchmarks.grid_figure --workdir=runs/grid --plot grid.png [--csv grid.csv]

Takes the workdir of a finished run of `configs/tables/serugcl_grid.py`. Dots are UA pooled over all test folds, mean
over seeds; bars are 95 % intervals over speakers. The CSV holds every row of every cell.
"""

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sercl_jax import commands, files
from sercl_jax.errors import UserError

SHOWN = {"trained": "SERUGCL", "untrained": "the same, untrained",
         "openSMILE IS10 + SVM (C = 0.01)": "openSMILE IS10 + SVM"}

Cell = Mapping[str, Mapping[str, str]]  # name of a row -> its columns


def read(workdir: Path) -> dict[str, Cell]:
    """The cells of a grid by name, in the order of their folders' names.

    Raises:
      UserError: the folder holds no finished grid.
    """
    found = {}
    for path in sorted(workdir.glob("*/table.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = {row["name"]: row for row in csv.DictReader(file)}
        found[next(iter(rows.values()))["series"]] = rows
    if not found:
        raise UserError(f"{workdir}: holds no cell's table.csv; give the workdir of configs/tables/serugcl_grid.py.")
    return found


def draw(cells: Mapping[str, Cell]) -> bytes:
    """A PNG."""
    from sercl_jax.report import style

    with style.drawing():
        figure, (axes,) = style.new_figure(7.6, 0.9 + 0.52 * len(cells))
        for number, (name, label) in enumerate(SHOWN.items()):
            points = [(place, rows[name]) for place, rows in enumerate(cells.values()) if name in rows]
            values = [[100 * float(row[f"UA_{of}"]) for _, row in points] for of in ("mean", "low", "high")]
            bars = [[m - low for m, low in zip(*values[:2], strict=True)],
                    [high - m for m, high in zip(values[0], values[2], strict=True)]]
            axes.errorbar(values[0], [place + 0.22 * (number - 1) for place, _ in points], xerr=bars, linestyle="",
                          marker=style.MARKERS[number], color=style.SERIES[number], label=label, capsize=2,
                          elinewidth=1.2, markersize=5.5)
        axes.set_yticks(range(len(cells)), ["\n".join(name.rsplit(", ", 1)) for name in cells])
        axes.invert_yaxis()
        axes.set_xlabel("UA, %")
        figure.legend(loc="outside upper center", ncols=len(SHOWN))
        return style.png(figure, 130)


def table(cells: Mapping[str, Cell]) -> str:
    """CSV of all rows of all cells."""
    rows = [row for cell in cells.values() for row in cell.values()]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, or 2 when something is the user's to mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="of a finished grid")
    parser.add_argument("--plot", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--csv", type=Path, help="a CSV to write")
    arguments = parser.parse_args(argv)
    return commands.status(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    cells = read(arguments.workdir)
    with files.atomic_path(arguments.plot) as path:
        path.write_bytes(draw(cells))
    if arguments.csv:
        files.write_text(arguments.csv, table(cells))


if __name__ == "__main__":
    sys.exit(main())
