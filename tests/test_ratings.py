"""Figures of predicted ratings are what loops over utterances and resampled speakers say."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sercl_jax import results
from sercl_jax.errors import UserError
from sercl_jax.intervals import draw_counts
from sercl_jax.metrics import ccc
from sercl_jax.ratings import (
    AVERAGE,
    DIMENSIONS,
    METRICS,
    RatingFold,
    RatingPredictions,
    _ccc,
    compare,
    load,
    ratings_of,
    save,
    summarise,
)
from sercl_jax.types import Utterance

NAMES = (AVERAGE, *METRICS)
TESTED = 90


def run(seed: int = 0, noise: float = 1.0, speakers: int = 12, **changes: object) -> RatingPredictions:
    """Three folds of thirty utterances, ten more untested; every fifth is not rated in valence."""
    rng = np.random.default_rng(7)
    count = TESTED + 10
    truth = rng.uniform(1, 5, (count, 3))
    truth[::5, 1] = np.nan
    names = tuple(f"s{u % speakers}" for u in range(count))
    rng = np.random.default_rng(100 + seed)
    predicted = 0.6 * np.where(np.isnan(truth), 3, truth) + 1 + noise * rng.normal(size=truth.shape)
    predicted[TESTED:] = np.nan
    fold = np.repeat([0, 1, 2, -1], [30, 30, 30, 10])
    folds = tuple(RatingFold.of(f"session {k}", 4 + k, truth[fold == k], predicted[fold == k]) for k in range(3))
    made = RatingPredictions(ids=tuple(f"u{u:03}" for u in range(count)), speakers=names, truth=truth,
                             predicted=predicted, fold=fold, folds=folds, seed=seed)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def scores(of: RatingPredictions, rows: list[int] | slice = slice(TESTED)) -> list[float]:
    """The average and each dimension, over some rows (with repeats)."""
    each = [ccc(of.truth[rows, a], of.predicted[rows, a]) for a in range(3)]
    return [float(np.mean(each)), *each]


def resampled(of: RatingPredictions) -> np.ndarray:
    """[resamples, 4] by drawing whole speakers."""
    own = {name: [u for u in range(TESTED) if of.speakers[u] == name] for name in sorted(set(of.speakers))}
    return np.array([scores(of, [u for rows, times in zip(own.values(), counts, strict=True)
                                 for _ in range(int(times)) for u in rows]) for counts in draw_counts(len(own))])


def test_figures_are_those_of_loops_over_utterances_and_speakers() -> None:
    runs = [run(seed) for seed in (3, 4)]
    found = summarise(runs)
    values = np.array([scores(one) for one in runs])
    low, high = np.percentile(np.mean([resampled(one) for one in runs], axis=0), [2.5, 97.5], axis=0)
    assert tuple(found["metrics"]) == NAMES
    for n, name in enumerate(NAMES):
        figure = found["metrics"][name]
        assert figure["mean"] == pytest.approx(values[:, n].mean(), rel=1e-9)
        assert figure["std"] == pytest.approx(values[:, n].std(), rel=1e-6)
        assert figure["ci95"] == pytest.approx([low[n], high[n]], rel=1e-9)
        assert [row[name] for row in found["runs"]] == pytest.approx(values[:, n], rel=1e-9)
    assert [row["seed"] for row in found["runs"]] == [3, 4]
    assert found["warnings"] == []
    assert found["confusion"] == []
    assert len(found["folds"]) == 6
    rows = list(range(30, 60))
    assert found["folds"][4] == {"name": "session 1", "n": 30, "best_epoch": 5, "seed": 4,
                                 **dict(zip(NAMES, scores(runs[1], rows), strict=True))}


def test_large_means_cost_no_digits() -> None:
    one = run()
    shifted = run(truth=one.truth + 1e7, predicted=one.predicted + 1e7)
    for name in NAMES:
        assert summarise([shifted])["metrics"][name]["mean"] == pytest.approx(
            summarise([one])["metrics"][name]["mean"], abs=1e-7)


def test_constants_score_0() -> None:
    one = run()
    for predicted in (3.0, float(np.nanmean(one.truth[:TESTED, 0]))):
        found = summarise([run(predicted=np.full(one.truth.shape, predicted))])["metrics"]
        for name in NAMES:
            assert [found[name][key] for key in ("mean", "std")] == pytest.approx([0, 0], abs=1e-12)
            assert found[name]["ci95"] == pytest.approx([0, 0], abs=1e-12)
    everything = np.full(one.truth.shape, 4.1)
    assert summarise([run(truth=everything, predicted=everything)])["metrics"][AVERAGE]["mean"] == 0


def test_what_rounding_leaves_of_two_equal_constants_is_no_agreement() -> None:
    c = np.arange(1, 400) / 70
    assert (_ccc(np.stack([np.full(c.shape, 7), *(7 * c,) * 2, *(7 * c * c,) * 3], -1)) == 0).all()


def test_perfect_predictions_score_1() -> None:
    one = run()
    found = summarise([run(predicted=np.where(np.isnan(one.truth), 0, one.truth))])["metrics"]
    for name in NAMES:
        assert [found[name]["mean"], *found[name]["ci95"]] == pytest.approx([1, 1, 1])


def test_a_dimension_without_ratings_is_left_out_and_named() -> None:
    one = run()
    truth = one.truth.copy()
    truth[:TESTED, 2] = np.nan  # what only untested utterances are rated in does not count
    folds = tuple(RatingFold.of(f.name, f.best_epoch, truth[one.fold == k], one.predicted[one.fold == k])
                  for k, f in enumerate(one.folds))
    assert folds[0].CCC_dom is None
    assert folds[0].CCC_avg == pytest.approx((folds[0].CCC_act + folds[0].CCC_val) / 2)
    found = summarise([run(truth=truth, folds=folds)])
    assert tuple(found["metrics"]) == (AVERAGE, "CCC_act", "CCC_val")
    assert found["metrics"][AVERAGE]["mean"] == pytest.approx(np.mean(scores(one)[1:3]))
    assert "CCC_dom" not in found["folds"][0]
    assert found["warnings"] == ["No tested utterance is rated in dominance: CCC_avg is without."]
    assert tuple(compare([run(truth=truth)], [run(1, truth=truth)])) == (AVERAGE, "CCC_act", "CCC_val")


def test_resamples_in_which_nobody_is_rated_do_not_count() -> None:
    one = run(speakers=3)
    truth = one.truth.copy()
    truth[[u for u in range(TESTED) if one.speakers[u] != "s1"], 0] = np.nan
    interval = summarise([run(speakers=3, truth=truth)])["metrics"]["CCC_act"]["ci95"]
    own = [u for u in range(TESTED) if one.speakers[u] == "s1"]
    assert interval == pytest.approx([ccc(truth[own, 0], one.predicted[own, 0])] * 2)


def test_few_and_unknown_speakers_are_warned_of() -> None:
    assert "rest on 4 speakers" in summarise([run(speakers=4)])["warnings"][0]
    one = run()
    assert summarise([dataclasses.replace(one, speakers=("", *one.speakers[1:]))])["warnings"] == [
        "Some speakers are unknown: their utterances are resampled one by one, which makes the intervals too narrow."]


def test_a_difference_is_paired_by_seed() -> None:
    ours, theirs = [run(seed, noise=0.8) for seed in (0, 1)], [run(seed, noise=1.2) for seed in (1, 0)]
    found = compare(ours, theirs)
    values = np.array([np.subtract(scores(a), scores(b)) for a, b in zip(ours, theirs[::-1], strict=True)])
    spread = np.mean([resampled(a) - resampled(b) for a, b in zip(ours, theirs[::-1], strict=True)], axis=0)
    low, high = np.percentile(spread, [2.5, 97.5], axis=0)
    for n, name in enumerate(NAMES):
        assert found[name]["mean"] == pytest.approx(values[:, n].mean(), rel=1e-9)
        assert found[name]["std"] == pytest.approx(values[:, n].std(), rel=1e-6)
        assert found[name]["ci95"] == pytest.approx([low[n], high[n]], rel=1e-9)
    assert compare(ours, ours)[AVERAGE] == {"mean": 0, "std": 0, "ci95": [0, 0]}


def test_a_run_without_a_partner_is_compared_with_all() -> None:
    ours, theirs = run(9), [run(seed, noise=1.5) for seed in (0, 1, 2)]
    values = [scores(ours)[0] - scores(one)[0] for one in theirs]
    found = compare([ours], theirs)[AVERAGE]
    assert (found["mean"], found["std"]) == pytest.approx((np.mean(values), np.std(values)))


def test_what_cannot_be_summarised_is_refused() -> None:
    one = run()
    with pytest.raises(ValueError, match="no runs"):
        summarise([])
    other = one.truth.copy()
    other[3, 0] += 1
    for changed in ({"truth": other}, {"ids": ("x", *one.ids[1:])}, {"fold": np.roll(one.fold, 1)},
                    {"speakers": ("x", *one.speakers[1:])}):
        with pytest.raises(ValueError, match="same utterances"):
            compare([one], [dataclasses.replace(run(1), **changed)])
    broken = one.predicted.copy()
    broken[17, 2] = np.nan
    with pytest.raises(UserError, match="seed 5: the predictions for 1 utterances, such as 'u017', are not finite"):
        summarise([run(predicted=broken, seed=5)])
    with pytest.raises(ValueError, match="no tested utterance is rated"):
        summarise([run(truth=np.full(one.truth.shape, np.nan))])


def test_they_come_back_from_disk_as_they_went(tmp_path: Path) -> None:
    path = tmp_path / "ours" / "seed3.npz"
    assert load(path) is None
    one = run(3)
    unrated = RatingFold.of("none", 1, np.full((2, 3), np.nan), np.ones((2, 3)))
    one = dataclasses.replace(one, folds=(*one.folds, unrated))
    save(path, one)
    back = load(path)
    assert back is not None
    for field in dataclasses.fields(one):
        mine, theirs = getattr(one, field.name), getattr(back, field.name)
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
        else:
            assert mine == theirs
    assert [p.name for p in path.parent.iterdir()] == ["seed3.npz"]
    path.write_bytes(path.read_bytes()[:-200])
    assert load(path) is None


def test_they_make_valid_results(tmp_path: Path) -> None:
    results.write(tmp_path, {"method": "cpc", "corpus": "demo", "protocol": {"name": "session"}, "seed": 0,
                             "labels": [], **summarise([run(seed) for seed in range(5)]),
                             "seconds": {"features": 0.0, "train": 0.0, "evaluate": 0.0}})
    assert results.read(tmp_path)["metrics"][AVERAGE]["ci95"][0] < 1


def test_ratings_are_read_off_utterances() -> None:
    utterances = [Utterance("a", 1, activation=1.0, valence=2.5, dominance=3.0), Utterance("b", 1, dominance=4.0)]
    np.testing.assert_array_equal(ratings_of(utterances), [[1, 2.5, 3], [np.nan, np.nan, 4]])
    assert ratings_of([]).shape == (0, 3)
    assert DIMENSIONS == ("activation", "valence", "dominance")


def test_it_can_run_in_a_worker_without_jax() -> None:
    code = ("import sys, sercl_jax.ratings, sercl_jax.validation, sercl_jax.protocol_sheet\n"
            "print(sorted({'jax', 'flax', 'tensorflow'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
