"""``softwood bench``: end to end on small tables, against its schema, with absent and failing peers."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from softwood.cli import _bench_methods, _bench_trees
from softwood.cli._bench_methods import METHODS, Answer, Method, Plan
from softwood.cli._bench_predict import _made, bench_predict
from softwood.cli._bench_tables import bundled_table, folder_table
from softwood.cli._bench_trees import bench_trees, worse
from softwood.core import InputError

KINDS = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip


def misfits(value, schema, place="$"):
    """Return where a value does not fit a JSON schema, of the words that ours use."""
    known = {"$schema", "title", "description", "type", "properties", "required", "additionalProperties", "items",
             "enum", "const", "minimum", "maximum", "exclusiveMinimum"}  # fmt: skip
    assert set(schema) <= known, f"{place}: the schema says more than this test understands"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, KINDS[k]) and (k == "boolean" or value is not True) for k in kinds):
        return [f"{place} is {value!r}"]
    found = [f"{place} is {value!r}"] if value not in schema.get("enum", [schema.get("const", value)]) else []
    if isinstance(value, (int, float)):
        low, high = schema.get("minimum", -np.inf), schema.get("maximum", np.inf)
        if not (low <= value <= high and value > schema.get("exclusiveMinimum", -np.inf)):
            found.append(f"{place} is {value}")
    if isinstance(value, list):
        return found + [line for i, v in enumerate(value) for line in misfits(v, schema["items"], f"{place}[{i}]")]
    if isinstance(value, dict):
        found += [f"{place}.{name} is absent" for name in schema.get("required", []) if name not in value]
        for name, part in value.items():
            rule = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            found += misfits(part, rule, f"{place}.{name}") if isinstance(rule, dict) else [f"{place}.{name} is new"]
    return found


def schema_of(name):
    return json.loads(files("softwood.cli").joinpath(f"schemas/bench_{name}.json").read_text())


@pytest.fixture
def folder(tmp_path):
    r = np.random.default_rng(0)
    n = 150
    frame = pd.DataFrame({"size": r.normal(size=n).round(3), "kind": r.choice(["a", "b", "c"], n), "always": 1,
                          "flag": r.choice(["yes", "no"], n)})  # fmt: skip
    frame["price"] = frame["size"].fillna(0) * 2 + (frame.kind == "a") + r.normal(size=n).round(3) / 9
    frame["late"] = np.where((frame["size"] > 0) ^ (frame.kind == "b"), "late", "punctual")
    frame.loc[::9, "size"] = None
    frame.loc[::11, "kind"] = None
    frame.loc[3, "late"] = None
    frame.drop(columns="price").to_csv(tmp_path / "orders.csv", index=False)
    frame[["price", "size", "kind"]].to_csv(tmp_path / "prices.csv.gz", index=False)
    (tmp_path / "targets.json").write_text(json.dumps({"prices": "price"}))
    return tmp_path


def test_every_method_on_classes_and_numbers_fits_the_schema(softwood, folder):
    file = folder / "found.json"
    words = ["--tables", folder, "--only", "orders", "--only", "prices", "--splits", 1, "--size", 32, "--max-depth", 3]
    done = softwood("bench", "trees", *words, "--quick", "--json", "--out", file)
    assert done.code == 0, done.err
    found = done.json
    assert misfits(found, schema_of("trees")) == []
    assert json.loads(file.read_text()) == found
    assert [(t["table"], t["target"], t["rows"], t["classes"]) for t in found["tables"]] == [
        ("orders", "late (the last column)", 149, 2), ("prices", "price (targets.json)", 150, 0),
    ]  # fmt: skip
    assert found["tables"][0]["columns"] == 3  # "always" tells nothing
    assert set(found["absent"]) == {m.name for m in METHODS if m.module and not find_spec(m.module)}
    compared = [method.name for method in METHODS if method.name not in found["absent"]]
    assert [row["method"] for row in found["results"]] == 2 * compared
    assert [row for row in found["results"] if "error" in row] == []
    for row in found["results"]:
        assert 0.5 < row["score"] <= 1.0, row
        assert 1 <= row["leaf_values"] <= (8 if row["kind"] == "tree" else 32), row
    assert found["where"]["packages"]["softwood"]


def test_a_multi_class_table_counts_every_output_of_a_leaf():
    found = bench_trees([bundled_table("wine")], Plan(2, 24, 0, True), 1)
    for row in found["results"]:
        assert "error" not in row, row
        assert 3 <= row["leaf_values"] <= (4 * 3 if row["kind"] == "tree" else 24), row


def test_losses_are_marked_and_failures_and_absences_are_named(softwood, monkeypatch):
    def of(share):
        return lambda table, train, test, plan: Answer(
            np.where(np.arange(2) == table.y[test][:, None], share, 1 - share), 4
        )

    def broken(table, train, test, plan):
        raise ValueError("no such thing")

    monkeypatch.setattr(_bench_trees, "_warm_up", lambda: None)
    methods = (
        Method("sure", "tree", None, of(0.9)), Method("Softwood tree", "tree", None, of(0.8)),
        Method("unsure", "tree", None, of(0.6)), Method("broken", "forest", None, broken),
        Method("gone", "forest", "no_such_module", broken), Method("Softwood forest", "forest", None, of(0.9)),
    )  # fmt: skip
    monkeypatch.setattr(
        _bench_trees.bench_trees, "__defaults__", (*_bench_trees.bench_trees.__defaults__[:-1], methods)
    )
    done = softwood("bench", "trees", "--only", "breast_cancer", "--splits", 2)
    assert done.code == 0
    lines = {line.split()[1]: line for line in done.out.splitlines() if line.strip().startswith(("tree", "forest"))}
    assert "0.1054 *" in lines["sure"]
    assert "*" not in lines["unsure"]
    assert "failed" in lines["broken"]
    assert "ValueError: no such thing" in lines["broken"]
    assert "1 entries on 1 of 1 tables" in done.out
    assert "not compared: gone" in done.out
    found = softwood("bench", "trees", "--only", "breast_cancer", "--splits", 2, "--json").json
    assert misfits(found, schema_of("trees")) == []
    assert [(row["method"], row["measure"]) for row in found["worse"]] == [("sure", "loss")]
    assert found["worse"][0]["by"] == pytest.approx(np.log(0.9) - np.log(0.8))


def test_worse_compares_within_a_kind_only():
    def row(kind, method, score, loss):
        return {"table": "t", "kind": kind, "method": method, "score": score, "loss": loss}

    rows = [row("tree", "Softwood tree", 0.8, 0.5), row("tree", "CART, tuned", 0.9, 0.6),
            row("forest", "Softwood forest", 0.95, 0.1), row("forest", "LightGBM", 0.95, 0.1)]  # fmt: skip
    assert [(r["method"], r["measure"]) for r in worse(rows)] == [("CART, tuned", "score")]


def test_the_tree_without_gradients_stops_before_them():
    table = bundled_table("iris")
    rows = np.arange(150)
    stages = []

    def watch(stage, done):
        stages.append(stage)
        _bench_methods._stop_before_gradients(stage, done)

    answer = _bench_methods._tree(table, rows, rows, Plan(3, 480, 0, True), watch)
    assert answer.found.shape == (150, 3)
    assert "kicks and polish" in stages
    assert stages.count("gradient restarts") == 1
    assert "annealing" not in stages


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tables", "nowhere"], "--tables holds no table"),
        (["--only", "iriss"], "--only names a table that is not there"),
        (["--target", "iris"], "write --target ames=price"),
    ],
)
def test_wrong_options(softwood, words, said):
    done = softwood("bench", "trees", *words)
    assert done.code == 2
    assert said in done.err


def test_targets(folder, softwood):
    assert folder_table(folder / "orders.csv", {"orders": "flag"}).target == "flag (--target)"
    with pytest.raises(InputError, match="no column 'cost', which --target names"):
        folder_table(folder / "orders.csv", {"orders": "cost"})
    done = softwood("bench", "trees", "--tables", folder, "--target", "order=flag")
    assert (done.code, "--target names a table that is not there" in done.err) == (2, True)


def test_prediction_speed_fits_the_schema_and_the_engines_agree(softwood):
    done = softwood("bench", "predict", "--quick", "--threads", 1, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert misfits(found, schema_of("predict")) == []
    assert found["failed"] == []
    engines = {row["engine"] for row in found["results"]}
    assert engines | set(found["absent"]) == {"softwood", "lightgbm", "treelite", "onnxruntime"}
    assert {row["batch"] for row in found["results"]} == {1, 1000}
    assert max(row["largest_difference"] for row in found["results"] if row["engine"] != "treelite") < 1e-9
    for ratio in found["ratios"]:
        case = {key: ratio[key] for key in ("model", "threads", "batch")}
        medians = {row["engine"]: row["median"] for row in found["results"] if case.items() <= row.items()}
        assert ratio["times_faster"] == pytest.approx(medians[ratio["against"]] / medians["softwood"])


def test_an_engine_that_cannot_is_named(monkeypatch):
    monkeypatch.setitem(bench_predict.__globals__["_MAKERS"], "onnxruntime", lambda model, threads: 1 / 0)
    monkeypatch.setitem(bench_predict.__globals__, "_models", lambda quick: {"made": _made(2, True)})
    found = bench_predict(threads=[2], batches=[1, 300], quick=True)
    assert [(row["engine"], row["error"]) for row in found["failed"] if row["engine"] == "onnxruntime"] == [
        ("onnxruntime", "ZeroDivisionError: division by zero")
    ]
    assert "onnxruntime" not in {row["against"] for row in found["ratios"]}
    assert _made(2, True)._packed.trees["tests"].max() <= 6 < _made(2, False)._packed.trees["tests"].min()
