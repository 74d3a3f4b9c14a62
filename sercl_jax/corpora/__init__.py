"""Corpora of emotional speech: built once as TFDS records, opened without TensorFlow or JAX.

    corpus = corpora.load("demo", cache_dir=Path("cache"))
    corpus.utterances[0].label, corpus.waveform(0)
"""

from pathlib import Path

from sercl_jax.corpora import choice, reader, registry
from sercl_jax.corpora.joined import Joined
from sercl_jax.corpora.reader import Corpus
from sercl_jax.errors import UserError

__all__ = ["NAMES", "AnyCorpus", "Corpus", "Joined", "load"]

NAMES = registry.names()
AnyCorpus = Corpus | Joined  # one, or several joined


def load(name: str, *, cache_dir: Path, manual_dir: Path | None = None, manifest: Path | None = None,
         allow_outside: bool = False, subset: str = "", pattern: str = "", labels: str = "usual", where: str = "",
         trim: bool = False, download: bool = True, on_error: str = "raise", workers: int | None = None,
         progress: bool = True) -> Corpus:
    """Opens a corpus, building its records first if they are missing.

    A build is locked between processes, atomic, and clears what killed builds left behind.

    Args:
      name: one of `NAMES`.
      cache_dir: records go to its folder `records`, downloads to `downloads`.
      manual_dir: the corpus as distributed: the folder that holds the archive, the archive, or the unpacked tree.
      manifest: CSV or JSON-lines file, for `manifest` only.
      allow_outside: whether a manifest may name files outside its own folder.
      subset: which part of the distribution, for corpora that have parts (`librispeech`: "train-clean-100",
        "dev-clean+test-clean"); "" for all that is there.
      pattern: what the names of files say, such as "{speaker}_{label}_*.wav", for `folder` only; "" finds it out.
      labels, where: which of its utterances and classes, as in `choice.choose`.
      trim: whether to leave out digital silence (samples that are 0) at both ends of every utterance, down to 25 ms.
      download: whether a corpus that is not in `manual_dir` may be fetched from its site.
      on_error: "raise" stops at the first unusable audio file; "skip" leaves such utterances out, and lists them
        in `skipped.json` beside the records.
      workers: decoding processes; None takes one per CPU, 0 or 1 none.
      progress: whether to show a progress bar.

    Raises:
      UserError: unknown name, missing or unexpected distribution, unusable audio, unwritable or full disk.
    """
    if on_error not in ("raise", "skip"):
        raise UserError(f"on_error is {on_error!r}; it must be 'raise' or 'skip'.")
    builder_class = registry.builder_class(name)
    # Absolute, because a corpus may be opened again by a process in another folder.
    cache_dir = cache_dir.expanduser().absolute()
    manual_dir = manual_dir and manual_dir.expanduser()
    manifest = manifest and manifest.expanduser()
    from sercl_jax.corpora import building  # imports TFDS, which workers that only read need not

    options = building.Options(manual_dir=manual_dir, download=download, download_dir=cache_dir / "downloads",
                               on_error=on_error, workers=workers, progress=progress)
    records = cache_dir / "records"
    configuration = builder_class.configuration(building.Request(
        options=options, records=records / name, manifest=manifest, allow_outside=allow_outside, subset=subset,
        pattern=pattern))
    directory = building.ensure(builder_class, records, configuration, options)
    return choice.choose(reader.open_corpus(name, directory, trim), labels, where)
