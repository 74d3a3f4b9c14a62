"""Records by an Apache Beam pipeline: many machines decode and write, each a part of the utterances at a time.

What a part holds is in a file, not in the pipeline, whose size runners limit. Machines share the folders of the
corpus and of its records; only names travel between them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sercl_jax import files
from sercl_jax.corpora import registry, shards
from sercl_jax.corpora.options import Options
from sercl_jax.corpora.shards import Shard
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance

PART = 256  # utterances: some 50 MB of speech
UNLIMITED = 1 << 62  # bytes of a shard, where the number of shards is given
_FAILED = "failed"  # a file that tells other machines to stop


@dataclass(frozen=True)
class _Part:
    """What one worker does at a time; its sources are in `FOLDER/<name>.jsonl`, what came of it in `<name>.json`."""

    corpus: str
    folder: str
    name: str
    skip: bool
    largest: int


def write(corpus: str, sources: Sequence[Source], folder: Path, options: Options) -> list[Shard]:
    """Decodes and writes everything; fills `options.skipped`.

    Args:
      corpus: name of its builder.
      sources: what to decode.
      folder: where the shards go; every worker must see it, and the audio, under the same path.
      options: how; it has `beam` or `beam_runner`.

    Raises:
      UserError: audio cannot be used, Apache Beam is not installed, or workers do not share the folder.
      WriteError: a shard cannot be written.
    """
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError("Apache Beam is not installed; install it with: pip install 'sercl_jax[build]'.") from error
    count = options.num_shards or -(-len(sources) // PART)
    parts = []
    for number, these in enumerate(in_parts(sources, count)):
        part = _Part(corpus, str(folder), f"{number:06d}", options.on_error == "skip",
                     UNLIMITED if options.num_shards else options.largest_shard)
        _write_sources(folder / f"{part.name}.jsonl", these)
        parts.append(part)
    # Reshuffle: otherwise one worker might be given all that was created.
    with apache_beam.Pipeline(runner=options.beam_runner, options=options.beam or PipelineOptions([])) as pipeline:
        (pipeline | apache_beam.Create(parts) | apache_beam.Reshuffle()
         | f"records of {corpus}" >> apache_beam.Map(_write_part))
    return _results(parts, folder, options)


def in_parts(sources: Sequence[Source], count: int) -> Iterator[Sequence[Source]]:
    """`count` runs of the same length, give or take one; fewer if there are not that many sources."""
    count = min(count, len(sources))
    for number in range(count):
        yield sources[number * len(sources) // count:(number + 1) * len(sources) // count]


def _write_part(part: _Part) -> None:
    """Runs on a worker."""
    folder = Path(part.folder)
    if (folder / _FAILED).exists():
        return
    skipped: list[dict[str, str]] = []
    builder = registry.builder_class(part.corpus)

    def examples() -> Iterator[dict[str, Any]]:
        for source in _read_sources(folder / f"{part.name}.jsonl"):
            try:
                waveform = builder.waveform(source)
            except UserError as error:
                if not part.skip:
                    raise
                skipped.append({"id": source.utterance.id, "reason": str(error)})
                continue
            yield shards.example(source.utterance, waveform)

    try:
        written = shards.write(examples(), folder, part.largest)
    except (UserError, shards.WriteError) as error:
        # Runners try errors again, and tell them in many lines.
        (folder / _FAILED).touch()
        files.write_json(folder / f"{part.name}.json",
                         {"error": str(error), "writing": isinstance(error, shards.WriteError)})
        return
    files.write_json(folder / f"{part.name}.json", {"shards": [asdict(shard) for shard in written],
                                                   "skipped": skipped})


def _results(parts: Sequence[_Part], folder: Path, options: Options) -> list[Shard]:
    """What the workers left, in the order of the parts; removes everything else."""
    results = [json.loads(path.read_text(encoding="utf-8")) for part in parts
               if (path := folder / f"{part.name}.json").exists()]
    for result in results:
        if "error" in result:
            raise (shards.WriteError if result["writing"] else UserError)(result["error"])
    if len(results) < len(parts):
        raise UserError(f"{folder}: {len(parts) - len(results)} of {len(parts)} parts of the work never came back; "
                        "all workers of the Apache Beam pipeline must share this folder, under the same path.")
    done = [Shard(**shard) for result in results for shard in result["shards"]]
    options.skipped += [one for result in results for one in result["skipped"]]
    kept = {shard.name for shard in done}
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()
    return done


def _write_sources(path: Path, sources: Sequence[Source]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for source in sources:
            file.write(json.dumps(asdict(source)) + "\n")


def _read_sources(path: Path) -> Iterator[Source]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            value = json.loads(line)
            yield Source(**value | {"utterance": Utterance(**value["utterance"])})
