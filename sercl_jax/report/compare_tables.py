"""The tables and sentences of a page that compares runs."""

from collections.abc import Sequence

from sercl_jax.report import html, page_tables, values
from sercl_jax.report.grid import Cell, Grid
from sercl_jax.report.paired import TESTS, Comparison
from sercl_jax.report.run import Run

_NONE = "—"


def common_metrics(runs: Sequence[Run]) -> list[str]:
    """The metrics that all runs have, in the order of the first."""
    return [metric for metric in runs[0].results.metrics if all(metric in run.results.metrics for run in runs)]


def scores(runs: Sequence[Run]) -> Grid | None:
    """The metrics that all runs have; None if there is none."""
    metrics = common_metrics(runs)
    header = ["run"]
    for metric in metrics:
        header += [values.heading(metric), f"{values.name(metric)}, 95 % interval"]
    body: list[list[str]] = [[run.name, *(cell for metric in metrics for cell in (
        Cell.estimate(metric, run.results.metrics[metric]),
        Cell.interval(metric, run.results.metrics[metric].ci)))] for run in runs]
    return None if not metrics else Grid(
        "scores", "Pooled test predictions; mean ± standard deviation over seeds; 95 % intervals from a bootstrap "
        "over speakers.", header, body)


def overview(runs: Sequence[Run]) -> Grid:
    """What each run is."""
    body = []
    for run in runs:
        protocol = dict(html.protocol(run.results))
        seeds = protocol.pop("runs")
        body.append([run.name, html.method_name(run.results), html.corpus_name(run.results), ", ".join(
            text for name in ("protocol", "folds", "setup", "training", "normalise", "embedding")
            if (text := _told(name, protocol.get(name, "")))), seeds])
    return Grid("overview", "The runs.", ["run", "method", "corpus", "protocol", "seeds"], body, 5)


def _told(name: str, value: str) -> str:
    if name == "folds" and value:
        return f"{value} folds"
    return f"{name} {value}" if name in ("normalise", "embedding") and value else value


def differences(comparisons: Sequence[Comparison]) -> Grid | None:
    """Each run minus the first."""
    body = [[one.run, values.name(metric), "not paired" if one.unpaired else "paired",
             Cell.score(metric, gap.mean, signed=True), Cell.interval(metric, gap.ci, signed=True)]
            for one in comparisons for metric, gap in one.difference.items()]
    if not body:
        return None
    points = ", in percentage points" if any(values.is_percentage(metric) for one in comparisons
                                              for metric in one.difference) else ""
    return Grid("differences", f"Each run minus {comparisons[0].other}{points}. A paired difference compares the "
                "same test utterances in the same folds; its interval is from a bootstrap over speakers.",
                ["run", "metric", "comparison", "difference", "95 % interval"], body, 3)


def tests(comparisons: Sequence[Comparison]) -> Grid | None:
    """P-values of the differences that are paired; None if none is."""
    tested = [one for one in comparisons if not one.unpaired]
    if not tested:
        return None
    several = len(comparisons) > 1
    titles = {"exchange": "p, permutation", "signed_rank": "p, Wilcoxon", "corrected_t": "p, folds"}
    header = ["run", "metric", "speakers", "folds"]
    for test in TESTS:
        header += [titles[test], *[f"{titles[test].removeprefix('p, ')}, Holm"] * several]
    body = []
    for one in tested:
        line: list[str] = [one.run, one.metric, Cell.number(str(one.speakers), one.speakers),
                           Cell.number(str(one.folds), one.folds)]
        for test in TESTS:
            value = getattr(one, test)
            line.append(_p(value) if isinstance(value, float) else _NONE)
            if several:
                line.append(_p(one.adjusted[test]) if one.adjusted and test in one.adjusted else _NONE)
        body.append(line)
    holm = " Holm: adjusted for the number of comparisons." if several else ""
    return Grid("tests", f"Two-sided tests of the paired differences to {comparisons[0].other}. Permutation: the "
                "systems' outputs are exchanged, speaker by speaker. Wilcoxon: signed ranks of the speakers' scores. "
                f"Folds: corrected resampled t-test (Nadeau and Bengio, 2003).{holm}", header, body, 2)


def unpaired(comparisons: Sequence[Comparison]) -> list[str]:
    """Why there is no paired difference, or no p-value, in sentences."""
    sentences, missing = [], dict[str, list[str]]()
    for one in comparisons:
        if one.unpaired:
            sentences.append(f"{one.run} and {one.other} are not paired: {one.unpaired}. Their intervals stand side "
                             "by side; there is no test.")
            continue
        for test in TESTS:
            if isinstance(reason := getattr(one, test), str):
                missing.setdefault(reason.rstrip("."), []).append(one.run)
        sentences += [f"{one.run}: {one.note}."] if one.note else []
    return sentences + [f"No p-value ({', '.join(dict.fromkeys(names))}): {reason}." for reason, names
                        in missing.items()]


def recalls(runs: Sequence[Run]) -> Grid | None:
    """Recall of each class by each run."""
    labels = sorted({label for run in runs for label in run.results.per_class})
    if not labels:
        return None
    body = [[label, *(Cell.score("UA", run.results.per_class[label]) if label in run.results.per_class else ""
                      for run in runs)] for label in labels]
    return Grid("recalls", "Recall of each class, %.", ["class", *(run.name for run in runs)], body)


def settings(runs: Sequence[Run]) -> Grid | None:
    """The knobs in which the runs differ; None if in none."""
    flat = [dict(page_tables.flat(dict(run.identity))) for run in runs]
    body = [[name, *line] for name in dict.fromkeys(name for knobs in flat for name in knobs)
            if len(set(line := [knobs.get(name, _NONE) for knobs in flat])) > 1]
    if not body:
        return None
    return Grid("settings", "Knobs in which the runs differ.", ["knob", *(run.name for run in runs)], body,
                1 + len(runs))


def verdict(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> list[str]:
    """The highest score, then each comparison, in sentences."""
    metrics = common_metrics(runs)
    if not metrics:
        return ["These runs have no metric in common."]
    metric = "UA" if "UA" in metrics else metrics[0]
    best = max(runs, key=lambda run: run.results.metrics[metric].mean)
    sentences = [f"{best.name} is highest: {html.stated(metric, best.results.metrics[metric])}"]
    for one in comparisons:
        gap = one.difference[metric]
        text = html.against(metric, one.other, gap, "same" if not one.unpaired else "other")
        test = f" Permutation over {one.speakers} speakers: p = {_p(one.exchange)}" if isinstance(
            one.exchange, float) else ""
        if test and len(comparisons) > 1 and one.adjusted:
            test += f", {_p(one.adjusted['exchange'])} by Holm"
        sentences.append(f"{one.run}: {text}{test}{'.' if test else ''}")
    return sentences


def _p(value: float) -> str:
    return Cell.number("< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}", value)
