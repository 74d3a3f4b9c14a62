"""The recordings that a run was tested on, from the records on this machine, and players for some of them.

Records are looked for and opened, never built. What is found is believed only if it is the run's own: by the digest
that the run wrote down, or by the ids and speakers of everything that was tested.
"""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile

from sercl_jax import config as config_lib
from sercl_jax import resources, workdirs
from sercl_jax.corpora import AnyCorpus, choice, index, joined, reader, registry
from sercl_jax.errors import UserError
from sercl_jax.types import SAMPLE_RATE

# Handed out on agreement only: excerpts are not put into pages unless asked for.
BY_AGREEMENT = ("casia", "iemocap", "msp_podcast", "savee")
SECONDS = 15  # of a recording that a page holds at most


def open_corpus(workdir: Path, config: Mapping[str, Any], tested: Mapping[str, str],
                cache_dir: Path | None = None) -> AnyCorpus:
    """The corpus that a run was tested on.

    Args:
      workdir: of the run, for its `corpora.json`.
      config: of the run, as `run.json` has it.
      tested: id -> speaker of every tested utterance.
      cache_dir: where records lie, if not where the run had them.

    Raises:
      UserError: the records are not there, are others by now, or the run does not say which they were.
    """
    keys = _keys(workdir)
    data = config.get("data")
    several = config.get("corpora")
    if not isinstance(data, dict) or not ("corpus" in data or several):
        raise UserError(f"{workdir}: the run does not say what its corpus was (run.json is missing or older).")
    sections: dict[str, dict[str, Any]] = {"": data}
    if several:
        sections = {name: data | config_lib.set_by(own, data)
                    for name, own in several.items() if config.get("target") in (None, name)}
    parts = {name: _open(section, keys.get(name or section["corpus"]), cache_dir)
             for name, section in sections.items()}
    corpus = joined.join(parts) if len(parts) > 1 else next(iter(parts.values()))
    speakers = {u.id: u.speaker for u in corpus.utterances}
    strange = [name for name, speaker in tested.items() if speakers.get(name) != speaker]
    if strange:
        raise UserError(f"the records of {corpus.name} are not those of the run: {len(strange)} tested utterances, "
                        f"such as {strange[0]!r}, are not among them.")
    return corpus


def licensed(corpus: AnyCorpus) -> str:
    """The name of a corpus among these that is handed out on agreement only, or ""."""
    return next((name for name in _names(corpus) if name in BY_AGREEMENT), "")


def owners(corpus: AnyCorpus) -> list[str]:
    """The names of the corpora among these that are somebody's: neither synthetic nor the user's own."""
    return [name for name in _names(corpus) if not registry.is_synthetic(name) and name not in ("manifest", "folder")]


def _names(corpus: AnyCorpus) -> list[str]:
    parts = corpus.parts.values() if isinstance(corpus, joined.Joined) else [corpus]
    return list(dict.fromkeys(part.name for part in parts))


def player(corpus: AnyCorpus, u: int) -> tuple[str, bool]:
    """A data URI with utterance u as FLAC, 16 kHz mono 16 bit, and whether it is all of it.

    Raises:
      UserError: the records are damaged.
    """
    waveform = corpus.waveform(u)
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform[:SECONDS * SAMPLE_RATE], SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:audio/flac;base64,{text}", len(waveform) <= SECONDS * SAMPLE_RATE


def _keys(workdir: Path) -> dict[str, str]:
    try:
        found = json.loads((workdir / workdirs.CORPORA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _open(section: Mapping[str, Any], key: str | None, cache_dir: Path | None) -> reader.Corpus:
    name = section["corpus"]
    records = resources.cache(cache_dir or section.get("cache_dir")) / "records" / name
    found = []
    # The newest first: of a manifest that was edited often there are many.
    for path in sorted(records.glob(f"**/{index.FILE}"), key=lambda path: (-path.stat().st_mtime_ns, path)):
        try:
            whole = reader.open_corpus(name, path.parent, bool(section.get("trim")))
            corpus = choice.choose(whole, section.get("labels", "usual"), section.get("where", ""))
        except UserError:  # other records of this corpus, which lack what was chosen
            continue
        if key in (None, corpus.key):
            return corpus
        found.append(corpus)
    changed = f"the records of {name} in {records.parent} have changed since the run."
    raise UserError(changed if found else f"no records of {name} in {records.parent}.")
