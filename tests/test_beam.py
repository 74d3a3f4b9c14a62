"""Records by Apache Beam: several processes make what one would."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sercl_jax import corpora
from sercl_jax.corpora import building, command, pipeline, registry
from sercl_jax.corpora.options import Options
from sercl_jax.corpora.source import Source
from sercl_jax.errors import UserError
from sercl_jax.types import Utterance
from tests import small_builders

ROOT = Path(registry.__file__).parents[2]
TFDS = Path(sys.executable).with_name("tfds")
TWO_PROCESSES = "runner=DirectRunner,direct_running_mode=multi_processing,direct_num_workers=2"

# The process that runs the pipeline cannot decode: its workers must.
ELSEWHERE = """
from sercl_jax import audio
audio.decode = None
import sercl_jax.builders
"""


def test_the_command_with_two_processes(tmp_path, monkeypatch):
    names = ("librispeech", "msp_podcast")
    for name in names:
        small_builders.WRITE[name](tmp_path / "given" / name)
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE, encoding="utf-8")
    done = subprocess.run(
        [TFDS, "build", "--imports=elsewhere", *names, f"--manual_dir={tmp_path / 'given'}",
         "--add_name_to_manual_dir", f"--data_dir={tmp_path / 'cache' / 'records'}", "--num_shards=4",
         f"--beam_pipeline_options={TWO_PROCESSES}"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    expected = {name: load(name, tmp_path, tmp_path / "python") for name in names}
    monkeypatch.setattr(building, "_build", None)  # from here on, the records must be there
    for name in names:
        built = load(name, tmp_path, tmp_path / "cache")
        assert (built.key, repr(built.utterances)) == (expected[name].key, repr(expected[name].utterances))
        for u in range(len(built)):
            np.testing.assert_array_equal(built.waveform(u), expected[name].waveform(u))
        # Records, their index and TFDS's two files; nothing that the workers left on their way.
        assert sorted(path.name.partition("-00")[0] for path in built.directory.iterdir()) == [
            "dataset_info.json", "features.json", *[f"{name}-train.array_record"] * 4, "utterances.json"]


def load(name: str, folder: Path, cache: Path) -> corpora.Corpus:
    return corpora.load(name, cache_dir=cache, manual_dir=folder / "given" / name, workers=0, progress=False)


# Builds a manifest by a pipeline in one process, and prints what came of it.
IN_MEMORY = """
import json, sys
from pathlib import Path
from apache_beam.options.pipeline_options import PipelineOptions
from sercl_jax.corpora import building, pipeline, registry
from sercl_jax.errors import UserError

cache, manifest, *ways = sys.argv[1:]
builder = registry.builder_class("manifest")
pipeline.PART = 2
results = []
for way in ways:
    folder = Path(cache) / way
    options = building.Options(on_error="skip" if way == "skip" else "raise", progress=False,
                               beam=PipelineOptions(["--direct_running_mode=in_memory"]))
    if way == "unwritable":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
    configuration = builder.configuration(building.Request(options=options, records=folder, manifest=Path(manifest)))
    try:
        directory = building.ensure(builder, folder, configuration, options)
        results.append({"shards": len(list(directory.glob("*.array_record-*"))), "skipped": options.skipped})
    except UserError as error:
        results.append({"error": str(error), "left": [p.name for p in folder.rglob("*") if not p.is_dir()]})
print(json.dumps(results))
"""


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Five utterances; the fourth cannot be used."""
    folder = small_builders.manifest(tmp_path / "given", seconds=0.5)
    (folder / "3.wav").write_bytes(b"RIFF")
    return folder / "m.csv"


def test_what_cannot_be_used_or_written(tmp_path, manifest):
    (tmp_path / "run.py").write_text(IN_MEMORY, encoding="utf-8")
    done = subprocess.run([sys.executable, tmp_path / "run.py", tmp_path / "cache", manifest, "skip", "raise",
                           "unwritable"], capture_output=True, text=True, timeout=300, check=True)
    skipped, raised, unwritable = json.loads(done.stdout)
    assert skipped["shards"] == 3  # of two utterances each, but for the one left out
    (one,) = skipped["skipped"]
    assert one["id"] == "3.wav"
    assert "3.wav" in one["reason"]
    assert raised["error"] == one["reason"]
    assert "cannot be written" in unwritable["error"]
    assert "nothing was changed. Free some space" in unwritable["error"]
    for failure in (raised, unwritable):
        assert failure["left"] == ["1.0.0.lock"]
    # The same without Beam.
    options = Options(on_error="skip", workers=0, progress=False)
    builder = registry.builder_class("manifest")
    configuration = builder.configuration(building.Request(options=options, records=tmp_path, manifest=manifest))
    directory = building.ensure(builder, tmp_path / "plain", configuration, options)
    with_beam = tmp_path / "cache" / "skip" / directory.relative_to(tmp_path / "plain")
    assert (corpora.reader.open_corpus("manifest", with_beam).key
            == corpora.reader.open_corpus("manifest", directory).key)


def test_parts_are_even_and_complete():
    sources = [Source(Utterance(id=str(number), num_samples=0)) for number in range(10)]
    for count, sizes in ((1, [10]), (3, [3, 3, 4]), (4, [2, 3, 2, 3]), (10, [1] * 10), (99, [1] * 10)):
        parts = list(pipeline.in_parts(sources, count))
        assert [len(part) for part in parts] == sizes
        assert [source for part in parts for source in part] == sources


def test_sources_survive_their_file(tmp_path):
    sources = [
        Source(Utterance(id="a/\u00e4\u4e0d \ud800", num_samples=7, label="sad", sentence='"x"\n\u2028', valence=2.5),
               file="/a \udcff.tar", member="b/c.flac", size=12, offset=1536),
        Source(Utterance(id="b", num_samples=0), file="/b.wav", start=0.1, end=None, origin="m.csv, line 3")]
    path = tmp_path / "sources.jsonl"
    pipeline._write_sources(path, sources)
    again = list(pipeline._read_sources(path))
    assert repr(again) == repr(sources)  # NaN is not equal to itself
    assert again[0] == Source(**{**{name: getattr(sources[0], name) for name in Source.__slots__},
                                 "utterance": again[0].utterance})
    assert math.isnan(again[0].utterance.dominance)


def test_workers_that_do_not_share_the_folder_are_told(tmp_path):
    part = pipeline._Part("demo", str(tmp_path), "000000", False, 1)
    (tmp_path / "000000.json").write_text('{"shards": [], "skipped": []}', encoding="utf-8")
    with pytest.raises(UserError, match=r"1 of 2 parts of the work never came back; all workers .* must share this"):
        pipeline._results([part, part.__class__("demo", str(tmp_path), "000001", False, 1)], tmp_path, Options())


def test_without_apache_beam(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"Apache Beam is not installed; .*pip install 'sercl_jax\[build\]'"):
        pipeline.write("demo", [], tmp_path, Options(beam=object()))


def test_options_reach_the_build(tmp_path):
    import tensorflow_datasets as tfds

    asked, runner = object(), object()
    config = tfds.download.DownloadConfig(beam_options=asked, beam_runner=runner, max_shard_size=5, num_shards=3)
    options = command.options(config, None, tmp_path)
    assert (options.beam, options.beam_runner, options.largest_shard, options.num_shards) == (asked, runner, 5, 3)
    assert options.uses_beam
    assert not command.options(None, None, tmp_path).uses_beam
