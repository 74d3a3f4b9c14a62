"""Tables of a page, and the same as `tables/NAME.csv` and `.tex`."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sercl_jax.files import write_folder
from sercl_jax.report import values
from sercl_jax.report.values import Estimate

_ESCAPES = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
            "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " ", "±": r"$\pm$",
            "−": "$-$", "×": r"$\times$", "…": r"\dots{}", "·": r"$\cdot$", "<": r"\textless{}",
            ">": r"\textgreater{}"}


class Cell(str):
    """A number as readers want it, which also knows the number, in the unit of its column, for CSV.

    `parts` has a name for each number where there are several ("mean", "std"; "low", "high"), "" for one alone.
    """

    parts: Mapping[str, float]

    def __new__(cls, text: str, **parts: float) -> Self:
        cell = super().__new__(cls, text)
        cell.parts = parts
        return cell

    @classmethod
    def number(cls, text: str, value: float) -> Self:
        return cls(text, **{"": value})

    @classmethod
    def score(cls, metric: str, value: float, signed: bool = False) -> Self:
        """A score or, signed, a difference of two; per cent where the metric is a share."""
        return cls.number((values.difference if signed else values.number)(metric, value),
                          values.scale(metric) * value)

    @classmethod
    def estimate(cls, metric: str, value: Estimate) -> Self:
        spread = {} if value.std is None else {"std": values.scale(metric) * value.std}
        return cls(values.estimate(metric, value), mean=values.scale(metric) * value.mean, **spread)

    @classmethod
    def interval(cls, metric: str, ci: tuple[float, float] | None, signed: bool = False) -> str:
        if ci is None:
            return ""
        low, high = (values.scale(metric) * end for end in ci)
        return cls(values.interval(metric, ci, signed), low=low, high=high)


@dataclass(frozen=True)
class Grid:
    """A table of texts, some of which are `Cell`s.

    Attributes:
      name: of its files; unique in the page.
      caption: what it shows.
      header: of C columns.
      body: lines of C cells.
      text_columns: how many columns, from the left, are text; the others are numbers, set flush right.
    """

    name: str
    caption: str
    header: Sequence[str]
    body: Sequence[Sequence[str]]
    text_columns: int = 1


def write(folder: Path, grids: Sequence[Grid]) -> None:
    """Replaces the folder by one with NAME.csv and NAME.tex of every table.

    Raises:
      UserError: it cannot be written.
    """
    texts = {}
    for grid in grids:
        texts[f"{grid.name}.csv"] = comma_separated(grid)
        texts[f"{grid.name}.tex"] = latex(grid.caption, grid.header, grid.body, "".join(
            "l" if column < grid.text_columns else "r" for column in range(len(grid.header))))
    write_folder(folder, {name: text.encode("utf-8") for name, text in texts.items()})


def comma_separated(grid: Grid) -> str:
    """Numbers in full precision, in the unit that the header names; mean and std, low and high in columns apart."""
    parts = [list(dict.fromkeys(part for line in grid.body if isinstance(cell := line[column], Cell)
                                for part in cell.parts)) or [""] for column in range(len(grid.header))]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([part if "±" in name else f"{name} {part}".strip()
                     for name, names in zip(grid.header, parts, strict=True) for part in names])
    for line in grid.body:
        row: list[str] = []
        for cell, names in zip(line, parts, strict=True):
            if isinstance(cell, Cell):
                row += [_exact(cell.parts[part]) if part in cell.parts else "" for part in names]
            else:
                row += [cell, *[""] * (len(names) - 1)]
        writer.writerow(row)
    return buffer.getvalue()


def _exact(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def latex(caption: str, header: Sequence[str], body: Sequence[Sequence[str]], columns: str) -> str:
    """A `table` environment for the booktabs package; `columns` as `tabular` takes them."""
    lines = [r"\begin{table}", r"  \centering", rf"  \caption{{{escape(caption)}}}",
             rf"  \begin{{tabular}}{{{columns}}}", r"    \toprule", _line(header), r"    \midrule",
             *map(_line, body), r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def _line(cells: Sequence[str]) -> str:
    text = " & ".join(map(escape, cells))
    # After \\ a bracket or a star would be its argument.
    return f"    {'{}' if text[:1] in ('[', '*') else ''}{text} " + r"\\"
