"""EmoBox's published folds, on our utterances.

EmoBox (Ma et al., INTERSPEECH 2024; https://github.com/emo-box/EmoBox) publishes who trains and who is tested for 32
corpora. Only its fold files are read. What is known to be wrong there is not taken over: speakers are ours, labels
are compared, never used. A validation part counts where it is not empty, which is where a corpus has an official one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sercl_jax.corpora.labels import canonical
from sercl_jax.errors import UserError
from sercl_jax.splits import emobox_files, matching
from sercl_jax.splits.emobox_files import Dataset, Line
from sercl_jax.splits.folds import Fold, Request
from sercl_jax.splits.published import Published

_NO_LABEL = ("x", "no-agreement")  # MSP-Podcast, where raters disagree


@dataclass
class _Corpus:
    """What is known of the corpus: place in the rows by id, and the labels it was built with."""

    place: dict[str, int]
    label: Mapping[str, str]
    built: Mapping[str, str]
    published: Published
    names: matching.Names


def folds(request: Request) -> list[Fold]:
    """One fold for each folder `fold_<k>`; its notes say how many utterances are left out and why.

    An utterance that the corpus has and EmoBox does not is neither trained on nor tested.

    Raises:
      UserError: there are no such files, they are damaged, they name utterances that the corpus lacks, an utterance
        is in two parts of a fold or tested twice, or a label contradicts ours.
    """
    given = request.published
    if given is None:
        raise UserError("protocol=emobox needs the published fold files: --config.data.emobox_dir=DIR, a clone of "
                        "https://github.com/emo-box/EmoBox.")
    dataset = emobox_files.read(given.directory, given.corpus)
    rows = request.rows.utterances
    label = {u.id: u.label for u in rows}
    built = given.labels or label
    corpus = _Corpus({u.id: n for n, u in enumerate(rows)}, label, built, given,
                     matching.Names([*built, *(name for name in given.skipped if name not in built)]))
    ids = _ids(dataset, corpus)
    if request.targets == "labels":
        _check_labels(dataset, ids, corpus)
    made = [_fold(name, parts, ids, corpus, request) for name, parts in dataset.folds.items()]
    empty = [fold.name for fold in made if not len(fold.test)]
    if len(empty) == len(made):
        raise UserError(f"{dataset.directory}: none of the utterances that EmoBox tests is among those chosen; widen "
                        "config.data.labels and config.data.where.")
    _check_once(dataset, ids)
    kept = [fold for fold in made if len(fold.test)]
    if empty:
        first = kept[0]
        note = f"Nothing that is tested in {', '.join(empty)} is among the utterances that were chosen."
        kept[0] = Fold(first.name, first.train, first.test, first.validation, (*first.notes, note))
    return kept


def _ids(dataset: Dataset, corpus: _Corpus) -> dict[str, str]:
    """EmoBox's key -> our id, for everything in the fold files."""
    lines = {line.key: line for parts in dataset.folds.values() for part in parts.values() for line in part}
    found, lacking = matching.match(corpus.names, [(line.key, line.wav) for line in lines.values()])
    if lacking:
        example = lines[lacking[0]]
        raise UserError(
            f"{example.place}: {example.wav or example.key} is not in corpus {corpus.published.corpus}, nor are "
            f"{len(lacking) - 1} others of the {len(lines)} utterances of EmoBox's {dataset.name}; these folds need "
            "the complete corpus. Give it, or choose another protocol.")
    first: dict[str, str] = {}
    for key, name in found.items():
        if first.setdefault(name, key) != key:
            raise UserError(f"{lines[key].place}: {key} and {first[name]} are both the utterance {name!r} here; its "
                            "id does not tell them apart, so these folds cannot be used.")
    return found


def _check_labels(dataset: Dataset, ids: Mapping[str, str], corpus: _Corpus) -> None:
    allowed: dict[str, set[str]] = {}
    for parts in dataset.folds.values():
        for part in parts.values():
            for line in part:
                name = ids[line.key]
                if line.emotion not in allowed:
                    allowed[line.emotion] = _meanings(line.emotion, dataset.labels)
                ours = {canonical(labels[name]) for labels in (corpus.built, corpus.label) if name in labels}
                if ours and not ours & allowed[line.emotion]:
                    raise UserError(
                        f"{line.place}: {line.key} is {line.emotion!r} for EmoBox "
                        f"({dataset.meaning(line.emotion)}), and {'/'.join(sorted(ours)) or 'unlabelled'} in corpus "
                        f"{corpus.published.corpus}; the files belong to another release of the corpus.")


def _meanings(emotion: str, labels: Mapping[str, str]) -> set[str]:
    """Every name of ours that a label of theirs may have."""
    words = {emotion, labels.get(emotion, ""), labels.get(emotion.lower(), "")} - {""}
    return {"" if word.lower() in _NO_LABEL else canonical(word) for word in words}


def _fold(name: str, parts: Mapping[str, Sequence[Line]], ids: Mapping[str, str], corpus: _Corpus,
          request: Request) -> Fold:
    _check_apart(name, parts, ids)
    chosen: dict[str, np.ndarray] = {}
    missing: list[str] = []
    for part, lines in parts.items():
        here = [ids[line.key] for line in lines]
        places = sorted(corpus.place[one] for one in here if one in corpus.place)
        chosen[part] = np.array(places, dtype=np.int64)
        missing += [one for one in here if one not in corpus.place]
    skipped = sum(one in corpus.published.skipped for one in missing)
    word = "label" if request.targets == "labels" else "rating"
    notes = [f"{count} of EmoBox's utterances are left out, because {reason}." for count, reason in (
        (skipped, "their audio cannot be used"),
        (len(missing) - skipped, f"they have no {word}, or because of config.data.labels or config.data.where"))
        if count]
    valid = chosen.get("valid", np.arange(0))
    return Fold(name, chosen["train"], chosen["test"], valid if len(valid) else None, tuple(notes))


def _check_apart(name: str, parts: Mapping[str, Sequence[Line]], ids: Mapping[str, str]) -> None:
    seen: dict[str, Line] = {}
    for lines in parts.values():
        for line in lines:
            first = seen.setdefault(ids[line.key], line)
            if first is not line:
                raise UserError(f"{line.place}: {line.key} is in {name} twice, also in {first.place}; what trains "
                                "must not be tested. Use the published files, unchanged.")


def _check_once(dataset: Dataset, ids: Mapping[str, str]) -> None:
    seen: dict[str, Line] = {}
    for parts in dataset.folds.values():
        for line in parts["test"]:
            first = seen.setdefault(ids[line.key], line)
            if first is not line:
                raise UserError(f"{line.place}: {line.key} is tested twice, also in {first.place}; an utterance can "
                                "be tested in one fold only. Use the published files, unchanged.")
