"""Columns: a table of any make becomes the numbers that splits test."""

import datetime
import math
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from softwood.artifacts._columns import Column, encode_table
from softwood.artifacts._dates import split_dates, stamp_parts
from softwood.artifacts._tables import pick_columns
from softwood.artifacts._values import canonical_text
from softwood.core import InputError

NAN = math.nan
NUMBER, FLAG, COLOR = Column("n", "number"), Column("b", "boolean"), Column("c", "category", ("red", "1", "True"))


def one(column, values):
    return encode_table([column], {column.name: values})[:, 0]


# ------------------------------------------------------------------ Column
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("", "number"), "needs a name"),
        ((3, "number"), "needs a name"),
        (("a", "numbr"), "did you mean 'number'"),
        (("a", "category"), "levels of column 'a'"),
        (("a", "category", (1, 2)), "levels of column 'a'"),
        (("a", "number", ("x",)), "levels of column 'a'"),
        (("a", "category", ("x", "x")), "repeats a level"),
    ],
)
def test_a_column_that_cannot_be(arguments, said):
    with pytest.raises(InputError, match=said):
        Column(*arguments)


def test_a_column_survives_json():
    assert Column.from_dict(COLOR.to_dict()) == COLOR
    with pytest.raises(InputError, match="this is no column"):
        Column.from_dict({"name": "a"})


# ------------------------------------------------------------------ one kind at a time
def test_numbers():
    assert_array_equal(one(NUMBER, [1, 2.5, None, NAN]), [1, 2.5, NAN, NAN])
    assert_array_equal(one(NUMBER, ["1.5", " -2e3 ", "", "NA", "none", "-", None]), [1.5, -2000, *[NAN] * 5])
    assert_array_equal(one(NUMBER, [Decimal("0.1"), True, "7"]), [0.1, 1, 7])
    assert_array_equal(one(NUMBER, pd.array([1, None], dtype="Int64")), [1, NAN])
    assert_array_equal(one(NUMBER, pd.Categorical(["3", "4", None, "3"])), [3, 4, NAN, 3])
    assert one(NUMBER, ["0.1", "x"[:0]])[0] == 0.1


def test_text_is_read_to_the_last_digit():
    values = np.random.default_rng(0).normal(size=500) * 10.0 ** np.random.default_rng(1).integers(-300, 300, 500)
    assert_array_equal(one(NUMBER, [repr(value) for value in values.tolist()]), values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1", "abc"], r"'n' holds what is no number: got 'abc' in row 1"),
        ([1.0, math.inf], r"got inf in row 1"),
        (["1", "-inf"], r"got '-inf' in row 1"),
        (["1_000"], "1_000"),
        (["٣"], "no number"),
        ([[1], [2]], "holds lists"),
        ([1 + 2j], "no number"),
        (pd.to_datetime(["2024-01-01"]), "no number"),
        ([datetime.date(2024, 1, 1)], "no number"),
    ],
)
def test_what_is_no_number_is_refused_with_its_row(values, said):
    with pytest.raises(InputError, match=said):
        one(NUMBER, values)


def test_infinity_is_refused_in_a_plain_array_too():
    with pytest.raises(InputError, match=r"'n'.*got inf in row 2"):
        encode_table([NUMBER], np.array([[0.0], [1.0], [math.inf]]))


def test_booleans():
    assert_array_equal(one(FLAG, [True, False, None]), [1, 0, NAN])
    assert_array_equal(one(FLAG, [1, 0.0, NAN]), [1, 0, NAN])
    assert_array_equal(
        one(FLAG, ["true", "False", "YES", "no", "t", "F", "y", "N", "1", "0", ""]), [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, NAN]
    )
    for bad in ("maybe", 2, "2", -1.5):
        with pytest.raises(InputError, match=r"'b' holds what is no boolean.*row 1"):
            one(FLAG, [True, bad])


def test_categories_compare_by_canonical_text():
    assert_array_equal(one(COLOR, ["red", "blue", None, "True", ""]), [0, NAN, NAN, 2, NAN])
    assert_array_equal(one(COLOR, [1, 2]), [1, NAN])
    assert_array_equal(one(COLOR, [1.0, NAN]), [1, NAN])
    assert_array_equal(one(COLOR, [True, False]), [2, NAN])
    assert_array_equal(one(COLOR, [True, 1, "1", 1.0, None, pd.NA]), [2, 1, 1, 1, NAN, NAN])
    assert_array_equal(one(COLOR, pd.Categorical(["red", "1", None])), [0, 1, NAN])
    assert_array_equal(one(COLOR, np.array([b"red"], dtype=object)), [0])
    with pytest.raises(InputError, match="holds lists"):
        one(COLOR, [["red"], "red"])


def test_canonical_text_of_numbers():
    values = pd.Series([-0.0, 0.1, 1e20, 3.0, np.float32(0.5), 2**60], dtype=object)
    assert canonical_text(values).tolist() == ["0", "0.1", "1e+20", "3", "0.5", str(2**60)]


# ------------------------------------------------------------------ against a naive reference, row by row
CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, NAN]),
    st.sampled_from(["red", "1", "True", "yes", "2.5", "", "NA", "?", "zz", " red"]),
)


def naive_cell(column, value):
    if value is None or value != value:
        return NAN
    if column.kind == "category":
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        return float(column.levels.index(text)) if text in column.levels else NAN
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("", "na", "?"):
            return NAN
        if column.kind == "boolean" and word in ("true", "yes"):
            return 1.0
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?", word):
            raise InputError("no number", got=value, allowed="", fix="")
    number = float(value)
    if column.kind == "boolean" and number not in (0.0, 1.0):
        raise InputError("no boolean", got=value, allowed="", fix="")
    return number


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6))
def test_encode_table_equals_the_naive_reference(rows):
    columns = [NUMBER, FLAG, COLOR]
    for position, column in enumerate(columns):
        cells = [row[position] for row in rows]
        frame = pd.DataFrame({"other": range(len(rows)), column.name: pd.Series(cells, dtype=object)})
        try:
            expected = [naive_cell(column, cell) for cell in cells]
        except InputError:
            with pytest.raises(InputError, match=column.name):
                encode_table([column], frame)
        else:
            assert_array_equal(encode_table([column], frame)[:, 0], expected)
            assert_array_equal(encode_table([column], [[cell] for cell in cells])[:, 0], expected)


# ------------------------------------------------------------------ tables of every make
COLUMNS = [NUMBER, FLAG, COLOR, Column("d.year", "number"), Column("d.weekday", "number")]
CONTENT = {"d": ["2024-03-05", None], "n": [1.5, None], "c": ["red", "zz"], "b": [True, None], "extra": [1, 2]}
EXPECTED = [[1.5, 1, 0, 2024, 1], [NAN] * 5]


def test_frames_and_dicts_are_read_by_name():
    assert_array_equal(encode_table(COLUMNS, CONTENT), EXPECTED)
    assert_array_equal(encode_table(COLUMNS, pd.DataFrame(CONTENT, index=[7, 3])), EXPECTED)
    stamped = pd.DataFrame({**CONTENT, "d": pd.to_datetime(CONTENT["d"])})
    assert_array_equal(encode_table(COLUMNS, stamped), EXPECTED)


def test_polars_and_arrow():
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    assert_array_equal(encode_table(COLUMNS, polars.DataFrame(CONTENT)), EXPECTED)
    assert_array_equal(encode_table(COLUMNS, arrow.table(CONTENT)), EXPECTED)
    assert_array_equal(encode_table(COLUMNS, arrow.RecordBatch.from_pydict(CONTENT)), EXPECTED)
    with pytest.raises(InputError, match="collect"):
        encode_table(COLUMNS, polars.DataFrame(CONTENT).lazy())
    with pytest.raises(InputError, match="repeated: got n"):
        encode_table([NUMBER], arrow.table([[1], [2]], names=["n", "n"]))
    with pytest.raises(InputError, match="holds lists"):
        encode_table([NUMBER], arrow.table({"n": [[1]]}))


def test_arrays_and_lists_are_read_by_position():
    columns = [NUMBER, COLOR]
    assert_array_equal(encode_table(columns, [[1, "red"], [None, 1]]), [[1, 0], [NAN, 1]])
    assert_array_equal(encode_table([NUMBER], np.array([[1], [2]], dtype=np.int8)), [[1], [2]])
    assert_array_equal(encode_table(columns, np.array([[2.0, 1.0]])), [[2, 1]])
    assert encode_table(columns, np.empty((0, 2))).shape == (0, 2)


def test_the_input_array_is_not_changed():
    given_array = np.array([[1.0]])
    encode_table([NUMBER], given_array)[0, 0] = 9
    assert given_array[0, 0] == 1.0


def test_a_frame_of_plain_numbers_is_read_at_once():
    columns = [Column("a", "number"), Column("b", "number")]
    frame = pd.DataFrame({"b": np.array([1, 2], np.int8), "c": ["x", "y"], "a": [0.5, None]}, index=[4, 4])
    assert_array_equal(encode_table(columns, frame), [[0.5, 1], [np.nan, 2]])
    assert encode_table(columns, frame[["a", "b"]].astype(float)) is not frame
    frame["a"] = [0.5, np.inf]
    with pytest.raises(InputError, match="inf in row 1"):
        encode_table(columns, frame)
    with pytest.raises(InputError, match="no 'b'"):
        encode_table(columns, frame[["a", "c"]])


def test_columns_numbered_by_pandas():
    columns = [Column("0", "number"), Column("1", "number")]
    assert_array_equal(encode_table(columns, pd.DataFrame([[1.0, 2.0]])), [[1, 2]])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"N1": [1]}, "lacks 1 of the model's columns: got no 'n'"),
        (pd.DataFrame([[1, 2]], columns=["n", "n"]), "repeated: got n"),
        ([[1, 2]], r"got 2 columns; allowed: 1: n"),
        ([1], "this is no table"),
        ([[1], [1, 2]], "this is no table"),
        (3, "this is no table"),
        ("table.csv", "this is no table"),
        ({"n": 1}, "the dict is no table"),
        ({"n": [1, 2], "m": [1]}, "the dict is no table"),
    ],
)
def test_what_is_no_table_for_the_model(table, said):
    with pytest.raises(InputError, match=said):
        encode_table([NUMBER], table)


def test_a_near_name_is_suggested():
    with pytest.raises(InputError, match="did you mean 'Height' for 'height'"):
        encode_table([Column("height", "number")], {"Height": [1], "weight": [2]})


def test_model_columns_have_to_be_distinct():
    with pytest.raises(InputError, match="repeated"):
        encode_table([NUMBER, NUMBER], {"n": [1]})
    with pytest.raises(InputError, match="needs columns"):
        pick_columns([], {"n": [1]})


# ------------------------------------------------------------------ dates
def test_date_texts():
    texts = pd.Series(
        [
            "2024-03-05",
            "2024/3/5 14:30",
            "05.03.2024",
            "2024-03-05T23:59:59.5+02:00",
            "05/03/2024",
            "2024-02-30",
            "2024-03/05",
            "2024-03-05 25:00",
            "x",
        ]
    )
    parts = split_dates(texts).to_numpy()
    assert_array_equal(parts[:4], [[2024, 3, 5, 1, hour] for hour in (0, 14, 0, 23)])
    assert np.isnan(parts[4:]).all()


def test_texts_and_stamps_agree():
    stamps = pd.Series(pd.date_range("1999-12-30 00:00", periods=200, freq="37h"))
    assert_array_equal(split_dates(stamps.astype(str)).to_numpy(), stamp_parts(stamps).to_numpy())


def test_a_value_that_is_no_date_is_refused_with_its_row():
    with pytest.raises(InputError, match="'d' holds what is no date: got '05/03/2024' in row 1"):
        encode_table([Column("d.year", "number")], {"d": ["2024-01-01", "05/03/2024"]})


def test_a_column_of_its_own_goes_before_a_part_of_a_date():
    assert_array_equal(encode_table([Column("d.year", "number")], {"d": ["2024-01-01"], "d.year": [7]}), [[7]])
