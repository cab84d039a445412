"""Bootstrap confidence of splits and columns, on tables where the truth is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from softwood.core import UnsupportedError
from softwood.trees import ForestRegressor, TreeClassifier, TreeRegressor
from softwood.trees._stability import _dense_shares, _places, depth_of, split_weights


@pytest.fixture(scope="module")
def table():
    """``step`` decides at 5, ``slope`` a little at no place in particular, ``noise`` nothing."""
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"step": r.uniform(0, 10, 600), "slope": r.uniform(0, 1, 600), "noise": r.normal(size=600)})
    return frame, 4.0 * (frame["step"] > 5) + frame["slope"] + r.normal(0, 0.3, 600)


@pytest.fixture(scope="module")
def tree(table):
    return TreeRegressor(max_depth=2, effort=0.05).fit(*table)


def test_a_clear_split_comes_back_and_its_threshold_is_narrow(tree):
    found = tree.stability_
    assert found.bootstraps == 50
    first = found.splits[0]
    assert (first.node, first.column, first.depth) == (int(tree.artifact_.roots[0]), "step", 0)
    assert (first.same_place, first.same_depth, first.anywhere) == (1.0, 1.0, 1.0)
    assert 4.8 < first.threshold.low <= first.threshold.value <= first.threshold.high < 5.2
    by_name = {column.column: column for column in found.columns}
    assert next(iter(by_name)) == "step"
    assert by_name["step"].used == 1.0
    vague = [split for split in found.splits if split.column == "slope"]
    assert vague
    for split in vague:
        assert split.same_place <= split.same_depth <= split.anywhere
        if split.threshold is not None:
            assert split.threshold.high - split.threshold.low > 3 * 0.04


def test_noise_is_not_stable():
    r = np.random.default_rng(1)
    x, y = r.normal(size=(300, 12)), r.integers(0, 2, 300)
    found = TreeClassifier(max_depth=3, effort=0.02, holdout=0).fit(x, y)
    assert all(split.same_place < 0.7 for split in found.stability_.splits)


def test_a_forest_says_which_columns_come_back(table):
    forest = ForestRegressor(budget=40, effort=0.05).fit(*table)
    found = forest.stability_
    assert found.splits == ()
    by_name = {column.column: column for column in found.columns}
    assert by_name["step"].used == by_name["step"].top == 1.0
    assert by_name["slope"].importance.value > 2 * by_name["noise"].importance.value
    for column in found.columns:
        assert 0 <= column.importance.low <= column.importance.value <= column.importance.high <= 1


def test_it_is_computed_once_and_the_same_seed_gives_the_same(tree, table):
    assert tree.stability_ is tree.stability_
    again = TreeRegressor(max_depth=2, effort=0.05).fit(*table)
    assert again.stability_ == tree.stability_
    assert json.loads(json.dumps(again.stability_.to_dict(), allow_nan=False))["bootstraps"] == 50


def test_a_stored_learner_holds_no_training_row(table):
    frame = table[0].assign(step=table[0]["step"].where(table[0].index != 7, 4.987654321e-3))
    model = TreeRegressor(max_depth=2, effort=0.02).fit(frame, table[1])
    assert np.float64(4.987654321e-3) in model._refit.rows.x
    stored = model.__getstate__()
    assert "_refit" not in stored
    copied = TreeRegressor()
    copied.__setstate__(stored)
    np.testing.assert_array_equal(copied.predict(frame), model.predict(frame))
    with pytest.raises(UnsupportedError, match="needs the training rows"):
        _ = copied.stability_
    with pytest.raises(NotFittedError):
        _ = clone(model).stability_


def test_places_and_weights_of_a_complete_tree(tree):
    assert [depth_of(place) for place in (0, 1, 2, 3, 6)] == [0, 1, 1, 2, 2]
    assert _places(tree.artifact_)[0] == (0, 0)
    # root 0 over (1, no test): all weight passes the root, that of the left half passes column 1
    shares = _dense_shares(np.array([0, 1, -1]), np.array([1.0, 2.0, 3.0, 0.0]), 3)
    np.testing.assert_allclose(shares, [6 / 9, 3 / 9, 0])
    assert split_weights(tree.artifact_).sum() == pytest.approx(1)
