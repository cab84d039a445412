"""Forests: gradients, the booster, the joint re-fit, and the learners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import check_grad, minimize
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from softwood.artifacts import Column, export
from softwood.core import InputError
from softwood.kernels import sum_leaves
from softwood.trees import ForestClassifier, ForestRegressor
from softwood.trees._base import silent
from softwood.trees._forest import BoostSetting, _drawn, boost, first_trees, refit_leaves
from softwood.trees._forest_trials import Variant, choose, finalists_of, screen, settings_for
from softwood.trees._plan import Clock
from softwood.trees._rows import Group, Rows

RANDOM_FOLDS = {
    "check_sample_weight_equivalence_on_dense_data": "folds and hold-out depend on the order and number of rows",
}


def make_group(classes, n=240, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    x[rng.random(x.shape) < 0.1] = np.nan
    signal = np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 1]) * np.nan_to_num(x[:, 2])
    columns = tuple(Column(f"x{i}", "number") for i in range(3))
    weight = rng.uniform(0.5, 1.5, n)
    if classes == 0:
        values = np.column_stack([signal, -(signal**2)])
        rows = Rows(columns, x, np.zeros(0, np.int32), values, weight)
    else:
        labels = np.digitize(signal, np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1])).astype(np.int32)
        rows = Rows(columns, x, labels, np.eye(classes)[labels], weight)
    return Group(rows, rng.random(n) < 0.8)


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_gradient_and_curvature_are_derivatives(classes):
    rows = make_group(classes, n=6).rows
    width = 1 if classes == 2 else rows.targets.shape[1]
    raw = np.random.default_rng(1).normal(size=(6, width))

    def total(flat):
        return rows.loss.parts(flat.reshape(6, width), rows)[0].sum()

    def gradient(flat):
        return rows.loss.parts(flat.reshape(6, width), rows)[1].ravel()

    assert check_grad(total, gradient, raw.ravel()) < 1e-5
    step = 1e-6
    for i in range(raw.size):  # the diagonal of the second derivative
        up, down = raw.ravel().copy(), raw.ravel().copy()
        up[i] += step
        down[i] -= step
        slope = (gradient(up)[i] - gradient(down)[i]) / (2 * step)
        np.testing.assert_allclose(rows.loss.parts(raw, rows)[2].ravel()[i], slope, atol=1e-6)


@pytest.mark.parametrize(("classes", "per_class"), [(0, False), (2, False), (4, False), (4, True)])
def test_boosting_lowers_the_training_loss_within_the_budget(classes, per_class):
    group = make_group(classes)
    forest = boost(group, BoostSetting(4, 0.3, per_class=per_class), 60)
    assert 40 < forest.size <= 60
    weight = group.rows.weight * group.active
    loss = [
        float(group.rows.loss.parts(part.raw(group.codes), group.rows)[0] @ weight)
        for part in (first_trees(forest, 20), first_trees(forest, 40), forest)
    ]
    start = float(group.rows.loss.parts(np.tile(forest.base, (group.rows.n, 1)), group.rows)[0] @ weight)
    assert start > loss[0] > loss[1] > loss[2]


def test_each_tree_of_a_sampled_forest_sees_its_share_of_rows_and_columns():
    group = make_group(2)
    setting = BoostSetting(4, 0.3, columns=0.34, sample=0.5, seed=1)
    first, again, other = (boost(group, s, 60) for s in (setting, setting, replace(setting, seed=2)))
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    tested = [set(tree.feature[tree.feature >= 0].tolist()) for tree in first.trees]
    assert all(len(features) == 1 for features in tested), "one of three columns for each tree"
    assert len(set.union(*tested)) > 1
    wholly = boost(group, replace(setting, columns=1.0), 60)
    assert not np.array_equal(wholly.values[:4], boost(group, BoostSetting(4, 0.3), 60).values[:4]), "half of the rows"


def test_samples_are_drawn_of_the_places_that_count():
    mask = np.arange(20) % 2 == 0
    drawn = _drawn(mask, 0.3, np.random.default_rng(0))
    assert drawn.sum() == 3
    assert not (drawn & ~mask).any()
    assert _drawn(mask, 0.001, np.random.default_rng(0)).sum() == 1
    assert _drawn(mask, 1.0, np.random.default_rng(0)) is mask


def test_rows_outside_a_group_teach_it_nothing():
    group = make_group(2)
    labels = group.rows.labels.copy()
    labels[~group.active] ^= 1
    other = Group(Rows(group.rows.columns, group.rows.x, labels, np.eye(2)[labels], group.rows.weight), group.active)
    first, second = (boost(g, BoostSetting(4, 0.3), 40) for g in (group, other))
    np.testing.assert_array_equal(first.values, second.values)


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_refitting_finds_the_optimum_of_its_convex_objective(classes):
    group = make_group(classes)
    forest = boost(group, BoostSetting(4, 0.3), 24)
    refitted = refit_leaves(forest, group, 3.0)
    rows, weight = group.rows, group.rows.weight * group.active
    leaf = forest.leaves(group.codes)
    shape, count = forest.values.shape, forest.values.size

    def objective(flat):
        values, base = flat[:count].reshape(shape), flat[count:]
        loss = rows.loss.parts(sum_leaves(leaf, values, base), rows)[0] @ weight
        return float(loss + 1.5 * ((values - forest.values) ** 2).sum())

    here = np.concatenate([refitted.values.ravel(), refitted.base])
    other = minimize(objective, here, method="Powell", options={"maxiter": 5, "ftol": 1e-10})
    assert objective(here) < objective(np.concatenate([forest.values.ravel(), forest.base]))
    assert objective(here) <= other.fun + 1e-3 * abs(other.fun)


def test_a_tree_of_one_class_stays_one_after_refitting():
    group = make_group(4)
    forest = boost(group, BoostSetting(4, 0.3, per_class=True), 40)
    assert ((refit_leaves(forest, group, 1.0).values != 0) <= (forest.mask > 0)).all()


@pytest.mark.parametrize(
    ("learner", "load"),
    [(ForestClassifier, load_breast_cancer), (ForestClassifier, load_wine), (ForestRegressor, load_diabetes)],
)
def test_learners_ship_what_they_fitted_and_every_export_agrees(learner, load, tmp_path):
    x, y = load(return_X_y=True)
    model = learner(budget=60, effort=0.1).fit(x, y)
    assert model.artifact_.n_leaf_values <= 60
    assert model.certificate_.n == model.record_["held_out_rows"] + model.record_.get("crossfitted_rows", 0)
    for to in ("json", "onnx", "python"):
        report = export(
            model.artifact_,
            tmp_path / f"model.{to}",
            to,
            rows=pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]),
        )
        assert report.verified
        assert report.label_mismatches == 0
    np.testing.assert_allclose(model.feature_importances_.sum(), 1.0)


def test_a_forest_beats_a_constant_and_keeps_up_with_a_full_booster():
    x, y = load_breast_cancer(return_X_y=True)
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, random_state=0, stratify=y)
    ours = ForestClassifier(budget=240, effort=0.2).fit(x[train], y[train]).score(x[test], y[test])
    assert ours >= HistGradientBoostingClassifier(random_state=0).fit(x[train], y[train]).score(x[test], y[test]) - 0.03


def test_categories_and_missing_values_come_as_they_are():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"city": rng.choice(list("abcdef"), 400), "size": rng.normal(size=400)})
    frame.loc[rng.random(400) < 0.2, "size"] = np.nan
    y = np.where(frame["city"].isin(["b", "e"]) ^ (frame["size"].fillna(1) > 0), "yes", "no")
    model = ForestClassifier(budget=40, effort=0.1).fit(frame, y)
    assert model.score(frame, y) > 0.97


def test_same_seed_same_forest_whatever_the_threads():
    x, y = load_iris(return_X_y=True)
    prints = {ForestClassifier(budget=60, effort=0.1, n_jobs=jobs).fit(x, y).artifact_.fingerprint for jobs in (1, 2)}
    assert len(prints) == 1


def test_a_time_limit_is_recorded():
    x, y = load_breast_cancer(return_X_y=True)
    model = ForestClassifier(budget=480, time_limit=0.1).fit(x, y)
    assert model.record_["cut_by_time_limit"]
    assert model.score(x, y) > 0.9


def test_a_budget_too_small_for_one_split_is_refused():
    x, y = load_iris(return_X_y=True)
    with pytest.raises(InputError, match="budget=6"):
        ForestClassifier(budget=1).fit(x, y)


@parametrize_with_checks(
    [
        ForestClassifier(budget=24, effort=0.05, holdout=0.1, n_jobs=1),
        ForestRegressor(budget=24, effort=0.05, holdout=0.1, n_jobs=1),
    ],
    expected_failed_checks=lambda _: RANDOM_FOLDS,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("as_numba_says_it", [False, True])
@pytest.mark.parametrize("stage", ["screening", "finalists"])
def test_ctrl_c_keeps_a_forest(stage, as_numba_says_it):
    def pressing(name, done):
        if name == stage and as_numba_says_it:
            raise SystemError("returned a result with an exception set") from KeyboardInterrupt()
        if name == stage:
            raise KeyboardInterrupt

    x, y = load_iris(return_X_y=True)
    forest = ForestClassifier(60, effort=0.05, n_jobs=1, progress=pressing).fit(x, y)
    assert forest.record_["interrupted"]
    assert "interrupted" in forest.record_["reason"]
    assert forest.record_["trials"] == []
    assert 1 < forest.artifact_.n_leaf_values <= 60
    assert not ForestClassifier(60, effort=0.05, n_jobs=1).fit(x, y).record_["interrupted"]


def test_another_error_during_the_search_is_not_swallowed():
    def failing(name, done):
        raise SystemError("no Ctrl-C")

    with pytest.raises(SystemError, match="no Ctrl-C"):
        ForestClassifier(60, effort=0.05, n_jobs=1, progress=failing).fit(*load_iris(return_X_y=True))


def test_screening_judges_rows_that_were_not_learned_from():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(300, 3)), rng.integers(0, 2, 300).astype(np.int32)  # noise: nothing can be learned
    columns = tuple(Column(f"x{i}", "number") for i in range(3))
    group = Group(Rows(columns, x, labels, np.eye(2)[labels], np.ones(300)), rng.random(300) < 0.8)
    greedy, careful = BoostSetting(31, 1.0, 1.0), BoostSetting(2, 0.01, 20.0)
    options = ForestClassifier(400, n_jobs=1)._options(("log_loss",), "log_loss")
    first, second = screen([group], [greedy, careful], options, Clock(float("inf")), silent)[:, 0]
    assert second < first


def variant(mean, *, sample=1.0, refit=None, n=400, noise=0.0):
    losses = mean + noise * np.random.default_rng(0).normal(size=n)
    return Variant(BoostSetting(4, 0.1, sample=sample), 1.0, refit, losses, float(losses.mean()))


def test_samples_and_refits_ship_only_where_they_are_clearly_better():
    weight, plain = np.ones(400), variant(0.5)
    clear, doubtful = variant(0.4, sample=0.5, noise=0.1), variant(0.4999, sample=0.5, noise=0.1)
    for rival, ships in ((clear, True), (doubtful, False)):
        winner, compared, reason = choose([rival, plain], weight, None, "log_loss")
        assert winner is (rival if ships else plain)
        assert [row["ships"] for row in compared] == [ships]
        assert ("are not better" in reason) is not ships
    winner, compared, _ = choose([plain, clear, variant(0.3, refit=3.0, noise=0.1)], weight, None, "log_loss")
    assert winner.refit == 3.0
    assert [row["ships"] for row in compared] == [True, True]
    assert choose([clear], weight, None, "log_loss")[0] is clear, "no other kind was judged"


def test_both_kinds_of_settings_are_screened_at_any_effort():
    rows = make_group(2).rows
    for effort in (0.01, 0.1, 1.0):
        options = replace(ForestClassifier(60)._options(("log_loss",), "log_loss"), effort=effort)
        settings = settings_for(rows, options)
        assert {setting.is_sampled for setting in settings} == {False, True}
        assert len(set(settings)) == len(settings)
        assert not settings[0].is_sampled
    finalists = finalists_of(settings[::-1])
    assert [setting.is_sampled for setting in finalists].count(True) == 3
    assert [settings.index(f) for f in finalists] == sorted((settings.index(f) for f in finalists), reverse=True)


def test_tuning_refuses_monotone_columns():
    x, y = load_breast_cancer(return_X_y=True)
    with pytest.raises(InputError, match="tuning does not keep columns monotone"):
        ForestClassifier(60, effort=0.05, tune=True, monotonic_cst={"x0": 1}).fit(x, y)
