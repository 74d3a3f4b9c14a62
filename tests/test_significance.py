"""Tests of differences, against every exchange counted in loops, closed forms and SciPy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sercl_jax import metrics, ratings, significance

CLASSES = 3


def confusions(seed: int, speakers: int, runs: int = 2, skill: float = 3.0, utterances: int = 12) -> np.ndarray:
    """[R, S, K, K] of systems that are right about as often as `skill` says, on the same utterances."""
    truth = np.random.default_rng(99).multinomial(utterances, np.full(CLASSES, 1 / CLASSES), speakers)
    draw = np.random.default_rng(seed)
    given_ = np.ones((CLASSES, CLASSES)) + skill * np.eye(CLASSES)
    return np.array([[[draw.multinomial(n, row / row.sum()) for n, row in zip(own, given_, strict=True)]
                      for own in truth] for _ in range(runs)], dtype=float)


def by_loops(ours: np.ndarray, theirs: np.ndarray, statistic) -> float:
    """The share of all exchanges whose difference is at least as large as the observed one."""
    speakers = ours.shape[1]
    found = []
    for exchange in itertools.product((False, True), repeat=speakers):
        left, right = ours.copy(), theirs.copy()
        for s in range(speakers):
            if exchange[s]:
                left[:, s], right[:, s] = theirs[:, s], ours[:, s]
        found.append(np.mean([statistic(left[r].sum(0)) - statistic(right[r].sum(0)) for r in range(len(ours))]))
    return float(np.mean([abs(value) >= abs(found[0]) - 1e-12 for value in found]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["UA", "WA", "F1"])
def test_every_exchange_of_few_speakers_is_counted(seed, name):
    ours, theirs = confusions(seed, 7, skill=4.0), confusions(seed + 10, 7)
    statistic = metrics.METRICS[name]
    assert significance.exchange_p(ours, theirs, statistic) == pytest.approx(by_loops(ours, theirs, statistic))


def test_a_mean_over_speakers_is_tested_as_scipy_does():
    draw = np.random.default_rng(2)
    ours, theirs = draw.normal(0.4, 1, (1, 9, 1)), draw.normal(0, 1, (1, 9, 1))
    expected = stats.permutation_test((ours[0, :, 0], theirs[0, :, 0]), lambda x, y, axis: (x - y).mean(axis),
                                      permutation_type="samples", vectorized=True, n_resamples=2 ** 9)
    found = significance.exchange_p(ours, theirs, lambda sums: sums[..., 0] / 9)
    assert found == pytest.approx(expected.pvalue)


def test_many_speakers_are_sampled_near_the_exact_p():
    draw = np.random.default_rng(3)
    ours, theirs = draw.normal(0.35, 1, (1, 16, 1)), draw.normal(0, 1, (1, 16, 1))
    signs = 1 - 2 * (np.arange(2 ** 16)[:, None] >> np.arange(16) & 1)
    sums = signs @ (ours - theirs)[0, :, 0]
    exact = np.mean(np.abs(sums) >= abs(sums[0]) - 1e-12)
    found = significance.exchange_p(ours, theirs, lambda total: total[..., 0])
    assert 0.05 < exact < 0.9
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / significance.EXCHANGES))
    assert found == significance.exchange_p(ours, theirs, lambda total: total[..., 0])


@pytest.mark.parametrize("speakers", [6, 13, 20])
def test_the_smallest_and_the_largest_p(speakers):
    better = np.tile(np.eye(CLASSES) * 5, (2, speakers, 1, 1))
    worse = np.tile(np.full((CLASSES, CLASSES), 5 / 3), (2, speakers, 1, 1))
    smallest = 2 / 2 ** speakers if speakers <= 13 else 1 / (significance.EXCHANGES + 1)
    assert significance.exchange_p(better, worse, metrics.ua) == pytest.approx(smallest)
    assert significance.exchange_p(better, better, metrics.ua) == 1


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(6, 9))
def test_which_system_comes_first_does_not_matter(seed, speakers):
    ours, theirs = confusions(seed, speakers, runs=1), confusions(seed + 5000, speakers, runs=1)
    assert significance.exchange_p(ours, theirs, metrics.ua) == significance.exchange_p(theirs, ours, metrics.ua)


def test_equal_systems_are_told_apart_as_often_as_the_level_says():
    """Of 200 pairs of equally good systems about one in ten has p <= 0.1; never twice as many."""
    p = [significance.exchange_p(confusions(seed, 8, runs=1), confusions(seed + 1000, 8, runs=1), metrics.ua)
         for seed in range(200)]
    assert 0.04 < np.mean(np.array(p) <= 0.1) < 0.17


def test_concordance_is_exchanged_by_its_moments():
    """Two recognizers of ratings: exchanged sums are those of exchanged predictions."""
    draw = np.random.default_rng(5)
    speakers = [f"s{u % 6}" for u in range(48)]
    truth = draw.uniform(1, 5, (48, 3))
    runs = [ratings.RatingPredictions(tuple(f"u{u}" for u in range(48)), tuple(speakers), truth,
                                      truth + noise * draw.normal(size=truth.shape), np.zeros(48, int), ())
            for noise in (0.6, 0.9)]
    ours, theirs = ratings.paired_moments(runs[:1], runs[1:])
    found = []
    for exchange in itertools.product((False, True), repeat=6):
        swapped = np.array([exchange[int(name[1:])] for name in speakers])[:, None]
        left = np.where(swapped, runs[1].predicted, runs[0].predicted)
        right = np.where(swapped, runs[0].predicted, runs[1].predicted)
        found.append(np.mean([metrics.ccc(truth[:, a], left[:, a]) - metrics.ccc(truth[:, a], right[:, a])
                              for a in range(3)]))
    expected = np.mean(np.abs(found) >= abs(found[0]) - 1e-9)
    assert significance.exchange_p(ours, theirs, ratings.average_ccc) == pytest.approx(expected)


def test_signed_ranks_are_those_of_all_signs():
    differences = np.array([0.5, -0.1, 0.7, 0.3, -0.2, 0.9, 0.4])
    ranks = stats.rankdata(np.abs(differences))
    observed = ranks[differences > 0].sum()
    totals = [sum(rank for rank, plus in zip(ranks, signs, strict=True) if plus)
              for signs in itertools.product((0, 1), repeat=7)]
    centre = ranks.sum() / 2
    expected = np.mean([abs(total - centre) >= abs(observed - centre) for total in totals])
    assert significance.signed_rank_p(differences) == pytest.approx(expected)


def test_tied_ranks_follow_the_normal_curve():
    differences = np.array([1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 4.0, 0.0, -2.0])
    kept = differences[differences != 0]
    ranks = stats.rankdata(np.abs(kept))
    variance = (ranks ** 2).sum() / 4
    z = (ranks[kept > 0].sum() - ranks.sum() / 2) / math.sqrt(variance)
    assert significance.signed_rank_p(differences) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))
    assert significance.signed_rank_p(np.zeros(8)) == 1


def test_without_overlap_of_training_parts_it_is_the_paired_t_test():
    differences = np.random.default_rng(1).normal(0.3, 1, 10)
    assert significance.corrected_t_p(differences, 0.0) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_the_correction_is_that_of_nadeau_and_bengio():
    differences = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    t = differences.mean() / math.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    assert significance.corrected_t_p(differences, 1 / 4) == pytest.approx(2 * stats.t.cdf(-t, 4))
    assert significance.corrected_t_p(differences, 1 / 4) > significance.corrected_t_p(differences, 0)
    assert significance.corrected_t_p(np.zeros(5), 0.25) == 1
    assert significance.corrected_t_p(np.full(5, 0.1), 0.25) == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_step_down_method_rejects(p_values):
    adjusted = significance.holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[place] * (len(p_values) - rank) > level:
                break
            rejected.add(place)
        assert {place for place, value in enumerate(adjusted) if value <= level} == rejected
    assert all(value >= p for value, p in zip(adjusted, p_values, strict=True))


def test_holm_by_hand():
    assert significance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_too_few_are_refused():
    few = np.zeros((1, 5, CLASSES, CLASSES))
    with pytest.raises(ValueError, match="5 speakers are too few for a test; 6 are needed"):
        significance.exchange_p(few, few, metrics.ua)
    with pytest.raises(ValueError, match="5 speakers are too few"):
        significance.signed_rank_p(np.zeros(5))
    with pytest.raises(ValueError, match="4 folds are too few for a test; 5 are needed"):
        significance.corrected_t_p(np.zeros(4), 1 / 3)
    with pytest.raises(ValueError, match="differ"):
        significance.exchange_p(few, few[:, :4], metrics.ua)
