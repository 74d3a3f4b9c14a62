"""A corpus as it was distributed, examined before its records are built.

    survey = check.survey("emodb", manual_dir=Path("download.zip"), cache_dir=Path("cache"))
    print(survey.text())
"""

import contextlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from absl import logging

from sercl_jax import workers
from sercl_jax.corpora import building, findings, registry, tables
from sercl_jax.corpora.distribution import entries
from sercl_jax.corpora.findings import RATINGS, Finding
from sercl_jax.corpora.scan import Scan, scan
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

_SHOWN = 8  # utterances that a finding lists as text
_EXTREMES = 3  # longest and shortest utterances that are named
_AUDIO = r"[^/]+[.](?:wav|flac|ogg|mp3|WAV|FLAC|OGG|MP3)"


@dataclass(frozen=True)
class Survey:
    """What a distribution holds.

    Attributes:
      corpus: name of its builder.
      place: the distribution.
      utterances: U of them, in the builder's order; if the builder refuses the distribution, one for every audio
        file, of which nothing is known.
      scans: [U] what their audio is like.
      findings: problems, then notes.
    """

    corpus: str
    place: str
    utterances: tuple[Utterance, ...]
    scans: tuple[Scan, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        """How many findings are serious."""
        return sum(finding.serious for finding in self.findings)

    @property
    def usable(self) -> list[tuple[Utterance, Scan]]:
        """Utterances whose audio can be decoded."""
        return [(u, s) for u, s in zip(self.utterances, self.scans, strict=True) if not s.error]

    def text(self) -> str:
        """All of it for a terminal; the last line says whether there are problems."""
        parts = [self._heading(), *self._tables(), *map(_told, self.findings), self.verdict()]
        return "\n\n".join(filter(None, parts))

    def verdict(self) -> str:
        """One line: fine, or how many problems."""
        notes = len(self.findings) - self.problems
        beside = f"{notes} note{'s' * (notes != 1)}"
        if self.problems:
            return f"{self.corpus}: {self.problems} problem{'s' * (self.problems != 1)}, {beside}."
        return f"{self.corpus}: fine{f', with {beside}' if notes else ''}."

    def _heading(self) -> str:
        total = sum(s.seconds for _, s in self.usable)
        told = f"{self.corpus} ({self.place}): {len(self.utterances)} utterances, {total / 60:.1f} minutes"
        if any(finding.kind == "refused" for finding in self.findings):
            return f"{told} of whatever audio is there"
        return f"{told}\nThe counts that its authors published, where they are known, hold."

    def _tables(self) -> Iterator[str]:
        if not self.usable:
            return
        known, scans = [u for u, _ in self.usable], [s for _, s in self.usable]
        seconds = [s.seconds for s in scans]
        yield tables.classes(known, seconds)
        yield tables.speakers(known)
        yield "\n".join(f"{name}: {words}" for name, field in (
            ("Genders", "gender"), ("Sessions", "session"), ("Partitions", "split"), ("Folds", "fold"))
            if (words := tables.named(known, field)))
        yield _ratings(known)
        yield "\n".join(f"{count} files: {rate} Hz, {_channels(channels)}, {encoding}" for (rate, channels, encoding),
                        count in Counter((s.rate, s.channels, s.encoding) for s in scans if s.rate).most_common())
        yield "Durations\n" + tables.histogram(seconds, tables.duration_edges(seconds), "s")
        order = sorted(range(len(known)), key=lambda i: (seconds[i], known[i].id))
        ends = [("Shortest", order[:_EXTREMES]), ("Longest", order[:-_EXTREMES - 1:-1])]
        yield "\n".join(f"{name}: {', '.join(f'{known[i].id} ({seconds[i]:.2f} s)' for i in these)}"
                        for name, these in ends)
        levels = [s.level for s in scans]
        yield ("Levels (root mean square, dB of full scale)\n"
               + tables.histogram(levels, tables.level_edges(levels), "dB"))

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON-like data: sums, findings, and every file's facts."""
        known = [u for u, _ in self.usable]
        counts = Counter((u.speaker, u.label) for u in known)
        return {
            "corpus": self.corpus, "place": self.place, "utterances": len(self.utterances),
            "seconds": sum(s.seconds for _, s in self.usable), "problems": self.problems,
            "findings": [asdict(finding) for finding in self.findings],
            "counts": {speaker: {label: counts[speaker, label] for label in sorted({u.label for u in known})}
                       for speaker in sorted({u.speaker for u in known})},
            **{f"{field}s": dict(sorted(Counter(getattr(u, field) for u in known).items()))
               for field in ("gender", "session", "split", "fold")},
            "files": [_row(u, s) for u, s in zip(self.utterances, self.scans, strict=True)]}


def survey(name: str, *, cache_dir: Path, manual_dir: Path | None = None, manifest: Path | None = None,
           allow_outside: bool = False, subset: str = "", pattern: str = "", download: bool = True,
           workers: int | None = None, progress: bool = True) -> Survey:
    """Decodes every utterance of a distribution in parallel processes; builds nothing.

    Arguments are those of `corpora.load`; what must be decompressed or downloaded first goes to `cache_dir`, too.

    Raises:
      UserError: there is no such corpus, folder or file, or nothing was given.
    """
    builder_class = registry.builder_class(name)
    for path in filter(None, (manual_dir, manifest)):
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder.")
    options = building.Options(manual_dir=manual_dir, download=download, download_dir=cache_dir / "downloads",
                               workers=workers, progress=progress)
    refused = []
    try:
        configuration = builder_class.configuration(building.Request(
            options=options, records=cache_dir / "records" / name, manifest=manifest, allow_outside=allow_outside,
            subset=subset, pattern=pattern))
        sources = sources_of(builder_class, cache_dir / "records", configuration, options)
    except UserError as error:
        if manual_dir is None and manifest is None:  # nothing to examine
            raise
        refused.append(Finding("refused", f"The builder of {name} refuses this distribution: {error}", True))
        sources = _any_audio(manual_dir, options)
    scans = tuple(_scans(name, sources, workers, progress))
    utterances = tuple(source.utterance for source in sources)
    found = findings.find(utterances, scans, builder_class.RATING_SCALE)
    return Survey(corpus=name, place=str(manifest or manual_dir or "embedded"), utterances=utterances, scans=scans,
                  findings=(*refused, *found))


def sources_of(builder_class: Any, records: Path, configuration: Any, options: building.Options) -> Sequence[Source]:
    """What a builder finds; nothing is decoded. It raises if the distribution is not what was published.

    Args:
      builder_class: of which corpus.
      records: folder of all records.
      configuration: `builder_class.configuration(...)`.
      options: where the distribution is.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS greets
            builder = builder_class(data_dir=str(records), config=configuration, options=options)
        return builder.sources()
    finally:
        logging.set_verbosity(verbosity)


def _any_audio(place: Path | None, options: building.Options) -> list[Source]:
    """Every audio file there is, for a distribution that its builder does not take."""
    if place is None:
        return []
    try:
        found = entries(place, _AUDIO, "audio", gather=True, copies=options.download_dir, progress=options.progress)
    except UserError:
        return []
    return [Source.of(Utterance(id=str(entry.relative), num_samples=0), entry) for entry in found]


def _scans(name: str, sources: Sequence[Source], count: int | None, progress: bool) -> Iterator[Scan]:
    return workers.parallel_map(partial(scan, name), sources, workers=count, description=f"check of {name}",
                                unit="utterance", progress=progress)


def _told(finding: Finding) -> str:
    kind = "PROBLEM" if finding.serious else "Note"
    lines = [f"{kind}: {finding.text}", *(f"  {where}" for where in finding.where[:_SHOWN])]
    if len(finding.where) > _SHOWN:
        lines.append(f"  and {len(finding.where) - _SHOWN} more; --json FILE lists all")
    return "\n".join(lines)


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")


def _ratings(utterances: Sequence[Utterance]) -> str:
    lines = []
    for name in RATINGS:
        rated = [value for u in utterances if math.isfinite(value := getattr(u, name))]
        if rated:
            lines.append(f"{name.capitalize()}: {min(rated):g} to {max(rated):g}, mean "
                         f"{sum(rated) / len(rated):.2f}, {len(rated)} of {len(utterances)} rated")
    return "\n".join(lines)


def _row(utterance: Utterance, scan: Scan) -> dict[str, Any]:
    known = {name: None if isinstance(value, float) and math.isnan(value) else value
             for name, value in asdict(utterance).items() if name not in ("num_samples", "corpus")}
    return known | asdict(scan)
