from __future__ import annotations

import warnings
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor

from softwood.artifacts import Column, HardEnsemble, import_model
from softwood.core import UnsupportedError

SEEDS = st.integers(0, 2**32 - 1)


def expectation(model, row, known):
    """Return the raw score of a row of which only some columns are known, by the definition."""
    cover = np.zeros(len(model.feature))
    for node in reversed(range(len(cover))):
        inner = model.feature[node] >= 0
        cover[node] = cover[model.left[node]] + cover[model.right[node]] if inner else model.counts[model.leaf[node]]

    def below(node):
        if model.feature[node] < 0:
            return model.values[model.leaf[node]]
        left, right = model.left[node], model.right[node]
        if model.feature[node] not in known:
            share = cover[left] / cover[node] if cover[node] > 0 else 0.5
            return share * below(left) + (1 - share) * below(right)
        value = row[model.feature[node]]
        if value != value:
            goes_left = model.missing_left[node]
        elif model.level_set[node] >= 0:
            goes_left = model.levels_left[model.level_set[node], int(value)]
        else:
            goes_left = value <= model.threshold[node]
        return below(left if goes_left else right)

    return model.base + sum(below(int(root)) for root in model.roots)


def by_enumeration(model, row):
    """Return Shapley's sum over all coalitions, [C, K]."""
    count = len(model.columns)
    result = np.zeros((count, model.n_outputs))
    for column in range(count):
        others = [other for other in range(count) if other != column]
        for size in range(count):
            weight = factorial(size) * factorial(count - 1 - size) / factorial(count)
            for known in combinations(others, size):
                gain = expectation(model, row, {*known, column}) - expectation(model, row, set(known))
                result[column] += weight * gain
    return result


@settings(max_examples=25)
@given(seed=SEEDS, number=st.integers(0, 6), trees=st.integers(1, 3), depth=st.integers(0, 6))
def test_values_equal_the_sum_over_all_coalitions(lab, seed, number, trees, depth):
    rng = np.random.default_rng(seed)
    model = lab.model(rng, lab.cases[number], trees=trees, depth=depth, columns=lab.columns(rng)[:5])
    counts = np.where(rng.random(model.n_leaves) < 0.2, 0.0, rng.integers(1, 50, model.n_leaves))
    counts[[model.leaf[np.flatnonzero(model.feature[root:] < 0)[0] + root] for root in model.roots]] = 3
    model = HardEnsemble(**{**{name: getattr(model, name) for name in model.__dataclass_fields__}, "counts": counts})
    table = lab.rows(rng, model, 4)
    found = model.shap_values(table)
    encoded = model.encode(table)
    np.testing.assert_allclose(found, [by_enumeration(model, row) for row in encoded], rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.expected_value, expectation(model, encoded[0], set()), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1) + model.expected_value, model.raw(table), rtol=0, atol=1e-12)


def data(columns, n=400, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns)).round(2)
    return x, x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + 0.3 * rng.normal(size=n)


@pytest.mark.parametrize("columns", [3, 12, 40])
def test_values_of_deep_trees_add_up(columns):
    x, y = data(columns)
    model = import_model(RandomForestRegressor(8, random_state=0, max_features=0.5).fit(x, y))
    assert model.depth > 10
    total = model.shap_values(x).sum(axis=1) + model.expected_value
    np.testing.assert_allclose(total, model.raw(x), rtol=0, atol=1e-9)


def test_a_column_that_no_split_tests_gets_nothing():
    x, y = data(4)
    x[:, 3] = 1.0
    model = import_model(GradientBoostingRegressor(n_estimators=5).fit(x, y))
    values = model.shap_values(x)
    assert (values[:, 3] == 0).all()
    assert np.abs(values[:, :2]).max() > 0.01


SKLEARN = {
    "forest": RandomForestRegressor(6, random_state=0),
    "booster": GradientBoostingRegressor(n_estimators=30, max_depth=4, random_state=0),
}


@pytest.mark.parametrize("name", SKLEARN)
def test_values_equal_those_of_shap(name):
    shap = pytest.importorskip("shap")
    x, y = data(8)
    original = SKLEARN[name].fit(x, y)
    model = import_model(original)
    rows = x[:60]
    explainer = shap.TreeExplainer(original, feature_perturbation="tree_path_dependent")
    theirs = explainer.shap_values(rows.astype(np.float32))
    np.testing.assert_allclose(model.shap_values(rows)[:, :, 0], theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.expected_value, np.ravel(explainer.expected_value), rtol=0, atol=1e-6)


def test_values_of_classes_equal_those_of_shap():
    shap = pytest.importorskip("shap")
    x, y = data(6)
    original = RandomForestClassifier(6, random_state=0).fit(x, np.digitize(y, [-0.5, 0.5]))
    theirs = shap.TreeExplainer(original, feature_perturbation="tree_path_dependent").shap_values(x[:50])
    np.testing.assert_allclose(import_model(original).shap_values(x[:50]), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_values_with_missing_cells_equal_those_of_shap_and_lightgbm(classes):
    shap = pytest.importorskip("shap")
    lightgbm = pytest.importorskip("lightgbm")
    x, y = data(7)
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    target = (y > 0.3).astype(int) + (y > 1) * (classes == 3)
    setup = {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": 3}
    setup |= {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    original = lightgbm.train(setup, lightgbm.Dataset(x, target), 20)
    model = import_model(original)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LightGBM binary classifier")  # news about the answer's shape
        theirs = shap.TreeExplainer(original, feature_perturbation="tree_path_dependent").shap_values(x)
    theirs = theirs[1] if isinstance(theirs, list) else theirs
    ours = model.shap_values(x)
    np.testing.assert_allclose(ours, np.reshape(theirs, ours.shape), rtol=0, atol=1e-6)
    own = original.predict(x, pred_contrib=True).reshape(len(x), model.n_outputs, 8)
    np.testing.assert_allclose(ours, own[:, :, :7].transpose(0, 2, 1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.expected_value, own[0, :, 7], rtol=0, atol=1e-6)


def test_a_model_without_training_weights_is_refused():
    model = HardEnsemble.single_leaf((Column("x", "number"),), np.array([0.5]), outputs=("y",))
    for ask in (lambda: model.expected_value, lambda: model.shap_values({"x": [1.0]})):
        with pytest.raises(UnsupportedError, match="no training weight"):
            ask()
