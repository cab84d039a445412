"""read_target: the task, the classes, and the rows that can be used."""

import math

import numpy as np
import pandas as pd
import pytest

from softwood.core import InputError
from softwood.data import read_target


@pytest.mark.parametrize(
    ("values", "classes", "codes"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([True, False], (False, True), [1, 0]),
        (np.array([True, None, False], dtype=object), (False, True), [1, 0]),
        ([2, 1, 2, 1], (1, 2), [1, 0, 1, 0]),
        ([0.0, 1.0, math.nan, 1.0, 0.0], (0, 1), [0, 1, 1, 0]),
        (["1", "0", "1"], ("0", "1"), [1, 0, 1]),
        (["none", "mild", "NA", ""], ("mild", "none"), [1, 0]),
        (pd.Categorical(["lo", "hi"], ["lo", "hi", "no"]), ("lo", "hi"), [0, 1]),
        (pd.array([True, None, False], dtype="boolean"), (False, True), [1, 0]),
        (pd.array([3, 5, None, 5, 3], dtype="Int64"), (3, 5), [0, 1, 1, 0]),
        (list(range(10)) * 2, tuple(range(10)), list(range(10)) * 2),
    ],
)
def test_classes(values, classes, codes):
    target = read_target(pd.Series(values, name="y"))
    assert target.kind == "classification"
    assert target.classes == classes
    assert [type(label) for label in target.classes] == [type(label) for label in classes]
    assert target.values.dtype == np.int64
    assert target.values.tolist() == codes
    assert target.rows.sum() == len(codes)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 1.0, 0.5, 1.0], [0.5, 1, 0.5, 1]),
        ([1, 2, 3], [1, 2, 3]),
        (list(range(11)) * 2, list(range(11)) * 2),
        ([1.5, None, 2.5], [1.5, 2.5]),
        ([f"{number}.5" for number in range(11)], [number + 0.5 for number in range(11)]),
        ([*map(str, range(11)), "-", "NA"], list(range(11))),
    ],
)
def test_regression(values, expected):
    target = read_target(pd.Series(values, name="y"))
    assert target.kind == "regression"
    assert target.values.dtype == np.float64
    assert target.values.tolist() == expected
    assert target.rows.sum() == len(expected)
    assert target.classes == ()


def test_the_task_can_be_said():
    assert read_target([1, 2, 1, 2], "regression").values.tolist() == [1, 2, 1, 2]
    assert read_target([True, False], "regression").values.tolist() == [1, 0]
    assert read_target(list(range(11)), "classification").classes == tuple(range(11))


def test_rows_without_a_target_are_left_out_and_counted():
    target = read_target(pd.Series(["a", None, "b", "N/A"], name="y"))
    assert target.rows.tolist() == [True, False, True, False]
    assert target.notes[0] == "2 of 4 rows are left out: their target is missing"


def test_notes():
    assert "single row" in read_target(["a", "a", "rare"]).notes[-1]
    assert "rare" in read_target(["a", "a", "rare"]).notes[-1]
    assert "task='regression'" in read_target([1, 2, 1, 2]).notes[0]
    assert read_target([1.5, 2.5]).notes == ()


def test_every_make_of_column():
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    values = ["b", "a", None]
    for made in (
        values,
        np.array(values, dtype=object),
        np.array([["b"], ["a"], [None]], dtype=object),
        polars.Series("y", values),
        arrow.chunked_array([values]),
        pd.Series(values, index=[5, 5, 9]),
    ):
        target = read_target(made)
        assert (target.classes, target.values.tolist(), target.rows.tolist()) == (
            ("a", "b"),
            [1, 0],
            [True, True, False],
        )


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        ([], None, "no rows"),
        ([None, math.nan], None, "missing in every row"),
        (["NA", ""], None, "missing in every row"),
        (["a", "a"], None, "one class only"),
        ([1, 1, 1], None, "one class only"),
        ([1.5, 1.5], None, "never varies"),
        ([1.5, math.inf], None, "inf in row 1"),
        (["a", "b"], "regression", "no number"),
        ([1.5, 2.5], "classification", "continuous"),
        ([f"text {number}" for number in range(21)], None, "as many classes as rows"),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), None, "holds dates"),
        ([[1], [2]], None, "holds lists"),
        (np.zeros((2, 2)), None, "one column"),
        ([1, 2], "ranking", "task is unknown"),
    ],
)
def test_targets_that_cannot_be_learned(values, task, said):
    with pytest.raises(InputError, match=said):
        read_target(values, task)
