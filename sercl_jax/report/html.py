"""The pages: facts and figures into self-contained HTML. Every text from outside is escaped by the templates."""

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from sercl_jax.report import values
from sercl_jax.report.inputs import Results
from sercl_jax.report.style import Drawing
from sercl_jax.report.values import Estimate

_CORPORA = {"emodb": "EMO-DB", "iemocap": "IEMOCAP", "casia": "CASIA", "ravdess": "RAVDESS",
            "msp_podcast": "MSP-Podcast", "librispeech": "LibriSpeech", "demo": "the demo corpus",
            "demo_unlabelled": "the unlabelled demo corpus", "manifest": "a manifest's corpus"}
_PAPER_PROTOCOL = {
    False: "The paper does not state its protocol, so the difference to it is not like for like.",
    True: "The paper's folds and validation parts are its own, so the difference to it is not like for like."}
_METHODS = {"serugcl": "SERUGCL", "cpc": "CPC", "supcon": "SupCon"}


def render_report(results: Results, run: Mapping[str, Any], config: Mapping[str, Any],
                  drawings: Mapping[str, Drawing], warnings: Sequence[str]) -> str:
    """The report of one run.

    Args:
      results: checked results.
      run: `run.json` as it is; may be empty.
      config: every knob, nested; may be empty.
      drawings: figures by name; those absent leave their section out.
      warnings: what the reader must know, the results' own and the report's.
    """
    facts = {name: value for name, value in run.items() if name not in ("config", "versions", "command")}
    return _environment().get_template("page.html.jinja").render(
        results=results, drawings={name: _figure(drawing) for name, drawing in drawings.items()}, warnings=warnings,
        title=f"{_METHODS.get(results.method, results.method)} on {corpus_name(results)}",
        verdict=verdict(results), metrics=_metrics(results), differences=_differences(results),
        sheet=_sheet(results), facts=_flat(facts), protocol=_protocol(results),
        versions=_flat(run.get("versions", {})), config=_flat(config), runs=_records(results.runs),
        folds=_records(results.folds), seconds=[(name, f"{value:.1f} s") for name, value in results.seconds.items()],
        command=results.command or _plain(run.get("command", "")),
        pretraining=_flat(results.pretraining.facts if results.pretraining else {}),
        percent=any(map(values.is_percentage, results.metrics)), paper_protocol=_PAPER_PROTOCOL[results.rated])


def render_table(title: str, caption: str, header: Sequence[str], body: Sequence[Sequence[str]], drawing: Drawing,
                 key: str, synthetic: bool) -> str:
    """One table with its plot."""
    return _environment().get_template("table.html.jinja").render(
        title=title, caption=caption, header=header, body=body, drawing=_figure(drawing), key=key,
        synthetic=synthetic)


def corpus_name(results: Results) -> str:
    return _CORPORA.get(results.corpus, results.corpus)


def verdict(results: Results) -> list[str]:
    """The result in sentences: the first metric with its interval, then beside the paper and each baseline."""
    if not results.metrics:
        return ["Trained; nothing was held out to test it on."]
    metric = "UA" if "UA" in results.metrics else next(iter(results.metrics))
    ours = results.metrics[metric]
    unit = " %" if values.is_percentage(metric) else ""
    points = " points" if unit else ""
    between = ""
    if ours.ci is not None:
        between = f" (95 % interval {_short(metric, ours.ci[0])} to {_short(metric, ours.ci[1])})"
    sentences = [f"{_capital(values.name(metric))} {_short(metric, ours.mean)}{unit}{between}."]
    if metric in results.paper:
        paper = results.paper[metric]
        gap = ours.mean - paper.mean
        spread = f" ± {_short(metric, paper.std)}" if paper.std else ""
        sentences.append(f"{_short(metric, abs(gap))}{points} {'above' if gap >= 0 else 'below'} the paper's "
                         f"{_short(metric, paper.mean)}{spread}{unit}, {_paper_protocol(results)}.")
    for baseline in results.baselines:
        if metric in baseline.difference:
            sentences.append(_against(metric, baseline.name, baseline.difference[metric], points))
    return sentences


def _paper_protocol(results: Results) -> str:
    return "whose folds and validation parts are its own" if results.rated else "whose protocol is not stated"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _against(metric: str, name: str, gap: Estimate, points: str) -> str:
    text = f"{_short(metric, abs(gap.mean))}{points} {'above' if gap.mean >= 0 else 'below'} {name} on the same folds"
    if gap.ci is None:
        return text + "."
    low, high = gap.ci
    verb = "excludes" if low > 0 or high < 0 else "includes"
    return text + f"; the interval of that difference, {_signed(metric, low)} to {_signed(metric, high)}, {verb} 0."


def _short(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if values.is_percentage(metric) else f"{value:.3f}"


def _signed(metric: str, value: float) -> str:
    return f"{100 * value:+.1f}" if values.is_percentage(metric) else f"{value:+.3f}"


def _metrics(results: Results) -> list[tuple[str, list[tuple[str, ...]]]]:
    """(metric, [(system, mean and spread, interval)]), this run's first.

    The paper is one more system or, where it has values for the baselines, too, one more column.
    """
    groups = []
    systems = [(values.ours(results.protocol), results.metrics, results.paper),
               *((b.name, b.metrics, b.paper) for b in results.baselines)]
    for metric in results.metrics:
        lines: list[tuple[str, ...]] = []
        for name, measured, paper in systems:
            if metric in measured:
                line = (name, values.estimate(metric, measured[metric]), values.interval(metric, measured[metric].ci))
                beside = values.estimate(metric, paper[metric]) if metric in paper else ""
                lines.append((*line, beside) if results.paper_beside else line)
        if metric in results.paper and not results.paper_beside:
            lines.append(("Paper", values.estimate(metric, results.paper[metric]), "not stated"))
        groups.append((values.heading(metric), lines))
    return groups


def _differences(results: Results) -> list[dict[str, str]]:
    lines = []
    for baseline in results.baselines:
        for metric, gap in baseline.difference.items():
            lines.append({"metric": values.name(metric), "other": baseline.name,
                          "value": values.difference(metric, gap.mean), "paired": "paired",
                          "interval": values.interval(metric, gap.ci, signed=True)})
    for metric, paper in results.paper.items():
        if metric in results.metrics:
            lines.append({"metric": metric, "other": "Paper", "paired": "not paired",
                          "value": values.difference(metric, results.metrics[metric].mean - paper.mean),
                          "interval": ""})
    return lines


def _sheet(results: Results) -> dict[str, Any]:
    """The protocol sheet as header and lines; the tested utterances of each class get a column each."""
    if not results.protocol_sheet:
        return {}
    plain = [name for name in dict.fromkeys(name for line in results.protocol_sheet for name in line)
             if not name.endswith("classes")]
    tested = [line.get("test_classes") or {} for line in results.protocol_sheet]
    labels = list(dict.fromkeys(label for counts in tested for label in counts))
    return {"header": ["fold" if name == "name" else name.replace("_", " ") for name in plain] + labels,
            "body": [[_plain(line.get(name, "")) for name in plain] + [_plain(counts.get(label, 0))
                                                                       for label in labels]
                     for line, counts in zip(results.protocol_sheet, tested, strict=True)]}


def _protocol(results: Results) -> list[tuple[str, str]]:
    plain = {"protocol" if name == "name" else name.replace("_", " "): value
             for name, value in results.protocol.items() if name not in ("seeds", "fold_seeds")}
    return [*_flat(plain), ("runs", _runs(results))]


def _records(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Objects of one kind as a table; fractions between 0 and 1 as percentages under UA, WA and F1, CCC as it is."""
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        return {}
    scores = [name for name in names if name in ("UA", "WA", "F1") or not values.is_percentage(name)]
    header = [values.heading(name) if name in scores else name.replace("_", " ") for name in names]
    body = [[values.number(name, record[name]) if name in scores and isinstance(record.get(name), float | int)
             else _plain(record.get(name, "")) for name in names] for record in records]
    return {"header": header, "body": body}


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested objects as (dotted key, text) pairs."""
    if not isinstance(value, dict):
        return [(prefix, _plain(value))] if prefix or value else []
    pairs: list[tuple[str, str]] = []
    for name, inner in value.items():
        pairs += _flat(inner, f"{prefix}.{name}" if prefix else str(name))
    return pairs


def _plain(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return str(value)


def _runs(results: Results) -> str:
    if not results.runs:
        return f"seed {_plain(results.seed)}"
    seeds = sorted({str(run["seed"]) for run in results.runs if "seed" in run})
    folds = sorted({str(run["fold_seed"]) for run in results.runs if "fold_seed" in run})
    text = f"{len(results.runs)}: seed {', '.join(seeds)}"
    return text + (f" × fold seed {', '.join(folds)}" if folds else "")


def _figure(drawing: Drawing) -> dict[str, Any]:
    # The SVG is matplotlib's and escapes its own texts; everything else is escaped by the template.
    return {"name": drawing.name, "title": drawing.title, "caption": drawing.caption, "svg": Markup(drawing.svg)}


def _minus(text: str) -> str:
    """A true minus sign before numbers."""
    return re.sub(r"(?<![\w.-])-(?=\d)", "−", text)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.FunctionLoader(_source), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["minus"] = _minus
    return environment


def _source(name: str) -> str:
    return resources.files("sercl_jax.report").joinpath(name).read_text(encoding="utf-8")
