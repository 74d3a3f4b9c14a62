"""A bundle's README.md: what the model is, how well it does, what it may be used for, whose data it was made of."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from sercl_jax.inference import licences
from sercl_jax.inference.card import Card

_TEMPLATE = "model_card.md.jinja"
_NAMES = {"UA": "UA (mean of per-class recalls)", "WA": "WA (accuracy)", "F1": "macro F1",
          "CCC_avg": "CCC, mean", "CCC_act": "CCC of activation", "CCC_val": "CCC of valence",
          "CCC_dom": "CCC of dominance"}
_METHODS = {
    "serugcl": ("SERUGCL: unsupervised graph contrastive learning",
                "Zhang, Sun and Zhang, Speech emotion recognition with unsupervised graph contrastive learning, "
                "Journal of Zhejiang University (Engineering Science) 60(4), 2026"),
    "cpc": ("contrastive predictive coding", "Li et al., Contrastive unsupervised learning for speech emotion "
            "recognition, ICASSP 2021"),
    "supcon": ("cross-corpus supervised contrastive learning of a speech encoder", "Xiang et al., 2024"),
}
_PRETRAINED = ("pre", "joint", "mini", "probe", "pretrain")  # set-ups that use the pre-training's corpus


def render(card: Card, sheet: Mapping[str, Any], name: str) -> str:
    """The text, Markdown with the front matter that model hubs read.

    Args:
      card: of the model; its facts hold config and results.
      sheet: of the bundle: inputs, programs, platforms.
      name: of the bundle.
    """
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"cell": _cell, "percent": _percent}
    method, paper = _METHODS.get(card.method, (card.method, ""))
    facts = card.facts
    longest = max(map(int, sheet["programs"]["results"]))
    return environment.get_template(_TEMPLATE).render(
        card=card, name=name, method=method, paper=paper, metrics=list(_metrics(facts)),
        synthetic=bool(facts.get("synthetic")),
        recalls=dict(facts.get("per_class") or {}), baselines=list(_baselines(facts)), protocol=_protocol(facts),
        warnings=[*facts.get("warnings", ()), *facts.get("protocol_sheet", {}).get("warnings", ())],
        licences=list(_licences(card)), inputs=sheet["inputs"], platforms=sheet["platforms"],
        lengths=sorted(map(int, sheet["programs"]["results"])), made_with=sheet["made_with"],
        batch=sheet["programs"]["results"][str(longest)]["inputs"],
        results=sheet["programs"]["results"][str(longest)]["outputs"])


def _metrics(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name, value in facts.get("metrics", {}).items():
        show = _correlation if name.startswith("CCC") else _percent
        low, high = value["ci95"]
        yield _NAMES.get(name, name), show(value["mean"]), f"{show(low)} to {show(high)}", show(value["std"])


def _baselines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, metric and ours - theirs, of the first metric that both have."""
    for baseline in facts.get("baselines", ()):
        for name, value in list(baseline["difference"].items())[:1]:
            show = _correlation if name.startswith("CCC") else _percent
            low, high = value["ci95"]
            yield baseline["name"], name, f"{show(value['mean'])} ({show(low)} to {show(high)})"


def _protocol(facts: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
                     for name, value in facts.get("protocol", {}).items())


def _licences(card: Card) -> Iterator[tuple[str, licences.Licence]]:
    """What each corpus was for, and its terms."""
    config = card.facts.get("config", {})
    sections = config.get("corpora") or {}
    own = "+".join(str(one.get("corpus", name)) for name, one in sections.items()) or card.corpus
    for licence in licences.of(own):
        yield "training", licence
    if config.get("setup") in _PRETRAINED and "pretrain_data" in config:
        for licence in licences.of(str(config["pretrain_data"].get("corpus", ""))):
            yield "pre-training", licence
    encoder = config.get("encoder", {}).get("kind", "")
    if card.method == "supcon" and encoder not in ("", "tiny", "cpc"):
        yield "start", licences.Licence(f"published weights of {encoder}", "see where they were published",
                                        "their terms hold for what was trained from them")


def _cell(text: Any) -> str:
    """Text that stays in its cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %".replace("-", "−")


def _correlation(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
