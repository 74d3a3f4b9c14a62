"""Digital silence at the ends of utterances: counted when records are written, left out where that is asked for."""

import json
import pickle

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax import audio, config, corpora, features, files
from sercl_jax.corpora import index
from sercl_jax.errors import UserError
from sercl_jax.workbench import Workbench

# Zeros before, other samples, zeros after.
FILES = {"both.wav": (300, 4000, 500), "long_gap.wav": (7, 3000, 0), "none.wav": (0, 2000, 0),
         "short.wav": (900, 10, 2000), "short_at_the_end.wav": (900, 10, 4)}


def sound(size: int) -> np.ndarray:
    """Never 0 at its ends, but silent for a while in between."""
    samples = np.random.default_rng(size).integers(1, 9000, size).astype(np.int16)
    samples[size // 3:size // 2] = 0
    return samples


def write(folder, names=tuple(FILES)):
    folder.mkdir()
    for name in names:
        before, size, after = FILES[name]
        soundfile.write(folder / name, np.pad(sound(size), (before, after)), 16_000)
    path = folder / "m.csv"
    path.write_text("path,label,speaker\n" + "".join(f"{name},sad,1\n" for name in names), encoding="utf-8")
    return path


def load(manifest, **options):
    return corpora.load("manifest", cache_dir=manifest.parent / "cache", manifest=manifest, workers=0,
                        progress=False, **options)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=1200), st.integers(0, 900), st.integers(0, 900))
@settings(max_examples=60, deadline=None)
def test_what_is_left(values, before, after):
    samples = np.pad(np.array(values, np.int16), (before, after))
    sounding = [position for position, sample in enumerate(samples) if sample]
    leading, trailing = audio.silence(samples)
    if sounding:
        assert (leading, trailing) == (sounding[0], len(samples) - 1 - sounding[-1])
        start, length = audio.trimmed(len(samples), leading, trailing)
        assert start <= sounding[0]
        assert start + length > sounding[-1]
        assert length == max(sounding[-1] - sounding[0] + 1, min(400, len(samples)))
        assert start >= 0
        assert start + length <= len(samples)
    else:
        assert (leading, trailing) == (len(samples), len(samples))


def test_trimmed_utterances_have_their_samples(tmp_path):
    manifest = write(tmp_path / "data")
    whole, trimmed = load(manifest), load(manifest, trim=True)
    assert trimmed.directory == whole.directory
    expected = {"both.wav": sound(4000), "long_gap.wav": sound(3000), "none.wav": sound(2000),
                "short.wav": np.pad(sound(10), (0, 390)), "short_at_the_end.wav": np.pad(sound(10), (386, 4))}
    for corpus in (trimmed, pickle.loads(pickle.dumps(trimmed))):
        assert {u.id: u.num_samples for u in corpus.utterances} == {name: len(x) for name, x in expected.items()}
        for u, utterance in enumerate(corpus.utterances):
            np.testing.assert_array_equal(corpus.waveform(u), expected[utterance.id])
    for u, utterance in enumerate(whole.utterances):
        assert len(whole.waveform(u)) == utterance.num_samples == sum(FILES[utterance.id])


def test_the_key_changes_if_something_was_left_out(tmp_path):
    some, nothing = write(tmp_path / "some"), write(tmp_path / "nothing", ["none.wav"])
    assert load(some).key != load(some, trim=True).key
    assert load(nothing) == load(nothing, trim=True)


def test_choosing_keeps_samples_and_utterances_together(tmp_path):
    corpus = load(write(tmp_path / "data"), trim=True, where="id=short*")
    assert [u.id for u in corpus.utterances] == ["short.wav", "short_at_the_end.wav"]
    np.testing.assert_array_equal(corpus.waveform(1), np.pad(sound(10), (386, 4)))


def test_features_are_those_of_the_trimmed_audio(tmp_path):
    manifest = write(tmp_path / "data", ["both.wav", "none.wav"])
    bare = write(tmp_path / "bare", ["none.wav"])
    soundfile.write(bare.parent / "both.wav", sound(4000), 16_000)
    bare.write_text("path,label,speaker\nboth.wav,sad,1\nnone.wav,sad,1\n", encoding="utf-8")

    def frames(corpus):
        return features.extract(corpus, "logmel", cache_dir=tmp_path / "features", workers=0, progress=False)

    found, expected, untrimmed = frames(load(manifest, trim=True)), frames(load(bare)), frames(load(manifest))
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.values, expected.values)
    assert len(untrimmed.values) > len(found.values)
    assert untrimmed.key != found.key


def test_a_knob_of_every_method(tmp_path):
    manifest = write(tmp_path / "data")
    for name in ("serugcl", "cpc"):
        knobs = config.base(name, "corpus=manifest").data.copy_and_resolve_references()
        knobs.manifest, knobs.cache_dir, knobs.workers = str(manifest), str(tmp_path / "cache"), 1
        assert not knobs.trim
        bench = Workbench(progress=False)
        whole = bench.corpus_of(knobs)
        knobs.trim = True
        assert bench.corpus_of(knobs).key == load(manifest, trim=True).key != whole.key
    assert not config.base("supcon", None).data.trim
    assert not config.base("cpc", None).pretrain_data.trim


def test_an_index_that_does_not_tell(tmp_path):
    manifest = write(tmp_path / "data")
    corpus = load(manifest)
    path = corpus.directory / index.FILE
    value = json.loads(path.read_text(encoding="utf-8"))
    for row in value["utterances"]:
        del row["silence"]
    files.write_json(path, value | {"digest": files.digest(value["utterances"])})
    assert load(manifest) == corpus
    with pytest.raises(UserError, match="do not tell where silence is; remove the folder"):
        load(manifest, trim=True)
