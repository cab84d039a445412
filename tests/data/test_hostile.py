"""Columns as they come from people: each is read, or left out with a reason that says what to do."""

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import encode_table
from softwood.data import describe, read_table

N = 40


def read(tmp_path, cells, name="x"):
    """Return what is found in a file of these cells beside a column of letters."""
    frame = pd.DataFrame({name: cells, "letter": ["a", "b"] * (len(cells) // 2)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read_table(tmp_path / "t.csv")
    return table, describe(table.frame)


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("{:.1f} USD", 1.5), ("EUR {:.1f}", 1.5), ("${:.1f}", 1.5), ("({:.1f})", -1.5), ("$({:.1f})", -1.5),
        ("{:.1f}%", 1.5), ("{:.1e}", 1.5), ("+{:.1f}", 1.5),
    ],
    ids=["code after", "code before", "sign", "debit", "debit of money", "percent", "exponent", "plus"],
)  # fmt: skip
def test_numbers_are_read_in_the_ways_people_write_them(tmp_path, form, first):
    table, found = read(tmp_path, [form.format(1.5 + k) for k in range(N)])
    assert found.columns[0].kind == "number"
    assert table.frame["x"][0] == first


@pytest.mark.parametrize("marker", ["-", "--", ".", "None"])
def test_a_marker_that_means_missing_among_numbers_is_named(tmp_path, marker):
    table, found = read(tmp_path, [marker if k % 9 == 0 else str(k) for k in range(N)])
    assert found.columns[0].kind == "number"
    assert table.frame["x"].isna().sum() == 5
    assert f"x: {marker!r} read as missing" in table.notes


@pytest.mark.parametrize(("marker", "said"), [("-999", True), ("9999", True), ("37", False), ("-999.5", False)])
def test_a_number_that_may_mean_missing_is_named_and_kept(tmp_path, marker, said):
    _, found = read(tmp_path, [marker if k % 9 == 0 else str(k / 2 + 1) for k in range(N)])
    assert any("empty these cells if it means missing" in note for note in found.notes) == said
    assert found.columns[0].kind == "number"


def test_a_number_at_the_end_of_many_is_no_marker():
    assert not [note for note in describe({"x": np.repeat(np.arange(100.0), 5)}).notes if "means missing" in note]
    assert not [note for note in describe({"x": np.repeat([1.0, 99.0], 9)}).notes if "means missing" in note]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([f"0{1 + k % 9}/{10 + k % 19}/2024" for k in range(N)], "day and month are not told apart"),
        ([f"{k}.5 kg" for k in range(N)], "numbers with a unit, such as '0.5 kg'"),
        ([f"{10**25 + 7 * k}" for k in range(N)], "identifier"),
        ([2**62 + k for k in range(N)], "beyond 2^53"),
        ([2**63 + k for k in range(N)], "beyond 2^53"),
    ],
    ids=["slashes", "unit", "25 digits", "19 digits", "unsigned"],
)
def test_what_cannot_be_read_for_sure_is_left_out_with_a_reason_that_helps(tmp_path, cells, reason):
    _, found = read(tmp_path, cells)
    assert [column.name for column in found.columns] == ["letter"]
    assert reason in dict(found.dropped)["x"]


def test_durations_are_left_out():
    frame = pd.DataFrame({"x": pd.to_timedelta(np.arange(N), unit="h"), "letter": ["a", "b"] * (N // 2)})
    assert "durations" in dict(describe(frame).dropped)["x"]


@pytest.mark.parametrize("form", ["%d %b %Y", "%d-%b-%Y", "%B %d, %Y", "%b %d %Y", "%d %B %Y 10:30"])
def test_dates_with_the_name_of_the_month_are_read(tmp_path, form):
    days = pd.date_range("2024-01-05", periods=N, freq="13D")
    _, found = read(tmp_path, [day.strftime(form) for day in days], name="sold")
    assert [column.name for column in found.columns[:4]] == [
        "sold.year", "sold.month", "sold.day", "sold.weekday",
    ]  # fmt: skip
    x = encode_table(found.columns[:4], {"sold": [days[7].strftime(form), None]})
    assert x[0].tolist() == [days[7].year, days[7].month, days[7].day, days[7].weekday()]
    assert np.isnan(x[1]).all()


def test_months_have_a_year_and_a_month_only(tmp_path):
    months = pd.date_range("2021-01-01", periods=N, freq="MS").strftime("%Y-%m")
    _, found = read(tmp_path, list(months), name="sold")
    assert [column.name for column in found.columns] == ["sold.year", "sold.month", "letter"]
    assert encode_table(found.columns[:2], {"sold": ["2023-11"]}).tolist() == [[2023.0, 11.0]]


@pytest.mark.parametrize("text", ["31 Feb 2024", "5 Foo 2024", "2024-13", "1850-03", "Mayor 5, 2024"])
def test_what_only_looks_like_a_date_is_none(text):
    found = describe({"x": [text, "2024-03-05"] * N})
    assert found.columns[0].kind == "category"
