"""Class metrics against loops and scikit-learn, CCC against a loop and its closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from sercl_jax.metrics import ccc, confusion, f1, recall, ua, wa


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_class_metrics_are_what_loops_say(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    matrix = confusion(truth, predicted, 5)
    np.testing.assert_array_equal(matrix, confusion_matrix(truth, predicted, labels=range(5)))

    recalls, scores = [], []
    for k in range(5):
        own = [p for t, p in pairs if t == k]
        if not own:
            assert np.isnan(recall(matrix)[k])
            continue
        hits = own.count(k)
        recalls.append(hits / len(own))
        scores.append(2 * hits / (len(own) + sum(p == k for _, p in pairs)))
        assert recall(matrix)[k] == pytest.approx(recalls[-1])
    assert ua(matrix) == pytest.approx(sum(recalls) / len(recalls))
    assert wa(matrix) == pytest.approx(sum(t == p for t, p in pairs) / len(pairs))
    assert f1(matrix) == pytest.approx(sum(scores) / len(scores))


def test_class_metrics_are_scikit_learns_where_every_class_occurs() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = np.arange(200) % 6, rng.integers(0, 6, 200)
    matrix = confusion(truth, predicted, 6)
    assert ua(matrix) == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert wa(matrix) == pytest.approx(accuracy_score(truth, predicted))
    assert f1(matrix) == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_class_metrics_keep_leading_axes() -> None:
    matrices = np.random.default_rng(0).integers(0, 5, (3, 2, 4, 4))
    matrices[1, 0, 2] = 0  # a class that this truth lacks
    for metric in (ua, wa, f1, recall):
        together = metric(matrices)
        for a in range(3):
            for b in range(2):
                np.testing.assert_array_equal(together[a, b], metric(matrices[a, b]))


def test_confusion_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match=r"-1\.\.1 are not all in 0\.\.1"):
        confusion(np.array([0, 1]), np.array([0, -1]), 2)
    with pytest.raises(ValueError, match="one length"):
        confusion(np.array([0, 1]), np.array([0]), 2)
    assert confusion(np.array([], int), np.array([], int), 2).tolist() == [[0, 0], [0, 0]]


def test_ccc_is_lins_formula() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.normal(size=50), rng.normal(size=50) + 0.3
    truth_mean, predicted_mean = sum(truth) / 50, sum(predicted) / 50
    covariance = sum((t - truth_mean) * (p - predicted_mean) for t, p in zip(truth, predicted, strict=True)) / 50
    spread = sum((t - truth_mean) ** 2 for t in truth) / 50 + sum((p - predicted_mean) ** 2 for p in predicted) / 50
    expected = 2 * covariance / (spread + (truth_mean - predicted_mean) ** 2)
    assert ccc(truth, predicted) == pytest.approx(expected)
    assert ccc(truth, truth) == pytest.approx(1)
    assert ccc(truth, -truth) < 0
    # A shift by d of a copy with variance v scores 2v / (2v + d²).
    assert ccc(truth, truth + 2) == pytest.approx(2 * truth.var() / (2 * truth.var() + 4))


def test_ccc_of_constants_and_missing_ratings() -> None:
    assert ccc(np.full(4, 3.0), np.arange(4.0)) == 0
    assert ccc(np.full(4, 3.0), np.full(4, 3.0)) == 0
    truth, predicted = np.array([1, np.nan, 2, 4.0]), np.array([1.5, 9, 2, 3])
    assert ccc(truth, predicted) == ccc(truth[[0, 2, 3]], predicted[[0, 2, 3]])
    with pytest.raises(ValueError, match="no utterance is rated"):
        ccc(np.full(2, np.nan), np.zeros(2))
    with pytest.raises(ValueError, match="one length"):
        ccc(np.zeros(2), np.zeros(3))
