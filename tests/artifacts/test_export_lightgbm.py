"""LightGBM's text, loaded and asked by hand."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest

from softwood.artifacts import Column, HardEnsemble, export, import_model, probes
from softwood.artifacts import _export_lightgbm as exporter
from softwood.artifacts._export_lightgbm import feature_names, write_lightgbm
from softwood.core import UnsupportedError

lightgbm = pytest.importorskip("lightgbm")


def _model(lab, case, trees=4, depth=4, seed=0):
    model = lab.model(np.random.default_rng(seed), case, trees=trees, depth=depth)
    return dataclasses.replace(model, threshold=np.where(np.abs(model.threshold) < 1e-35, 0.25, model.threshold))


def _frame(model, table):
    found = {}
    for column in model.columns:
        values = table[column.name]
        if column.kind == "category":
            found[column.name] = pd.Categorical(values.where(values.isin(column.levels)), categories=column.levels)
        else:
            found[column.name] = values.astype(float)
    return pd.DataFrame(found)


@pytest.mark.parametrize("number", range(8))
def test_a_booster_predicts_what_the_definition_says(lab, number):
    for seed, trees, depth in ((1, 1, 0), (2, 1, 5), (3, 5, 3)):
        model = _model(lab, lab.cases[number], trees, depth, seed)
        booster = lightgbm.Booster(model_str=write_lightgbm(model))
        assert booster.num_trees() == trees * model.n_outputs
        for table in (lab.rows(np.random.default_rng(seed), model, 60), probes(model)):
            totals = np.array([lab.walk(model, row) for row in lab.as_dicts(model, table)])
            raw = booster.predict(_frame(model, table), raw_score=True).reshape(len(table), -1)
            np.testing.assert_array_equal(raw, totals)
            scores = booster.predict(_frame(model, table)).reshape(len(table), -1)
            expected = np.array([lab.link(model, list(total)) for total in totals])[:, -scores.shape[1] :]
            np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-14)


def test_the_objective_is_the_link(lab):
    texts = {case: write_lightgbm(_model(lab, case)) for case in lab.cases if case != "several logarithms"}
    found = {
        case: [line for line in text.splitlines() if line.startswith("objective=")] for case, text in texts.items()
    }
    assert found == {
        "regression": [], "several outputs": [], "binary, probability": [], "three classes": [],
        "binary, sigmoid": ["objective=binary sigmoid:1"], "softmax": ["objective=multiclass num_class:4"],
        "softmax, numbers": ["objective=multiclass num_class:2"], "logarithms": ["objective=poisson"],
    }  # fmt: skip


@pytest.mark.parametrize("case", ["regression", "binary, sigmoid", "softmax", "logarithms"])
def test_what_went_out_comes_in_again(lab, tmp_path, case):
    columns = (Column("x", "number"), Column("y", "number"), Column("c", "category", ("a", "b", "d")))
    model = lab.model(np.random.default_rng(3), case, trees=4, depth=4, columns=columns)
    model = dataclasses.replace(model, threshold=np.where(np.abs(model.threshold) < 1e-35, 0.25, model.threshold))
    export(model, tmp_path / "model.txt", "lightgbm")
    again = import_model(lightgbm.Booster(model_file=str(tmp_path / "model.txt")))
    table = probes(model)
    np.testing.assert_array_equal(again.raw(table), model.raw(table))


def test_feature_names_are_ones_that_lightgbm_takes():
    names = ["a b", "a,b", "a_b", 'q"[]{}:=', "\t", "ü", "\u2003"]
    model = HardEnsemble.single_leaf([Column(name, "number") for name in names], [0.5], outputs=["y"])
    assert feature_names(model) == ["a_b", "a_b_2", "a_b_3", "q_", "_", "ü", "__2"]
    assert lightgbm.Booster(model_str=write_lightgbm(model)).feature_name() == feature_names(model)


def test_counts_reach_the_nodes(lab):
    model = _model(lab, "regression", 2)
    booster = lightgbm.Booster(model_str=write_lightgbm(model))
    for tree, root in zip(booster.dump_model()["tree_info"], model.roots, strict=True):
        waiting, total = [int(root)], 0.0
        while waiting:
            node = waiting.pop()
            if model.feature[node] < 0:
                total += model.counts[model.leaf[node]]
            else:
                waiting += [int(model.left[node]), int(model.right[node])]
        top = tree["tree_structure"]
        assert top.get("internal_count", top.get("leaf_count")) == total


@pytest.mark.parametrize("threshold", [0.0, 1e-36, -1e-310])
def test_splits_beside_zero_are_refused_and_rightly(tmp_path, monkeypatch, threshold):
    model = HardEnsemble(
        columns=(Column("x", "number"),), outputs=("y",), link="identity", classes=None, feature=[0, -1, -1],
        threshold=[threshold, np.nan, np.nan], missing_left=[False] * 3, left=[1, 0, 0], right=[2, 0, 0],
        level_set=[-1] * 3, levels_left=np.zeros((0, 0)), leaf=[-1, 0, 1], values=[[0.0], [1.0]], counts=[0, 0],
        roots=[0], base=[0.0],
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match="column 'x' is split at"):
        export(model, tmp_path / "model.txt", "lightgbm")
    monkeypatch.setattr(exporter, "_refuse_thresholds_near_zero", lambda model: None)
    booster = lightgbm.Booster(model_str=write_lightgbm(model))
    beside = np.array([[np.nextafter(threshold, 1.0)], [np.nextafter(threshold, -1.0)], [threshold]])
    assert booster.predict(beside).tolist() != model.predict(beside).tolist()


def test_without_lightgbm_the_file_is_marked_unverified(lab, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    report = export(_model(lab, "regression"), tmp_path / "model.txt", "lightgbm")
    assert not report.verified
    assert "UNVERIFIED (lightgbm is not installed; to fix: pip install lightgbm)" in str(report)
