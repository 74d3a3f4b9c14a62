"""Speakers, sentences and the worst mistakes of one run or of several: tables, figures and players."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sercl_jax.errors import UserError
from sercl_jax.ratings import DIMENSIONS
from sercl_jax.report import group_figure, groups, mistakes, recordings, values
from sercl_jax.report.grid import Cell, Grid
from sercl_jax.report.groups import Group
from sercl_jax.report.mistakes import Mistake
from sercl_jax.report.run import Run
from sercl_jax.report.style import Drawing

MOST_AUDIO = 24 * 2**20  # characters of all players of a page


@dataclass(frozen=True)
class Groups:
    """Speakers or sentences: their table, perhaps their figure, and a sentence about who is hard for all."""

    grid: Grid
    drawing: Drawing | None
    hardest: str


@dataclass(frozen=True)
class Listing:
    """Mistakes: their table and, line by line, where the recording can be heard: a data URI, "#ID" or ""."""

    title: str
    grid: Grid
    ids: Sequence[str]
    players: Sequence[str]


@dataclass
class Players:
    """The recordings of a page, each embedded once.

    Attributes:
      wanted: "yes", "no" or "auto" (unless the corpus is handed out on agreement only).
      notes: what the reader must know.
    """

    wanted: str
    notes: list[str] = field(default_factory=list)
    _used: int = 0
    _places: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, run: Run, ids: Sequence[str], prefix: str) -> list[str]:
        """For each utterance of a listing a data URI, "#PLACE" where it was embedded before, or ""."""
        if self.wanted == "no":
            self._note("To hear them: python -m sercl_jax.report and the folders of the runs.")
            return [""] * len(ids)
        if run.corpus is None:
            self._note(f"No players: {run.no_corpus}")
            return [""] * len(ids)
        if self.wanted == "auto" and (name := recordings.licensed(run.corpus)):
            self._note(f"No players: recordings of {name} are given on agreement only; --audio=yes embeds them.")
            return [""] * len(ids)
        if owners := recordings.owners(run.corpus):
            self._note(f"The licence of {' and '.join(owners)} goes for its recordings in this page, too.")
        numbers = {u.id: number for number, u in enumerate(run.corpus.utterances)}
        return [self._one(run, numbers[name], name, f"{prefix}-{place}") for place, name in enumerate(ids)]

    def _one(self, run: Run, number: int, name: str, place: str) -> str:
        assert run.corpus is not None
        known = self._places.setdefault((run.corpus.key, name), place)
        if known != place:
            return f"#{known}"
        try:
            sound, whole = recordings.player(run.corpus, number)
        except UserError as error:
            self._note(f"No player for {name}: {error}")
            return ""
        if self._used + len(sound) > MOST_AUDIO:
            self._note(f"Only the first recordings are here: the page holds {MOST_AUDIO >> 20} MiB of audio at most.")
            return ""
        self._used += len(sound)
        if not whole:
            self._note(f"Of recordings longer than {recordings.SECONDS} s only the beginning is here.")
        return sound

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def speakers(runs: Sequence[Run]) -> Groups | None:
    """How well each speaker is recognised; None if nothing was tested or fewer than two are known."""
    found = {run.name: groups.by_speaker(run.tested) for run in runs if run.tested}
    return _groups("speakers", "speaker", runs, found)


def sentences(runs: Sequence[Run]) -> Groups | None:
    """The same by sentence, of runs whose corpus is on this machine and repeats its sentences."""
    found = {run.name: groups.by_sentence(run.tested, run.corpus.utterances) for run in runs
             if run.tested and run.corpus is not None}
    return _groups("sentences", "sentence", runs, {name: groups for name, groups in found.items() if groups})


def _groups(name: str, kind: str, runs: Sequence[Run], found: Mapping[str, Mapping[str, Group]]) -> Groups | None:
    by_run = list(found.values())
    everyone = list(dict.fromkeys(group for run in by_run for group in run))
    if len(everyone) < 2:
        return None
    metric = groups.score_name(next(run for run in runs if run.tested).tested)
    several = len(found) > 1
    body = []
    for group in groups.order(everyone, by_run):
        count = max(run[group].n for run in by_run if group in run)
        body.append([group, Cell.number(str(count), count), *(
            Cell.score(metric, score) if group in run and (score := run[group].score) is not None else ""
            for run in by_run)])
    heading = values.heading(metric)
    grid = Grid(name, f"{heading} of each {kind}, mean over seeds, the hardest first.",
                [kind, "utterances", *([f"{run}, {heading}" for run in found] if several else [heading])], body)
    hard = groups.hardest_for_all(by_run) if several else []
    words = f"In the lowest quarter of every run: {', '.join(hard)}." if hard else ""
    drawing = group_figure.draw(name, kind, metric, found, any(run.results.synthetic for run in runs))
    return Groups(grid, drawing, words)


def worst(run: Run, found: Sequence[Mistake], title: str, name: str, players: Players) -> Listing | None:
    """A listing of these mistakes; None if there are none."""
    if not found:
        return None
    sentence = {} if run.corpus is None else {u.id: u.sentence for u in run.corpus.utterances}
    with_sentence = any(sentence.get(mistake.id) for mistake in found)
    header = ["utterance", "speaker", *["sentence"] * with_sentence]
    start = [[one.id, one.speaker, *[sentence.get(one.id, "")] * with_sentence] for one in found]
    if run.kind == "ratings":
        caption = "Ratings farthest off, given → predicted (mean over seeds); error: mean absolute, over dimensions."
        shown = [a for a in range(len(DIMENSIONS)) if any(one.truth[a] == one.truth[a] for one in found)]
        header += [*(DIMENSIONS[a] for a in shown), "error"]
        body = [[*line, *(_pair(float(one.truth[a]), float(one.predicted[a])) for a in shown),
                 Cell.number(f"{one.size:.2f}", one.size)] for line, one in zip(start, found, strict=True)]
    else:
        caption = ("Most confident wrong classes: margin is by how much the decision score of the class given "
                   "exceeds that of the true one, mean over runs; only this run's own margins can be compared.")
        header += ["true", "taken for", "wrong in", "margin"]
        body = [[*line, str(one.truth), str(one.predicted), f"{one.wrong} of {one.runs}",
                 Cell.number(f"{one.size:.2f}", one.size)] for line, one in zip(start, found, strict=True)]
    grid = Grid(name, caption, header, body, len(header) - 1)
    ids = [one.id for one in found]
    return Listing(title, grid, ids, players.of(run, ids, name))


def worst_of_each(runs: Sequence[Run], count: int, players: Players) -> list[Listing]:
    """What all runs get wrong, if there are several, then the worst of each."""
    found = {run.name: mistakes.of(run.tested) for run in runs if run.tested}
    tested = [run for run in runs if run.tested]
    listings = []
    if len(tested) > 1:
        heard = next((run for run in tested if run.corpus is not None), tested[0])
        own = {mistake.id: mistake for mistake in found[heard.name]}
        common = [own[name] for name in mistakes.shared(list(found.values()))[:count]]
        listings.append(worst(heard, common, f"Shared by all runs (figures: {heard.name})", "mistakes_shared",
                              players))
    for number, run in enumerate(tested):
        name = f"mistakes_{number + 1}" if len(tested) > 1 else "mistakes"
        listings.append(worst(run, found[run.name][:count], run.name, name, players))
    return [listing for listing in listings if listing is not None]


def _pair(truth: float, predicted: float) -> str:
    return "" if truth != truth else f"{truth:.2f} → {predicted:.2f}"
