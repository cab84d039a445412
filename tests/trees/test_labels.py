"""Labels of every make."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from softwood.core import InputError
from softwood.trees import ForestClassifier, TreeClassifier
from softwood.trees._labels import plain_labels

X = np.arange(40.0)[:, None]


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        (pd.Series([0, 1] * 20, dtype="Int64"), int, [0, 1]),
        (pd.Series([True, False] * 20, dtype="boolean"), bool, [False, True]),
        (pd.Series(["b", "a"] * 20, dtype="string"), str, ["a", "b"]),
        (pd.Series(["b", "a"] * 20, dtype="category"), str, ["a", "b"]),
        (np.array([3, 1] * 20, dtype=object), int, [1, 3]),
        ([True, False] * 20, bool, [False, True]),
    ],
    ids=["Int64", "boolean", "string", "category", "object", "list"],
)
def test_labels_keep_their_type(labels, kind, classes):
    model = TreeClassifier(max_depth=1, effort=0.01).fit(X, labels)
    assert model.artifact_.classes == tuple(classes)
    assert {type(label) for label in model.artifact_.classes} == {kind}
    assert model.predict(X).tolist()[0] in classes


@pytest.mark.parametrize("learner", [TreeClassifier(effort=0.01), ForestClassifier(20, effort=0.01)])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", 1] * 20, "labels are of several types: got number, str"),
        ([1, True] * 20, "labels are of several types: got boolean, number"),
        (["a", "b", None, "a"] * 10, "a label is missing: got 10 of 40 rows, first row 2"),
        (pd.Series([1, None, 0, 1] * 10, dtype="Int64"), "a label is missing: got 10 of 40 rows, first row 1"),
        ([True] * 40, r"there is only one class: got 40 rows of True;"),
    ],
    ids=["text and numbers", "numbers and booleans", "None", "NA", "one class"],
)
def test_labels_that_cannot_be_used_are_refused_in_words(learner, labels, message):
    with pytest.raises(InputError, match=message):
        learner.fit(X, labels)


def test_other_labels_stay_as_they_came():
    for labels in (np.array([1.0, 2.0]), np.array(["a", "b"]), [[1, 0], [0, 1]], np.zeros((2, 2), dtype=object)):
        assert plain_labels(labels) is labels
