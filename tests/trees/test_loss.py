"""Losses against finite differences, enumeration, scikit-learn's metrics and LightGBM."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime, minimize_scalar
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_poisson_deviance

from softwood.artifacts import Column
from softwood.core import InputError
from softwood.trees import ForestClassifier, ForestRegressor
from softwood.trees._forest import BoostSetting, boost, refit_leaves
from softwood.trees._loss import LogLoss, Poisson, Quantile, Squared, judge
from softwood.trees._loss_names import class_loss, regression_loss, value_rows
from softwood.trees._rows import Group, Rows

COLUMNS = tuple(Column(f"x{i}", "number") for i in range(3))


def squares(prediction, y):
    return ((prediction - y) ** 2).mean(1)


def huber(prediction, y):
    return torch.nn.functional.huber_loss(prediction, y, reduction="none").sum(1)


def absolute(prediction, y):
    return (prediction - y).abs().sum(1)


def entropy(logits, y):
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def focal(logits, y):
    log = -torch.nn.functional.cross_entropy(logits, y, reduction="none")
    return -((1 - log.exp()) ** 2) * log


def value_table(n=300, outputs=2, seed=0, loss=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = rng.poisson(np.exp(0.5 * x[:, :1] + 0.3 * np.arange(outputs))).astype(float)
    rows = Rows(COLUMNS, x, np.zeros(0, np.int32), y, rng.integers(1, 3, n).astype(float))
    return rows if loss is None else value_rows(rows, loss, rows.weight)[0]


def class_table(n=300, classes=3, seed=0, loss=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    labels = np.digitize(x[:, 0] + 0.5 * rng.normal(size=n), [-0.5, 0.7][: classes - 1]).astype(np.int32)
    rows = Rows(COLUMNS, x, labels, np.eye(classes)[labels], np.ones(n))
    return rows if loss is None else replace(rows, asked=loss.prepared(rows))


TABLES = {
    "squared": lambda: value_table(loss=Squared()),
    "poisson": lambda: value_table(loss=Poisson()),
    "absolute": lambda: value_table(loss=Quantile(0.5, 2.0)),
    "quantile": lambda: value_table(loss=Quantile(0.8)),
    "huber": lambda: value_table(loss=regression_loss(huber, 0.5)),
    "log_loss": lambda: class_table(loss=LogLoss()),
    "focal of two": lambda: class_table(classes=2, loss=class_loss(focal)),
    "focal of three": lambda: class_table(loss=class_loss(focal)),
}


@pytest.mark.parametrize("name", TABLES)
def test_gradient_and_curvature_are_those_of_the_loss(name):
    rows = TABLES[name]().take(np.arange(300) < 6)
    width = 1 if rows.is_classification and rows.targets.shape[1] == 2 else rows.targets.shape[1]
    start = np.random.default_rng(1).normal(size=(6, width))
    at = start.ravel()

    def total(flat):
        return rows.loss.parts(flat.reshape(6, width), rows)[0].sum()

    loss, gradient, curvature = rows.loss.parts(start, rows)
    assert loss.shape == (6,)
    np.testing.assert_allclose(gradient.ravel(), approx_fprime(at, total, 1e-7), atol=1e-5)
    if name in ("squared", "poisson", "log_loss", "focal of two", "focal of three"):
        slopes = approx_fprime(at, lambda flat: rows.loss.parts(flat.reshape(6, width), rows)[1].ravel(), 1e-6)
        exact = np.diag(slopes)
        np.testing.assert_allclose(curvature.ravel()[exact > 1e-3], exact[exact > 1e-3], atol=1e-4)
        assert (curvature > 0).all()
    smooth, slope = rows.loss.smooth_parts(start, rows)
    assert smooth.shape == (6,)
    smoothed = approx_fprime(at, lambda flat: rows.loss.smooth_parts(flat.reshape(6, width), rows)[0].sum(), 1e-7)
    np.testing.assert_allclose(slope.ravel(), smoothed, atol=1e-5)


@pytest.mark.parametrize("name", TABLES)
def test_the_start_is_the_best_constant(name):
    rows = TABLES[name]()
    group = Group(rows, np.arange(rows.n) < 250)
    weight = rows.weight * group.active
    start = rows.loss.start(rows, weight, group.prior)
    for k in range(len(start)):

        def total(value, k=k):
            raw = np.tile(start, (rows.n, 1))
            raw[:, k] = value
            return float(weight @ rows.loss.parts(raw, rows)[0])

        best = minimize_scalar(total, bounds=(start[k] - 2, start[k] + 2), method="bounded")
        assert total(start[k]) <= best.fun + 1e-3 * abs(best.fun)  # shares of classes are smoothed a little


def test_answers_are_judged_as_scikit_learn_does():
    answers = np.exp(np.random.default_rng(2).normal(size=(300, 2)))
    expected = {
        Poisson(): mean_poisson_deviance, Quantile(0.5, 2.0): mean_absolute_error,
        Quantile(0.8): lambda y, found, sample_weight: mean_pinball_loss(y, found, alpha=0.8,
                                                                         sample_weight=sample_weight),
    }  # fmt: skip
    for loss, metric in expected.items():
        rows = value_table(loss=loss)
        found = np.average(judge(loss.name, answers, rows), weights=rows.weight)
        wanted = np.mean([metric(rows.targets[:, k], answers[:, k], sample_weight=rows.weight) for k in range(2)])
        assert found == pytest.approx(wanted)


@pytest.mark.parametrize("name", TABLES)
def test_each_tree_and_each_refit_lowers_the_loss(name):
    rows = TABLES[name]()
    group = Group(rows, np.arange(rows.n) < 250)
    weight = rows.weight * group.active

    def total(raw):
        return float(weight @ rows.loss.parts(raw, rows)[0])

    forest = boost(group, BoostSetting(6, 0.5, 5.0), 60)
    losses = [total(np.tile(forest.base, (rows.n, 1)))]
    raw = np.tile(forest.base, (rows.n, 1))
    for leaves in forest.leaves(group.codes):
        raw = raw + forest.values[leaves]
        losses.append(total(raw))
    assert len(losses) > 2
    assert (np.diff(losses) < 0).all()
    refitted = refit_leaves(forest, group, 1.0)
    assert total(refitted.raw(group.codes)) < losses[-1]


def test_leaves_of_a_quantile_forest_are_quantiles():
    rows = value_table(outputs=1, loss=Quantile(0.8))
    group = Group(rows, np.ones(rows.n, bool))
    forest = boost(group, BoostSetting(6, 1.0, 20.0), 6)
    leaf = forest.leaves(group.codes)[0]
    for place in range(len(forest.values)):
        residual = (rows.targets - forest.base)[leaf == place, 0]
        found = np.quantile(np.repeat(residual, rows.weight[leaf == place].astype(int)), [0.79, 0.81])
        assert found[0] - 1e-9 <= forest.values[place, 0] <= found[1] + 1e-9


def test_a_function_that_squares_gives_the_squared_forest():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 4))
    y = 1000 + 50 * np.sin(2 * x[:, 0]) + 20 * x[:, 1] + 10 * rng.normal(size=400)
    named = ForestRegressor(48, effort=0.1, n_jobs=1).fit(x, y)
    given = ForestRegressor(48, effort=0.1, n_jobs=1, loss=squares, metric="squared").fit(x, y)
    for part in ("feature", "threshold", "left", "leaf"):
        np.testing.assert_array_equal(getattr(given.artifact_, part), getattr(named.artifact_, part))
    np.testing.assert_allclose(given.artifact_.values, named.artifact_.values, rtol=1e-4, atol=1e-4)
    assert given.record_["loss"].endswith("test_loss:squares")


@pytest.mark.parametrize("classes", [2, 3])
def test_a_function_that_is_the_log_loss_gives_the_log_loss_forest(classes):
    rows = class_table(n=400, classes=classes)
    named = ForestClassifier(60, effort=0.1, n_jobs=1).fit(rows.x, rows.labels)
    given = ForestClassifier(60, effort=0.1, n_jobs=1, loss=entropy, metric="log_loss").fit(rows.x, rows.labels)
    np.testing.assert_array_equal(given.artifact_.feature, named.artifact_.feature)
    np.testing.assert_allclose(given.predict_proba(rows.x), named.predict_proba(rows.x), atol=1e-3)
    assert given.certificate_.loss_shipped == pytest.approx(named.certificate_.loss_shipped, abs=1e-3)


def test_counts_are_predicted_above_zero_and_certified_by_their_deviance():
    rows = value_table(n=500, outputs=2)
    for target in (rows.targets[:, 0], rows.targets, 100 * rows.targets):
        forest = ForestRegressor(60, effort=0.1, n_jobs=1, loss="poisson").fit(rows.x, target)
        assert forest.artifact_.link == "exp"
        assert (forest.predict(rows.x) > 0).all()
        assert forest.predict(rows.x).mean() == pytest.approx(target.mean(), rel=0.1)
        assert forest.certificate_.loss == "poisson"
        again = forest.certify(rows.x, target).loss_shipped
        assert again == pytest.approx(mean_poisson_deviance(target.ravel(), forest.predict(rows.x).ravel()))


def test_what_is_no_loss_says_why():
    x, y = value_table().x, value_table(outputs=1).targets[:, 0]
    cases = {
        "negative": (ForestRegressor(loss="poisson"), -y), "zero on all rows": (ForestRegressor(loss="poisson"), 0 * y),
        "unknown": (ForestRegressor(loss="pinball"), y), "quantile": (ForestRegressor(loss="quantile", quantile=1), y),
        "one finite number a row": (ForestRegressor(loss=lambda p, y: ((p - y) ** 2).mean()), y),
        "no gradient": (ForestRegressor(loss=lambda p, y: p.detach()[:, 0]), y),
        "gradient of the loss is not finite": (ForestRegressor(loss=lambda p, y: ((p - p) ** 2).sum(1).sqrt()), y),
        "metric": (ForestRegressor(loss="absolute", metric="accuracy"), y),
    }  # fmt: skip
    for message, (learner, target) in cases.items():
        with pytest.raises(InputError, match=message):
            learner.set_params(budget=8, effort=0.05, n_jobs=1).fit(x, target)


@pytest.mark.parametrize("loss", ["absolute", "quantile", "poisson"])
def test_a_forest_is_as_good_as_lightgbm_of_its_size(loss):
    """Heavy tails, the same number of leaves; LightGBM takes the best of several settings on the test rows."""
    lightgbm = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3000, 5))
    signal = np.sin(2 * x[:, 0]) + x[:, 1] * (x[:, 2] > 0)
    y = rng.poisson(np.exp(signal)) * 1.0 if loss == "poisson" else signal + 0.5 * rng.standard_t(1.5, 3000)
    metric = {
        "absolute": mean_absolute_error, "poisson": mean_poisson_deviance,
        "quantile": lambda y, found: mean_pinball_loss(y, found, alpha=0.8),
    }[loss]  # fmt: skip
    learn, test = slice(0, 1500), slice(1500, None)
    ours = ForestRegressor(120, loss=loss, quantile=0.8, effort=0.4, holdout=0, n_jobs=1).fit(x[learn], y[learn])
    objective = {"absolute": "l1"}.get(loss, loss)
    theirs = [
        metric(y[test], lightgbm.LGBMRegressor(
            n_estimators=120 // leaves, num_leaves=leaves, learning_rate=rate, objective=objective, alpha=0.8,
            min_child_samples=least, n_jobs=1, verbose=-1,
        ).fit(x[learn], y[learn]).predict(x[test]))
        for leaves in (4, 8, 15) for rate in (0.1, 0.2, 0.4) for least in (5, 20)
    ]  # fmt: skip
    assert ours.artifact_.n_leaf_values <= 120
    assert metric(y[test], ours.predict(x[test])) <= 1.05 * min(theirs)
