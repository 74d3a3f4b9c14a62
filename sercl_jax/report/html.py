"""The pages: facts and figures into self-contained HTML. Every text from outside is escaped by the templates."""

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from sercl_jax.report import page_tables, values
from sercl_jax.report.grid import Grid
from sercl_jax.report.inputs import Results
from sercl_jax.report.style import Drawing
from sercl_jax.report.values import Estimate

_CORPORA = {"emodb": "EMO-DB", "iemocap": "IEMOCAP", "casia": "CASIA", "ravdess": "RAVDESS",
            "msp_podcast": "MSP-Podcast", "librispeech": "LibriSpeech", "demo": "the demo corpus",
            "demo_unlabelled": "the unlabelled demo corpus", "manifest": "a manifest's corpus",
            "folder": "a folder of recordings"}
PAPER_PROTOCOL = {
    False: "The paper does not state its protocol, so the difference to it is not like for like.",
    True: "The paper's folds and validation parts are its own, so the difference to it is not like for like."}
_METHODS = {"serugcl": "SERUGCL", "cpc": "CPC", "supcon": "SupCon"}


def render_report(results: Results, run: Mapping[str, Any], config: Mapping[str, Any],
                  drawings: Mapping[str, Drawing], grids: Mapping[str, Grid], detail: Mapping[str, Any],
                  warnings: Sequence[str]) -> str:
    """The report of one run.

    Args:
      results: checked results.
      run: `run.json` as it is; may be empty.
      config: every knob, nested; may be empty.
      drawings: figures by name; those absent leave their section out.
      grids: tables by name, likewise.
      detail: "listings" of mistakes (`details.Listing`) and "audio_notes".
      warnings: what the reader must know, the results' own and the report's.
    """
    facts = {name: value for name, value in run.items() if name not in ("config", "versions", "command")}
    return _environment().get_template("page.html.jinja").render(
        results=results, drawings=figures(drawings), grids=grids, warnings=warnings, **detail,
        title=f"{method_name(results)} on {corpus_name(results)}",
        verdict=verdict(results), scores=_scores(grids), facts=page_tables.flat(facts), protocol=protocol(results),
        versions=page_tables.flat(run.get("versions", {})), config=page_tables.flat(config),
        seconds=[(name, f"{value:.1f} s") for name, value in results.seconds.items()],
        command=results.command or page_tables.plain(run.get("command", "")),
        pretraining=page_tables.flat(results.pretraining.facts if results.pretraining else {}))


def render_comparison(title: str, **content: Any) -> str:
    """The comparison of several runs; `content` is what the template names."""
    return _environment().get_template("compare.html.jinja").render(title=title, **content)


def render_table(title: str, caption: str, header: Sequence[str], body: Sequence[Sequence[str]], drawing: Drawing,
                 key: str, synthetic: bool) -> str:
    """One table with its plot."""
    return _environment().get_template("table.html.jinja").render(
        title=title, caption=caption, header=header, body=body, drawing=_figure(drawing), key=key,
        synthetic=synthetic)


def corpus_name(results: Results) -> str:
    return _CORPORA.get(results.corpus, results.corpus)


def method_name(results: Results) -> str:
    return _METHODS.get(results.method, results.method)


def verdict(results: Results) -> list[str]:
    """The result in sentences: the first metric with its interval, then beside the paper and each baseline."""
    if not results.metrics:
        return ["Trained; nothing was held out to test it on."]
    metric = "UA" if "UA" in results.metrics else next(iter(results.metrics))
    ours = results.metrics[metric]
    unit = " %" if values.is_percentage(metric) else ""
    sentences = [stated(metric, ours)]
    if metric in results.paper:
        paper = results.paper[metric]
        gap = ours.mean - paper.mean
        spread = f" ± {_short(metric, paper.std)}" if paper.std else ""
        sentences.append(f"{_short(metric, abs(gap))}{_points(metric)} {'above' if gap >= 0 else 'below'} the "
                         f"paper's {_short(metric, paper.mean)}{spread}{unit}, {_paper_protocol(results)}.")
    for baseline in results.baselines:
        if metric in baseline.difference:
            sentences.append(against(metric, baseline.name, baseline.difference[metric]))
    return sentences


def stated(metric: str, value: Estimate) -> str:
    """A score with its interval, as a sentence."""
    unit = " %" if values.is_percentage(metric) else ""
    between = "" if value.ci is None else (f" (95 % interval {_short(metric, value.ci[0])} to "
                                           f"{_short(metric, value.ci[1])})")
    return f"{_capital(values.name(metric))} {_short(metric, value.mean)}{unit}{between}."


def _points(metric: str) -> str:
    return " points" if values.is_percentage(metric) else ""


def _paper_protocol(results: Results) -> str:
    return "whose folds and validation parts are its own" if results.rated else "whose protocol is not stated"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def against(metric: str, name: str, gap: Estimate, folds: str = "same") -> str:
    """A difference as a sentence; `folds` says whether both were tested on the "same" or on "other" ones."""
    text = (f"{_short(metric, abs(gap.mean))}{_points(metric)} {'above' if gap.mean >= 0 else 'below'} {name} "
            + ("on the same folds" if folds == "same" else "(not paired)"))
    if gap.ci is None:
        return text + "."
    low, high = gap.ci
    verb = "excludes" if low > 0 or high < 0 else "includes"
    return text + f"; the interval of that difference, {_signed(metric, low)} to {_signed(metric, high)}, {verb} 0."


def _short(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if values.is_percentage(metric) else f"{value:.3f}"


def _signed(metric: str, value: float) -> str:
    return f"{100 * value:+.1f}" if values.is_percentage(metric) else f"{value:+.3f}"


def protocol(results: Results) -> list[tuple[str, str]]:
    plain = {"protocol" if name == "name" else name.replace("_", " "): value
             for name, value in results.protocol.items() if name not in ("seeds", "fold_seeds")}
    return [*page_tables.flat(plain), ("runs", _runs(results))]


def _runs(results: Results) -> str:
    if not results.runs:
        return f"seed {page_tables.plain(results.seed)}"
    seeds = sorted({str(run["seed"]) for run in results.runs if "seed" in run})
    folds = sorted({str(run["fold_seed"]) for run in results.runs if "fold_seed" in run})
    text = f"{len(results.runs)}: seed {', '.join(seeds)}"
    return text + (f" × fold seed {', '.join(folds)}" if folds else "")


def figures(drawings: Mapping[str, Drawing]) -> dict[str, dict[str, Any]]:
    """Figures as the templates take them."""
    return {name: _figure(drawing) for name, drawing in drawings.items()}


def _scores(grids: Mapping[str, Grid]) -> list[tuple[str, list[Sequence[str]]]]:
    """(metric, its lines without the metric), this run's first."""
    groups: dict[str, list[Sequence[str]]] = {}
    for line in grids["scores"].body if "scores" in grids else []:
        groups.setdefault(line[0], []).append(line[1:])
    return list(groups.items())


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
