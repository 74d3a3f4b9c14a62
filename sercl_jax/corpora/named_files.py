"""Corpora whose file names say what is in the files: a builder of one is little more than tables.

    class Builder(NamedFiles):
        VERSION = tfds.core.Version("1.0.0")
        TITLE = "MINE"
        FILES = r"(?P<speaker>[a-z]+)_(?P<emotion>[a-z]+)_(?P<sentence>[0-9]+)[.]wav"
        EMOTIONS = {"ang": "angry", "neu": "neutral"}
        COUNTS = {"label": {"angry": 100, "neutral": 100}}
"""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from sercl_jax.corpora import variants
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.distributed import Distributed
from sercl_jax.corpora.distribution import entries
from sercl_jax.corpora.labels import canonical
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

_GENDERS = {"f": "female", "m": "male", "": ""}
_SHOWN = 3  # of what is wrong, in a message
_POINTER = b"version https://git-lfs"  # how the stand-in for a file that Git LFS keeps begins
_LARGEST_POINTER = 200  # bytes


@dataclass(frozen=True)
class Named:
    """An audio file and what its name says.

    Attributes:
      id: of its utterance.
      parts: the named groups of `NamedFiles.FILES` that matched.
      entry: the file.
    """

    id: str
    parts: Mapping[str, str]
    entry: Entry


class NamedFiles(Distributed, skip_registration=True):  # type: ignore[call-arg]
    """Base class of builders that read names; subclasses fill the tables, and override what is not a table.

    What was found must be what was published: `NAMES`, `COUNTS`, or both.
    """

    # Regular expression of the end of an audio file's path, whatever its case. The groups `emotion`, `speaker`,
    # `gender` (f or m), `sentence` and `id` say what they name. Each may be missing; the name without its ending is
    # then the id.
    FILES: ClassVar[str] = ""
    EMOTIONS: ClassVar[Mapping[str, str]] = {}  # code in names -> label
    TABLES: ClassVar[Sequence[str]] = ()  # such files must be there, too
    OPTIONAL_TABLES: ClassVar[str] = ""  # and such files may
    ARCHIVES: ClassVar[Sequence[str]] = ()  # how its archives usually begin
    NAMES: ClassVar[AbstractSet[str]] = frozenset()  # all ids
    ALIASES: ClassVar[Mapping[str, str]] = {}  # name in some copies -> id
    COUNTS: ClassVar[Mapping[str, Mapping[str, int]]] = {}  # field of `Utterance` -> value -> utterances

    @classmethod
    def find(cls, place: Path, copies: Path | None, progress: bool) -> list[Entry]:
        return entries(place, [f"(?i:{cls.FILES})", *cls.TABLES], cls.TITLE, also=cls.OPTIONAL_TABLES,
                       prefer=cls.ARCHIVES, copies=copies, progress=progress)

    @classmethod
    def variant(cls, found: Sequence[Entry], place: Path) -> variants.Variant:
        tables = cls._tables(found)
        return variants.variant(f"{len(found) - len(tables)}-files", found, tables)

    @classmethod
    def _tables(cls, found: Sequence[Entry]) -> list[Entry]:
        return [entry for entry in found if not cls._is_audio(entry)]

    @classmethod
    def _match(cls, path: str) -> re.Match[str] | None:
        return re.fullmatch(f"(?:.*/)?(?i:{cls.FILES})", path)

    @classmethod
    def _is_audio(cls, entry: Entry) -> bool:
        return cls._match(_path(entry)) is not None

    def sources(self) -> list[Source]:
        place, found = self.found()
        files = sorted(self._files(found), key=lambda file: file.id)
        labels = {file.id: self._label(file) for file in files}
        self._check_names(place, files, self.NAMES)
        details = self.details(files, self._tables(found))
        self._check_names(place, files, self.NAMES or details.keys())
        sources = [Source.of(_utterance(file, {"label": labels[file.id], **details.get(file.id, {})}), file.entry)
                   for file in files]
        self._check_counts(place, [source.utterance for source in sources])
        return sources

    def details(self, files: Sequence[Named], tables: Sequence[Entry]) -> Mapping[str, Mapping[str, str]]:
        """What the names don't say: id -> field of `Utterance` -> value, which goes before the name's.

        Without `NAMES`, its ids are those that must be there.
        """
        return {}

    def _files(self, found: Iterable[Entry]) -> list[Named]:
        """One file an id: copies are often packed twice, once in a folder below themselves."""
        files: dict[str, Named] = {}
        for entry in filter(self._is_audio, found):
            _refuse_pointer(entry, self.TITLE)
            file = self._named(entry)
            first = files.setdefault(file.id, file)
            if first is not file and (first.entry.size != entry.size or first.entry.read() != entry.read()):
                raise UserError(f"{entry}: is there twice with another content, also as {first.entry}; give one copy "
                                f"of {self.TITLE}.")
        return list(files.values())

    @functools.cached_property
    def _spellings(self) -> dict[str, str]:
        return {name.lower(): known for name, known in [*zip(self.NAMES, self.NAMES, strict=True),
                                                      *self.ALIASES.items()]}

    def _named(self, entry: Entry) -> Named:
        path = _path(entry)
        match = self._match(path)
        assert match is not None
        start, end = match.span("id") if "id" in match.groupdict() else (path.rfind("/") + 1, path.rfind("."))
        name = path[start:end].replace("/", "_")
        spelling = self._spellings.get(name.lower(), name)
        match = self._match(path[:start] + spelling + path[end:])  # its parts as they are published
        assert match is not None
        return Named(spelling, match.groupdict(""), entry)

    def _label(self, file: Named) -> str:
        """From the name, if it tells; "" if not."""
        if "emotion" not in file.parts:
            return ""
        code = file.parts["emotion"]
        labels = {known.lower(): label for known, label in self.EMOTIONS.items()}
        if code.lower() not in labels:
            raise UserError(f"{file.entry}: has the unknown emotion code {code!r}; {self.TITLE} has "
                            f"{', '.join(self.EMOTIONS)}. Rename or remove the file, or get {self.TITLE} anew.")
        return canonical(labels[code.lower()])

    def _check_names(self, place: Path, files: Sequence[Named], names: AbstractSet[str]) -> None:
        ids = {file.id for file in files}
        if names and names != ids:
            self._refuse(place, len(ids), len(names),
                         [*_some("missing", sorted(names - ids)), *_some("unknown", sorted(ids - names))])

    def _check_counts(self, place: Path, utterances: Sequence[Utterance]) -> None:
        wrong = []
        for field, counts in self.COUNTS.items():
            found = Counter(getattr(utterance, field) for utterance in utterances)
            wrong += _some(field, [f"{value} {found[value]} instead of {counts.get(value, 0)}"
                                   for value in sorted({*found, *counts}) if found[value] != counts.get(value, 0)])
        if wrong:
            self._refuse(place, len(utterances), sum(next(iter(self.COUNTS.values())).values()), wrong)

    def _refuse(self, place: Path, found: int, published: int, wrong: Sequence[str]) -> NoReturn:
        raise UserError(f"{place}: {self.TITLE}'s files are not those that were published: {found} of {published} "
                        f"utterances; {'; '.join(wrong)}. Use the original, complete and unchanged.")


def _utterance(file: Named, details: Mapping[str, str]) -> Utterance:
    told = {name: file.parts.get(name, "") for name in ("speaker", "sentence")}
    gender = _GENDERS[file.parts.get("gender", "").lower()]
    fields: dict[str, Any] = {**told, "gender": gender, **details}
    return Utterance(id=file.id, num_samples=0, **fields)


def _path(entry: Entry) -> str:
    """All of it, because the place that the user gives may be a folder that a pattern names."""
    return entry.path.absolute().as_posix() if entry.member is None else entry.member


def _some(what: str, values: Sequence[str]) -> list[str]:
    """Words on the first few of them; none on none."""
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return [f"{what}: {', '.join(values[:_SHOWN])}{more}"] if values else []


def _refuse_pointer(entry: Entry, title: str) -> None:
    if entry.size <= _LARGEST_POINTER and entry.read().startswith(_POINTER):
        raise UserError(f"{entry}: is not audio but Git LFS's pointer to it; run `git lfs pull` in {title}'s "
                        "repository, or download the audio.")
