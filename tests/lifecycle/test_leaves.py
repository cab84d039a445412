"""The leaf listing, against a plain loop over leaves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from softwood.artifacts import Column, HardEnsemble
from softwood.lifecycle import (
    certify,
    clopper_pearson,
    leaf_answers,
    leaf_lines,
    listed_from,
    listed_to,
    mean_of,
    observe_leaves,
)


def tree(values, link="probability", classes=("no", "yes"), outputs=("p",)):
    """x <= 0 -> leaf 0; else x <= 1 -> leaf 1, else leaf 2."""
    return HardEnsemble(
        columns=(Column("x", "number"),), outputs=outputs, link=link, classes=classes, feature=[0, -1, 0, -1, -1],
        threshold=[0.0, np.nan, 1.0, np.nan, np.nan], missing_left=[True] * 5, left=[1, 0, 3, 0, 0],
        right=[2, 0, 4, 0, 0], level_set=[-1] * 5, levels_left=np.zeros((0, 0), bool), leaf=[-1, 0, -1, 1, 2],
        values=values, counts=[1, 1, 1], roots=[0], base=np.zeros(len(outputs)),
    )  # fmt: skip


BINARY = tree([[0.1], [0.7], [0.6]])


def test_each_leaf_has_its_label_its_rate_and_its_interval():
    x = np.array([[-1.0]] * 10 + [[0.5]] * 4)
    truth = np.array([0] * 8 + [1] * 2 + [1] * 3 + [0])
    found = observe_leaves(BINARY, BINARY.apply(x)[:, 0], truth)
    assert [(line.leaf, line.n, line.answer) for line in found] == [(0, 10, "no"), (1, 4, "yes"), (2, 0, "yes")]
    assert [line.shipped for line in found] == pytest.approx([0.9, 0.7, 0.6])
    assert found[0].observed == clopper_pearson(8, 10)
    assert found[1].observed == clopper_pearson(3, 4)
    assert found[2].observed is None
    assert leaf_lines(found)[2] == "leaf 2: ships yes 0.6, not observed on 0 rows"


def test_a_regression_has_a_mean_for_each_output_and_none_of_a_single_row():
    model = tree([[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]], "identity", None, ("a", "b"))
    truth = np.array([[1.0, 4.0], [3.0, 6.0], [9.0, 9.0]])
    found = observe_leaves(model, np.array([0, 0, 1]), truth)
    assert [(line.leaf, line.answer, line.shipped) for line in found][:3] == [
        (0, "a", 1.0),
        (0, "b", 5.0),
        (1, "a", 2.0),
    ]
    assert found[0].observed == mean_of(truth[:2, 0], np.ones(2))
    assert found[1].observed.value == 5.0
    assert found[2].observed is None  # it would be that row's target
    assert "9" not in json.dumps(listed_to(found[2:4]))


def test_it_goes_through_json_and_back():
    found = observe_leaves(BINARY, np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([1.0, 2.0, 3.0]))
    assert listed_from(json.loads(json.dumps(listed_to(found)))) == found


def test_a_forest_has_no_listing():
    twice = HardEnsemble(
        columns=BINARY.columns, outputs=("p",), link="sigmoid", classes=(0, 1),
        feature=[-1] * 2, threshold=[np.nan] * 2,
        missing_left=[False] * 2, left=[0, 0], right=[0, 0], level_set=[-1, -1], levels_left=np.zeros((0, 0), bool),
        leaf=[0, 1], values=[[1.0], [2.0]], counts=[1, 1], roots=[0, 1], base=[0.0],
    )  # fmt: skip
    with pytest.raises(ValueError, match="2 trees"):
        leaf_answers(twice)
    assert certify(twice, None, (np.zeros((3, 1)), [0, 1, 1]), classes=(0, 1)).leaves == ()


def test_the_certificate_holds_the_listing_on_its_rows():
    x, y = np.array([[-1.0], [-1.0], [2.0]]), np.array(["no", "yes", "yes"])
    found = certify(BINARY, None, (x, y), classes=BINARY.classes).leaves
    assert found == observe_leaves(BINARY, np.array([0, 0, 2]), np.array([0, 1, 1]))
