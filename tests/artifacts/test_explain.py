"""``explain``, ``decision_path`` and counterfactuals, against walks and enumerations that know nothing of them."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from softwood.artifacts import Column, HardEnsemble, import_model
from softwood.core import InputError

SEEDS = st.integers(0, 2**32 - 1)


def stump_forest(steps, base=-0.5):
    """One tree for each column: its leaf adds ``step`` where the column is above 10."""
    nodes = len(steps) * 3
    inner = np.arange(nodes) % 3 == 0
    values = np.array([value for step in steps for value in (0.0, step)])[:, None]
    return HardEnsemble(
        columns=tuple(Column(f"c{i}", "number") for i in range(len(steps))), outputs=("p",), link="sigmoid",
        classes=("no", "yes"), feature=np.where(inner, np.arange(nodes) // 3, -1),
        threshold=np.where(inner, 10.5, np.nan), missing_left=np.ones(nodes, bool),
        left=np.where(inner, np.arange(nodes) + 1, 0), right=np.where(inner, np.arange(nodes) + 2, 0),
        level_set=np.full(nodes, -1), levels_left=np.zeros((0, 0), bool),
        leaf=np.where(inner, -1, np.cumsum(~inner) - 1), values=values, counts=np.ones(2 * len(steps)),
        roots=np.arange(len(steps)) * 3, base=[base],
    )  # fmt: skip


def enumerate_nearest(model, row, keep=()):
    """Return (columns changed, summed distance) of the nearest row with another label, by trying every combination."""
    now = model.predict(pd.DataFrame([row]))[0]
    choices = []
    for place, column in enumerate(model.columns):
        here = row[column.name]
        here = None if here is None or here != here else here
        options = [(here, 0, 0.0)]
        tested = model.feature == place
        if column.name in keep or not tested.any():
            choices.append(options)
            continue
        if column.kind == "category":
            options += [(level, 1, 1.0) for level in column.levels if level != here]
        elif column.kind == "boolean":
            options += [(value, 1, 1.0) for value in (False, True) if value is not here]
        else:
            for threshold in np.unique(model.threshold[tested]).tolist():
                for value in (threshold, float(np.nextafter(threshold, np.inf))):
                    options.append((value, 1, 1.0 if here is None else abs(value - here)))
        choices.append(options)
    rows = list(product(*choices))
    table = pd.DataFrame({
        c.name: pd.Series([r[i][0] for r in rows], dtype=float if c.kind == "number" else object)
        for i, c in enumerate(model.columns)
    })  # fmt: skip
    other = [r for r, label in zip(rows, model.predict(table), strict=True) if label != now]
    return min(((sum(o[1] for o in r), sum(o[2] for o in r)) for r in other), default=None)


@settings(max_examples=40)
@given(seed=SEEDS, trees=st.integers(1, 3), case=st.sampled_from(["binary, probability", "softmax", "three classes"]))
def test_the_nearest_change_is_the_one_that_enumeration_finds(lab, seed, trees, case):
    rng = np.random.default_rng(seed)
    model = lab.model(rng, case, trees=trees, depth=3, columns=lab.columns(rng, 3))
    table = lab.rows(rng, model, 3)
    units = {column.name: 1.0 for column in model.columns}
    found = model.explain(table, units=units)
    for row, explained in zip(lab.as_dicts(model, table), found, strict=True):
        expected, other = enumerate_nearest(model, row), explained.counterfactual
        assert (other is None) == (expected is None)
        if other is None:
            continue
        changed = {**row, **{change.column: change.after for change in other.changes}}
        assert lab.label(model, lab.walk(model, changed)) == other.answer != explained.answer
        assert other.proved or len(other.changes) > 2
        assert len(other.changes) == expected[0]
        if other.proved:  # a short decimal may lie up to a whole further
            assert other.distance <= expected[1] * (1 + 1e-9) + 3.01


@settings(max_examples=20)
@given(seed=SEEDS, trees=st.integers(1, 2))
def test_kept_columns_are_kept(lab, seed, trees):
    rng = np.random.default_rng(seed)
    model = lab.model(rng, "binary, sigmoid", trees=trees, depth=3, columns=lab.columns(rng, 3))
    table = lab.rows(rng, model, 2)
    keep = (model.columns[0].name, model.columns[2].name)
    for row, explained in zip(lab.as_dicts(model, table), model.explain(table, keep=keep), strict=True):
        other, expected = explained.counterfactual, enumerate_nearest(model, row, keep)
        assert (other is None) == (expected is None)
        assert other is None or [change.column for change in other.changes] == [model.columns[1].name]


@settings(max_examples=20)
@given(seed=SEEDS, trees=st.integers(1, 4), number=st.integers(0, 6))
def test_paths_are_those_of_a_plain_walk(lab, seed, trees, number):
    rng = np.random.default_rng(seed)
    model = lab.model(rng, lab.cases[number], trees=trees)
    table = lab.rows(rng, model, 8)
    indicator, starts = model.decision_path(table)
    leaves = model.apply(table)
    for row, (raw, explained) in enumerate(
        zip(lab.as_dicts(model, table), model.explain(table, counterfactual=False), strict=True)
    ):
        assert [path.leaf for path in explained.paths] == leaves[row].tolist()
        total = np.sum([path.values for path in explained.paths], axis=0) + model.base
        np.testing.assert_allclose(total, lab.walk(model, raw))
        for path in explained.paths:
            node = int(model.roots[path.tree])
            for gate in path.gates:
                assert gate.node == node
                node = int(model.left[node] if gate.holds else model.right[node])
            assert model.leaf[node] == path.leaf
            assert indicator[row, starts[path.tree] : starts[path.tree + 1]].sum() == len(path.gates) + 1
    assert indicator.shape == (8, len(model.feature))


def test_decision_paths_are_scikit_learns():
    x, y = load_iris(return_X_y=True)
    x = x.astype(np.float32).astype(np.float64)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x, y)
    ours, starts = import_model(tree).decision_path(x)
    theirs = tree.decision_path(x.astype(np.float32))
    np.testing.assert_array_equal(ours.sum(axis=1), theirs.sum(axis=1))
    assert sorted(ours.sum(axis=0).tolist()[0]) == sorted(theirs.sum(axis=0).tolist()[0])
    assert starts.tolist() == [0, tree.tree_.node_count]
    forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(x, y)
    indicator, starts = import_model(forest).decision_path(x)
    expected, pointer = forest.decision_path(x.astype(np.float32))
    np.testing.assert_array_equal(starts, pointer)
    for tree in range(5):
        part = slice(starts[tree], starts[tree + 1])
        np.testing.assert_array_equal(indicator[:, part].sum(axis=1), expected[:, part].sum(axis=1))


def test_distances_count_thresholds():
    model = import_model(DecisionTreeClassifier(random_state=0).fit([[1.0], [2.0], [3.0], [4.0]], [0, 1, 0, 1]))
    gates = model.explain([[10.0]], counterfactual=False)[0].paths[0].gates
    assert {(round(gate.distance, 5), gate.steps) for gate in gates} <= {(6.5, 1), (7.5, 2), (8.5, 3)}
    assert len(gates) >= 1
    low = model.explain([[1.0]], counterfactual=False)[0].paths[0].gates[-1]
    assert (low.value, low.distance, low.steps) == (1.0, pytest.approx(0.5, abs=1e-5), 1)
    assert model.explain([[np.nan]], counterfactual=False)[0].paths[0].gates[0].steps is None


def test_contributions_add_up_to_the_raw_score():
    x, y = load_iris(return_X_y=True)
    model = import_model(RandomForestClassifier(4, max_depth=3, random_state=0).fit(x, y))
    for row, explained in enumerate(model.explain(x[:5], counterfactual=False)):
        total = np.sum(list(explained.contributions.values()), axis=0) + explained.expected
        np.testing.assert_allclose(total, model.raw(x[row : row + 1])[0], atol=1e-12)


def test_a_forest_that_needs_many_changes_is_searched_and_says_that_it_is_not_proved():
    model = stump_forest([0.1, 0.2, 0.1, 0.2, 0.05], base=-0.53)
    found = model.explain([[3.0, 3.0, 9.0, 2.0, 10.0]])[0].counterfactual
    assert {change.column: change.after for change in found.changes} in (
        dict.fromkeys(("c0", "c1", "c3", "c2"), 11.0), dict.fromkeys(("c1", "c2", "c3", "c4"), 11.0),
    )  # fmt: skip
    assert not found.proved
    assert model.explain([[3.0] * 5], keep=["c1"])[0].counterfactual is None


def test_changes_end_on_whole_numbers_or_short_decimals():
    whole = stump_forest([1.0]).explain([[7.0]])[0].counterfactual.changes[0]
    assert (whole.after, type(whole.after)) == (11.0, float)
    broken = stump_forest([1.0]).explain([[7.25]])[0].counterfactual.changes[0]
    assert 10.5 < broken.after < 10.52
    assert len(repr(broken.after)) <= 6
    down = stump_forest([1.0]).explain([[12.25]])[0].counterfactual.changes[0]
    assert down.after == 10.5


@pytest.mark.parametrize(("goal", "low", "high"), [({"wanted": 2.0}, 2, 2), ({"by": 1.0}, 1, 3), ({"by": -9}, 9, 0)])
def test_a_regression_reaches_a_value_or_moves_by_an_amount(lab, goal, low, high):
    model = lab.chain(4)  # row x answers ceil(x), up to 4
    found = model.explain([[0.0]], **goal)[0]
    assert found.answer == 0
    if low > high:
        assert found.counterfactual is None
        assert "No change that was tried gives a value of -9 or less" in str(found)
    else:
        assert low <= found.counterfactual.answer <= high
        assert found.counterfactual.answer == low
    assert model.explain([[0.0]])[0].wanted is None


def test_a_wanted_label_that_is_there_already_needs_no_change():
    model = stump_forest([1.0])
    found = model.explain([[20.0]], wanted="yes")[0].counterfactual
    assert (found.changes, found.answer, found.proved) == ((), "yes", True)


def test_text_and_json_say_the_same():
    model = stump_forest([1.0, 0.2])
    found = model.explain([[7.0, np.nan]])[0]
    text, content = str(found), json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert "c0 <= 10.5 or missing?  (c0 is 7, 3.5 from the threshold, 1 threshold of this column away)" in text
    assert "c1 is missing or unseen" in text
    assert "c0: 7 -> 11" in text
    assert "(nearest, proved; checked by predicting it)" in text
    assert content["answer"] == "no"
    assert content["counterfactual"]["changes"] == [
        {"column": "c0", "before": 7.0, "after": 11.0, "distance": pytest.approx(4 / 10.5)}
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["nobody"]}, "keep: the column is unknown"),
        ({"wanted": "maybe"}, "wanted is unknown"),
        ({"by": 1.0}, "a label has no amount"),
        ({"wanted": "yes", "by": 1.0}, "two goals"),
    ],
)
def test_goals_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        stump_forest([1.0]).explain([[1.0]], **options)


def test_logarithms_are_explained_as_the_values_that_are_predicted():
    model = stump_forest([0.5, 1.0], base=0.0)
    model = HardEnsemble(**{**vars(model), "link": "exp", "classes": None, "outputs": ("count",)})
    found = model.explain({"c0": [0.0], "c1": [0.0]}, wanted=2.5)[0]
    assert found.answer == pytest.approx(1.0)
    assert found.counterfactual.answer == pytest.approx(np.exp(1.0))
