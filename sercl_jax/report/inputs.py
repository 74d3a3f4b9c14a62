"""Reads what a run left in its workdir. `results.json` must be whole; everything else may be missing."""

import csv
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from sercl_jax.errors import UserError
from sercl_jax.report import values
from sercl_jax.report.values import Estimate
from sercl_jax.results import PREDICTED

_MISSING: Any = object()
_AGAIN = "evaluate again to write it anew."


@dataclass(frozen=True)
class Baseline:
    """Another system on the identical folds; `difference` is ours minus it, paired; `paper` is what is published."""

    name: str
    metrics: Mapping[str, Estimate]
    difference: Mapping[str, Estimate]
    paper: Mapping[str, Estimate]


@dataclass(frozen=True)
class Pretraining:
    """What an unsupervised first stage was trained on, and how well it tells what comes next."""

    facts: Mapping[str, Any]  # such as corpus and hours
    identified: Sequence[float]  # fraction for k = 1, 2, ... steps ahead; may be empty
    untrained: Sequence[float]  # the same of the network before training; may be empty
    chance: float | None


@dataclass(frozen=True)
class Results:
    """`results.json`, checked. Absent optional parts are empty or None."""

    method: str
    corpus: str
    protocol: Mapping[str, Any]
    seed: Any
    labels: Sequence[str]
    metrics: Mapping[str, Estimate]
    folds: Sequence[Mapping[str, Any]]
    confusion: np.ndarray | None  # [K, K], rows are the true classes
    seconds: Mapping[str, float]
    runs: Sequence[Mapping[str, Any]]
    per_class: Mapping[str, float]
    baselines: Sequence[Baseline]
    probes: Mapping[str, Mapping[str, Estimate]]
    label_efficiency: Sequence[tuple[float, Mapping[str, Estimate]]]
    protocol_sheet: Sequence[Mapping[str, Any]]  # one line for each fold
    left_out: int  # labelled utterances that no fold tests
    warnings: Sequence[str]
    notes: Sequence[str]
    synthetic: bool
    command: str
    paper: Mapping[str, Estimate]
    pretraining: Pretraining | None
    similarity: Mapping[str, Mapping[str, Sequence[float]]]  # "before" and "after" -> kind of pairs -> each layer

    @property
    def rated(self) -> bool:
        """Whether ratings were predicted, not classes."""
        return any(not values.is_percentage(metric) for metric in self.metrics)

    @property
    def paper_beside(self) -> bool:
        """Whether the paper has values for the baselines, too."""
        return any(baseline.paper for baseline in self.baselines)


@dataclass(frozen=True, eq=False)
class Curve:
    """The log of one training: column -> [points], with `step` or `epoch` in increasing order."""

    name: str  # path of the log in the workdir
    columns: Mapping[str, np.ndarray]
    run: str = ""  # of which run, where several are compared

    @property
    def series(self) -> str:
        """What it shares with trainings that differ in seed or fold only: its folder's name up to "-seed".

        Of several runs, each is a series.
        """
        if self.run:
            return self.run
        *_, folder, stage, _ = ("", "", *self.name.split("/"))
        return folder.split("-seed")[0] or stage


@dataclass(frozen=True)
class Embeddings:
    """What the classifier saw: U utterances, D wide."""

    labels: Sequence[str]
    speakers: Sequence[str]
    values: np.ndarray  # [U, D]
    untrained: np.ndarray | None  # [U, D], of the same network before training


@dataclass(frozen=True)
class Ratings:
    """Test predictions of one seed: U utterances, A dimensions."""

    seed: str
    dimensions: Sequence[str]
    truth: np.ndarray  # [U, A], NaN where unrated
    predicted: np.ndarray  # [U, A]


class _Value:
    """A value of a JSON file that knows where it stands, for messages that name the key."""

    def __init__(self, path: Path, key: str, value: Any) -> None:
        self.path, self.key, self.value = path, key, value

    def fail(self, wanted: str) -> NoReturn:
        if self.value is _MISSING:
            raise UserError(f"{self.path}: {self.key} is missing ({wanted} expected); {_AGAIN}")
        found = json.dumps(self.value, ensure_ascii=False)
        found = found if len(found) <= 60 else found[:57] + "..."
        raise UserError(f"{self.path}: {self.key} should be {wanted}, found {found}; {_AGAIN}")

    @property
    def absent(self) -> bool:
        return self.value is _MISSING or self.value is None

    def get(self, name: str) -> "_Value":
        return _Value(self.path, f"{self.key}.{name}" if self.key else name, self.object().get(name, _MISSING))

    def object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            self.fail("an object")
        return self.value

    def mapping(self) -> dict[str, "_Value"]:
        return {} if self.absent else {name: self.get(name) for name in self.object()}

    def items(self) -> list["_Value"]:
        if self.absent:
            return []
        if not isinstance(self.value, list):
            self.fail("a list")
        return [_Value(self.path, f"{self.key}[{i}]", item) for i, item in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            self.fail("text")
        return self.value

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.fail("a number")
        return float(self.value)

    def estimate(self) -> Estimate:
        """`{"mean", "std", "ci95"}`, of which only the mean is needed, or a bare number."""
        if not isinstance(self.value, dict):
            return Estimate(self.number())
        std, ci = self.get("std"), self.get("ci95")
        ends = [end.number() for end in ci.items()]
        if len(ends) not in (0, 2):
            ci.fail("[low, high]")
        return Estimate(self.get("mean").number(), None if std.absent else std.number(),
                        (ends[0], ends[1]) if ends else None)

    def estimates(self) -> dict[str, Estimate]:
        return {name: value.estimate() for name, value in self.mapping().items()}


def read_results(path: Path) -> Results:
    """Reads and checks `results.json`.

    Raises:
      UserError: the file is missing, is not JSON, or a key is missing or of the wrong kind; the message names it.
    """
    root = _Value(path, "", read_json(path))
    if not isinstance(root.value, dict):
        raise UserError(f"{path}: should hold a JSON object; {_AGAIN}")
    labels = [label.text() for label in root.get("labels").items()]
    metrics = root.get("metrics")
    if metrics.absent or not (metrics.object() or "pretraining" in root.value):
        metrics.fail("an object with at least one metric")
    probes = root.get("probes").mapping()
    sheet = root.get("protocol_sheet")
    efficiency = probes.pop("label_efficiency", _Value(path, "probes.label_efficiency", _MISSING))
    return Results(
        method=root.get("method").text(), corpus=root.get("corpus").text(), protocol=root.get("protocol").object(),
        seed=root.value.get("seed"), labels=labels, metrics=metrics.estimates(),
        folds=[fold.object() for fold in root.get("folds").items()],
        confusion=_confusion(root.get("confusion"), len(labels)),
        seconds={name: value.number() for name, value in root.get("seconds").mapping().items()},
        runs=[run.object() for run in root.get("runs").items()],
        per_class={name: value.number() for name, value in root.get("per_class").mapping().items()
                   if not value.absent},
        baselines=[_baseline(item) for item in root.get("baselines").items()],
        probes={name: _probe(probe) for name, probe in probes.items() if not probe.absent},
        label_efficiency=[_share(item) for item in efficiency.items()],
        protocol_sheet=[line.object() for line in sheet.get("folds").items()] if not sheet.absent else [],
        left_out=0 if sheet.absent or sheet.get("left_out").absent else int(sheet.get("left_out").number()),
        warnings=[item.text() for item in root.get("warnings").items()]
        + ([item.text() for item in sheet.get("warnings").items()] if not sheet.absent else []),
        notes=[item.text() for item in root.get("notes").items()]
        + ([item.text() for item in sheet.get("notes").items()] if not sheet.absent else []),
        synthetic=bool(root.value.get("synthetic")),
        command="" if root.get("command").absent else root.get("command").text(),
        paper=_paper(root), pretraining=_pretraining(root.get("pretraining")),
        similarity={when: {kind: [layer.number() for layer in layers.items()]
                           for kind, layers in kinds.mapping().items()}
                    for when, kinds in root.get("similarity").mapping().items()})


def chance(results: Results, config: Mapping[str, Any]) -> float | None:
    """Of telling the next frame from its negatives by guessing: from the results, or else from the config."""
    if results.pretraining is not None and results.pretraining.chance is not None:
        return results.pretraining.chance
    negatives = config["cpc"].get("negatives") if isinstance(config.get("cpc"), dict) else None
    return 1 / (1 + negatives) if isinstance(negatives, int) else None


def read_json(path: Path) -> Any:
    """Reads strict JSON; NaN is not JSON."""
    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run the evaluation first, or check --workdir.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {_AGAIN}") from error


def _confusion(value: _Value, classes: int) -> np.ndarray | None:
    if value.absent:
        return None
    lines = [[cell.number() for cell in line.items()] for line in value.items()]
    if not lines:
        return None
    if len(lines) != classes or any(len(line) != classes for line in lines):
        value.fail(f"a {classes} x {classes} matrix, one line for each of the labels")
    return np.asarray(lines)


def _baseline(value: _Value) -> Baseline:
    return Baseline(value.get("name").text(), value.get("metrics").estimates(), value.get("difference").estimates(),
                    _paper(value))


def _paper(value: _Value) -> dict[str, Estimate]:
    return {name: found.estimate() for name, found in value.get("paper").mapping().items() if not found.absent}


def _pretraining(value: _Value) -> Pretraining | None:
    if value.absent:
        return None
    facts = {name: found for name, found in value.object().items() if name != "identified"}
    found = value.get("identified")
    if found.absent:
        return Pretraining(facts, [], [], None)
    chance = found.get("chance")
    shares, untrained = ([share.number() for share in found.get(name).items()] for name in ("k", "untrained"))
    return Pretraining(facts, shares, untrained, None if chance.absent else chance.number())


def _probe(value: _Value) -> dict[str, Estimate]:
    chance = value.get("chance")
    return {"UA": value.get("UA").estimate()} | ({} if chance.absent else {"chance": chance.estimate()})


def _share(value: _Value) -> tuple[float, dict[str, Estimate]]:
    names = [name for name in value.object() if name != "share"]
    return value.get("share").number(), {name: value.get(name).estimate() for name in names}


def read_curves(workdir: Path) -> list[Curve]:
    """Every `metrics*.jsonl` in the workdir and under its `train/`, by path.

    A step that was logged twice, before and after a resumption, counts once, as logged last. Lines that are not
    whole JSON objects (the last one of a run that was killed) are passed over.
    """
    paths = {*workdir.glob("metrics*.jsonl"), *(workdir / "train").glob("**/metrics*.jsonl")}
    curves = []
    for path in sorted(paths):
        lines: dict[float, dict[str, float]] = {}
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            line = _log_line(text)
            if "step" in line:
                lines[line["step"]] = line
        if lines:
            ordered = [lines[step] for step in sorted(lines)]
            names = {name for line in ordered for name in line}
            curves.append(Curve(path.relative_to(workdir).as_posix(), {
                name: np.array([line.get(name, np.nan) for line in ordered]) for name in sorted(names)}))
    return curves


def _log_line(text: str) -> dict[str, float]:
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(line, dict):
        return {}
    return {name: float(value) for name, value in line.items()
            if isinstance(value, int | float) and not isinstance(value, bool)}


def read_embeddings(path: Path) -> Embeddings:
    """Reads `embeddings.npz`: labels, speakers, embeddings [U, D] and perhaps untrained [U, D].

    Raises:
      UserError: it is not such a file.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = {"labels", "speakers", "embeddings"} - set(file.files)
            if missing:
                raise UserError(f"{path}: lacks {', '.join(sorted(missing))}; embed again to write it anew.")
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); embed again to write it anew.") from error
    vectors = arrays["embeddings"]
    for name in ("embeddings", *(["untrained"] if "untrained" in arrays else [])):
        if arrays[name].ndim != 2 or not np.isfinite(arrays[name]).all():
            raise UserError(f"{path}: {name} should be finite numbers [U, D], found shape {arrays[name].shape} with "
                            f"{int((~np.isfinite(arrays[name])).sum())} values that are not finite; embed again.")
    for name in ("labels", "speakers", *(["untrained"] if "untrained" in arrays else [])):
        if len(arrays[name]) != len(vectors):
            raise UserError(f"{path}: {name} has {len(arrays[name])} entries for {len(vectors)} embeddings; "
                            "embed again to write it anew.")
    return Embeddings([_text(label) for label in arrays["labels"]], [_text(name) for name in arrays["speakers"]],
                      vectors, arrays.get("untrained"))


def read_ratings(path: Path) -> Ratings | None:
    """Reads the first seed of a `predictions.csv` of ratings; None if it is one of classes.

    Raises:
      UserError: it is neither.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            dimensions = [name.removeprefix(PREDICTED) for name in table.fieldnames or ()
                          if name.startswith(PREDICTED)]
            if not dimensions:
                return None
            rows = [(row["seed"], ([math.nan if row[name] == "" else float(row[name]) for name in dimensions],
                                   [float(row[PREDICTED + name]) for name in dimensions])) for row in table]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); {_AGAIN}") from error
    if not rows:
        return None
    seed = rows[0][0]
    both = np.array([found for other, found in rows if other == seed])
    return Ratings(seed, dimensions, both[:, 0], both[:, 1])


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
