"""A part of a corpus, and other classes than it has, without building its records again."""

import dataclasses
import difflib
import fnmatch

from sercl_jax import files
from sercl_jax.corpora import copies, index, registry
from sercl_jax.corpora.labels import canonical
from sercl_jax.corpora.reader import Corpus
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

FIELDS = ("id", "label", "speaker", "session", "sentence", "gender", "split", "fold")
_SHOWN = 12  # values that a message lists


def choose(corpus: Corpus, labels: str = "usual", where: str = "") -> Corpus:
    """Leaves utterances out and merges classes.

    Args:
      corpus: as its builder made it.
      labels: "all" keeps everything, also what is unlabelled. Otherwise classes, separated by commas, such as
        "angry,happy+excited,neutral,sad": `+` merges classes under the name of the first, and utterances of other
        classes are left out. "usual" is what papers on this corpus use (its builder's `USUAL_LABELS`); for most
        corpora that is "all".
      where: conditions FIELD=PATTERN, separated by commas, all of which must hold, such as "sentence=impro*". Fields
        are those of `Utterance` that hold text, with the corpus' own labels; patterns are those of file names
        (`*`, `?`, `[...]`), and upper and lower case differ.

    Returns:
      The same corpus if nothing changes; otherwise one with a key of its own, which depends on what was chosen, not
      on how it was said.

    Raises:
      UserError: an unknown class or field, a class named twice, nothing is left, or the usual classes do not have
        as many utterances as is published.
    """
    classes = _classes(corpus, labels)
    kept = [position for position, utterance in enumerate(corpus.utterances)
            if classes is None or utterance.label in classes]
    if labels.strip() == "usual":
        _check_count(corpus, len(kept))
    for condition in filter(None, (part.strip() for part in where.split(","))):
        kept = _matching(corpus, kept, condition)
    if not kept:
        raise UserError(f"corpus {corpus.name}: no utterance is left with config.data.labels={labels!r} and "
                        f"config.data.where={where!r}; widen them.")
    utterances = tuple(_relabelled(corpus.utterances[position], classes) for position in kept)
    if utterances == corpus.utterances:  # the same objects, so that unknown ratings (NaN) count as equal
        return corpus
    return dataclasses.replace(
        corpus, key=files.digest([corpus.key, [[utterance.id, utterance.label] for utterance in utterances]]),
        labels=tuple(sorted({utterance.label for utterance in utterances} - {""})), utterances=utterances,
        positions=tuple(corpus.positions[position] for position in kept),
        starts=tuple(corpus.starts[position] for position in kept) if corpus.starts else (),
        copies=copies.among((utterance.id for utterance in utterances), corpus.copies))


def _classes(corpus: Corpus, labels: str) -> dict[str, str] | None:
    """The corpus' label -> the class it belongs to; None for everything as it is."""
    spec = labels.strip()
    if spec == "usual":
        spec = registry.builder_class(corpus.name).USUAL_LABELS or "all"
    if spec == "all":
        return None
    classes: dict[str, str] = {}
    for group in spec.split(","):
        names = [canonical(name) for name in group.split("+")]
        for name in names:
            # The usual classes exist; all their utterances may have been skipped.
            if name not in corpus.labels and labels.strip() != "usual":
                raise UserError(f"config.data.labels={labels!r}: corpus {corpus.name} has no class {name!r}; "
                                f"{_known(name, (*corpus.labels, 'all', 'usual'))}.")
            if name in classes:
                raise UserError(f"config.data.labels={labels!r}: the class {name!r} is named twice; remove one.")
            classes[name] = names[0]
    return classes


def _check_count(corpus: Corpus, count: int) -> None:
    builder = registry.builder_class(corpus.name)
    if builder.USUAL_COUNT is None or (corpus.directory / index.SKIPPED).exists():  # on_error="skip" was told of
        return
    if count != builder.USUAL_COUNT:
        raise UserError(f"{corpus.directory}: corpus {corpus.name} has {count} utterances of its usual classes "
                        f"({builder.USUAL_LABELS}) instead of the published {builder.USUAL_COUNT}; remove the folder "
                        "and build it again from the original distribution.")


def _matching(corpus: Corpus, kept: list[int], condition: str) -> list[int]:
    field, equals, pattern = (part.strip() for part in condition.partition("="))
    if not equals or field not in FIELDS:
        raise UserError(f"config.data.where: {condition!r} is not FIELD=PATTERN with a field that exists; "
                        f"{_known(field, FIELDS)}.")
    values = {getattr(corpus.utterances[position], field) for position in kept}
    wanted = {value for value in values if fnmatch.fnmatchcase(value, pattern)}
    if values and not wanted:
        raise UserError(f"config.data.where: no utterance has a {field} like {pattern!r} among those chosen so far; "
                        f"{_known(pattern, tuple(sorted(values)))}.")
    return [position for position in kept if getattr(corpus.utterances[position], field) in wanted]


def _relabelled(utterance: Utterance, classes: dict[str, str] | None) -> Utterance:
    if classes is None or classes[utterance.label] == utterance.label:
        return utterance
    return dataclasses.replace(utterance, label=classes[utterance.label])


def _known(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    more = ", ..." if len(known) > _SHOWN else ""
    return f"{f'did you mean {near[0]!r}? ' if near else ''}Known: {', '.join(map(repr, known[:_SHOWN]))}{more}"
