"""The SVM against scikit-learn's own, and against leaks of validation and test rows."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sercl_jax.classify import FIXED, FittedSvm, SvmSettings, fit_svm, inner_folds, standardiser
from sercl_jax.errors import UserError
from sercl_jax.metrics import confusion, ua

TOLERANCE = 2e-4  # libsvm stops at 1e-3: a last step more or less, by rounding of the Gram matrix


def data(classes: int, rows: int = 160, seed: int = 0, distance: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    x = rng.normal(size=(rows, 12)) * rng.uniform(0.1, 9, 12) + rng.normal(size=12)
    x[np.arange(rows), y] += distance * x.std(0)[y]
    return x, y


def peer(x: np.ndarray, y: np.ndarray, **options: object) -> SVC:
    return make_pipeline(StandardScaler(), SVC(**options)).fit(x, y)


@pytest.mark.parametrize("weight", [None, "balanced"])
@pytest.mark.parametrize(("kernel", "c", "gamma"), [("linear", 0.01, "scale"), ("linear", 3.0, "scale"),
                                                     ("rbf", 10.0, "scale"), ("rbf", 0.5, 0.2)])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_decides_and_predicts_as_scikit_learn(classes: int, kernel: str, c: float, gamma: float | str,
                                              weight: str | None) -> None:
    x, y = data(classes)
    y = 3 * y + 1  # class numbers need not be 0, 1, 2
    unseen, _ = data(classes, 400, seed=1)
    ours = fit_svm(x, y, None, SvmSettings(grid={kernel: (c,)}, gamma=gamma, class_weight=weight))
    theirs = peer(x, y, C=c, kernel=kernel, gamma=gamma, class_weight=weight)

    np.testing.assert_array_equal(ours.classes, np.unique(y))
    np.testing.assert_array_equal(ours.predict(unseen), theirs.predict(unseen))
    expected = theirs.decision_function(unseen)
    if classes == 2:  # scikit-learn gives the one pair, positive for the second class
        np.testing.assert_allclose(-ours.pairs(unseen)[:, 0], expected, atol=TOLERANCE)
        np.testing.assert_array_equal(ours.decision(unseen).argmax(1), (expected > 0).astype(int))
    else:
        np.testing.assert_allclose(ours.decision(unseen), expected, atol=TOLERANCE)
        theirs[-1].decision_function_shape = "ovo"
        np.testing.assert_allclose(ours.pairs(unseen), theirs.decision_function(unseen), atol=TOLERANCE)


def test_ties_between_classes_go_where_libsvm_sends_them() -> None:
    x, y = data(7, 300, distance=0.3)  # hardly separable: circles of votes are common
    unseen, _ = data(7, 3000, seed=1, distance=0.3)
    ours = fit_svm(x, y, None, FIXED)
    votes = ours.decision(unseen).round()  # the squashed sums stay below a third
    tied = (votes == votes.max(1, keepdims=True)).sum(1) > 1
    assert tied.sum() > 20
    np.testing.assert_array_equal(ours.predict(unseen), peer(x, y, C=0.01, kernel="linear").predict(unseen))


def test_arrays_hold_the_whole_machine_without_pickle() -> None:
    x, y = data(4)
    for chosen in (FIXED, SvmSettings(grid={"rbf": (1.0, 10.0)})):
        machine = fit_svm(x, y, None, chosen)
        file = io.BytesIO()
        np.savez(file, **machine.to_arrays())
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            again = FittedSvm.from_arrays(dict(stored))
        np.testing.assert_array_equal(again.decision(x), machine.decision(x))
        assert (again.kernel, again.c, again.gamma) == (machine.kernel, machine.c, machine.gamma)
        assert isinstance(again.c, float)
    arrays = machine.to_arrays()
    del arrays["intercepts"]
    with pytest.raises(UserError, match="intercepts"):
        FittedSvm.from_arrays(arrays)


@pytest.mark.parametrize("grouped", [False, True])
def test_chooses_as_a_loop_over_inner_folds_does(grouped: bool) -> None:
    x, y = data(3, 150, distance=0.6)
    groups = [f"s{u % 7}" for u in range(150)] if grouped else None
    wanted = SvmSettings(grid={"rbf": (0.1, 10.0), "linear": (0.001, 0.1, 10.0)}, inner_folds=4)
    scores = {}
    for choice in wanted.choices:
        predicted = np.zeros_like(y)
        for train, test in inner_folds(y, groups, 4):
            predicted[test] = peer(x[train], y[train], C=choice.c, kernel=choice.kernel).predict(x[test])
        scores[choice] = float(ua(confusion(y, predicted, 3)))
    assert len(set(scores.values())) > 2
    best = max(scores, key=scores.__getitem__)  # of equals the first, as dictionaries keep order
    machine = fit_svm(x, y, groups, wanted)
    assert (machine.kernel, machine.c) == (best.kernel, best.c)
    assert machine.chosen_ua == pytest.approx(scores[best])


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.integers(1, 9), st.integers(2, 6), st.integers(0, 99))
def test_inner_folds_keep_groups_apart_and_cover_every_row(rows: int, speakers: int, folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1], rng.integers(0, 3, rows - 2)])
    groups = [f"s{s}" for s in rng.integers(0, speakers, rows)]
    for given_groups in (groups, None):
        made = inner_folds(y, given_groups, folds)
        if np.unique(y, return_counts=True)[1].max() == 1:
            assert made == []
            continue
        assert 2 <= len(made) <= folds
        assert sorted(np.concatenate([test for _, test in made]).tolist()) == list(range(rows))
        for train, test in made:
            assert not set(train.tolist()) & set(test.tolist())
            if given_groups and len(set(groups)) > 1:
                assert not {groups[u] for u in train} & {groups[u] for u in test}


def test_other_rows_never_matter() -> None:
    x, y = data(3)
    machine = fit_svm(x[:100], y[:100], None, SvmSettings())
    x[100:] *= 1e6
    again = fit_svm(x[:100], y[:100], None, SvmSettings())
    for name, value in machine.to_arrays().items():
        np.testing.assert_array_equal(value, again.to_arrays()[name])
    np.testing.assert_allclose(machine.mean, x[:100].mean(0))
    np.testing.assert_allclose(machine.scale, x[:100].std(0))


def test_statistics_of_unlabelled_rows_standardise_when_given() -> None:
    x, y = data(3)
    machine = fit_svm(x[:20], y[:20], None, FIXED, statistics=x)
    np.testing.assert_allclose(machine.mean, x.mean(0))
    rows = (x - x.mean(0)) / x.std(0)
    expected = SVC(C=0.01, kernel="linear").fit(rows[:20], y[:20]).predict(rows)
    np.testing.assert_array_equal(machine.predict(x), expected)


def test_blocks_average_the_kernels_of_their_columns() -> None:
    """As an SVC on the mean of both blocks' Gram matrices, each divided by its width, times the whole width."""
    x, y = data(4, seed=3)
    blocks = (3, 9)
    machine = fit_svm(x, y, None, SvmSettings(grid={"linear": (0.1,)}, blocks=blocks))
    z = (x - x.mean(0)) / x.std(0)
    gram = 12 * 0.5 * (z[:, :3] @ z[:, :3].T / 3 + z[:, 3:] @ z[:, 3:].T / 9)
    theirs = SVC(C=0.1, kernel="precomputed").fit(gram, y)
    np.testing.assert_array_equal(machine.predict(x), theirs.predict(gram))
    np.testing.assert_allclose(machine.decision(x), theirs.decision_function(gram), atol=0.01)
    plain = fit_svm(x, y, None, SvmSettings(grid={"linear": (0.1,)}))
    assert not np.allclose(machine.decision(x), plain.decision(x), atol=0.01)
    with pytest.raises(ValueError, match="do not make 12"):
        fit_svm(x, y, None, SvmSettings(blocks=(3, 8)))


def test_clip_bounds_what_a_far_off_row_can_do() -> None:
    x, y = data(3, seed=4)
    machine = fit_svm(x, y, None, SvmSettings(grid={"linear": (0.1,)}, clip=2.0))
    z = ((x - x.mean(0)) / x.std(0)).clip(-2, 2)
    theirs = SVC(C=0.1, kernel="linear").fit(z, y)
    np.testing.assert_array_equal(machine.predict(x), theirs.predict(z))
    far, farther = x[:1].copy(), x[:1].copy()
    far[0, 5], farther[0, 5] = 1e6, 1e9
    np.testing.assert_array_equal(machine.decision(far), machine.decision(farther))
    again = FittedSvm.from_arrays(machine.to_arrays())
    np.testing.assert_array_equal(again.decision(far), machine.decision(far))


def test_columns_that_vary_by_rounding_are_constants() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=50), np.full(50, 0.1), 1e-5 * rng.normal(size=50), np.zeros(50),
                  np.float32(0.3) + np.float32(3e-8) * rng.integers(0, 2, 50)], 1)
    mean, scale = standardiser(x.astype(np.float32))
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-7)
    np.testing.assert_allclose(scale, [x[:, 0].std(), 1, x[:, 2].std(), 1, 1], rtol=1e-5)


def test_a_class_with_one_member_and_a_single_speaker_do_not_stop_the_choice() -> None:
    x, y = data(3, 40)
    y[y == 2] = 1
    y[7] = 2
    machine = fit_svm(x, y, ["same"] * 40, SvmSettings())
    assert machine.classes.tolist() == [0, 1, 2]
    # One class per speaker: no inner fold has two classes to train on.
    y = np.repeat([0, 1], 20)
    machine = fit_svm(x, y, ["a"] * 20 + ["b"] * 20, SvmSettings())
    assert (machine.kernel, machine.c, machine.chosen_ua) == ("linear", 0.001, 0)


def test_broken_embeddings_are_refused() -> None:
    x, y = data(3)
    with pytest.raises(UserError, match="all training rows are of one class"):
        fit_svm(x, np.zeros_like(y), None, FIXED)
    x[3, 2], x[9, 0] = np.nan, np.inf
    with pytest.raises(UserError, match="2 of 160 rows hold NaN"):
        fit_svm(x, y, None, FIXED)
    with pytest.raises(ValueError, match=r"x \(160, 12\)"):
        fit_svm(x, y[:9], None, FIXED)


@pytest.mark.parametrize(("options", "message"), [
    ({"grid": {"poly": (1.0,)}}, "'poly': known are linear, rbf"), ({"grid": {}}, "at least one"),
    ({"grid": {"rbf": ()}}, "at least one"), ({"grid": {"rbf": (1.0, 0.0)}}, "positive"),
    ({"gamma": "auto"}, "gamma='auto'"),
    ({"gamma": 0.0}, "gamma=0.0"), ({"inner_folds": 1}, "inner_folds=1"), ({"class_weight": "even"}, "'even'")])
def test_settings_that_mean_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SvmSettings(**options)  # type: ignore[arg-type]
