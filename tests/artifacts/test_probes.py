from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softwood.artifacts import Column, HardEnsemble, probes
from softwood.artifacts._probes import around
from softwood.core import InputError


def _reached(model, x, node):
    """Rows that pass through a node: its subtree's leaves are among those that the row ends in."""
    below, waiting = [], [node]
    while waiting:
        at = waiting.pop()
        if model.feature[at] < 0:
            below.append(model.leaf[at])
        else:
            waiting += [int(model.left[at]), int(model.right[at])]
    return np.isin(model.apply_encoded(x), below).any(axis=1)


def _complete(rng, lab, depth=4):
    """A tree without dead ends: each number node tests its own column, so every path can be met."""
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    kinds = rng.choice(["number", "boolean", "category"], inner)
    columns = tuple(
        Column(f"c{i}", str(kind), ("a", "b", "c") if kind == "category" else ()) for i, kind in enumerate(kinds)
    )
    numbers = np.where(kinds == "boolean", 0.5, np.where(kinds == "category", np.nan, rng.normal(size=inner)))
    sets = np.where(kinds == "category", np.cumsum(kinds == "category") - 1, -1)
    some = np.array([[True, False, True]]).repeat((kinds == "category").sum(), axis=0)
    ends = nodes - inner
    return HardEnsemble(
        columns=columns, outputs=("y",), link="identity", classes=None, feature=np.r_[np.arange(inner), [-1] * ends],
        threshold=np.r_[numbers, [np.nan] * ends], missing_left=rng.random(nodes) < 0.5,
        left=np.r_[2 * np.arange(inner) + 1, [0] * ends], right=np.r_[2 * np.arange(inner) + 2, [0] * ends],
        level_set=np.r_[sets, [-1] * ends], levels_left=some, leaf=np.r_[[-1] * inner, np.arange(ends)],
        values=np.arange(ends)[:, None], counts=np.zeros(ends), roots=[0], base=[0.0],
    )  # fmt: skip


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_split_is_hit_on_both_sides_and_on_its_threshold(lab, seed):
    model = _complete(np.random.default_rng(seed), lab)
    table = probes(model)
    x = model.encode(table)
    for node in np.flatnonzero(model.feature >= 0):
        here = _reached(model, x, node)
        feature, threshold = model.feature[node], model.threshold[node]
        column, values = model.columns[feature], x[here, feature]
        assert _reached(model, x, model.left[node]).any()
        assert _reached(model, x, model.right[node]).any()
        assert np.isnan(values).any()
        raw = table[column.name][here]
        if column.kind == "number":
            single = np.float32(threshold)
            close = [np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf)]
            coarse = [np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))]
            for expected in (threshold, *close, single, *coarse):
                assert (values == np.float64(expected)).any()
        elif column.kind == "boolean":
            assert {True, False, None} == set(raw)
        else:
            assert {"a", "b", "c", None, "unseen level"} == set(raw)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 6))
def test_a_node_that_can_be_reached_is_reached(lab, seed, number):
    """Random rows know nothing of the paths: where one of them comes, a probe has to come as well."""
    rng = np.random.default_rng(seed)
    model = lab.model(rng, lab.cases[number], trees=1, depth=4)
    tested, random = model.encode(probes(model)), model.encode(lab.rows(rng, model, 400))
    for node in np.flatnonzero(model.feature >= 0):
        if _reached(model, random, node).any():
            assert _reached(model, tested, node).any()


def test_the_float_neighbours():
    values = around(0.1)
    assert values[0] == 0.1
    assert sorted(values) == sorted(set(values))
    assert {float(np.nextafter(0.1, 0)), float(np.nextafter(0.1, 1)), float(np.float32(0.1))} < set(values)
    assert np.isfinite(around(np.finfo(float).max)).all()
    assert np.isfinite(around(1e-310)).all()


def test_a_large_model_is_sampled_evenly(lab):
    model = lab.model(np.random.default_rng(3), trees=40, depth=6)
    table = probes(model, limit=500)
    assert 300 < len(table) <= 500
    assert len(probes(model)) > 500
    x = model.encode(table)
    hit = [t for t in range(model.n_trees) if _on_a_threshold(model, x, t)]
    assert max(hit) > 30
    assert min(hit) < 10


def _on_a_threshold(model, x, tree):
    start = model.roots[tree]
    end = model.roots[tree + 1] if tree + 1 < model.n_trees else len(model.feature)
    nodes = [n for n in range(start, end) if model.feature[n] >= 0 and model.level_set[n] < 0]
    return any((x[:, model.feature[n]] == model.threshold[n]).any() for n in nodes)


def test_many_levels_are_sampled_from_both_sides():
    levels = tuple(f"level {i}" for i in range(5000))
    goes_left = np.arange(5000) < 4999
    model = HardEnsemble(
        columns=(Column("c", "category", levels),), outputs=("y",), link="identity", classes=None, feature=[0, -1, -1],
        threshold=[np.nan] * 3, missing_left=[True] * 3, left=[1, 0, 0], right=[2, 0, 0], level_set=[0, -1, -1],
        levels_left=goes_left[None], leaf=[-1, 0, 1], values=[[0.0], [1.0]], counts=[0, 0], roots=[0], base=[0.0],
    )  # fmt: skip
    table = probes(model)
    assert len(table) < 100
    assert set(model.predict(table)) == {0.0, 1.0}


def test_the_unseen_level_is_not_a_level():
    model = HardEnsemble.single_leaf(
        [Column("c", "category", ("unseen level", "unseen level?"))], np.zeros(1), outputs=["y"]
    )
    assert probes(model)["c"].tolist() == [None, "unseen level??"]


@pytest.mark.parametrize("limit", [1, 2.5, "many"])
def test_a_limit_that_is_none(limit):
    model = HardEnsemble.single_leaf([Column("x", "number")], np.zeros(1), outputs=["y"])
    with pytest.raises(InputError, match="limit"):
        probes(model, limit=limit)
