import numpy as np
import pandas as pd
import pytest

from softwood.core import InputError
from softwood.data import row_groups, row_times, row_weights


@pytest.mark.parametrize(
    "values", [[1, 0, 2.5], ["1", "0.0", " 2.5 "], pd.Series([1.0, 0.0, 2.5], name="w", index=[7, 8, 9])]
)
def test_weights_are_read(values):
    assert row_weights(values, 3).tolist() == [1.0, 0.0, 2.5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, -0.5, 2], r"weight 'weight' cannot be used: got -0.5 in row 1"),
        ([1, None, None], r"in row 1 \(rows count from 0; 2 in all\)"),
        ([1, np.inf, 2], "inf"),
        (["1", "much", "2"], "holds what is no number: got 'much' in row 1"),
        ([0, 0, 0], "are zero"),
        ([1, 2], "the table and the weight differ in length: got 3 and 2 rows"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        row_weights(values, 3)


@pytest.mark.parametrize(
    "values",
    [["b", "a", "b"], [2, 1, 2], [2.0, 1.0, 2.0], [True, False, True], np.array(["b", "a", "b"]),
     pd.Series(["b", "a", "b"], dtype="category"), pd.Series([2, "1", "2"])],
    ids=["text", "int", "float", "bool", "array", "category", "mixed"],
)  # fmt: skip
def test_groups_are_told_apart_by_their_text(values):
    assert row_groups(values, 3).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", None, "b"], "group 'group' cannot be used: got a missing value in row 1"),
        (["a", "NA", "b"], "got 'NA' in row 1"),
        (["a", "a", "a"], "names one group only: got 'a'"),
        ([["a"], ["b"], ["c"]], "lists"),
        (["a"], "differ in length"),
    ],
)
def test_groups_that_cannot_be_used_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        row_groups(values, 3)


@pytest.mark.parametrize(
    "values",
    [
        [3, 1, 2, 3],
        ["3", "1", "2.5", "3.0"],
        ["2024-03-05", "2023-12-31", "2024-01-01", "2024-03-05"],
        ["2024-03-05T10:00:01", "2024-03-05", "2024-03-05 10:00", "2024-03-05 10:00:01"],
        ["05.03.2024", "31.12.2023", "1.2.2024", "05.03.2024"],
        ["05.03.2024 09:30", "05.03.2024 00:30", "05.03.2024 09:29", "05.03.2024 09:30"],
        ["2024-03", "2023-12", "2024-02", "2024-03"],
        ["2024-03-05 10:00+02:00", "2024-03-05 08:00+01:00", "2024-03-05 07:59Z", "2024-03-05 08:00Z"],
        pd.to_datetime(["2024-03-05", "2023-12-31", "2024-01-01", "2024-03-05"]).tz_localize("Asia/Tokyo"),
        pd.Series(pd.PeriodIndex(["2024-03", "2023-12", "2024-01", "2024-03"], freq="M")),
        pd.Categorical(["c", "a", "b", "c"], ["a", "b", "c"], ordered=True),
    ],
    ids=["int", "number text", "date", "second", "dotted", "dotted with time", "month", "offsets", "zone", "period",
         "ordered"],
)  # fmt: skip
def test_times_are_ranked(values):
    assert row_times(pd.Series(values)).tolist() == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2024-03-05", None, "2024-03-06"], "time 'time' cannot be used: got a missing value in row 1"),
        (["2024-03-05", "03/06/2024", "2024-03-06"], "got '03/06/2024' in row 1"),  # March or June?
        (["2024-03-05", "2024-02-31", "2024-03-06"], "got '2024-02-31' in row 1"),
        (["spring", "summer", "autumn"], "got 'spring' in row 0"),
        ([1.0, np.nan, 2.0], "in row 1"),
        ([5, 5, 5], "holds one time only"),
        ([1, 2], "differ in length"),
    ],
)
def test_times_that_cannot_be_used_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        row_times(values, 3)
