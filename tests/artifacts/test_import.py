"""scikit-learn's models, and what ``import_model`` itself decides."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from softwood.artifacts import Column, HardEnsemble, import_model, probes
from softwood.artifacts._import_trees import ForeignTree, as_ensemble, largest_below_float32
from softwood.core import InputError, UnsupportedError

RNG = np.random.default_rng(7)
N = 300
X = RNG.normal(size=(N, 4)).round(1)  # many equal values, so that thresholds and ties are met
X[:, 3] *= 1e-3
NOISE = RNG.normal(size=N) * 0.3
TARGETS = {
    "number": X[:, 0] * X[:, 1] + X[:, 3] * 500 + NOISE,
    "two": np.where(X[:, 0] * X[:, 1] + NOISE > 0, "yes", "no"),
    "three": np.digitize(X[:, 0] + NOISE, [-0.5, 0.5]) * 10,
}
HOLES = np.where(RNG.random(X.shape) < 0.15, np.nan, X)


def rows_for(model, x, missing):
    """The training rows and rows on and beside every threshold, within float32's range."""
    made = probes(model, limit=4000).to_numpy(float)
    rows = np.concatenate([x, RNG.normal(size=(500, x.shape[1])), made])
    rows = rows[np.nanmax(np.abs(np.nan_to_num(rows)), axis=1) < 3e38]
    return rows if missing else rows[~np.isnan(rows).any(axis=1)]


def check(original, x, *, missing=False, tolerance=1e-9):
    """Import, and compare labels and scores on every row."""
    model = import_model(original)
    rows = rows_for(model, x, missing)
    assert len(rows) > N
    if model.classes is None:
        np.testing.assert_allclose(model.predict(rows), original.predict(rows), rtol=0, atol=tolerance)
    else:
        np.testing.assert_array_equal(model.predict(rows), original.predict(rows))
        np.testing.assert_allclose(model.predict_proba(rows), original.predict_proba(rows), rtol=0, atol=tolerance)
        assert model.predict(rows).dtype == original.classes_.dtype
    return model


FULL = {
    "tree": (DecisionTreeClassifier(random_state=0), "two", True),
    "tree, three": (DecisionTreeClassifier(max_depth=4, class_weight="balanced"), "three", True),
    "tree, few leaves": (DecisionTreeRegressor(max_leaf_nodes=9), "number", True),
    "extra tree": (ExtraTreeClassifier(random_state=0), "three", True),
    "one leaf": (DecisionTreeClassifier(max_depth=1, min_samples_leaf=200), "two", False),
    "forest, fully grown": (RandomForestClassifier(10, random_state=0), "two", True),
    "forest, odd": (RandomForestClassifier(7, max_depth=3, random_state=0), "two", True),
    "forest, three": (RandomForestClassifier(12, random_state=0), "three", True),
    "forest, number": (RandomForestRegressor(7, random_state=0), "number", True),
    "extra trees": (ExtraTreesClassifier(6, random_state=0), "two", True),
    "extra trees, number": (ExtraTreesRegressor(5, random_state=0), "number", True),
    "booster": (GradientBoostingClassifier(n_estimators=12, random_state=0), "two", False),
    "booster, zero": (GradientBoostingClassifier(n_estimators=5, init="zero", random_state=0), "two", False),
    "booster, three": (GradientBoostingClassifier(n_estimators=6, random_state=0), "three", False),
    "booster, number": (GradientBoostingRegressor(n_estimators=12, loss="huber", random_state=0), "number", False),
    "histogram": (HistGradientBoostingClassifier(max_iter=12), "two", True),
    "histogram, three": (HistGradientBoostingClassifier(max_iter=6), "three", True),
    "histogram, number": (HistGradientBoostingRegressor(max_iter=12, loss="absolute_error"), "number", True),
}


@pytest.mark.parametrize("name", FULL)
def test_every_estimator_predicts_the_same_after_import(name):
    estimator, target, missing = FULL[name]
    model = check(estimator.fit(X, TARGETS[target]), X)
    assert [column.name for column in model.columns] == ["x0", "x1", "x2", "x3"]
    if missing:
        check(estimator.fit(HOLES, TARGETS[target]), HOLES, missing=True)


def test_ties_of_a_forest_go_to_the_same_class():
    x = np.repeat(np.arange(6.0), 8)[:, None]
    y = np.tile([0, 1], 24)
    for trees in (2, 3, 6, 10, 100):
        original = RandomForestClassifier(trees, random_state=trees).fit(x, y)
        check(original, x)
    halves = RandomForestClassifier(10, random_state=0, bootstrap=False).fit(x, y)
    assert import_model(halves).predict(x).tolist() == halves.predict(x).tolist() == [0] * 48


def test_ties_of_whole_votes_go_to_the_first_class():
    x, y = np.arange(60.0)[:, None], np.random.default_rng(0).integers(0, 2, 60)
    rows, ties = np.linspace(-1, 60, 3000)[:, None], 0
    for seed in range(10):
        original = RandomForestClassifier(100, random_state=seed).fit(x, y)  # 50 / 100 added up is above a half
        ties += (original.predict_proba(rows)[:, 0] == 0.5).sum()
        assert import_model(original).predict(rows).tolist() == original.predict(rows).tolist()
    assert ties > 10


def test_a_tie_of_a_booster_goes_to_its_second_class():
    x, y = np.repeat([[0.0], [1.0]], 4, axis=0), np.tile([0, 1], 4)
    original = GradientBoostingClassifier(n_estimators=2).fit(x, y)
    assert original.predict(x).tolist() == [1] * 8
    check(original, x)


def test_several_targets_become_several_outputs():
    original = RandomForestRegressor(3, max_depth=3, random_state=0).fit(X, np.c_[TARGETS["number"], X[:, 0]])
    assert check(original, X).outputs == ("y0", "y1")


def test_leaf_counts_are_training_weights():
    tree = DecisionTreeRegressor(max_depth=3).fit(X, TARGETS["number"])
    model = import_model(tree)
    np.testing.assert_array_equal(model.counts, np.bincount(model.apply(X)[:, 0]))
    boosted = import_model(HistGradientBoostingRegressor(max_iter=2).fit(X, TARGETS["number"]))
    leaves = boosted.apply(X)
    np.testing.assert_array_equal(boosted.counts, np.bincount(leaves.ravel()))


# ------------------------------------------------------------------ categories
@pytest.mark.parametrize("target", ["two", "number"])
def test_histogram_boosters_with_categories(target):
    colour = np.array(["red", "blue", "green, dark", None], dtype=object)[RNG.integers(0, 4, N)]
    code = RNG.integers(0, 40, N) * 1.5
    table = pd.DataFrame({"a": HOLES[:, 0], "colour": pd.Categorical(colour), "b": X[:, 1], "code": code})
    table["code"] = table["code"].astype("category")
    shift = 2.0 * (colour == "red") + (code % 2)
    y = TARGETS["number"] + shift if target == "number" else np.where(TARGETS["number"] + shift > 1, "yes", "no")
    kind = HistGradientBoostingRegressor if target == "number" else HistGradientBoostingClassifier
    original = kind(max_iter=15, categorical_features="from_dtype", min_samples_leaf=3).fit(table, y)
    model = import_model(original)
    assert [(c.name, c.kind) for c in model.columns] == [
        ("a", "number"), ("colour", "category"), ("b", "number"), ("code", "category"),
    ]  # fmt: skip
    assert {model.columns[f].name for f in model.feature[model.level_set >= 0]} == {"colour", "code"}
    made = probes(model, limit=6000)
    made["code"] = [value if value is None or value.startswith("unseen") else float(value) for value in made["code"]]
    rows = pd.concat([table.astype({"colour": object, "code": object}), made.astype({"code": object})])
    known = rows["code"].map(lambda value: not isinstance(value, str))
    theirs = rows[known].assign(
        colour=pd.Categorical(rows[known]["colour"], [*table["colour"].cat.categories, "unseen level"]),
        code=pd.Categorical(rows[known]["code"].astype(float)),
    )
    np.testing.assert_array_equal(
        model.predict(rows[known]) if target == "two" else model.predict(rows[known]).round(9),
        original.predict(theirs) if target == "two" else original.predict(theirs).round(9),
    )
    assert (rows[known]["colour"] == "unseen level").any()


# ------------------------------------------------------------------ thresholds of float32
@given(
    st.one_of(st.floats(-1e30, 1e30), st.floats(width=32, allow_nan=False, allow_infinity=False),
              st.sampled_from([0.0, -0.0, 1e-45, -1e-45, 1e-60, -1e-60, 3.4028234663852886e38, 1e39, -1e39, 2.0**24])),
    st.booleans(),
)  # fmt: skip
def test_float64_thresholds_decide_as_float32_values_do(threshold, strict):
    given_threshold = float(np.float32(threshold)) if strict and abs(threshold) < 3e38 else threshold
    ours = float(largest_below_float32(np.array([given_threshold]), strict=strict)[0])
    near = [given_threshold, ours, float(np.float32(min(max(threshold, -3e38), 3e38)))]
    for start in near:
        for value in (start, np.nextafter(start, np.inf), np.nextafter(start, -np.inf)):
            if abs(value) > 3.4e38:
                continue
            single = float(np.float32(value))
            assert (value <= ours) == (single < given_threshold if strict else single <= given_threshold)


def test_a_threshold_below_every_number_sends_all_known_values_right():
    for missing_left in (True, False):
        for threshold, known in ((-np.inf, 2.0), (np.inf, 1.0)):
            tree = ForeignTree(
                feature=np.array([0, -1, -1]), threshold=np.array([threshold, 0, 0]),
                missing_left=np.array([missing_left, False, False]), left=np.array([1, -1, -1]),
                right=np.array([2, -1, -1]), values=np.array([[0.0], [1.0], [2.0]]), counts=np.ones(3),
            )  # fmt: skip
            model = as_ensemble(
                [tree], columns=[Column("x", "number")], outputs=["y"], link="identity", classes=None, base=[0.0]
            )
            answers = model.predict(np.array([[-1.7e308], [0.0], [np.finfo(float).max], [np.nan]]))
            assert answers.tolist() == [known, known, known, 1.0 if missing_left else 2.0]


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_logarithms_come_in_with_their_link(loss):
    original = HistGradientBoostingRegressor(max_iter=4, loss=loss).fit(X, np.abs(X[:, 0]) + 0.1)
    model = import_model(original)
    assert model.link == "exp"
    np.testing.assert_allclose(model.predict(X), original.predict(X), rtol=1e-9, atol=0)


# ------------------------------------------------------------------ what is refused
REFUSED = {
    "another estimator": (LogisticRegression().fit(X, TARGETS["two"]), UnsupportedError, "LogisticRegression"),
    "exponential": (GradientBoostingClassifier(n_estimators=1, loss="exponential").fit(X, TARGETS["two"]),
                    UnsupportedError, "exponential"),
    "a start that is no constant": (GradientBoostingRegressor(n_estimators=1, init=LinearRegression())
                                    .fit(X, TARGETS["number"]), UnsupportedError, "LinearRegression"),
    "several targets of classes": (DecisionTreeClassifier(max_depth=1).fit(X, np.c_[TARGETS["two"], TARGETS["two"]]),
                                   UnsupportedError, "several targets"),
    "one class": (DecisionTreeClassifier().fit(X, np.zeros(N)), UnsupportedError, "one class"),
    "not fitted": (RandomForestClassifier(), InputError, "not fitted"),
    "no model": ({"a": 1}, InputError, "cannot be imported"),
    "no file": ("nothing/here.json", InputError, "no model file"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_imported_says_why(name):
    source, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        import_model(source)


@pytest.mark.parametrize("content", [b"\x80\x04\x95pickle", b"{not json", b"{}", b"", b"tree\nversion=v4\n", b"[1, 2]"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(InputError, match="to fix"):
        import_model(path)


def test_importing_needs_none_of_the_libraries():
    code = """
import sys
import softwood.artifacts
print(sorted({"sklearn", "lightgbm", "xgboost", "catboost", "torch"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_imported_model_survives_a_file(tmp_path):
    model = import_model(RandomForestClassifier(3, random_state=0).fit(X, TARGETS["two"]))
    assert HardEnsemble.load(model.save(tmp_path / "model")) == model
