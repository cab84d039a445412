"""describe: the kind of every column, what is left out and why, and which columns know the target."""

import uuid

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts._columns import encode_table
from softwood.core import InputError
from softwood.data import describe, read_table, read_target

N = 200
RNG = np.random.default_rng(0)
LETTERS = RNG.choice(list("abc"), N)


def frame(**columns):
    return pd.DataFrame({"filler": RNG.normal(size=N), **columns})


def found(values, name="x"):
    """The columns that ``values`` become, and the reason where there are none."""
    result = describe(pd.DataFrame({name: values}).assign(filler=RNG.normal(size=len(values))))
    return [column for column in result.columns if column.name != "filler"], dict(result.dropped).get(name, "")


# ------------------------------------------------------------------ kinds
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (RNG.normal(size=N), "number"),
        (RNG.integers(0, 3, N), "number"),
        (np.arange(1990, 2020), "number"),
        (np.arange(19), "number"),
        (np.where(LETTERS == "a", np.nan, 3.5), "number"),
        (RNG.normal(size=N).round(2).astype(str), "number"),
        ([*["1", "2", "-"] * 10], "number"),
        (pd.array([1, None, 7], dtype="Int64"), "number"),
        (RNG.integers(0, 2, N), "boolean"),
        (RNG.integers(0, 2, N) == 1, "boolean"),
        (np.where(LETTERS == "a", "yes", "No"), "boolean"),
        (np.array([True, False, None] * 10, dtype=object), "boolean"),
        (np.array(["T", "f", None, "NA"] * 10, dtype=object), "boolean"),
        (np.array([1.0, np.nan] * 10), "boolean"),
        (LETTERS, "category"),
        (np.array(["yes", "f"] * 10), "category"),
        (np.array(["yes", None] * 10, dtype=object), "category"),
        (np.array(["00501", "10001"] * 10), "category"),
        (np.array(["none", "some"] * 10), "category"),
        (np.array([1, "x"] * 10, dtype=object), "category"),
        (pd.Categorical([3, 1, 2] * 10), "category"),
        ([f"level {number}" for number in range(20)] * 2, "category"),
        ([f"level {number}" for number in range(40)] * 5, "category"),
    ],
)
def test_kinds(values, kind):
    columns, reason = found(values)
    assert [(column.name, column.kind) for column in columns] == [("x", kind)], reason


def test_levels_are_sorted_and_never_a_missing_marker():
    columns, _ = found(np.array(["b", "a", None, "NA", "", "?"] * 10, dtype=object))
    assert columns[0].levels == ("a", "b")


def test_ordered_categories_keep_their_order():
    values = pd.Categorical(["mid", "low", "high"] * 9, ["low", "mid", "high", "never"], ordered=True)
    result = describe({"x": values, "y": range(27)})
    assert result.columns[0].levels == ("low", "mid", "high")
    assert "x is ordered: low < mid < high" in result.notes


# ------------------------------------------------------------------ dates
@pytest.mark.parametrize("as_text", [True, False])
def test_dates_become_the_parts_that_vary(as_text):
    stamps = pd.Series(pd.date_range("2024-01-30", periods=60, freq="D"))
    table = pd.DataFrame({"sold": stamps.astype(str) if as_text else stamps, "z": RNG.normal(size=60)})
    result = describe(table)
    assert [column.name for column in result.columns] == ["sold.month", "sold.day", "sold.weekday", "z"]
    assert "sold is a date, used as sold.month, sold.day, sold.weekday" in result.notes
    encoded = encode_table(result.columns, table)
    assert encoded[:2, :3].tolist() == [[1, 30, 1], [1, 31, 2]]


def test_a_date_whose_part_is_taken_is_left_out():
    result = describe({"d": ["2023-01-01", "2024-01-01"], "d.year": [5, 6]})
    assert dict(result.dropped)["d"] == "a date, but the table already has 'd.year'"


# ------------------------------------------------------------------ left out, with a reason
@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("x", [None] * 30, "all its values are missing"),
        ("x", ["NA", ""] * 15, "all its values are missing"),
        ("x", [7] * 30, "constant: always '7'"),
        ("x", ["same"] * 30, "constant: always 'same'"),
        ("x", pd.to_datetime(["2024-01-01"] * 30), "constant"),
        ("x", pd.to_datetime(["2024-01-01", None] * 15), "a date that never varies"),
        ("x", np.arange(30), "a row counter"),
        ("x", RNG.permutation(30) + 1.0, "a row counter"),
        ("customerID", np.arange(30) * 7 + 100, "every row has its own whole number"),
        ("order_id", np.arange(30) * 7 + 100, "every row has its own whole number"),
        ("x", [str(uuid.UUID(int=number)) for number in range(30)], "UUIDs"),
        ("x", [f"name{number}" for number in range(30)], "identifier: 30 different values"),
        ("x", [f"a longer sentence about the matter number {number}" for number in range(30)], "free text"),
        ("x", [f"v{number}" for number in range(30)] * 2, "too many levels: 30 in 60 rows"),
        ("x", [f"v{number % 1001}" for number in range(5005)], "too many levels: 1001"),
        ("x", [f"${number},000" for number in range(30)], "numbers written as text"),
        ("x", [*map(str, range(60)), "abc"], "numbers mixed with text, such as 'abc'"),
        ("x", [[1], [2]] * 15, "holds lists"),
        ("x", [1 + 2j, 2] * 15, "complex"),
    ],
)
def test_what_is_left_out_and_why(name, values, said):
    columns, reason = found(values, name)
    assert columns == []
    assert said in reason


def test_the_thresholds_from_the_other_side():
    assert found([f"v{number % 1000}" for number in range(5000)])[0][0].kind == "category"
    assert found([f"n{number}" for number in range(10)])[0][0].kind == "category"
    assert found(np.arange(30) * 7 + 100)[0][0].kind == "number"


def test_nothing_usable_is_an_error_with_the_reasons():
    with pytest.raises(InputError, match=r"a: constant.*b: all its values"):
        describe({"a": [1, 1], "b": [None, None]})


def test_the_user_leaves_out_columns():
    result = describe(frame(a=LETTERS), leave_out=["a"])
    assert [column.name for column in result.columns] == ["filler"]
    assert ("a", "left out by the user") in result.dropped
    with pytest.raises(InputError, match="did you mean 'filler'"):
        describe(frame(), leave_out=["fillr"])


def test_an_absent_target_is_named():
    with pytest.raises(InputError, match="did you mean 'target'"):
        describe(frame(target=LETTERS), "Target")


def test_ten_thousand_columns():
    result = describe(pd.DataFrame(RNG.normal(size=(5, 10_000))))
    assert len(result.columns) == 10_000


# ------------------------------------------------------------------ leaks
def leaks(target, **columns):
    return dict(describe(frame(y=target, **columns), "y").leaks)


def test_copies_are_flagged_and_kept():
    renamed = pd.Series(LETTERS).map({"a": "u", "b": "v", "c": "w"})
    result = describe(frame(y=LETTERS, copy=renamed, other=LETTERS[::-1]), "y")
    assert dict(result.leaks) == {"copy": "is a copy of the target"}
    assert "copy" in [column.name for column in result.columns]
    y = RNG.normal(size=N)
    assert leaks(y, scaled=3 * y - 1, noisy=y + RNG.normal(size=N)) == {"scaled": "is a copy of the target"}


def test_columns_that_alone_predict():
    alone = "alone predicts the target in every row"
    y = RNG.normal(size=N)
    levels = np.where(LETTERS == "a", RNG.choice(["p", "q"], N), LETTERS)
    assert leaks(LETTERS == "a", level=levels) == {"level": alone}
    assert leaks(LETTERS == "a", score=np.where(LETTERS == "a", 1, -1) * (1 + RNG.random(N))) == {"score": alone}
    assert leaks(y, cube=-(y**3)) == {"cube": alone}
    almost = np.where(LETTERS == "a", 1, -1) * (1 + RNG.random(N))
    almost[:3] *= -1
    assert leaks(LETTERS == "a", almost=almost) == {}


def test_high_cardinality_and_few_rows_are_no_leak():
    many = [f"g{number}" for number in range(N // 2)] * 2
    assert leaks(np.array([f"c{number % 2}" for number in range(N // 2)] * 2), many=many) == {}
    assert describe({"x": [1.0, 2.5, 3.5, 4.5], "y": ["a", "a", "b", "b"]}, "y").leaks == ()


def test_an_identifier_that_orders_the_target():
    said = "identifier that orders the target"
    assert said in leaks(np.sort(LETTERS), row=np.arange(N))["row"]
    assert said in leaks(np.sort(LETTERS), name=[f"n{number:03d}" for number in range(N)])["name"]
    assert leaks(LETTERS, row=np.arange(N)) == {}


def test_leaks_are_judged_on_rows_with_a_target():
    known = np.arange(N) % 2 == 1
    y = np.where(known, LETTERS, None)
    copy = np.where(known, LETTERS, RNG.choice(list("abc"), N))
    assert leaks(y, copy=copy) == {"copy": "is a copy of the target"}
    table = frame(y=y, copy=copy)
    again = describe(table, read_target(table["y"]), leave_out=["y"])
    assert dict(again.leaks) == {"copy": "is a copy of the target"}


# ------------------------------------------------------------------ a file and its frame agree
def test_a_written_frame_is_described_like_the_frame(tmp_path):
    table = pd.DataFrame(
        {
            "n": np.where(LETTERS == "a", np.nan, RNG.normal(size=N)),
            "k": RNG.integers(0, 9, N),
            "c": LETTERS,
            "b": LETTERS == "b",
            "d": pd.Series(pd.date_range("2020-02-02", periods=N, freq="9h")),
            "z": np.where(LETTERS == "c", "00501", "10001"),
            "id": np.arange(N),
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    read = read_table(tmp_path / "t.csv").frame
    result, again = describe(table), describe(read)
    assert result.columns == again.columns
    assert result.dropped == again.dropped
    np.testing.assert_array_equal(encode_table(result.columns, read), encode_table(result.columns, table))


def test_the_search_for_leaks_reads_the_table_once(monkeypatch):
    calls = []

    def counting(columns, table):
        calls.append(len(columns))
        return encode_table(columns, table)

    monkeypatch.setattr("softwood.data._describe.encode_table", counting)
    describe({**{f"c{i}": RNG.normal(size=30) for i in range(5)}, "y": ["a", "b"] * 15}, "y")
    assert calls == [5]  # each call looks at all names: one for each column would be quadratic
