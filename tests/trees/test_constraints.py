"""Monotone and forbidden columns: projections against a general solver, and learners against brute force."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize

from softwood.artifacts import check_monotone
from softwood.core import InputError
from softwood.trees import ForestClassifier, ForestRegressor, TreeClassifier, TreeRegressor
from softwood.trees._constraints import isotonic, monotone_leaves
from softwood.trees._dense_tree import DenseTree

NAMES = ["up", "down", "free", "noise"]


def make(n=500, seed=0, noise=0.6):
    """Rises with ``up`` but for a dip that only an unconstrained model follows; falls with ``down``."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 4))
    x[rng.random((n, 4)) < 0.1] = np.nan
    up, down, free = (np.nan_to_num(x[:, k]) for k in range(3))
    dip = -1.5 * ((up > 0.2) & (up < 0.8))
    return pd.DataFrame(x, columns=NAMES), up - down * (free > 0) + dip + noise * rng.normal(size=n)


def violations(learner, x, directions):
    """Largest step against a direction, over all thresholds, their neighbours and random rows."""
    model, worst = learner.artifact_, 0.0
    x = model.encode(x)
    for name, sign in directions.items():
        place = NAMES.index(name)
        cuts = np.unique(model.threshold[model.feature == place])
        steps = np.unique(np.concatenate([[-9.0, 9.0], cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf)]))
        rows = x.copy()
        answers = []
        for step in steps:
            rows[:, place] = step
            answers.append(model.raw_encoded(rows)[:, 0] * sign)
        worst = max(worst, float(-np.diff(answers, axis=0).min(initial=0.0)))
    return worst


def huber(prediction, y):
    return torch.nn.functional.huber_loss(prediction, y, reduction="none").sum(1)


SIGNS = {"up": 1, "down": -1}
LEARNERS = {
    "tree": (TreeRegressor, {"effort": 0.05}), "forest": (ForestRegressor, {"budget": 60, "effort": 0.1}),
    "class tree": (TreeClassifier, {"effort": 0.1, "metric": "log_loss"}),
    "class forest": (ForestClassifier, {"budget": 60, "effort": 0.1}),
    "absolute tree": (TreeRegressor, {"effort": 0.05, "loss": "absolute"}),
    "absolute forest": (ForestRegressor, {"budget": 60, "effort": 0.1, "loss": "absolute"}),
    "poisson tree": (TreeRegressor, {"effort": 0.05, "loss": "poisson"}),
    "poisson forest": (ForestRegressor, {"budget": 60, "effort": 0.1, "loss": "poisson"}),
    "own forest": (ForestRegressor, {"budget": 60, "effort": 0.05, "loss": huber}),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
def test_what_ships_is_monotone_for_every_row_and_says_so(name):
    kind, settings = LEARNERS[name]
    x, y = make()
    y = (y > 0).astype(int) if "class" in name else np.exp(np.clip(y, None, 2)) if "poisson" in name else y
    free = kind(n_jobs=1, **settings).fit(x, y)
    bound = kind(n_jobs=1, monotonic_cst=SIGNS, **settings).fit(x, y)
    rows = make(200, 9)[0]
    assert violations(bound, rows, SIGNS) == 0.0
    assert check_monotone(bound.artifact_, SIGNS) == []
    assert bound.certificate_.verified == ("never falls with up", "never rises with down")
    assert "Verified for every row: never falls with up" in str(bound.certificate_)
    if "forest" in name:
        assert violations(free, rows, SIGNS) > 0.01
    tested = set(bound.artifact_.feature[bound.artifact_.feature >= 0].tolist())
    assert {0, 1} <= tested  # constraints do not drive the columns out


def test_the_answer_costs_little_where_the_truth_is_monotone():
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, (1200, 4))
    y = x[:, 0] + np.tanh(2 * x[:, 0]) - x[:, 1] * (x[:, 2] > 0) + 0.5 * rng.normal(size=1200)
    for kind, settings in ((TreeRegressor, {"effort": 0.1}), (ForestRegressor, {"budget": 120, "effort": 0.1})):
        errors = [
            np.mean((kind(n_jobs=1, monotonic_cst=c, **settings).fit(x[:600], y[:600]).predict(x[600:]) - y[600:]) ** 2)
            for c in (None, [1, -1, 0, 0])
        ]
        assert errors[1] < 1.1 * errors[0]


@pytest.mark.parametrize("seed", range(6))
def test_the_projection_is_the_nearest_point(seed):
    rng = np.random.default_rng(seed)
    y, weight = rng.normal(size=7), rng.uniform(0.2, 3.0, 7)
    pairs = np.array([(a, b) for a in range(7) for b in range(a + 1, 7) if rng.random() < 0.4]).reshape(-1, 2)
    found = isotonic(y, weight, pairs[:, 0], pairs[:, 1])
    assert (found[pairs[:, 0]] <= found[pairs[:, 1]]).all()
    rules = [{"type": "ineq", "fun": lambda v, a=a, b=b: v[b] - v[a]} for a, b in pairs]
    best = minimize(lambda v: weight @ (v - y) ** 2, y * 0, constraints=rules, method="SLSQP", options={"ftol": 1e-12})
    np.testing.assert_allclose(found, best.x, atol=1e-5)


def test_leaves_of_a_complete_tree_are_ordered_through_missing_tests():
    """The right child of the root tests nothing; rows with a missing value are bound to nobody."""
    tree = DenseTree(np.array([0, 1, -1], np.int32), np.array([2, 0, 0], np.int32), np.array([True, False, False]))
    values = np.array([[3.0], [5.0], [1.0], [9.0]])
    bins, one = np.array([5, 2], np.int32), np.array([1, 1, 1, 1.0])
    found = monotone_leaves(tree, values, one, bins, np.array([1, 0], np.int8))
    np.testing.assert_allclose(found.ravel(), [3.0, 3.0, 3.0, 9.0])
    free = monotone_leaves(tree, values, one, bins, np.array([0, 1], np.int8))
    np.testing.assert_allclose(free, values)
    shares = monotone_leaves(tree, np.column_stack([1 - values / 10, values / 10]), one, bins, np.array([1, 0]))
    np.testing.assert_allclose(shares.sum(1), 1.0)


@pytest.mark.parametrize("kind", [TreeRegressor, ForestRegressor])
def test_forbidden_columns_are_tested_by_no_node(kind):
    x, y = make()
    x["group"] = np.where(y > 0, "a", "b")
    settings = {"budget": 60} if kind is ForestRegressor else {}
    learner = kind(n_jobs=1, effort=0.1, forbidden=["up", "group"], **settings).fit(x, y)
    model = learner.artifact_
    assert [column.name for column in model.columns] == [*NAMES, "group"]
    assert {model.columns[f].name for f in model.feature[model.feature >= 0]} <= {"down", "free", "noise"}
    assert learner.certificate_.verified == ("never tests up", "never tests group")


def test_what_cannot_be_held_says_why():
    x, y = make(60)
    x["colour"] = np.where(y > 0, "a", "b")
    three = np.digitize(y, [-0.5, 0.5])
    cases = {
        "unknown": (TreeRegressor(monotonic_cst={"upp": 1}), y),
        "not usable": (TreeRegressor(monotonic_cst={"up": 2}), y),
        "a category: 1": (ForestRegressor(monotonic_cst={"colour": 1}), y),
        "another length": (ForestRegressor(monotonic_cst=[1, 0]), y),
        "one output": (ForestClassifier(monotonic_cst={"up": 1}), three),
        "takes no constraints": (ForestRegressor(init="model.txt", forbidden=["up"]), y),
        "forbidden: the column": (TreeRegressor(forbidden=["nothing"]), y),
        "all columns are forbidden": (TreeRegressor(forbidden=[*NAMES, "colour"]), y),
    }  # fmt: skip
    for message, (learner, target) in cases.items():
        with pytest.raises(InputError, match=message):
            learner.set_params(effort=0.05, n_jobs=1).fit(x, target)
    with pytest.raises(InputError, match="one output"):
        TreeRegressor(monotonic_cst={"up": 1}).fit(x, np.column_stack([y, y]))


def test_rows_that_lack_another_value_keep_the_order_too():
    """The root sends a missing value of the free feature right; below, both sides test the monotone one."""
    tree = DenseTree(np.array([1, 0, 0], np.int32), np.array([1, 2, 2], np.int32), np.zeros(3, bool))
    values = np.array([[1.0], [2.0], [5.0], [3.0]])
    found = monotone_leaves(tree, values, np.ones(4), np.array([5, 2], np.int32), np.array([1, 0], np.int8))
    np.testing.assert_allclose(found.ravel(), [1.0, 2.0, 4.0, 4.0])
