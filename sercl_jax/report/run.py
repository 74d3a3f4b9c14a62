"""A finished run as reports see it: everything that lies in its workdir, and the corpus that it was tested on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sercl_jax.corpora import AnyCorpus
from sercl_jax.errors import UserError
from sercl_jax.report import inputs, recordings, tested
from sercl_jax.report.inputs import Curve, Embeddings, Results
from sercl_jax.report.tested import Tested

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What is missing or unreadable is empty or None, and told in `problems`.

    Attributes:
      name: what the page calls it.
      workdir: its folder.
      results: `results.json`.
      facts: `run.json`.
      config: every knob, nested.
      identity: the knobs that decide the result, without places (`config.json`).
      curves: the training logs.
      embeddings: what the classifier saw.
      tested: test predictions, run by run (seed by seed).
      corpus: of the tested utterances, if its records are on this machine.
      no_corpus: why there is none.
      problems: what the reader must know of the files.
    """

    name: str
    workdir: Path
    results: Results
    facts: Mapping[str, Any]
    config: Mapping[str, Any]
    identity: Mapping[str, Any]
    curves: Sequence[Curve]
    embeddings: Embeddings | None
    tested: Tested
    corpus: AnyCorpus | None
    no_corpus: str
    problems: Sequence[str]

    @property
    def kind(self) -> str:
        """What was predicted: "classes", "ratings" or "frames" (a pre-training)."""
        if self.results.rated:
            return "ratings"
        return "classes" if self.results.labels else "frames"

    @property
    def command(self) -> str:
        command = self.facts.get("command", [])
        return self.results.command or (" ".join(map(str, command)) if isinstance(command, list) else str(command))


def load(workdir: Path, name: str = "", cache_dir: Path | None = None) -> Run:
    """Reads a finished run.

    Args:
      workdir: its folder.
      name: what to call it; the folder's name if empty.
      cache_dir: where records lie, if not where the run had them.

    Raises:
      UserError: there is no such run, it is unfinished, or `results.json` is malformed (the message names the key).
    """
    _check(workdir)
    results = inputs.read_results(workdir / "results.json")
    problems: list[str] = []
    facts = _object(workdir / "run.json", problems)
    identity = _object(workdir / "config.json", problems)
    config = facts["config"] if isinstance(facts.get("config"), dict) else identity
    embeddings = optional(inputs.read_embeddings, workdir / "embeddings.npz", problems)
    predicted: Tested = optional(lambda path: tested.read(path, results.labels), workdir / "predictions.csv",
                                 problems) or []
    corpus, no_corpus = None, "no predictions"
    if predicted:
        try:
            corpus = recordings.open_corpus(workdir, config, {
                name: speaker for run in predicted for name, speaker in zip(run.ids, run.speakers, strict=True)},
                cache_dir)
        except UserError as error:
            no_corpus = str(error)
    return Run(name or workdir.resolve().name, workdir, results, facts, config, identity or config,
               inputs.read_curves(workdir), embeddings, predicted, corpus, no_corpus, problems)


def optional(reader: Callable[[Path], T | None], path: Path, problems: list[str]) -> T | None:
    """What an optional file holds; what is wrong with it goes to `problems`."""
    if not path.exists():
        return None
    try:
        return reader(path)
    except UserError as error:
        problems.append(str(error))
        return None


def _check(workdir: Path) -> None:
    if (workdir / "results.json").exists():
        return
    if not workdir.is_dir():
        raise UserError(f"{workdir}: there is no such folder; give the --workdir of a finished run.")
    if (workdir / "config.json").exists():
        raise UserError(f"{workdir}: the run has not finished (results.json is not found); give its command again, "
                        "and it goes on where it was.")
    rows = sorted(path.parent for path in workdir.glob("rows/*/results.json"))
    hint = f"; it is a table's, whose runs are in {workdir}/rows: {rows[0].name}, ..." if rows else ""
    raise UserError(f"{workdir}: the folder holds no run (results.json is not found){hint}.")


def _object(path: Path, problems: list[str]) -> dict[str, Any]:
    found = optional(inputs.read_json, path, problems)
    return found if isinstance(found, dict) else {}
