from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softwood.artifacts import Column, HardEnsemble, rules
from softwood.core import DamagedFileError, InputError, UnsupportedError

OLD = Path(__file__).parent / "format_v1"
SEEDS = st.integers(0, 2**32 - 1)
ARRAYS = ("feature", "threshold", "missing_left", "left", "right", "level_set", "levels_left", "leaf", "values",
          "counts", "roots", "base")  # fmt: skip


@pytest.fixture(scope="module")
def model(lab):
    """Seven nodes: number and category below a boolean."""
    return small()


def small(**changes):
    city = Column("city", "category", ("Bonn", "Kiel", "Ulm"))
    columns = (Column("age", "number"), Column("member", "boolean"), city)
    fields = {
        "columns": columns, "outputs": ("p",), "link": "probability", "classes": ("no", "yes"),
        "feature": [1, 0, -1, -1, 2, -1, -1], "threshold": [0.5, 30.25, *[np.nan] * 5],
        "missing_left": [True, False, False, False, True, False, False], "left": [1, 2, 0, 0, 5, 0, 0],
        "right": [4, 3, 0, 0, 6, 0, 0], "level_set": [-1, -1, -1, -1, 0, -1, -1],
        "levels_left": [[True, False, True]], "leaf": [-1, -1, 0, 1, -1, 2, 3],
        "values": [[0.1], [0.9], [0.25], [0.75]], "counts": [10, 20, 30, 40.5], "roots": [0], "base": [0.0],
    }  # fmt: skip
    return HardEnsemble(**{**fields, **changes})


# ------------------------------------------------------------------ structure
DAMAGE = {
    "a link nobody knows": ({"link": "probit"}, "link is unknown"),
    "lengths differ": ({"left": [1, 2, 0]}, "left has another length"),
    "values of another width": ({"values": [[0.1, 0.2]] * 4}, "values is not"),
    "counts of another length": ({"counts": [1.0]}, "counts has another length"),
    "a negative count": ({"counts": [1, 1, 1, -1]}, "counts"),
    "base of another length": ({"base": [0.0, 0.0]}, "base is not"),
    "flat level sets": ({"levels_left": [True]}, "two-dimensional"),
    "NaN in a leaf": ({"values": [[0.1], [np.nan], [0.2], [0.3]]}, "values"),
    "infinite base": ({"base": [np.inf]}, "values"),
    "a column that is not there": ({"feature": [3, 0, -1, -1, 2, -1, -1]}, "column that is not there"),
    "a root outside": ({"roots": [7]}, "root is no node"),
    "a child outside": ({"right": [9, 3, 0, 0, 6, 0, 0]}, "right does not point forward"),
    "a cycle": ({"left": [1, 0, 0, 0, 5, 0, 0]}, "left does not point forward"),
    "a child of two parents": ({"right": [4, 2, 0, 0, 6, 0, 0]}, "no root and no child, or more than one"),
    "a root that is a child": ({"roots": [0, 4]}, "no root and no child, or more than one"),
    "a leaf without a row": ({"leaf": [-1, -1, 0, 1, -1, 2, 4]}, "no row in values"),
    "a leaf with a negative row": ({"leaf": [-1, -1, 0, 1, -1, 2, -1]}, "no row in values"),
    "a category without a set": ({"level_set": [-1] * 7}, "do not match"),
    "a number with a set": ({"level_set": [-1, 0, -1, -1, 0, -1, -1]}, "do not match"),
    "a set that is absent": ({"level_set": [-1, -1, -1, -1, 1, -1, -1]}, "level set is absent"),
    "a set that is too narrow": ({"levels_left": [[True, False]]}, "narrower"),
    "a missing threshold": ({"threshold": [0.5, *[np.nan] * 6]}, "threshold is not finite"),
    "an infinite threshold": ({"threshold": [0.5, 1.0, np.inf, *[np.nan] * 4]}, "threshold is not finite"),
    "classes of a regression": ({"link": "identity"}, "classes need a link"),
    "a link without classes": ({"classes": None}, "needs classes"),
    "a class too many": ({"classes": ("a", "b", "c")}, "need 2 classes"),
    "a class twice": ({"classes": ("a", "a")}, "repeated"),
    "classes of two types": ({"classes": ("1", 1)}, "several types"),
    "a class that is a tuple": ({"classes": ((1, 2), (3, 4))}, "cannot be stored"),
    "sigmoid of two": ({"link": "sigmoid", "outputs": ("a", "b"), "values": np.zeros((4, 2)), "base": [0, 0]},
                       "sigmoid link has one output"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_arrays_are_refused(name):
    changes, message = DAMAGE[name]
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_arrays_are_copied_and_frozen():
    mine = np.array([0.5, 30.25, *[np.nan] * 5])
    model = small(threshold=mine)
    mine[0] = 7.0
    assert model.threshold[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        model.threshold[0] = 1.0


# ------------------------------------------------------------------ answers
def test_answers_by_hand(model):
    table = {
        "age": [30.25, np.nextafter(30.25, 31), None, 1, 1, 1, 1],
        "member": [False, False, None, True, True, True, True],
        "city": ["Ulm", "Ulm", "Ulm", "Ulm", "Kiel", "Rome", None],
        "not asked for": [0] * 7,
    }
    p = [0.1, 0.9, 0.9, 0.25, 0.75, 0.25, 0.25]
    np.testing.assert_array_equal(model.predict_proba(table), np.column_stack([1 - np.array(p), p]))
    assert model.predict(table).tolist() == ["no", "yes", "yes", "no", "yes", "no", "no"]
    assert model.apply(table)[:, 0].tolist() == [0, 1, 1, 2, 3, 2, 2]
    assert (model.n_splits, model.n_leaves, model.n_leaf_values, model.depth, model.n_trees) == (3, 4, 4, 2, 1)


@settings(max_examples=60)
@given(seed=SEEDS, number=st.integers(0, 6), trees=st.integers(1, 4), depth=st.integers(0, 5))
def test_prediction_equals_a_walk_by_the_definition(lab, seed, number, trees, depth):
    rng = np.random.default_rng(seed)
    model = lab.model(rng, lab.cases[number], trees=trees, depth=depth)
    table = lab.rows(rng, model, 25)
    totals = [lab.walk(model, row) for row in lab.as_dicts(model, table)]
    np.testing.assert_array_equal(model.raw(table), totals)
    if model.classes is None:
        np.testing.assert_array_equal(model.predict(table).reshape(len(table), -1), totals)
        with pytest.raises(UnsupportedError, match="use predict"):
            model.predict_proba(table)
    else:
        expected = [lab.link(model, total) for total in totals]
        np.testing.assert_allclose(model.predict_proba(table), expected, rtol=0, atol=1e-15)
        assert model.predict(table).tolist() == [lab.label(model, total) for total in totals]


def test_extreme_logits_saturate_without_a_warning():
    model = small(link="sigmoid", values=[[-2000.0], [2000.0], [0.0], [1e-300]])
    table = {"age": [0, 99, 0, 0], "member": [0, 0, 1, 1], "city": ["Ulm", "Ulm", "Ulm", "Kiel"]}
    assert model.predict_proba(table)[:, 1].tolist() == [0.0, 1.0, 0.5, 0.5]
    assert model.predict(table).tolist() == ["no", "yes", "no", "yes"]  # by the logit: 1e-300 is above 0


def test_softmax_of_extreme_logits():
    leaves = [[2000.0, -2000.0], [-2000.0, -2000.0], [-5.0, 5.0], [1e5, 0.0]]
    model = small(link="softmax", outputs=("no", "yes"), values=leaves, base=[0.0, 0.0])
    table = {"age": [0, 99, 0, 0], "member": [0, 0, 1, 1], "city": ["Ulm", "Ulm", "Ulm", "Kiel"]}
    share = 1 / (1 + np.exp(10.0))
    expected = [[1, 0], [0.5, 0.5], [share, 1 - share], [1, 0]]
    np.testing.assert_allclose(model.predict_proba(table), expected, rtol=1e-12, atol=0)
    assert model.predict(table).tolist() == ["no", "no", "yes", "no"]


# ------------------------------------------------------------------ identity
@settings(max_examples=25)
@given(seed=SEEDS, number=st.integers(0, 6))
def test_every_way_out_and_back_is_equal(lab, tmp_path_factory, seed, number):
    model = lab.model(np.random.default_rng(seed), lab.cases[number], trees=2, depth=3)
    path = model.save(tmp_path_factory.mktemp("model") / "saved")
    through_text = HardEnsemble.from_dict(json.loads(json.dumps(model.to_dict(), allow_nan=False)))
    for again in (HardEnsemble.load(path), through_text):
        assert again == model
        assert again.fingerprint == model.fingerprint
        assert hash(again) == hash(model)
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
        assert (again.columns, again.outputs, again.classes) == (model.columns, model.outputs, model.classes)


CHANGES = {
    "columns": {"columns": (Column("a", "number"), Column("b", "boolean"), Column("c", "category", ("x", "y", "z")))},
    "threshold": {"threshold": [0.5, np.nextafter(30.25, 31), *[np.nan] * 5]},
    "missing_left": {"missing_left": [False, False, False, False, True, False, False]},
    "left and right": {"left": [4, 2, 0, 0, 5, 0, 0], "right": [1, 3, 0, 0, 6, 0, 0]},
    "levels_left": {"levels_left": [[True, True, True]]},
    "leaf": {"leaf": [-1, -1, 1, 0, -1, 2, 3]},
    "values": {"values": [[0.1], [0.9], [0.25], [np.nextafter(0.75, 1)]]},
    "counts": {"counts": [10, 20, 30, 41]},
    "base": {"base": [1e-9]},
    "classes": {"classes": ("yes", "no")},
    "outputs": {"outputs": ("q",)},
    "link": {"link": "sigmoid"},
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_gives_another_fingerprint(model, what):
    changed = small(**CHANGES[what])
    assert changed != model
    assert changed.fingerprint != model.fingerprint


def test_the_fingerprint_stays_the_same_between_releases(model):
    assert model.fingerprint == small().fingerprint == "0997fb8db109bf08"


def test_rules_are_readable(model):
    assert str(model).splitlines() == [
        "HardEnsemble(1 tree, 3 splits, 4 leaves, 4 leaf values, depth 2, probability)",
        "answer: one of no, yes (leaves hold probabilities)",
        "if member is false or missing:",
        "  if age <= 30.25:",
        "    -> no with probability 0.900  (n = 10)",
        "  else:",
        "    -> yes with probability 0.900  (n = 20)",
        "else:",
        "  if city in {Bonn, Ulm} or missing:",
        "    -> no with probability 0.750  (n = 30)",
        "  else:",
        "    -> yes with probability 0.750  (n = 40.5)",
    ]


def test_rules_of_a_deep_tree_and_of_many_trees(lab):
    chain = lab.chain(1500)
    assert chain.depth == 1500
    assert rules(chain).splitlines()[-1].strip() == "-> y = 1500"
    assert chain.predict({"x": [0.0, 7.5, 1e9]}).tolist() == [0.0, 8.0, 1500.0]
    forest = rules(lab.model(np.random.default_rng(0), trees=7))
    assert "tree 4:" in forest
    assert "tree 5:" not in forest
    assert forest.endswith("... and 2 more trees")


# ------------------------------------------------------------------ files
def _damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    if how == "absent":
        file.unlink()
    elif how == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        place = len(content) // 2
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


@pytest.mark.parametrize("how", ["absent", "cut", "one bit"])
@pytest.mark.parametrize("name", ["artifact.json", "arrays.safetensors"])
def test_a_damaged_directory_is_refused(model, tmp_path, name, how):
    path = model.save(tmp_path / "model")
    assert HardEnsemble.load(path) == model
    _damage(path / name, how)
    with pytest.raises(DamagedFileError, match="to fix"):
        HardEnsemble.load(path)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no model here"):
        HardEnsemble.load(tmp_path / "nothing")


def test_files_of_format_version_1_keep_loading():
    model = HardEnsemble.load(OLD / "model")
    expected = json.loads((OLD / "expected.json").read_text())
    assert model.fingerprint == expected["fingerprint"]
    np.testing.assert_allclose(model.predict_proba(expected["rows"]), expected["probabilities"], rtol=0, atol=1e-12)
    assert model.predict(expected["rows"]).tolist() == expected["labels"]


def test_it_loads_and_predicts_where_torch_is_not_installed():
    code = """
import json, pathlib, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch is blocked in this test")

sys.meta_path.insert(0, NoTorch())
try:
    import torch
except ModuleNotFoundError:
    print("blocked")
from softwood.artifacts import HardEnsemble
old = pathlib.Path(sys.argv[1])
expected = json.loads((old / "expected.json").read_text())
print(HardEnsemble.load(old / "model").predict(expected["rows"]).tolist() == expected["labels"])
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, str(OLD)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["blocked", "True", "False"]


def test_it_stays_a_dataclass_that_replace_takes(model):
    assert dataclasses.replace(model) == model
