from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import import_model, probes
from softwood.core import InputError, UnsupportedError

xgboost = pytest.importorskip("xgboost")

RNG = np.random.default_rng(5)
N = 400
X = RNG.normal(size=(N, 4)).round(1)
HOLES = np.where(RNG.random(X.shape) < 0.15, np.nan, X)
SUM = np.nan_to_num(HOLES[:, 0]) * X[:, 1] + np.isnan(HOLES[:, 2]) + RNG.normal(size=N) * 0.2
TWO, THREE = (SUM > 0.3).astype(int), np.digitize(SUM, [0, 0.6])
COMMON = {"n_estimators": 8, "max_depth": 4, "n_jobs": 1, "tree_method": "hist"}


def rows_for(model):
    made = probes(model, limit=4000).to_numpy(float)
    rows = np.concatenate([HOLES, RNG.normal(size=(300, 4)), made])
    return rows[np.nan_to_num(np.abs(rows)).max(axis=1) < 3e38]


def same(original, model, rows):
    if model.classes is None:
        np.testing.assert_allclose(model.predict(rows), original.predict(rows), rtol=0, atol=1e-5)
    else:
        np.testing.assert_allclose(model.predict_proba(rows), original.predict_proba(rows), rtol=0, atol=1e-5)
        np.testing.assert_array_equal(model.predict(rows), original.predict(rows))


CLASSIFIER, REGRESSOR = "XGBClassifier", "XGBRegressor"
MODELS = {
    "number": (REGRESSOR, {}, SUM),
    "number, given start": (REGRESSOR, {"base_score": 3.5}, SUM),
    "absolute error": (REGRESSOR, {"objective": "reg:absoluteerror"}, SUM),
    "two": (CLASSIFIER, {}, TWO),
    "two, given start": (CLASSIFIER, {"base_score": 0.2}, TWO),
    "three": (CLASSIFIER, {}, THREE),
    "dart": (REGRESSOR, {"booster": "dart", "rate_drop": 0.5}, SUM),
    "boosted forests": (CLASSIFIER, {"num_parallel_tree": 3, "subsample": 0.5}, THREE),
    "exact, pruned": (REGRESSOR, {"tree_method": "exact", "gamma": 0.8}, SUM),
    "by leaves": (REGRESSOR, {"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0}, SUM),
    "several targets": (REGRESSOR, {}, np.column_stack([SUM, X[:, 0]])),
    "vector leaves": (REGRESSOR, {"multi_strategy": "multi_output_tree"}, np.column_stack([SUM, X[:, 0]])),
    "vector leaves, three": (CLASSIFIER, {"multi_strategy": "multi_output_tree"}, THREE),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_predicts_the_same_after_import(name, tmp_path):
    kind, settings, target = MODELS[name]
    original = getattr(xgboost, kind)(**{**COMMON, **settings}).fit(HOLES, target)
    model = import_model(original)
    same(original, model, rows_for(model))
    original.get_booster().save_model(tmp_path / "model.json")
    assert import_model(tmp_path / "model.json") == import_model(original.get_booster())
    assert model.counts.sum() > 0


def test_a_forest_is_a_sum_of_shrunk_trees():
    original = xgboost.XGBRFClassifier(n_estimators=5, max_depth=3, n_jobs=1).fit(HOLES, TWO)
    model = import_model(original)
    same(original, model, rows_for(model))


def categories():
    colour = np.array(["red", "blue", "green, dark", None], dtype=object)[RNG.integers(0, 4, N)]
    size = RNG.integers(0, 30, N)
    y = SUM + (colour == "red") - (colour == "blue") + np.sin(size * 7.0)
    table = pd.DataFrame(
        {"a": HOLES[:, 0], "colour": pd.Categorical(colour), "b": X[:, 1], "size": pd.Categorical(size)}
    )
    return table, y


@pytest.mark.parametrize("one_hot", [1, 100])
def test_named_categories(one_hot):
    table, y = categories()
    original = xgboost.XGBRegressor(**COMMON, enable_categorical=True, max_cat_to_onehot=one_hot).fit(table, y)
    model = import_model(original)
    assert [c.kind for c in model.columns] == ["number", "category", "number", "category"]
    assert (model.level_set >= 0).sum() > 5
    made = probes(model, limit=4000)
    made["size"] = [None if text is None else text if text.startswith("unseen") else int(text) for text in made["size"]]
    # XGBoost refuses levels that it has not seen
    seen = ~made.isin(["unseen level"]).any(axis=1)
    rows = pd.concat([table.astype({"colour": object, "size": object}), made[seen]])
    theirs = rows.assign(
        colour=pd.Categorical(rows["colour"], table["colour"].cat.categories),
        size=pd.Categorical(rows["size"], table["size"].cat.categories),
    )
    np.testing.assert_allclose(model.predict(rows), original.predict(theirs), rtol=0, atol=1e-5)


def test_categories_that_are_whole_numbers():
    table, y = categories()
    codes = table["colour"].cat.codes.replace(-1, np.nan)
    x = np.column_stack([table["a"], codes, table["b"], table["size"].astype(int) * 3])
    data = xgboost.DMatrix(x, y, feature_types=["float", "c", "float", "c"])
    original = xgboost.train({"max_depth": 4, "nthread": 1, "tree_method": "hist"}, data, 10)
    model = import_model(original)
    more = x.copy()
    more[:, 1] = RNG.choice([0, 1, 2, np.nan], N)
    more[:, 3] = RNG.choice([0, 1, 2, 3, 84, 87, 90, 100, np.nan], N)
    for rows in (x, more):
        theirs = original.predict(xgboost.DMatrix(rows, feature_types=["float", "c", "float", "c"]))
        np.testing.assert_allclose(model.predict(rows), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"objective": "reg:logistic"}, "reg:logistic"),
     ({"booster": "gblinear"}, "gblinear")],
)  # fmt: skip
def test_other_answers_are_refused(settings, message):
    keep = {} if settings.get("booster") else {"max_depth": 2}
    original = xgboost.XGBRegressor(n_estimators=2, n_jobs=1, **keep, **settings).fit(X, TWO)
    with pytest.raises(UnsupportedError, match=message):
        import_model(original)


@pytest.mark.parametrize("objective", ["count:poisson", "reg:gamma", "reg:tweedie"])
def test_logarithms_come_in_with_their_link(objective):
    original = xgboost.XGBRegressor(n_estimators=4, max_depth=2, n_jobs=1, objective=objective)
    model = import_model(original.fit(X, np.abs(SUM) + 0.1))
    assert model.link == "exp"
    np.testing.assert_allclose(model.predict(X), original.predict(X), rtol=1e-5, atol=0)


def test_names_that_xgboost_itself_cuts_wrongly_are_refused():
    table = pd.DataFrame({"colour": pd.Categorical(np.where(TWO > 0, "bläu", "red"))})
    original = xgboost.XGBRegressor(n_estimators=1, max_depth=1, enable_categorical=True, tree_method="hist")
    with pytest.raises(UnsupportedError, match="ASCII"):
        import_model(original.fit(table, SUM))


def test_an_unfitted_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="not fitted"):
        import_model(xgboost.XGBClassifier())
    (tmp_path / "model.json").write_text('{"learner": {}}')
    with pytest.raises(InputError, match="no XGBoost model"):
        import_model(tmp_path / "model.json")
