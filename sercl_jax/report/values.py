"""Numbers as a reader wants them: percentages with two decimals, differences in percentage points."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Estimate(NamedTuple):
    """A measured or printed value, in the metric's own unit (a fraction for UA, WA and F1).

    `std` is over seeds and None where there was one; `ci` is the 95 % interval and None where there are too few
    speakers to resample.
    """

    mean: float
    std: float | None = None
    ci: tuple[float, float] | None = None


def is_percentage(metric: str) -> bool:
    """Accuracies are shown as percentages, concordance correlation (CCC) as it is."""
    return not metric.startswith("CCC")


def scale(metric: str) -> float:
    """From a stored value to the one that is shown."""
    return 100.0 if is_percentage(metric) else 1.0


def name(metric: str) -> str:
    """A metric's name in words, where its own is not what readers call it."""
    return {"identified_1": "next step identified", "identified": "identified, mean of all steps"}.get(metric, metric)


def heading(metric: str) -> str:
    return f"{name(metric)} %" if is_percentage(metric) else name(metric)


def ours(protocol: Mapping[str, Any]) -> str:
    """What the run itself is called beside other systems."""
    return f"This run ({protocol['setup']})" if "setup" in protocol else "This run"


def number(metric: str, value: float) -> str:
    """`0.8661` -> `86.61`; CCC `0.7312` -> `0.731`."""
    return _digits(metric, value)


def difference(metric: str, value: float) -> str:
    """A signed difference: percentage points, or plain for CCC."""
    text = _digits(metric, value)
    if not text.startswith("-"):
        text = text if float(text) == 0 else f"+{text}"
    return text


def estimate(metric: str, value: Estimate) -> str:
    """`86.61 ± 0.92`, or the mean alone where there was one run, whose spread is unknown or counted as 0."""
    spread = "" if not value.std else f" ± {_digits(metric, value.std)}"
    return number(metric, value.mean) + spread


def interval(metric: str, ci: tuple[float, float] | None, signed: bool = False) -> str:
    """`[84.10, 90.12]`; empty if unknown."""
    if ci is None:
        return ""
    show = difference if signed else number
    return f"[{show(metric, ci[0])}, {show(metric, ci[1])}]"


def _digits(metric: str, value: float) -> str:
    text = f"{100 * value:.2f}" if is_percentage(metric) else f"{value:.3f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text  # no "-0.00"
