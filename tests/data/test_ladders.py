import numpy as np
import pandas as pd
import pytest

from softwood.data import QuantileCodec, describe
from softwood.data._ladders import _LADDERS, find_order

IN_ORDER = [
    ["low", "Medium", "HIGH"],
    ["very_low", "low", "normal", "high", "very-high"],
    ["XS", "S", "M", "L", "XL"],
    ["small", "medium", "large"],
    ["Very_Poor", "Poor", "Fair", "Below_Average", "Average", "Above_Average", "Good", "Very_Good", "Excellent"],
    ["Fair", "Good", "Very Good", "Premium", "Ideal"],
    ["never", "rarely", "sometimes", "often", "always"],
    ["strongly disagree", "disagree", "neutral", "agree", "strongly agree"],
    ["none", "mild", "moderate", "severe"],
    ["High School", "Bachelor's", "Master's", "PhD"],
    ["primary", "secondary", "tertiary"],
    ["January", "feb", "March", "DEC"],
    ["Mon", "Tue", "Wed", "Sun"],
    ["<12 yrs", "12 yrs", "13-15 yrs", "16 yrs", ">16 yrs"],
    ["18-29", "30-39", "40-49", "50-59", "60+"],
    ["under 18", "18 to 64", "65 and over"],
    ["<$10k", "$10k-20k", "$20k-30k", "30k+"],
    ["1,000-1,999", "2,000-9,999", "10,000-19,999"],
    ["(0, 5]", "(5, 10]", "(10, 15]"],
    ["0", "1-5", "6+"],
    ["5-10%", "10-20%", ">20%"],
    ["1st", "2nd", "3rd", "10th"],
    ["2nd grade", "9th grade", "10th grade"],
    ["Q1", "Q2", "Q4"],
    ["stage 1", "Stage 2", "stage_10"],
    ["first", "second", "third"],
]


@pytest.mark.parametrize("levels", IN_ORDER, ids=lambda levels: levels[0])
def test_levels_on_a_ladder_are_put_in_order(levels):
    for seed in range(3):
        mixed = np.random.default_rng(seed).permutation(np.array(levels, dtype=object))
        assert find_order(list(mixed)) == levels


@pytest.mark.parametrize(
    "levels",
    [
        ["low", "high"],  # two are cut in one way only
        ["low", "medium", "purple"],
        ["low", "medium", "moderate"],  # one rung
        ["mar", "March", "apr"],
        ["S", "M", "D"],
        ["A", "B", "C"],
        ["yes", "no", "maybe"],
        ["0-10", "5-15", "20-30"],  # they overlap
        ["1-5 cm", "6-10 m", "11-15 cm"],
        ["10-5", "20-30", "40-50"],
        ["2024-03", "2024-04", "2024-05"],  # months, which are dates
        ["01-02", "03-04", "05-06"],  # codes
        ["1", "2", "3"],
        ["1st", "2nd grade", "3rd"],
        ["level 1", "stage 2", "level 3"],
        ["type 1", "type 2", "type 3"],
        ["555-1234", "555-9999", "556-1000"],
        [],
    ],
    ids=lambda levels: " ".join(levels[-1:]),
)
def test_what_is_not_surely_ordered_is_not(levels):
    assert find_order(levels) is None


def test_no_ladder_has_a_word_twice():
    for line in _LADDERS.strip().splitlines():
        words = [word.strip() for rung in line.split(";") for word in rung.split("|")]
        assert len(set(words)) == len(words), line


def test_ordered_columns_are_found_and_said():
    frame = pd.DataFrame({"size": ["small", "large", "medium", None] * 5, "color": ["red", "blue", "green", "red"] * 5})
    found = describe(frame)
    assert [(column.name, column.ordered) for column in found.columns] == [("size", True), ("color", False)]
    assert found.columns[0].levels == ("small", "medium", "large")
    assert "size is ordered: small < medium < large" in found.notes
    assert found.notes[0] == "1 ordered, 1 category; 0 left out"


@pytest.mark.parametrize("ordered", [True, False])
def test_a_pandas_category_is_ordered_if_it_says_so(ordered):
    values = pd.Categorical(["low", "high", "medium"] * 5, ["medium", "low", "high", "absent"], ordered=ordered)
    column = describe({"x": values}).columns[0]
    assert (column.levels, column.ordered) == (("medium", "low", "high"), ordered)


def test_each_cut_of_an_ordered_column_takes_its_first_levels():
    rng = np.random.default_rng(0)
    levels = ["a", "b", "c", "d", "e"]
    values = pd.Categorical(rng.choice(levels, 200), levels[::-1], ordered=True)
    columns = describe({"x": values}).columns
    x = values.codes.astype(float)[:, None]
    targets = np.eye(3)[rng.integers(0, 3, 200)]  # three classes, and yet one order
    codec = QuantileCodec.fit(x, columns, targets, np.ones(200))
    assert codec.n_features == 1
    for cut in range(4):
        assert codec.levels_left(0, cut).tolist() == [place <= cut for place in range(5)]
