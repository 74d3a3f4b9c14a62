"""A user's own recordings in a folder, or an archive of one, whose names tell the emotions."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sercl_jax.corpora import naming, registry
from sercl_jax.corpora.archives import Entry
from sercl_jax.corpora.base import Options, Request
from sercl_jax.corpora.distribution import entries
from sercl_jax.corpora.labels import EMOTIONS
from sercl_jax.corpora.naming import Named
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

manifest = registry.module("manifest", "manifest_dataset_builder")

AUDIO = ("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "au", "snd", "caf", "w64", "rf64",
         "sph")
UNREADABLE = ("m4a", "aac", "wma", "amr", "mp4", "mov", "webm", "3gp")
_SHOWN = 5  # files or speakers that a message lists
_GENDERS = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}


class Builder(manifest.Builder):
    """Your own recordings: a folder whose sub-folders or files are named by emotions."""

    VERSION = manifest.Builder.VERSION
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Needs a folder of recordings, with emotions in the names of folders or files."

    @classmethod
    def request(cls, options: Options, records: Path, part: str) -> Request:
        return Request(options=options, records=records, pattern=part)

    @classmethod
    def configuration(cls, request: Request) -> manifest.Configuration:
        options = request.options
        if request.manifest is not None or request.subset:
            raise UserError("corpus folder takes no manifest and has no subsets; a list of recordings is "
                            "corpus=manifest.")
        if options.manual_dir is None:
            raise UserError("corpus folder needs the folder of your recordings: --config.data.manual_dir=DIR")
        found = _audio(options)
        told = naming.named([entry.relative for entry in found if _readable(entry)], request.pattern)
        failures = {**{str(entry.relative): f"{entry.path.suffix or 'this kind'} cannot be read; convert it to WAV"
                       for entry in found if not _readable(entry)}, **told.failures}
        if (failures and options.on_error == "raise") or not told.rows:
            raise UserError(_refusal(options.manual_dir, failures, told))
        options.skipped += [{"id": path, "reason": why} for path, why in failures.items()]
        if options.progress:
            print(_summary(options.manual_dir, told, len(failures)), file=sys.stderr)
        places = {entry.relative.as_posix(): entry for entry in found}
        return manifest.configuration_of([_source(row, places[row["path"]]) for row in told.rows])


def _audio(options: Options) -> list[Entry]:
    """All recordings, also those of kinds that cannot be read."""
    place = options.manual_dir
    assert place is not None
    found = [entry for entry in entries(place, [], "audio", also=rf"[^/]+[.](?:{'|'.join(AUDIO + UNREADABLE)})",
                                        copies=options.download_dir, progress=options.progress)
             if not any(part.startswith(".") for part in entry.relative.parts)]
    if not found:
        raise UserError(f"{place}: holds no recordings (.{', .'.join(AUDIO[:7])} ...); give the folder, the zip or "
                        "the tar that they are in.")
    return found


def _readable(entry: Entry) -> bool:
    return entry.relative.suffix.lower().lstrip(".") in AUDIO


def _source(row: dict[str, str], entry: Entry) -> Source:
    return Source.of(Utterance(
        id=row["path"], num_samples=0, label=row["label"], speaker=row["speaker"],
        session=row.get("session", ""), sentence=row.get("text", ""), split=row.get("split", ""),
        gender=_GENDERS.get(row.get("gender", "").lower(), ""), fold=row.get("fold", "")), entry)


def _refusal(place: Path, failures: dict[str, str], told: Named) -> str:
    listed = "; ".join(f"{path}: {why}" for path, why in list(failures.items())[:_SHOWN])
    more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
    skip = ", or leave them out with --config.data.on_error=skip" if told.rows else ""
    return (f"{place}: {len(failures)} of {len(failures) + len(told.rows)} recordings are not understood ({listed}"
            f"{more}). Name folders or files by emotions ({', '.join(EMOTIONS)}), say where the names tell them, "
            f"as in --config.data.pattern=\"{{label}}/*\" or \"{{speaker}}_{{label}}_*.wav\"{skip}.")


def _summary(place: Path, told: Named, left_out: int) -> str:
    """What was understood, for the user to see whether it is what the names mean."""
    counts = Counter(row["label"] or "unlabelled" for row in told.rows)
    names = sorted({row["speaker"] for row in told.rows} - {""})
    who = (f"{len(names)} speakers, by {told.speakers}: {_some(names)}" if names else
           "speakers unknown, so that random folds may share them and figures be too high for new voices")
    lines = [f"{place}: {len(told.rows)} recordings" + (f", {left_out} more not understood" if left_out else ""),
             f"  {len(counts)} classes: " + ", ".join(f"{label} {count}" for label, count in sorted(counts.items())),
             f"  {who}"]
    if any(row.get("split") for row in told.rows):
        lines.append("  folders divide them into training and test")
    one = told.rows[0]
    lines.append(f"  for example {one['path']}: {one['label'] or 'unlabelled'}"
                 + (f", spoken by {one['speaker']}" if one["speaker"] else ""))
    return "\n".join([*lines, "  If names mean something else, say what: --config.data.pattern="
                      "\"{speaker}_{label}_*.wav\", or \"{speaker}/{label}/*\""])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
