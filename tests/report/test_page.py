"""The whole page: what it says, that it loads nothing, and that it holds no row that it should not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import HardEnsemble
from softwood.core import InputError
from softwood.lifecycle import Bound, Certificate, Estimate, LeafObserved, listed_to
from softwood.report import report
from softwood.report._made import column_shares
from softwood.report._tree_view import page_data
from softwood.trees import ForestRegressor, TreeClassifier

SENTINEL = 98765.4321


class _Outline(HTMLParser):
    """Collects identifiers and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open += [] if tag == "meta" else [tag]
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        self.names += [value for key, value in attrs if key == "id"]
        self.loads += [value for key, value in attrs if key in {"src", "href", "action"} and not value.startswith("#")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def certificate() -> Certificate:
    return Certificate(
        "one tree of 4 leaves", "44 rows held out", 44, "log_loss", 0.35, 0.36, 0.37, Estimate(0.98, 0.9, 0.99),
        "the same label", (3,), 1, 3, 0.25, 0.05, Bound(0.5, 0.01, 0.9, True, True), "accuracy",
        Estimate(0.875, 0.75, 0.96), not_covered=("rows from another distribution",),
    )  # fmt: skip


RECORD = {
    "target": "outcome", "table": {"source": "sales.csv", "rows": 500, "columns": 9, "notes": ["comma-delimited"]},
    "columns": {"dropped": [["order_id", "identifier"]], "leaks": [["refund", "predicts the target alone"]]},
    "options": {"max_depth": 4}, "versions": {"numpy": "2.0"},
    "search": {
        "rows": 450, "folds": [5, 2], "held_out_rows": 50, "reason": "kicks is better than CART",
        "options": {"metric": "accuracy"}, "shipped": {"search": "kicks"}, "seconds": {"cart": 1.0, "all": 3.5},
        "trials": [
            {"search": "cart", "criterion": "gini", "price": 0.002, "loss": 0.125},
            {"search": "kicks", "criterion": "error", "price": 0.0, "loss": 0.0625},
        ],
        "cut_by_time_limit": ["gradient"],
    },
}  # fmt: skip


def _text(page: str) -> str:
    body = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


def test_the_page_says_what_ships_and_how_it_was_made(shop, certificate):
    page = report(shop, certificate=certificate, record=RECORD)
    text = _text(page)
    for said in (
        "Decision tree for outcome", "Certificate passed", "87.5 %", "75.0 % to 96.0 % at 95 % confidence",
        "4 leaf values", "3 splits", shop.fingerprint, "0.35", "0.36", "0.37", "rows from another distribution",
        "98.0 % (90.0 % to 99.0 %)", "zero on 90.0 % of the rows", "kicks is better than CART",
        "kicks and polish (ships)",
        "share of wrong answers out of fold", "0.125", "0.0625", "No rows were passed to this report",
        "order_id", "identifier", "refund", "predicts the target alone", "500 rows, 9 columns", "5 folds, 2 times",
        "The time limit left out: gradient", "Versions", "2.0", "3.5",
    ):  # fmt: skip
        assert re.sub(r"\s+", " ", said) in text, said
    assert page.index("Certificate passed") < page.index("87.5 %")


def test_a_failed_certificate_and_none_are_said_first(shop, certificate):
    failed = Certificate("a tree", "50 rows", 50, "log_loss", 0.5, 0.3, 0.4)
    text = _text(report(shop, certificate=failed, record=None))
    assert text.index("Certificate NOT passed") < text.index("larger loss than plain rounding") < text.index("Size")
    bare = _text(report(shop, certificate=None, record=None))
    assert "Not certified" in bare
    assert "No record of the fit came with this model" in bare


@pytest.mark.parametrize("kind", ["regression", "two outputs", "binary", "sigmoid", "three classes", "softmax"])
@pytest.mark.parametrize("trees", [1, 4])
def test_pages_are_well_formed_and_load_nothing(make_model, certificate, kind, trees):
    model = make_model(7, kind, trees)
    r = np.random.default_rng(0)
    table = {c.name: [None] * 60 if c.kind != "number" else r.normal(size=60) for c in model.columns}
    y = r.normal(size=(60, model.n_outputs)) if model.classes is None else r.choice(60, 60) % len(model.classes)
    y = y if model.classes is None else np.array(model.classes)[y]
    page = report(model, certificate=certificate, record=RECORD, table=table, y=y, weight=r.random(60))
    outline = _Outline()
    outline.feed(page)
    assert outline.open == []
    assert len(set(outline.names)) == len(outline.names)
    assert outline.loads == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)
    assert "default-src 'none'" in page


def test_the_same_input_gives_the_same_page(shop, certificate):
    made = [report(shop, certificate=certificate, record=RECORD) for _ in range(2)]
    assert made[0] == made[1]


def test_no_row_of_training_or_of_the_table_is_in_the_page():
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"a": r.random(200), "b": r.choice(["x", "y"], 200), "c": r.random(200)})
    y = np.where((frame.a > 0.5) & (frame.b == "x"), "in", "out")
    frame.loc[17, "a"] = SENTINEL
    tree = TreeClassifier(2, effort=0.02, random_state=0).fit(frame, y)
    pages = [
        report(tree.artifact_, certificate=tree.certificate_, record=tree.record_),
        report(tree.artifact_, certificate=tree.certificate_, record=tree.record_, table=frame, y=y),
    ]
    target = r.random(200)
    target[3] = SENTINEL
    forest = ForestRegressor(20, effort=0.02, random_state=0).fit(frame[["c"]], target)
    pages.append(
        report(forest.artifact_, certificate=forest.certificate_, record=forest.record_, table=frame, y=target)
    )
    for page in pages:
        assert "98765" not in page
        assert "98,765" not in page
    shown = report(tree.artifact_, certificate=None, record=None, rows=frame[17:18])
    assert "98765.4321" in shown


def test_on_rows_the_leaves_list_what_was_observed(shop):
    table = {"price": [1, 2, 3, 30], "city": ["Oslo", "Oslo", "Lima", None], "member": [None] * 4, "age": [0] * 4}
    text = _text(report(shop, certificate=None, record=None, table=table, y=["kept", "back", "kept", "back"]))
    assert "0 kept 40 90.0 % 2 50.0 % (1.3 % to 98.7 %)" in text
    assert "3 back 10 80.0 % 0 no rows" in text
    assert "Accuracy 75.0 %" in text


def test_leaves_of_training_and_certificate_stand_in_the_table_and_the_drawing(shop, certificate):
    lines = [LeafObserved(leaf, 7, "kept", 0.5, Estimate(0.25, 0.125, 0.75)) for leaf in range(4)]
    record = {"leaves": listed_to(lines), "trials": []}
    page = report(shop, certificate=replace(certificate, leaves=tuple(lines[:4])), record=record)
    assert "training rows observed (interval) certificate&#x27;s rows" in _text(page)
    assert "7 25.0 % (12.5 % to 75.0 %) 7 25.0 % (12.5 % to 75.0 %)" in _text(page)
    notes = json.loads(re.search(r'id="model-data">(.*?)</script>', page)[1])["notes"]
    ends = [str(node) for node in np.flatnonzero(shop.feature < 0)]
    assert sorted(notes) == sorted(ends)
    assert notes[ends[0]][0] == "training rows: 7, kept 25.0 % (12.5 % to 75.0 %)"


def test_candidates_of_a_forest_stand_at_their_size(make_model):
    trials = [{"rate": 0.1, "spent": s, "refit": f, "loss": 1 - s / 2} for s in (0.5, 1.0) for f in (None, 3.0)]
    search = {"trials": trials, "shipped": {"search": "booster", **trials[1]}, "options": {"budget": 80, "metric": "m"}}
    page = report(make_model(1, "sigmoid", 3), certificate=None, record=search)
    assert page.count('class="ring"') == 1
    assert "leaf values, at most" in page
    assert "Diamonds have their leaves re-fitted" in page


def test_importance_is_the_weight_apart(shop):
    share, _ = column_shares(shop)
    city = 40 * 30 / 70 * (0.9 - 0.6) ** 2
    member = 20 * 10 / 30 * (0.2 - 0.05) ** 2
    left, right = (40 * 0.9 + 30 * 0.6) / 70, (20 * 0.05 + 10 * 0.2) / 30
    price = 70 * 30 / 100 * (left - right) ** 2
    np.testing.assert_allclose(share, np.array([price, city, member, 0]) / (price + city + member), rtol=1e-12)
    without = HardEnsemble.from_dict({**shop.to_dict(), "counts": [0.0] * 4})
    np.testing.assert_allclose(column_shares(without)[0], [1 / 3, 1 / 3, 1 / 3, 0])


def test_the_pages_data_is_the_model(shop):
    content = page_data(shop)["model"]
    assert content["levels_left"] == ["110"]
    assert content["class_names"] == ["back", "kept"]
    content["levels_left"] = [[True, True, False]]
    del content["class_names"]
    assert HardEnsemble.from_dict(content) == shop


def test_what_cannot_be_reported_is_refused(shop):
    table = {"price": [1], "city": ["Oslo"], "member": [None], "age": [1]}
    with pytest.raises(InputError, match="table without y"):
        report(shop, certificate=None, record=None, table=table)
    with pytest.raises(InputError, match="y without table"):
        report(shop, certificate=None, record=None, y=["kept"])
    many = {name: values * 501 for name, values in table.items()}
    with pytest.raises(InputError, match="501 rows"):
        report(shop, certificate=None, record=None, rows=many)
