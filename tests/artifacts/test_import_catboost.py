from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import import_model, probes
from softwood.core import InputError, UnsupportedError

catboost = pytest.importorskip("catboost")

RNG = np.random.default_rng(11)
N = 400
X = RNG.normal(size=(N, 4)).round(1)
HOLES = np.where(RNG.random(X.shape) < 0.15, np.nan, X)
SUM = np.nan_to_num(HOLES[:, 0]) * X[:, 1] + np.isnan(HOLES[:, 2]) + RNG.normal(size=N) * 0.2
TWO, THREE = np.where(SUM > 0.3, "yes", "no"), np.digitize(SUM, [0, 0.6]) * 10
COMMON = {"iterations": 10, "depth": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


def rows_for(model):
    made = probes(model, limit=4000).to_numpy(float)
    return np.concatenate([HOLES, RNG.normal(size=(300, 4)), made])


def same(original, model, rows):
    if model.classes is None:
        np.testing.assert_allclose(model.predict(rows), original.predict(rows), rtol=0, atol=1e-9)
        return
    np.testing.assert_allclose(model.predict_proba(rows), original.predict_proba(rows), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(model.predict(rows).astype(str), original.predict(rows).ravel().astype(str))


MODELS = {
    "number": ("CatBoostRegressor", {}, SUM),
    "number, missing is largest": ("CatBoostRegressor", {"nan_mode": "Max"}, SUM),
    "quantile": ("CatBoostRegressor", {"loss_function": "Quantile:alpha=0.8"}, SUM),
    "several targets": ("CatBoostRegressor", {"loss_function": "MultiRMSE"}, np.column_stack([SUM, X[:, 0]])),
    "two": ("CatBoostClassifier", {}, TWO),
    "two, whole numbers": ("CatBoostClassifier", {}, (TWO == "yes") * 7),
    "two, truth": ("CatBoostClassifier", {}, TWO == "yes"),
    "three": ("CatBoostClassifier", {}, THREE),
    "three, text": ("CatBoostClassifier", {"depth": 1}, np.array(["u", "v", "w"])[THREE // 10]),
    "by leaves": ("CatBoostRegressor", {"grow_policy": "Lossguide", "max_leaves": 9}, SUM),
    "by leaves, three": ("CatBoostClassifier", {"grow_policy": "Depthwise"}, THREE),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_predicts_the_same_after_import(name, tmp_path):
    kind, settings, target = MODELS[name]
    original = getattr(catboost, kind)(**{**COMMON, **settings}).fit(HOLES, target)
    model = import_model(original)
    same(original, model, rows_for(model))
    original.save_model(str(tmp_path / "model.json"), format="json")
    assert import_model(tmp_path / "model.json") == model


@pytest.mark.parametrize("depth", [6, 7])
def test_trees_of_one_test_a_level_are_asked_no_more(depth):
    original = catboost.CatBoostRegressor(**{**COMMON, "depth": depth}).fit(HOLES, SUM)
    model = import_model(original)
    trees = model._packed.trees
    assert (trees["tests"] <= depth).all()
    assert (trees["way"] > 0).all()  # none of them walks node by node
    x = rows_for(model)
    added = np.tile(model.base, (len(x), 1))
    for leaf in model.apply_encoded(x).T:
        added += model.values[leaf]
    np.testing.assert_array_equal(model.raw_encoded(x), added)


def test_scale_and_bias():
    original = catboost.CatBoostRegressor(**COMMON).fit(HOLES, SUM)
    original.set_scale_and_bias(2.5, -3.0)
    model = import_model(original)
    same(original, model, rows_for(model))


def test_names_of_columns_and_counts_of_leaves():
    table = pd.DataFrame(HOLES, columns=["a", "b", "c", "d"])
    original = catboost.CatBoostRegressor(**COMMON).fit(table, SUM)
    model = import_model(original)
    assert [column.name for column in model.columns] == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(model.counts, np.bincount(model.apply(table).ravel(), minlength=model.n_leaves))


def test_what_the_file_does_not_hold_is_refused():
    table = pd.DataFrame({"a": X[:, 0], "colour": np.where(TWO == "yes", "red", "blue")})
    original = catboost.CatBoostClassifier(**COMMON, cat_features=["colour"]).fit(table, TWO)
    with pytest.raises(UnsupportedError, match="hashes"):
        import_model(original)
    with pytest.raises(UnsupportedError, match="Poisson"):
        import_model(catboost.CatBoostRegressor(**COMMON, loss_function="Poisson").fit(X, np.abs(SUM)))
    with pytest.raises(InputError, match="not fitted"):
        import_model(catboost.CatBoostRegressor())
