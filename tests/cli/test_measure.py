"""Targets as the model knows them, and scores against their definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import Column, HardEnsemble
from softwood.cli._measure import describe_model, known_rows, scores_on
from softwood.core import InputError


@pytest.mark.parametrize(
    ("classes", "values", "known", "labels"),
    [
        (("a", "b"), ["a", None, "NA", "b"], [1, 0, 0, 1], ["a", "b"]),
        (("1", "x"), [1.0, "x", None], [1, 1, 0], ["1", "x"]),
        ((0, 1, 2), ["2", "0", "", "1.0"], [1, 1, 0, 1], [2, 0, 1]),
        ((3, 5), np.array([5.0, np.nan, 3.0]), [1, 0, 1], [5, 3]),
        ((False, True), ["True", "false", None], [1, 1, 0], [True, False]),
        ((False, True), np.array([True, False]), [1, 1], [True, False]),
        (None, ["1.5", "-", "2"], [1, 0, 1], [1.5, 2.0]),
    ],
)
def test_known_rows(classes, values, known, labels):
    mask, found = known_rows(classes, pd.Series(values, name="y", dtype=None))
    assert mask.tolist() == [bool(one) for one in known]
    assert found.tolist() == labels


@pytest.mark.parametrize(
    ("classes", "values", "message"),
    [
        (("a", "b"), ["a", "c", "b"], "allowed: 'a', 'b'"),
        ((0, 1), [0, 1, 2], "got 2.0"),
        (None, ["1", "high"], "holds what is no number"),
        (("a", "b"), [None, None, "a"], "got 1 of 3 rows"),
    ],
)
def test_targets_that_cannot_be_used(classes, values, message):
    with pytest.raises(InputError, match=message):
        known_rows(classes, pd.Series(values, name="y", dtype=object))


def test_intervals_cover_the_truth_as_often_as_they_say():
    model = HardEnsemble.single_leaf([Column("x", "number")], np.zeros(1), outputs=["y"])
    frame = pd.DataFrame({"x": np.zeros(200)})
    r = np.random.default_rng(0)
    truth = {"RMSE": 1.0, "MAE": np.sqrt(2 / np.pi)}
    inside = dict.fromkeys(truth, 0)
    for _ in range(200):
        found = scores_on(model, frame, r.normal(size=200))
        for name, value in truth.items():
            inside[name] += found[name].low <= value <= found[name].high
    # 95 % of 200, within three standard errors of a share
    assert {name: 180 <= count <= 200 for name, count in inside.items()} == {"RMSE": True, "MAE": True}


def test_what_ships_in_words():
    model = HardEnsemble.single_leaf([Column("x", "number")], np.zeros(1), outputs=["y"])
    assert describe_model(model) == "one tree of 1 leaves, depth 0"
