"""The synthetic corpus: complete, the same everywhere, and neither trivial nor impossible to classify."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from scipy import fft, signal
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sercl_jax import corpora
from sercl_jax.corpora import registry


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpora.load("demo", cache_dir=tmp_path_factory.mktemp("cache"), workers=2, progress=False)


def test_every_speaker_says_every_sentence_in_every_emotion(corpus):
    assert len(corpus) == 8 * 7 * 6
    assert Counter((u.speaker, u.label, u.sentence) for u in corpus.utterances).most_common(1)[0][1] == 1
    assert corpus.labels == ("angry", "bored", "disgusted", "fearful", "happy", "neutral", "sad")
    assert Counter(u.gender for u in corpus.utterances) == {"female": 168, "male": 168}
    assert len({u.session for u in corpus.utterances}) == 4
    assert len({(u.speaker, u.session) for u in corpus.utterances}) == 8
    seconds = [u.seconds for u in corpus.utterances]
    assert min(seconds) > 0.9
    assert max(seconds) < 3.0


def test_samples_are_those_of_the_utterance_alone(corpus):
    """Neither the order of synthesis nor the number of processes matters: the corpus came from two."""
    builder = registry.builder_class("demo")
    sources = {source.utterance.id: source for source in builder.sources(None)}
    for u in (300, 0, 17):
        np.testing.assert_array_equal(builder.waveform(sources[corpus.utterances[u].id]), corpus.waveform(u))


def test_all_utterances_differ(corpus):
    digests = {hashlib.sha256(corpus.waveform(u).tobytes()).hexdigest() for u in range(len(corpus))}
    assert len(digests) == len(corpus)


def test_levels_are_those_of_recordings(corpus):
    for u in range(0, len(corpus), 7):
        samples = corpus.waveform(u) / 32768
        assert 0.02 < np.abs(samples).max() < 0.99
        assert abs(samples.mean()) < 0.005
        assert np.std(samples[:800]) < 0.1 * np.std(samples)  # a quiet start


def pitch(samples: np.ndarray) -> float:
    """Hz, by autocorrelation of the whole utterance: enough to tell women from men."""
    spectrum = np.abs(fft.rfft(signal.lfilter([1], [1, -0.9], samples), 2 * len(samples))) ** 2
    correlation = fft.irfft(spectrum)
    return 16_000 / (40 + np.argmax(correlation[40:200]))


def test_prosody_carries_what_it_should(corpus):
    table = [(u, pitch(corpus.waveform(number).astype(float)), float(np.std(corpus.waveform(number))))
             for number, u in enumerate(corpus.utterances)]
    neutral = {gender: np.median([f0 for u, f0, _ in table if (u.gender, u.label) == (gender, "neutral")])
               for gender in ("female", "male")}
    assert 165 < neutral["female"] < 255
    assert 85 < neutral["male"] < 165
    assert np.corrcoef([u.activation for u, *_ in table], np.log([level for *_, level in table]))[0, 1] > 0.5

    def mean(column, label):
        return np.mean([np.log(row[column]) for row in table if row[0].label == label])

    assert mean(1, "fearful") > mean(1, "neutral") > mean(1, "disgusted")
    assert mean(2, "angry") > mean(2, "happy") > mean(2, "neutral") > mean(2, "sad")


def test_ratings_follow_the_emotions_with_overlap(corpus):
    def ratings(label, name):
        return np.array([getattr(u, name) for u in corpus.utterances if u.label == label])

    everything = np.array([[u.activation, u.valence, u.dominance] for u in corpus.utterances])
    assert everything.min() >= 1.0
    assert everything.max() <= 5.0
    assert ratings("angry", "activation").mean() > ratings("neutral", "activation").mean() + 1
    assert ratings("happy", "valence").mean() > ratings("sad", "valence").mean() + 2
    assert ratings("angry", "dominance").mean() > ratings("fearful", "dominance").mean() + 2
    assert ratings("sad", "activation").max() > ratings("bored", "activation").min()


def functionals(samples: np.ndarray) -> np.ndarray:
    """Mean and spread of a coarse cepstrum and of the level, and the length."""
    _, _, spectrum = signal.stft(samples, 16_000, nperseg=400, noverlap=240, nfft=512)
    edges = np.unique(np.round(np.geomspace(3, 256, 21)).astype(int))
    bands = np.log(np.add.reduceat(np.abs(spectrum) ** 2, edges[:-1], axis=0) + 1e-4)
    cepstrum = fft.dct(bands, axis=0, norm="ortho")[:13]
    speaking = cepstrum[:, bands.mean(axis=0) > np.median(bands.mean(axis=0))]
    movement = np.diff(cepstrum, axis=1).std(axis=1)
    return np.concatenate([speaking.mean(axis=1), cepstrum.std(axis=1), movement,
                           [np.log(pitch(samples)), np.log(len(samples))]])


def test_emotions_overlap_as_in_acted_corpora(corpus):
    """An SVM on simple functionals, leave one speaker out: far above chance (14 %), far from perfect."""
    features = np.stack([functionals(corpus.waveform(u).astype(float)) for u in range(len(corpus))])
    labels = [u.label for u in corpus.utterances]
    predicted = cross_val_predict(make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.03)), features, labels,
                                  groups=[u.speaker for u in corpus.utterances], cv=LeaveOneGroupOut())
    assert 0.50 < balanced_accuracy_score(labels, predicted) < 0.85
