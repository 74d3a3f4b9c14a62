"""The bootstrap against SciPy's, against loops over resamples, and its rules for speakers."""

import numpy as np
import pytest
import scipy.stats

from sercl_jax.intervals import ci95, ci95_difference, cluster_warning, draw_counts, speaker_confusions
from sercl_jax.metrics import METRICS, confusion, f1, ua, wa


def runs(count: int, speakers: int = 12, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    names = [f"s{u % speakers}" for u in range(240)]
    truth = rng.integers(0, classes, 240)
    predicted = np.where(rng.random((count, 240)) < 0.7, truth, rng.integers(0, classes, (count, 240)))
    return truth, predicted, names


def test_speaker_confusions_are_each_speakers_own_and_sum_to_the_pooled() -> None:
    truth, (predicted,), names = runs(1)
    names[5] = names[9] = ""  # unknown speakers are clusters of their own
    matrices = speaker_confusions(truth, predicted, names, 3)
    assert matrices.shape == (14, 3, 3)
    for position, name in enumerate(sorted(set(names) - {""})):
        own = [u for u in range(240) if names[u] == name]
        np.testing.assert_array_equal(matrices[position], confusion(truth[own], predicted[own], 3))
    for position, u in ((12, 5), (13, 9)):
        np.testing.assert_array_equal(matrices[position], confusion(truth[[u]], predicted[[u]], 3))
    np.testing.assert_array_equal(matrices.sum(0), confusion(truth, predicted, 3))


@pytest.mark.parametrize("name", METRICS)
def test_an_interval_is_that_of_a_loop_over_resampled_speakers(name: str) -> None:
    truth, predicted, names = runs(2)
    matrices = np.stack([speaker_confusions(truth, row, names, 3) for row in predicted])
    of_speaker = {s: [u for u in range(240) if names[u] == s] for s in sorted(set(names))}
    values = []
    for counts in draw_counts(12, resamples=200, seed=3).astype(int):
        rows = [u for s, times in zip(of_speaker, counts, strict=True) for _ in range(times) for u in of_speaker[s]]
        values.append(np.mean([METRICS[name](confusion(truth[rows], row[rows], 3)) for row in predicted]))
    np.testing.assert_allclose(ci95(matrices, METRICS[name], resamples=200, seed=3),
                               np.percentile(values, [2.5, 97.5]), rtol=1e-12)


def test_an_interval_is_scipys_where_every_speaker_has_as_many_utterances() -> None:
    truth, predicted, names = runs(1, speakers=40)
    matrices = speaker_confusions(truth, predicted[0], names, 3)
    accuracy = wa(matrices)  # with equal numbers of utterances, WA is the mean over speakers
    expected = scipy.stats.bootstrap((accuracy,), np.mean, n_resamples=20_000, method="percentile",
                                     rng=np.random.default_rng(0)).confidence_interval
    np.testing.assert_allclose(ci95(matrices[None], wa, resamples=20_000), expected, atol=0.004)


def test_counts_are_draws_with_replacement_and_seeded() -> None:
    counts = draw_counts(7, resamples=4000, seed=1)
    np.testing.assert_array_equal(counts.sum(1), 7)
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.08)
    np.testing.assert_array_equal(counts, draw_counts(7, resamples=4000, seed=1))
    assert (counts != draw_counts(7, resamples=4000, seed=2)).any()


def test_a_paired_difference_uses_the_same_resamples() -> None:
    truth, predicted, names = runs(1)
    ours = speaker_confusions(truth, predicted[0], names, 3)[None]
    assert ci95_difference(ours, ours, ua) == (0, 0)
    # Better by the same utterances for every speaker: a difference without spread, though WA itself has some.
    better = ours.copy()
    for matrix in better[0]:
        row = next(k for k in range(3) if matrix[k].sum() > matrix[k, k])
        wrong = next(j for j in range(3) if j != row and matrix[row, j])
        matrix[row, wrong] -= 1
        matrix[row, row] += 1
    low, high = ci95_difference(better, ours, wa)
    assert low == pytest.approx(12 / 240)
    assert high == pytest.approx(12 / 240)
    low, high = ci95(ours, wa)
    assert high - low > 0.05
    swapped = ci95_difference(ours, better, wa)
    assert swapped == pytest.approx((-12 / 240, -12 / 240))


def test_a_difference_needs_the_same_utterances() -> None:
    truth, predicted, names = runs(1)
    ours = speaker_confusions(truth, predicted[0], names, 3)[None]
    theirs = speaker_confusions((truth + 1) % 3, predicted[0], names, 3)[None]
    with pytest.raises(ValueError, match="same utterances"):
        ci95_difference(ours, theirs, ua)
    with pytest.raises(ValueError, match="same utterances"):
        ci95_difference(ours, ours[:, :5], ua)


def test_a_resample_that_lacks_a_class_is_scored_on_the_others() -> None:
    matrices = np.zeros((1, 10, 2, 2))
    matrices[0, :5, 0, 0] = matrices[0, 5:, 1, 1] = 4  # each class by five of ten speakers, all right
    assert ci95(matrices, ua) == (1, 1)
    assert ci95(matrices, f1) == (1, 1)


def test_few_speakers_are_warned_of() -> None:
    assert "rest on 4 speakers" in cluster_warning(np.zeros((1, 4, 2, 2)))
    assert "rest on 1 speaker;" in cluster_warning(np.zeros((1, 1, 2, 2)))
    assert cluster_warning(np.zeros((1, 10, 2, 2))) == ""
