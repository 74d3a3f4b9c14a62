"""What a table of results is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sercl_jax.report.values import Estimate


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
      name: as the paper calls it, where it does.
      metrics: metric -> estimate, or a plain (mean, std, ci) tuple; fractions. Empty if it was not run.
      paper: metric -> the paper's value (a fraction, or an estimate with its standard deviation), or None if it has
        none.
      note: what a reader must know of this line.
      x: position in a sweep; None in a table of names.
      series: which line of a sweep's plot the point belongs to.
    """

    name: str
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    paper: Mapping[str, Estimate] | None = None
    note: str = ""
    x: float | None = None
    series: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", {metric: Estimate(*value) for metric, value in self.metrics.items()})
        if self.paper is not None:
            object.__setattr__(self, "paper", {metric: Estimate(*value) if isinstance(value, tuple) else
                                               Estimate(value) for metric, value in self.paper.items()})

    def difference(self, metric: str) -> float | None:
        """Ours minus the paper's, in the metric's unit; None if either is missing."""
        if metric not in self.metrics or self.paper is None or metric not in self.paper:
            return None
        return self.metrics[metric].mean - self.paper[metric].mean


@dataclass(frozen=True)
class Table:
    """A published table, figure or grid, measured.

    Attributes:
      title: such as "Table 5: pooling".
      caption: names the corpus, the protocol, the seeds, and says whether the data are synthetic or real.
      columns: metrics in order, such as ("UA", "WA").
      rows: in order.
      synthetic: the data are synthetic; the plot and the page then say so.
      x_label: names a sweep's axis and makes the plot a line plot over `Row.x`; empty for a table of names.
      paper_corpus: the corpus of the paper's values, where it is not the one measured; they then stand beside ours
        without a difference.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    synthetic: bool = False
    x_label: str = ""
    paper_corpus: str = ""

    @property
    def paper_name(self) -> str:
        """What heads the paper's values."""
        return f"paper ({self.paper_corpus})" if self.paper_corpus else "paper"
