"""What fitted learners say about their answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from softwood.artifacts import Column, HardEnsemble
from softwood.trees import ForestClassifier, TreeClassifier
from softwood.trees._explained import column_units


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def tree(iris):
    return TreeClassifier(max_depth=2, effort=0.05).fit(*iris)


@pytest.fixture(scope="module")
def forest(iris):
    return ForestClassifier(budget=30, effort=0.05).fit(*iris)


def test_decision_path_has_scikit_learns_form(tree, forest, iris):
    path = tree.decision_path(iris[0])
    assert path.shape == (150, len(tree.artifact_.feature))
    assert (path[:, 0].toarray() == 1).all()
    indicator, starts = forest.decision_path(iris[0])
    assert indicator.shape == (150, starts[-1])
    assert len(starts) == forest.artifact_.n_trees + 1
    assert forest.apply(iris[0]).shape == (150, forest.artifact_.n_trees)
    assert tree.apply(iris[0]).shape == (150,)


@pytest.mark.parametrize("learner", ["tree", "forest"])
def test_a_counterfactual_gets_its_answer(learner, tree, forest, iris):
    model = {"tree": tree, "forest": forest}[learner]
    for row in (0, 60, 120):
        one = iris[0].iloc[[row]].copy()
        found = model.explain(one, keep=["petal width (cm)"])[0]
        assert found.answer == model.predict(one)[0]
        for change in found.counterfactual.changes if found.counterfactual else ():
            assert change.column != "petal width (cm)"
            assert change.distance == pytest.approx(
                abs(change.after - change.before) / model.record_["units"][change.column]
            )
            one[change.column] = change.after
        assert found.counterfactual is None or model.predict(one)[0] == found.counterfactual.answer != found.answer


def test_units_are_standard_deviations_of_tested_number_columns():
    columns = (Column("a", "number"), Column("b", "boolean"), Column("c", "number"))
    model = HardEnsemble(
        columns=columns, outputs=("y",), link="identity", classes=None, feature=[0, 1, -1, -1, -1],
        threshold=[1.0, 0.5, *[np.nan] * 3], missing_left=[False] * 5, left=[1, 3, 0, 0, 0], right=[2, 4, 0, 0, 0],
        level_set=[-1] * 5, levels_left=np.zeros((0, 0), bool), leaf=[-1, -1, 0, 1, 2], values=[[1.0], [2.0], [3.0]],
        counts=[1, 1, 1], roots=[0], base=[0.0],
    )  # fmt: skip
    x = np.array([[1e200, 0.0, 5.0], [3e200, 1.0, 6.0], [np.nan, 0.0, 7.0]])
    assert column_units(model, x) == {"a": pytest.approx(1e200)}
    assert column_units(model, x[:1]) == {}


def test_explanations_of_frames_with_categories(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=200), "kind": rng.choice(["a", "b", "c"], 200)})
    y = np.where((frame["kind"] == "b") | (frame["size"] > 1), "yes", "no")
    model = TreeClassifier(max_depth=3, effort=0.05).fit(frame, y)
    found = model.explain(frame.iloc[:20], keep=["size"])
    for row, one in enumerate(found):
        if one.counterfactual is None:
            assert frame["size"][row] > 1
        else:
            assert [change.column for change in one.counterfactual.changes] == ["kind"]
            assert "b" in (one.counterfactual.changes[0].before, one.counterfactual.changes[0].after)
