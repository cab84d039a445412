"""The page in a real browser: it answers as the model does, draws what it should, and lets no name become code."""

from __future__ import annotations

import json

import numpy as np
import pytest

from softwood.artifacts import HardEnsemble, probes
from softwood.lifecycle import Estimate, LeafObserved, listed_to
from softwood.report import report

ASK = """
const {model, fields, answerOf, rowOf, fieldText} = window.softwoodReport;
const rows = JSON.parse(document.getElementById("test-rows").textContent);
let unread = 0;
const answers = rows.map((row) => {
  const x = row.map((value) => value === null ? NaN : value);
  model.columns.forEach((column, c) => { fields[c].value = fieldText(column, x[c]); });
  const typed = rowOf(model, fields);
  if (typed === null || typed.some((value, c) => !Object.is(value, x[c]) && value !== x[c])) unread += 1;
  return answerOf(model, typed);
});
return {answers, unread, requests: performance.getEntriesByType("resource").length};
"""


def _with_rows(page: str, x: np.ndarray) -> str:
    rows = [[None if np.isnan(value) else value for value in row] for row in x.tolist()]
    return page.replace("</body>", f'<script type="application/json" id="test-rows">{json.dumps(rows)}</script></body>')


def _rows_for(model: HardEnsemble, seed: int) -> np.ndarray:
    """Every threshold and its float neighbours, missing values, unseen levels; then random rows."""
    r = np.random.default_rng(seed)
    hard = model.encode(probes(model, limit=1500))
    free = np.empty((300, len(model.columns)))
    for c, column in enumerate(model.columns):
        wide = max(len(column.levels), 2)
        free[:, c] = r.normal(0, 5, 300) if column.kind == "number" else r.integers(0, wide, 300)
    free[r.random(free.shape) < 0.15] = np.nan
    return np.concatenate([hard, free])


@pytest.mark.parametrize("trees", [1, 9])
@pytest.mark.parametrize(
    "kind", ["regression", "two outputs", "binary", "sigmoid", "three classes", "softmax"]
)  # fmt: skip
def test_the_page_answers_what_the_model_answers(browse, make_model, kind, trees):
    model = make_model(trees, kind, trees)
    x = _rows_for(model, 3)
    found = browse(_with_rows(report(model, certificate=None, record=None), x), ASK)
    raw = model.raw_encoded(x)
    assert len(found["answers"]) == len(x) > 400
    assert found["unread"] == 0
    assert found["requests"] == 0
    np.testing.assert_array_equal([answer["raw"] for answer in found["answers"]], raw)
    if model.classes is not None:
        labels = [model.classes[answer["label"]] for answer in found["answers"]]
        assert labels == model.labels(raw).tolist()
        chances = [answer["chances"] for answer in found["answers"]]
        np.testing.assert_allclose(chances, model.probabilities(raw), rtol=1e-13, atol=1e-15)


def test_a_row_that_is_typed_in_is_answered_and_its_path_is_shown(browse, shop):
    script = """
    const set = (at, text) => {
      const field = document.getElementById(`field-${at}`);
      field.value = text;
      field.dispatchEvent(new Event("input", {bubbles: true}));
    };
    const shown = () => ({
      answer: document.querySelector("[data-answer]")?.textContent,
      rule: [...document.querySelectorAll("#rule li")].map((line) => line.textContent),
      path: [...document.querySelectorAll(".node.on")].map((node) => Number(node.dataset.node)),
      notes: [...document.querySelectorAll(".field-note")].map((note) => note.textContent),
    });
    const steps = [shown()];
    for (const [at, text] of [[0, "10"], [0, "1e1.5"], [0, "10.000000000000002"], [2, "true"], [0, ""], [1, "Lima"]]) {
      set(at, text);
      steps.push(shown());
    }
    return steps;
    """
    empty, on, broken, above, member, missing, lima = browse(report(shop, certificate=None, record=None), script)
    assert empty == {"answer": "kept", "rule": [], "path": [], "notes": ["", "", "", ""]}
    assert on["path"] == [0, 1, 3]
    assert on["answer"] == "kept"
    assert on["rule"] == [
        "price ≤ 10, or missing", "city is Lima, or missing, or a level not seen in training",
    ]  # fmt: skip
    assert "answer" not in broken  # JSON leaves out what is undefined
    assert "no number" in broken["notes"][0]
    assert broken["path"] == []
    assert above["path"] == [0, 4, 5]
    assert above["rule"] == ["price > 10", "member is false, or missing"]
    assert (above["answer"], member["answer"]) == ("back", "back")
    assert member["path"] == [0, 4, 6]
    assert member["rule"] == ["price > 10", "member is true"]
    assert missing["path"] == [0, 1, 3]
    assert lima["path"] == [0, 1, 3]


def test_a_leaf_that_is_clicked_shows_its_rule_and_keys_walk_the_tree(browse, shop):
    script = """
    const node = (at) => document.querySelector(`[data-node="${at}"]`);
    const marked = () => [...document.querySelectorAll(".node.on")].map((each) => Number(each.dataset.node));
    const rule = () => document.getElementById("rule").textContent;
    const press = (name) => new KeyboardEvent("keydown", {key: name, bubbles: true});
    const key = (name) => document.activeElement.dispatchEvent(press(name));
    node(2).dispatchEvent(new MouseEvent("click", {bubbles: true}));
    const clicked = [marked(), rule()];
    node(1).dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
    const tip = document.querySelector(".tip");
    const hover = [tip.hidden, [...tip.children].map((line) => line.textContent)];
    node(2).focus();
    const walked = ["ArrowDown", "ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowDown"].map((name) => {
      key(name);
      return Number(document.activeElement.dataset.node);
    });
    key("Enter");
    const before = document.querySelector(".tree-svg > g").getAttribute("transform");
    document.querySelector('[aria-label="Zoom in"]').click();
    const after = document.querySelector(".tree-svg > g").getAttribute("transform");
    document.querySelector('[aria-label="Fit the tree into the frame"]').click();
    const again = document.querySelector(".tree-svg > g").getAttribute("transform");
    return {clicked, hover, walked, entered: marked(), zoomed: before !== after, fitted: before === again};
    """
    found = browse(report(shop, certificate=None, record=None), script)
    assert found["clicked"][0] == [0, 1, 2]
    for text in ("price ≤ 10, or missing", "city is Oslo or Rome", "answers kept 90.0 % (n = 40, 40.0 %)"):
        assert text in found["clicked"][1]
    assert "city is Oslo or Rome, or missing" not in found["clicked"][1]
    hidden, lines = found["hover"]
    assert not hidden
    assert lines == [
        "city in {Oslo, Rome}", "n = 70, 70.0 % of the training weight", "on average kept 77.1 %",
        "missing values go down (no)",
    ]  # fmt: skip
    assert found["walked"] == [3, 1, 0, 1, 4]
    assert found["entered"] == [0, 4]
    assert found["zoomed"]
    assert found["fitted"]


def test_of_a_forest_the_tree_can_be_chosen(browse, make_model):
    model = make_model(5, "softmax", 6, 3)
    script = """
    const {model} = window.softwoodReport;
    const choice = document.getElementById("tree-choice");
    const drawn = () => [...document.querySelectorAll(".node")].map((node) => Number(node.dataset.node));
    return model.roots.map((_, tree) => {
      choice.value = tree;
      choice.dispatchEvent(new Event("change"));
      return [drawn(), document.getElementById("answer").textContent];
    });
    """
    found = browse(report(model, certificate=None, record=None), script)
    ends = [*model.roots.tolist()[1:], len(model.feature)]
    for tree, (nodes, text) in enumerate(found):
        assert sorted(nodes) == list(range(model.roots[tree], ends[tree]))
        assert f"Tree {tree + 1} of 6 adds" in text
    label = str(model.predict(np.full((1, len(model.columns)), np.nan))[0])
    assert {text.startswith(label) for _, text in found} == {True}


def test_rows_that_were_asked_for_can_be_followed(browse, shop):
    rows = {"price": [3.5, None], "city": ["Rome", "Paris"], "member": [True, None], "age": [1, 2]}
    script = """
    const choice = document.getElementById("row-choice");
    return ["1", "2"].map((row) => {
      choice.value = row;
      choice.dispatchEvent(new Event("change"));
      return [0, 1, 2, 3].map((at) => document.getElementById(`field-${at}`).value);
    });
    """
    found = browse(report(shop, certificate=None, record=None, rows=rows), script)
    assert found == [["3.5", "Rome", "true", "1"], ["", "", "", "2"]]


def test_no_name_becomes_code(browse, make_model):
    model = make_model(2, "binary", 1, 5)
    hostile = model.columns[0].name
    record = {
        "target": hostile, "notes": [hostile],
        "columns": {"dropped": [[hostile, hostile]], "leaks": [[hostile, "x"]]},
        "search": {"reason": hostile, "trials": [{"search": hostile, "loss": 0.5}], "cut_by_time_limit": [hostile]},
        "options": {hostile: hostile}, "versions": {hostile: hostile},
        "table": {"source": hostile, "rows": 1, "columns": 1},
    }  # fmt: skip
    x = {column.name: [1, 0] if column.kind != "category" else [hostile] * 2 for column in model.columns}
    page = report(model, certificate=None, record=record, table=x, y=[hostile, "kept"], about=hostile, rows=x)
    script = """
    for (const node of document.querySelectorAll(".node")) {
      node.dispatchEvent(new MouseEvent("click", {bubbles: true}));
      node.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
    }
    return {
      scripts: document.querySelectorAll("script").length, images: document.querySelectorAll("img").length,
      bold: document.querySelectorAll("b").length, title: document.querySelector("h1").textContent,
      names: [...document.querySelectorAll(".field-name")].map((name) => name.textContent),
    };
    """
    found = browse(page, script)
    # the data, the page's script, and the two that the test put in
    assert (found["scripts"], found["images"], found["bold"]) == (4, 0, 0)
    assert found["title"] == f"Decision tree for {hostile}"
    assert set(found["names"]) == {column.name for column in model.columns}


def test_hover_says_what_was_observed_in_a_leaf_and_how_firm_a_split_is(browse, shop):
    lines = [LeafObserved(leaf, 7, "kept", 0.5, Estimate(0.25, 0.125, 0.75)) for leaf in range(4)]
    split = {"node": 0, "column": "price", "depth": 0, "same_place": 0.5, "same_depth": 0.5, "anywhere": 0.75}
    firm = {
        "bootstraps": 50, "how": "by CART", "splits": [{**split, "threshold": {"value": 10, "low": 9, "high": 12}}],
        "columns": [
            {"column": "price", "used": 1, "top": 1, "importance": {"value": 0.5, "low": 0.25, "high": 0.75}}
        ],
    }  # fmt: skip
    peers = [
        {"name": name, "leaf_values": size, "loss": 0.5, "error": 0.25, "versus": {"difference": 0.1, "error": 0.2}}
        for name, size in (("what ships", 4), ("CART of the same size", 4), ("histogram boosting", 3000))
    ]
    record = {"leaves": listed_to(lines), "trials": [], "stability": firm, "peers": peers}
    script = """
    const lines = (at) => {
      document.querySelector(`[data-node="${at}"]`).dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
      return [...document.querySelector(".tip").children].map((line) => line.textContent);
    };
    const marks = [...document.querySelectorAll("#candidates .dot")].map((dot) => dot.textContent);
    return {split: lines(0), leaf: lines(2), marks, text: document.querySelector("#candidates").textContent};
    """
    found = browse(report(shop, certificate=None, record={"trials": [], "search": record}), script)
    assert found["split"][-2:] == [
        "on bootstrap samples: same place 50.0 %, anywhere 75.0 %", "threshold 10 (9 to 12) in 90 % of them",
    ]  # fmt: skip
    assert found["leaf"][-1] == "training rows: 7, kept 25.0 % (12.5 % to 75.0 %)"
    assert len(found["marks"]) == 3
    assert "+0.1 ± 0.2 (within noise)" in found["text"]
