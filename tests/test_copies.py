"""Recordings that are there several times are told of, most loudly where training and test share them."""

import numpy as np
import pytest
import soundfile
from small_corpus import write

from sercl_jax import config, corpora, splits
from sercl_jax.classification import Classification
from sercl_jax.corpora import copies, joined
from sercl_jax.workbench import Workbench


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """36 files; bob's angry s1 is also his angry s2, and ann's sad s1 is also cem's neutral s1."""
    manifest = write(tmp_path_factory.mktemp("copies"))
    for source, target in (("bob_s1_angry", "bob_s2_angry"), ("ann_s1_sad", "cem_s1_neutral")):
        samples, _ = soundfile.read(manifest.parent / f"{source}.wav", dtype="int16")
        soundfile.write(manifest.parent / f"{target}.wav", samples, 16_000)
    return manifest


def load(manifest, **options):
    return corpora.load("manifest", manifest=manifest, cache_dir=manifest.parent / "cache", workers=0, progress=False,
                        **options)


def test_copies_are_known(manifest, tmp_path):
    corpus = load(manifest)
    assert set(corpus.copies) == {("bob_s1_angry.wav", "bob_s2_angry.wav"), ("ann_s1_sad.wav", "cem_s1_neutral.wav")}
    for group in corpus.copies:
        one, other = (corpus.waveform([u.id for u in corpus.utterances].index(name)) for name in group)
        np.testing.assert_array_equal(one, other)
    assert load(manifest, labels="angry,sad").copies == (("bob_s1_angry.wav", "bob_s2_angry.wav"),)
    assert load(manifest, where="speaker=cem").copies == ()
    assert load(write(tmp_path / "other")).copies == ()


def warned(corpus, protocol, **options):
    folds = splits.make_folds(corpus.utterances, protocol, **({"folds": 3, "fold_seed": 0} | options))
    return copies.warnings(corpus, [(fold.train, fold.test) for fold in folds])


def test_leaks_are_counted_by_fold(manifest):
    corpus = load(manifest)
    first, second = warned(corpus, "loso")
    # Only the pair of two speakers is divided: where ann is tested, and where cem is.
    assert first == ("2 recordings are there several times, with the same samples (ann_s1_sad.wav = "
                     "cem_s1_neutral.wav; bob_s1_angry.wav = bob_s2_angry.wav): in 2 of 4 folds a tested one has its "
                     "copy in training, which flatters the result. Remove the copies.")
    assert second == "1 of these recordings has several labels. Correct them."
    (within,) = warned(load(manifest, where="speaker=[bd]*"), "loso")
    assert within.endswith("bob_s2_angry.wav), but never in both training and test.")
    assert warned(load(manifest, where="speaker=d*"), "kfold") == ()


def test_joined_corpora_keep_theirs(manifest):
    both = joined.join({"x": load(manifest), "y": load(manifest, labels="angry,sad")})
    assert set(both.copies) == {
        ("x/bob_s1_angry.wav", "x/bob_s2_angry.wav"), ("x/ann_s1_sad.wav", "x/cem_s1_neutral.wav"),
        ("y/bob_s1_angry.wav", "y/bob_s2_angry.wav")}
    assert "3 recordings are there several times" in copies.warnings(both, [])[0]


def test_groups():
    ids = [str(number) for number in range(10)]
    pairs = [str(number // 2) for number in range(10)]
    assert copies.groups(ids, pairs) == tuple(zip(ids[::2], ids[1::2], strict=True))
    assert copies.groups(ids, ids) == ()
    assert copies.among(ids[:3], [("0", "1"), ("2", "3"), ("7", "1", "0")]) == (("0", "1"), ("1", "0"))


def test_a_run_warns(manifest, tmp_path):
    knobs = config.base("serugcl", "corpus=manifest,protocol=loso,tiny,features=logmel").unlock()
    knobs.data.manifest, knobs.data.cache_dir, knobs.data.workers = str(manifest), str(tmp_path), 1
    run = Classification(knobs, tmp_path / "run", Workbench(progress=False), tmp_path / "store", quiet=True)
    assert any("in 2 of 4 folds a tested one has its copy" in text for text in run.warnings)
