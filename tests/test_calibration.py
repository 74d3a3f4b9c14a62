"""Probabilities that mean what they say, from decisions that do not."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sercl_jax import calibration
from sercl_jax.calibration import Calibration, expected_calibration_error, fit, log_loss
from sercl_jax.evaluate import FoldScore, Predictions


def _drawn(utterances, scale=3.0, bias=(0.5, -0.5, 0.0), seed=0, speakers=12):
    """Decisions of which softmax(scale x decision + bias) is the truth."""
    rng = np.random.default_rng(seed)
    decision = rng.normal(size=(utterances, len(bias)))
    probability = Calibration(scale, np.array(bias)).apply(decision)
    truth = np.array([rng.choice(len(bias), p=p) for p in probability])
    return decision, truth, [f"s{n % speakers}" for n in range(utterances)]


def test_the_parameters_are_found_again():
    made = fit(*_drawn(4000))
    assert made.scale == pytest.approx(3, rel=0.1)
    np.testing.assert_allclose(made.bias, [0.5, -0.5, 0], atol=0.15)


# Of decisions that are worse than chance.
BACKWARDS = fit(-_drawn(50)[0], *_drawn(50)[1:])


@pytest.mark.parametrize("utterances", [60, 300])
@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_log_loss_improves_on_what_was_held_out(utterances, scale):
    made = fit(*_drawn(utterances, scale))
    other, truth, _ = _drawn(5000, scale, seed=1)
    plain = log_loss(Calibration(1.0, np.zeros(3)).apply(other), truth)
    best = log_loss(Calibration(scale, np.array([0.5, -0.5, 0])).apply(other), truth)
    calibrated = log_loss(made.apply(other), truth)
    assert calibrated < plain + (0.02 if scale == 1 else 0)
    assert calibrated < best + 0.1
    assert made.facts["utterances"] == utterances
    assert made.facts["log_loss"]["after"] < made.facts["log_loss"]["before"] + 0.02


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.integers(0, 2), st.floats(0.01, 3))
def test_more_of_a_decision_is_never_less_of_a_probability(decision, k, more):
    made = BACKWARDS
    higher = np.array(decision)
    higher[k] += more
    before, after = made.apply(np.array([decision, higher]))
    assert after[k] >= before[k] - 1e-12
    assert after.sum() == pytest.approx(1)


def test_the_device_computes_the_same():
    decision, truth, speakers = _drawn(50)
    made = fit(decision, truth, speakers)
    found = jax.jit(calibration.probabilities)(made.to_arrays(), decision.astype(np.float32))
    np.testing.assert_allclose(found, made.apply(decision), atol=1e-6)


def test_few_or_perfect_decisions_leave_probabilities_within_reason():
    perfect = fit(np.eye(3)[np.arange(12) % 3], np.arange(12) % 3, [f"s{n}" for n in range(12)])
    top = perfect.apply(np.eye(3)).max(1)
    assert (top > 0.5).all()
    assert (top < 0.99).all()
    single = fit(np.array([[2.0, 1.0]]), np.array([0]), ["a"])
    assert np.isfinite(single.apply(np.array([[2.0, 1.0]]))).all()


def test_unknown_classes_and_untested_utterances_are_left_out():
    decision, truth, speakers = _drawn(300)
    lacking = decision.copy()
    lacking[::5, 2] = np.nan  # a fold whose training part had no class 2
    lacking[1::5] = np.nan  # never tested
    told = np.where(np.arange(300) % 7 == 0, -1, truth)
    rows = [n for n in range(300) if n % 5 != 1 and n % 7 and not (n % 5 == 0 and truth[n] == 2)]
    made = fit(lacking, told, speakers)
    same = fit(lacking[rows], truth[rows], [speakers[n] for n in rows])
    assert made.facts["utterances"] == len(rows)
    assert made.scale == pytest.approx(same.scale, rel=1e-4)
    probability = made.apply(lacking[[0, 5]])
    np.testing.assert_array_equal(probability[:, 2], 0)
    np.testing.assert_allclose(probability.sum(1), 1)
    assert fit(np.full((4, 2), np.nan), np.zeros(4, int), ["a"] * 4) is None


def test_repeats_of_an_utterance_count_once():
    """Ten classifiers of the same 20 utterances know no more of them than one does."""
    decision, truth, speakers = _drawn(20)
    ids = [f"u{n}" for n in range(20)]
    once = fit(decision, truth, speakers, ids)
    often = fit(np.tile(decision, (10, 1)), np.tile(truth, 10), speakers * 10, ids * 10)
    assert often.facts["utterances"] == 20
    assert often.scale == pytest.approx(once.scale, rel=1e-3)
    np.testing.assert_allclose(often.bias, once.bias, atol=1e-3)


def test_no_speaker_calibrates_its_own_probabilities():
    """Every utterance of a speaker has the same decision, which tells its class: what is learned of it by heart
    would look perfect."""
    rng = np.random.default_rng(0)
    decision = np.repeat(rng.normal(size=(10, 2)), 20, axis=0)
    truth = np.repeat(np.arange(10) % 2, 20)
    speakers = np.repeat([f"s{n}" for n in range(10)], 20)
    by_speaker = fit(decision, truth, speakers)
    by_utterance = fit(decision, truth, [""] * 200)
    assert (by_speaker.facts["by"], by_utterance.facts["by"]) == ("speaker", "utterance")
    assert by_speaker.facts["log_loss"]["after"] > by_utterance.facts["log_loss"]["after"]
    assert "cross-fitted by speaker" in by_speaker.words


def test_the_expected_calibration_error_is_the_mean_gap():
    """Two of ten at 0.95 wrong, and five of ten at 0.55 right."""
    probability = np.array([[0.95, 0.05]] * 10 + [[0.55, 0.45]] * 10)
    truth = np.array([0] * 8 + [1] * 2 + [0] * 5 + [1] * 5)
    assert expected_calibration_error(probability, truth) == pytest.approx(0.5 * 0.15 + 0.5 * 0.05)
    assert expected_calibration_error(np.eye(2), np.arange(2)) == 0


def test_runs_are_pooled():
    decision, truth, speakers = _drawn(60)
    runs = [Predictions(labels=("a", "b", "c"), ids=tuple(f"u{n}" for n in range(60)), speakers=tuple(speakers),
                        truth=truth, predicted=decision.argmax(1), decision=decision + shift, fold=np.zeros(60, int),
                        folds=(FoldScore("f", 60, 0.5, 0.5, {}),), seed=seed)
            for seed, shift in enumerate((0.0, 0.1))]
    made = calibration.of_runs(runs)
    assert made.facts["utterances"] == 60
    assert made.words.startswith("multinomial logistic regression on decisions for 60 held-out utterances")


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="must be"):
        fit(np.zeros((3, 2)), np.zeros(2, int), ["a"] * 3)
