"""One look for every figure, and its two outputs: PNG for disk, inline SVG that follows the page's colour scheme.

Figures are drawn in the light scheme's colours. In the SVG each of those colours is replaced by a CSS variable, so
that the same drawing is legible on a dark page. Figures are built without pyplot and its global state.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from sercl_jax.files import write_folder

INK = "#1b1f24"
MUTED = "#5c6670"
GRID = "#dfe3e8"
ACCENT = "#1f5fa8"
CONTRAST = "#c2571a"
ON_ACCENT = "#fdfefe"
PAPER = "#fefffe"  # the page behind a marker's outline

# Okabe and Ito's colours, told apart under the common colour-vision deficiencies; its yellow, too pale on white, is
# darkened, and black gives way to grey. Markers differ as well, so that colour never carries meaning alone.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7a5195", "#6b7680", "#8c564b")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")

# Light colour -> CSS variable; `style.css` gives both schemes' values.
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", ACCENT: "--accent", CONTRAST: "--contrast",
             ON_ACCENT: "--on-accent", PAPER: "--page",
             **{color: f"--series-{i}" for i, color in enumerate(SERIES)}}

_RC: dict[str, Any] = {
    "axes.axisbelow": True, "axes.edgecolor": MUTED, "axes.facecolor": "none", "axes.grid": True,
    "axes.labelcolor": INK, "axes.labelsize": 9, "axes.linewidth": 0.8, "axes.spines.right": False,
    "axes.spines.top": False, "axes.titlecolor": INK, "axes.titlelocation": "left", "axes.titlesize": 9.5,
    "axes.titleweight": "bold", "axes.unicode_minus": True, "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"], "font.size": 9, "grid.color": GRID, "grid.linewidth": 0.8,
    "legend.edgecolor": "none",
    "legend.facecolor": "none", "legend.fontsize": 8.5, "legend.frameon": False, "legend.labelcolor": INK,
    "lines.linewidth": 1.8, "savefig.facecolor": "none", "text.color": INK,
    "text.parse_math": False,  # a label may hold a dollar sign
    "text.usetex": False, "xtick.color": MUTED, "xtick.labelcolor": INK, "xtick.labelsize": 8.5,
    "ytick.color": MUTED, "ytick.labelcolor": INK, "ytick.labelsize": 8.5,
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's own font
    "svg.hashsalt": "sercl_jax",  # the same input gives the same bytes
}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """The look, for as long as a figure is made or saved; the caller's matplotlib settings come back after."""
    with warnings.catch_warnings(), matplotlib.rc_context():
        # Labels in scripts that DejaVu lacks: the SVG shows them in the reader's fonts.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        # Names too long for their figure: it is drawn all the same.
        warnings.filterwarnings("ignore", message="constrained_layout not applied", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)  # type: ignore[arg-type]
        yield


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1,
               sharey: Literal["none", "row"] = "none") -> tuple[Figure, list[Axes]]:
    """A figure of that size in inches, and its axes in reading order."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, hspace=0.06)  # type: ignore[call-arg, union-attr]
    axes = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    return figure, list(axes.ravel())


def mark_synthetic(figure: Figure) -> None:
    """Writes on the figure itself that its data are synthetic, so that a copied figure still says so."""
    figure.suptitle("Synthetic data", x=0.995, ha="right", fontsize=8.5, fontweight="bold", color=CONTRAST)


def png(figure: Figure, dots_per_inch: int = 160) -> bytes:
    """The figure on white."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, name: str, alternative: str) -> str:
    """The figure as an `<svg>` element for a page that defines the CSS variables.

    Args:
      figure: drawn in this module's colours.
      name: unique in the page; prefixes every id, for matplotlib numbers them anew in each figure.
      alternative: what a reader who cannot see it should know.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)  # its style is for `*`: the whole page
    text = re.sub(r"<[^>]*>", lambda tag: _adapt(tag.group(), name), text)
    head, body = text.split(">", 1)
    size = re.search(r'viewBox="([^"]*)"', head)
    assert size is not None, "matplotlib always writes a viewBox"
    width = float(size.group(1).split()[2]) * 4 / 3  # points to CSS pixels
    # On a narrow screen it scrolls rather than shrink beyond reading.
    limits = f"max-width: {width:.0f}px; min-width: min(28rem, {width:.0f}px)"
    return (f'<svg viewBox="{size.group(1)}" style="{limits}" role="img" aria-labelledby="{name}-title">'
            f'<title id="{name}-title">{_escape(alternative)}</title>{body.strip()}')


def _adapt(tag: str, name: str) -> str:
    """One tag with ids of its own, CSS variables for colours, the page's font, and no namespaces: HTML knows them."""
    tag = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", tag).replace("xlink:href", "href")
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = tag.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    tag = tag.replace("'DejaVu Sans'", "var(--sans)")
    for color, variable in VARIABLES.items():
        tag = re.sub(rf"(?<=: ){color}\b", f"var({variable})", tag)
    return tag


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True)
class Drawing:
    """A finished figure: inline SVG for the page, PNG for disk, and its words."""

    name: str  # file name without suffix, and prefix of its ids
    title: str
    caption: str
    alternative: str  # text for readers who cannot see it
    svg: str
    png: bytes


def save(folder: Path, drawings: Iterable[Drawing]) -> None:
    """Replaces a folder by one with NAME.png of every figure.

    Raises:
      UserError: it cannot be written.
    """
    write_folder(folder, {f"{drawing.name}.png": drawing.png for drawing in drawings})


def finish(figure: Figure, name: str, title: str, caption: str, alternative: str, synthetic: bool) -> Drawing:
    """Both outputs of a figure; marked on the figure itself where the data are synthetic."""
    if synthetic:
        mark_synthetic(figure)
        alternative = f"Synthetic data. {alternative}"
    return Drawing(name, title, caption, alternative, svg(figure, name, alternative), png(figure))
