"""What is measured on rows: against counts by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import Column, HardEnsemble
from softwood.core import InputError
from softwood.lifecycle import clopper_pearson
from softwood.report._measure import confusion, measure, predicted_bins, reliability


@pytest.fixture
def rows() -> tuple[pd.DataFrame, np.ndarray]:
    r = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "price": r.uniform(0, 20, 300).round(),
            "city": r.choice(["Oslo", "Lima", None], 300),
            "member": r.choice([True, False], 300),
            "age": 1.0,
        }
    )
    return frame, np.where(r.random(300) < 0.6, "kept", "back")


def test_reliability_has_a_bin_for_each_answer_of_a_tree(shop, rows):
    found = measure(shop, *rows)
    bins = reliability(found)
    chance = shop.predict_proba(rows[0])[:, 1]
    assert [part.predicted for part in bins] == pytest.approx([0.05, 0.2, 0.6, 0.9])
    for part in bins:
        here = np.isclose(chance, part.predicted)
        assert part.n == here.sum()
        assert part.observed == clopper_pearson(int((rows[1][here] == "kept").sum()), int(here.sum()))


def test_many_answers_fall_into_bins_of_about_the_same_size(make_model):
    model = make_model(1, "sigmoid", 20, 3)
    r = np.random.default_rng(1)
    x = np.column_stack([r.normal(size=500), r.integers(0, 7, 500), r.integers(0, 2, 500), r.normal(size=(500, 2)),
                         r.integers(0, 300, 500)])  # fmt: skip
    table = pd.DataFrame({c.name: _raw(c, x[:, i]) for i, c in enumerate(model.columns)})
    found = measure(model, table, r.random(500) < 0.5)
    bins = reliability(found)
    assert 8 <= len(bins) <= 10
    assert sum(part.n for part in bins) == 500
    assert max(part.n for part in bins) < 120
    assert [part.predicted for part in bins] == sorted(part.predicted for part in bins)


def _raw(column: Column, codes: np.ndarray) -> list[object]:
    if column.kind == "category":
        return [column.levels[int(code)] for code in codes]
    return [bool(code) for code in codes] if column.kind == "boolean" else codes.tolist()


def test_confusion_counts_rows(shop, rows):
    counts = confusion(measure(shop, *rows))
    labels = shop.predict(rows[0])
    for i, truth in enumerate(("back", "kept")):
        for j, label in enumerate(("back", "kept")):
            assert counts[i, j] == ((rows[1] == truth) & (labels == label)).sum()


def test_predicted_bins_of_a_regression():
    columns = (Column("a", "number"),)
    model = HardEnsemble(
        columns, ("y",), "identity", None, [0, -1, -1], [0.5, np.nan, np.nan], [False] * 3, [1, 0, 0], [2, 0, 0],
        [-1] * 3, np.zeros((0, 0), bool), [-1, 0, 1], [[1.0], [5.0]], [3.0, 4.0], [0], [0.0],
    )  # fmt: skip
    found = measure(model, {"a": [0, 0, 0, 1, 1]}, [1.0, 2.0, 3.0, 5.0, 7.0])
    assert [(b.predicted, b.observed.value, b.n) for b in predicted_bins(found, 0)] == [(1.0, 2.0, 3), (5.0, 6.0, 2)]
    # a single row's mean would be its value
    alone = measure(model, {"a": [0, 0, 1]}, [1.0, 2.0, 123.0])
    assert [b.n for b in predicted_bins(alone, 0)] == [2]


@pytest.mark.parametrize(
    ("y", "weight", "says"),
    [
        (["kept"], None, "3 rows and 1 targets"),
        (["kept", "lost", "back"], None, "labels that the model does not know: got 'lost'"),
        (["kept", "back", "back"], [1.0, 2.0], "the weights cannot be used"),
        (["kept", "back", "back"], [1.0, -2.0, 1.0], "the weights cannot be used"),
        (["kept", "back", "back"], [0.0, 0.0, 0.0], "the weights cannot be used"),
    ],
)
def test_what_does_not_fit_is_refused(shop, y, weight, says):
    table = {"price": [1, 2, 3], "city": ["Oslo"] * 3, "member": [True] * 3, "age": [1, 2, 3]}
    with pytest.raises(InputError, match=says):
        measure(shop, table, y, weight)
