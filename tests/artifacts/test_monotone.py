"""``check_monotone`` against brute force: every threshold and its neighbours, on random trees."""

import dataclasses
from itertools import product

import numpy as np
import pytest

from softwood.artifacts import Column, ConstraintError, HardEnsemble, check_monotone, verified_constraints
from softwood.core import InputError

COLUMNS = (Column("x", "number"), Column("z", "number"), Column("b", "boolean"), Column("c", "category", ("u", "v")))


def falls(model, name):
    """Does the answer fall anywhere when one column rises? All combinations of thresholds, neighbours and missing."""
    options = []
    for place, column in enumerate(model.columns):
        tested = np.unique(model.threshold[model.feature == place])
        steps = np.unique(np.concatenate([[-1.7e308], tested, np.nextafter(tested, np.inf)]))
        options.append(steps if column.kind == "number" else np.array([0.0, 1.0]))
    place = [column.name for column in model.columns].index(name)
    others = [[0.0] if at == place else [*values, np.nan] for at, values in enumerate(options)]
    x = np.array(list(product(*others)))
    answers = []
    for step in options[place]:
        x[:, place] = step
        answers.append(model.raw_encoded(x)[:, 0])
    return bool((np.diff(answers, axis=0) < 0).any())


def test_it_says_what_brute_force_says(lab):
    said = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        model = lab.model(rng, trees=1, depth=int(rng.integers(1, 4)), columns=COLUMNS)
        order = np.argsort(np.argsort(model.values[:, 0]))
        model = dataclasses.replace(model, values=(order // 2)[:, None] * 1.0)  # ties, small counts
        for name in ("x", "z", "b"):
            said.append(check_monotone(model, {name: 1}) == [])
            assert said[-1] == (not falls(model, name))
        negative = dataclasses.replace(model, values=-model.values)
        assert (check_monotone(negative, {"x": -1}) == []) == (check_monotone(model, {"x": 1}) == [])
    assert 0.2 < np.mean(said) < 0.95


def test_a_forest_is_checked_tree_by_tree(lab):
    rising = HardEnsemble(
        columns=COLUMNS[:1], outputs=("y",), link="identity", classes=None, feature=[0, -1, -1],
        threshold=[0.0, np.nan, np.nan], missing_left=[False] * 3, left=[1, 0, 0], right=[2, 0, 0],
        level_set=[-1] * 3, levels_left=np.zeros((0, 0)), leaf=[-1, 0, 1], values=[[0.0], [1.0]], counts=[1, 1],
        roots=[0], base=[0.0],
    )  # fmt: skip
    assert verified_constraints(rising, {"x": 1}, ["other"]) == ["never falls with x", "never tests other"]
    with pytest.raises(ConstraintError, match=r"tree 0: x up"):
        verified_constraints(rising, {"x": -1}, [])
    with pytest.raises(ConstraintError, match="'x' is tested"):
        verified_constraints(rising, {}, ["x"])


def test_what_cannot_be_checked_says_why(lab):
    model = lab.model(np.random.default_rng(0), columns=COLUMNS)
    for directions in ({"c": 1}, {"nothing": 1}, {"x": 2}):
        with pytest.raises(InputError, match="cannot be checked"):
            check_monotone(model, directions)
    with pytest.raises(InputError, match="one output"):
        check_monotone(lab.model(np.random.default_rng(0), "several outputs", columns=COLUMNS), {"x": 1})
