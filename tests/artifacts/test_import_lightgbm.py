from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import import_model, probes
from softwood.core import InputError, UnsupportedError

lightgbm = pytest.importorskip("lightgbm")

RNG = np.random.default_rng(3)
N = 500
X = RNG.normal(size=(N, 4)).round(1)
X[RNG.random(X.shape) < 0.3] = 0.0
HOLES = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
SUM = np.nan_to_num(HOLES[:, 0]) * X[:, 1] + (X[:, 2] == 0) + np.isnan(HOLES[:, 0]) + RNG.normal(size=N) * 0.2
TWO, THREE = np.where(SUM > 0.4, "yes", "no"), np.digitize(SUM, [0, 0.8]) * 5
QUIET = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1}


def booster(parameters, x=HOLES, y=SUM, rounds=12, **data):
    settings = {**QUIET, **parameters}
    return lightgbm.train(settings, lightgbm.Dataset(x, y, params=settings, **data), rounds)


def rows_for(model, x):
    tiny = np.float32(1e-35)
    small = [0.0, -0.0, tiny, -tiny, np.nextafter(float(tiny), 1), -np.nextafter(float(tiny), 1), 1e-30, -1e-30, 5e-324]
    odd = np.zeros((len(small) * x.shape[1], x.shape[1]))
    odd[np.arange(len(odd)), np.repeat(np.arange(x.shape[1]), len(small))] = np.tile(small, x.shape[1])
    return np.concatenate([x, odd, probes(model, limit=4000).to_numpy(float)])


def same(original, rows, model, *, tolerance=1e-9):
    theirs = original.predict(rows)
    if model.classes is None:
        np.testing.assert_allclose(model.predict(rows), theirs, rtol=0, atol=tolerance)
        return
    ours = model.predict_proba(rows)
    np.testing.assert_allclose(ours if theirs.ndim == 2 else ours[:, 1], theirs, rtol=0, atol=tolerance)
    best = theirs.argmax(axis=1) if theirs.ndim == 2 else (theirs > 0.5).astype(int)
    np.testing.assert_array_equal(model.predict(rows), np.array(model.classes)[best])


PARAMETERS = {
    "regression": ({}, SUM),
    "absolute error": ({"objective": "regression_l1"}, SUM),
    "binary": ({"objective": "binary"}, TWO == "yes"),
    "binary, another sigmoid": ({"objective": "binary", "sigmoid": 0.3}, TWO == "yes"),
    "three classes": ({"objective": "multiclass", "num_class": 3}, THREE // 5),
    "random forest": ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, SUM),
    "random forest, binary": ({"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
                              TWO == "yes"),
    "random forest, three": ({"objective": "multiclass", "num_class": 3, "boosting": "rf", "bagging_freq": 1,
                              "bagging_fraction": 0.5}, THREE // 5),
    "dart": ({"boosting": "dart", "drop_rate": 0.5}, SUM),
    "stump": ({"num_leaves": 2}, SUM),
    "no split": ({"min_data_in_leaf": 400}, SUM),
}  # fmt: skip
MISSING = {"": {}, "zero is missing": {"zero_as_missing": True}, "none is missing": {"use_missing": False}}


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("name", PARAMETERS)
def test_every_objective_predicts_the_same_after_import(name, missing, tmp_path):
    parameters, target = PARAMETERS[name]
    original = booster({**parameters, **MISSING[missing]}, y=target.astype(float))
    model = import_model(original)
    same(original, rows_for(model, HOLES), model)
    original.save_model(tmp_path / "model.txt")
    assert import_model(tmp_path / "model.txt") == model


def test_zero_as_missing_meets_both_directions():
    original = booster({"zero_as_missing": True}, rounds=40)
    model = import_model(original)
    same(original, rows_for(model, HOLES), model)
    assert model.n_splits > 40 * 30 * 1.1  # 31 leaves each, and zero is set apart somewhere


def test_columns_without_missing_values_take_them_as_zero():
    original = booster({}, x=X)
    model = import_model(original)
    same(original, rows_for(model, HOLES), model)


# ------------------------------------------------------------------ categories
def categories():
    colour = np.array(["red", "blue", "green, dark", None], dtype=object)[RNG.integers(0, 4, N)]
    size = RNG.integers(0, 50, N)
    y = SUM + (colour == "red") - (colour == "blue") + np.sin(size * 7.0)
    table = pd.DataFrame(
        {"a": HOLES[:, 0], "colour": pd.Categorical(colour), "b": X[:, 1], "size": pd.Categorical(size)}
    )
    return table, y


def test_named_categories():
    table, y = categories()
    original = booster({}, x=table, y=y, rounds=20)
    model = import_model(original)
    assert [c.kind for c in model.columns] == ["number", "category", "number", "category"]
    assert (model.level_set >= 0).sum() > 5
    made = probes(model, limit=4000)
    made["size"] = [None if text is None or text.startswith("unseen") else int(text) for text in made["size"]]
    rows = pd.concat([table.astype({"colour": object, "size": object}), made])
    theirs = rows.assign(colour=pd.Categorical(rows["colour"]), size=pd.Categorical(rows["size"].astype(float)))
    same_rows = original.predict(theirs)
    np.testing.assert_allclose(model.predict(rows), same_rows, rtol=0, atol=1e-9)


def test_categories_that_are_whole_numbers():
    table, y = categories()
    x = np.column_stack([table["a"], table["colour"].cat.codes, table["b"], table["size"].astype(int) * 3])
    original = booster({}, x=x, y=y, rounds=20, categorical_feature=[1, 3])
    model = import_model(original)
    assert [c.kind for c in model.columns] == ["number", "category", "number", "category"]
    more = x.copy()
    more[:, 1] = RNG.choice([-1, 0, 1, 2, 3, 77, np.nan], N)
    more[:, 3] = RNG.choice([-5, 0, 3, 4, 6, 9, 1000, np.nan], N)
    for rows in (x, more):
        np.testing.assert_allclose(model.predict(rows), original.predict(rows), rtol=0, atol=1e-9)


def test_category_columns_that_cannot_be_told_apart_are_refused():
    table, y = categories()
    table["constant"] = pd.Categorical(["same"] * N)
    with pytest.raises(UnsupportedError, match="3 category columns"):
        import_model(booster({}, x=table, y=y))


# ------------------------------------------------------------------ estimators and refusals
@pytest.mark.parametrize("target", [TWO, THREE])
def test_an_estimator_brings_its_labels(target):
    original = lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1).fit(HOLES, target)
    model = import_model(original)
    rows = rows_for(model, HOLES)
    np.testing.assert_array_equal(model.predict(rows), original.predict(rows))
    np.testing.assert_allclose(model.predict_proba(rows), original.predict_proba(rows), rtol=0, atol=1e-9)


def test_early_stopping_is_respected():
    half = N // 2
    settings = {**QUIET, "learning_rate": 0.5}
    data = lightgbm.Dataset(HOLES[:half], SUM[:half], params=settings)
    unseen = lightgbm.Dataset(HOLES[half:], SUM[half:], reference=data)
    stop = lightgbm.early_stopping(3, verbose=False)
    original = lightgbm.train(settings, data, 200, valid_sets=[unseen], callbacks=[stop])
    model = import_model(original)
    assert model.n_trees == original.best_iteration < 200
    np.testing.assert_allclose(model.predict(HOLES), original.predict(HOLES), rtol=0, atol=1e-9)


@pytest.mark.parametrize("objective", ["poisson", "gamma", "tweedie"])
def test_logarithms_come_in_with_their_link(objective):
    original = booster({"objective": objective}, y=np.abs(SUM) + 0.1)
    model = import_model(original)
    assert model.link == "exp"
    np.testing.assert_allclose(model.predict(HOLES), original.predict(HOLES), rtol=1e-9, atol=0)


def test_leaf_counts():
    model = import_model(booster({}, rounds=3))
    np.testing.assert_array_equal(model.counts, np.bincount(model.apply(HOLES).ravel()))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"objective": "cross_entropy"}, "cross_entropy"),
     ({"objective": "regression", "reg_sqrt": True}, "sqrt"), ({"linear_tree": True}, "linear"),
     ({"objective": "multiclassova", "num_class": 3}, "multiclassova")],
)  # fmt: skip
def test_other_answers_are_refused(parameters, message):
    with pytest.raises(UnsupportedError, match=message):
        import_model(booster(parameters, x=X, y=(THREE // 5 if "num_class" in parameters else (TWO == "yes") * 1.0)))


def test_unfitted_and_cut_models_are_refused(tmp_path):
    with pytest.raises(InputError, match="not fitted"):
        import_model(lightgbm.LGBMClassifier())
    text = booster({}).model_to_string()
    (tmp_path / "cut.txt").write_text(text[: len(text) // 3])
    with pytest.raises(InputError, match="no whole LightGBM model"):
        import_model(tmp_path / "cut.txt")
