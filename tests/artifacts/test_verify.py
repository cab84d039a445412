from __future__ import annotations

import numpy as np
import pytest

from softwood.artifacts import Column, ExportMismatchError, HardEnsemble
from softwood.artifacts._verify import Answers, cells, compare


def _answers(labels, scores):
    return Answers(None if labels is None else np.array(labels, dtype=object), np.array(scores, dtype=float))


def test_the_largest_difference_is_returned():
    assert compare("x", _answers(None, [[1.0], [2.0]]), _answers(None, [[1.0], [2.0 + 2**-40]]), 1e-9) == 2**-40
    assert compare("x", _answers([1, 0], [[1.0], [0.0]]), _answers([1, 0], [[1.0], [0.0]]), 0.0) == 0.0
    assert compare("x", _answers(None, np.zeros((0, 1))), _answers(None, np.zeros((0, 1))), 0.0) == 0.0


def test_the_tolerance_grows_with_large_scores_only():
    compare("x", _answers(None, [[1e12]]), _answers(None, [[1e12 + 1]]), 1e-9)
    with pytest.raises(ExportMismatchError, match="the scores of 1 rows, first row 0"):
        compare("x", _answers(None, [[1e-12]]), _answers(None, [[1e-8]]), 1e-9)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (_answers([0, True], [[0.5], [0.5]]), "1 labels, first in row 1: True, and the model says 1"),
        (_answers([0, 1.0], [[0.5], [0.5]]), "1 labels"),
        (_answers(["0", "1"], [[0.5], [0.5]]), "2 labels, first in row 0"),
        (_answers([1, 0], [[0.5], [0.5]]), "2 labels"),
        (_answers([0, 1], [[0.5], [np.nan]]), "the scores of 1 rows, first row 1"),
        (_answers([0, 1], [[np.inf], [0.5]]), "the scores of 1 rows, first row 0"),
        (_answers([0, 1], [[0.5, 0.5], [0.5, 0.5]]), "scores instead of"),
        (_answers([0, 1], [[0.5]]), "scores instead of"),
        (_answers(None, [[0.5], [0.5]]), "labels are there on one side only"),
    ],
)
def test_what_differs_is_named(found, message):
    with pytest.raises(ExportMismatchError, match=message):
        compare("x", _answers([0, 1], [[0.5], [0.5]]), found, 1e-9)


def test_cells_are_the_plainest_form_of_raw_values():
    columns = [Column("n", "number"), Column("b", "boolean"), Column("c", "category", ("1", "True"))]
    model = HardEnsemble.single_leaf(columns, np.zeros(1), outputs=["y"])
    plain = cells(model, {"c": [1.0, None, 2.5], "n": ["1.5", "", "NA"], "b": ["yes", None, "0"], "d": [0, 0, 0]})
    assert plain.columns.tolist() == ["n", "b", "c"]
    assert plain["n"].fillna(-1).tolist() == [1.5, -1, -1]
    assert plain["b"].fillna(-1).tolist() == [1.0, -1, 0.0]
    assert plain["c"].tolist() == ["1", None, "2.5"]
