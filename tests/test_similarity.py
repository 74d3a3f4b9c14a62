"""Similarity by layer against loops over pairs."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sercl_jax.similarity import by_layer


def similarity_loop(layers, labels, groups):
    found = {}
    for means in layers:
        cosines = {}
        for i, j in itertools.combinations(range(len(means)), 2):
            u, v = means[i], means[j]
            size = np.sqrt((u @ u) * (v @ v))
            cosine = u @ v / size if size else 0.0
            kind = "positive" if labels[i] == labels[j] else "negative"
            cosines.setdefault(kind, []).append(cosine)
            if groups is not None and groups[i] != groups[j]:
                cosines.setdefault(f"{kind}_across", []).append(cosine)
        for kind, values in cosines.items():
            found.setdefault(kind, []).append(np.mean(values))
    return found


@given(st.integers(0, 14), st.integers(1, 4), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_all_pairs_of_every_kind_as_a_loop_has_them(count, emotions, grouped, seed):
    rng = np.random.default_rng(seed)
    layers = [rng.standard_normal((count, width)) + rng.standard_normal(width) for width in (5, 2, 7)]
    for means in layers:
        means[rng.random(count) < 0.1] = 0
    labels = [("angry", "sad", "happy", "bored")[i] for i in rng.integers(emotions, size=count)]
    groups = [("emodb", "ravdess", "casia")[i] for i in rng.integers(3, size=count)] if grouped else None
    found, expected = by_layer(layers, labels, groups), similarity_loop(layers, labels, groups)
    assert found.keys() == expected.keys()
    for kind, values in expected.items():
        np.testing.assert_allclose(found[kind], values, atol=1e-12)


def test_ideal_embeddings():
    """Emotions at right angles: positives at 1, negatives at 0, whatever the lengths; a layer before, neither."""
    axes = np.eye(3)[[0, 0, 1, 1, 2, 2]] * np.array([1, 5, 2, 0.1, 3, 7])[:, None]
    scrambled = np.eye(3)[[0, 1, 0, 1, 2, 1]]
    found = by_layer([scrambled.astype(np.float32), axes.astype(np.float32)], list("aabbcc"), list("xyxyxy"))
    np.testing.assert_allclose(found["positive"], [0, 1], atol=1e-7)
    np.testing.assert_allclose(found["negative"], [4 / 12, 0], atol=1e-7)
    np.testing.assert_allclose(found["positive_across"], [0, 1], atol=1e-7)
    assert json.loads(json.dumps(found)) == found


def test_kinds_without_pairs_are_left_out():
    layers = [np.ones((3, 4), np.float32)] * 2
    assert set(by_layer(layers, ["sad"] * 3)) == {"positive"}
    assert set(by_layer(layers, ["sad", "angry", "bored"])) == {"negative"}
    assert set(by_layer(layers, ["sad", "sad", "bored"], ["emodb"] * 3)) == {"positive", "negative"}
    assert by_layer([layer[:1] for layer in layers], ["sad"]) == {}


def test_half_precision_is_summed_in_double():
    rng = np.random.default_rng(0)
    means = (rng.standard_normal((40, 8)) + 300).astype(np.float16)
    labels = ["sad", "angry"] * 20
    expected = similarity_loop([means.astype(np.float64)], labels, None)
    np.testing.assert_allclose(by_layer([means], labels)["positive"], expected["positive"], rtol=1e-12)


def test_wrong_arguments_are_refused():
    means = np.ones((3, 4))
    with pytest.raises(ValueError, match=r"layer 1 \(2, 4\) must be .* one of 3 labels for each"):
        by_layer([means, means[:2]], ["sad"] * 3)
    with pytest.raises(ValueError, match="one of 3 labels and one of 1 groups"):
        by_layer([means], ["sad"] * 3, ["emodb"])
    with pytest.raises(ValueError, match=r"layer 0 \(3, 4, 1\)"):
        by_layer([means[..., None]], ["sad"] * 3)
    with pytest.raises(ValueError, match=r"layer 1: .* not finite"):
        by_layer([means, np.where(means.cumsum() == 7, np.nan, 1.0).reshape(3, 4)], ["sad"] * 3)
