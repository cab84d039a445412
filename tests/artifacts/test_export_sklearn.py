"""The scikit-learn file, run by hand and handed to scikit-learn's own tools."""

from __future__ import annotations

import ast
import dataclasses
import runpy

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from softwood.artifacts import Column, probes
from softwood.artifacts._export_sklearn import write_sklearn


def _load(model, folder):
    (folder / "model.py").write_text(write_sklearn(model), encoding="utf-8")
    return runpy.run_path(str(folder / "model.py"))["load"]()


@pytest.mark.parametrize("number", range(9))
def test_it_gives_the_answers_of_the_definition(lab, tmp_path, number):
    for seed, trees, depth in ((1, 1, 0), (2, 1, 5), (3, 5, 3)):
        rng = np.random.default_rng([number, seed])
        model = lab.model(rng, lab.cases[number], trees=trees, depth=depth)
        estimator = _load(model, tmp_path)
        for table in (lab.rows(rng, model, 60), probes(model, limit=200)):
            totals = [lab.walk(model, row) for row in lab.as_dicts(model, table)]
            np.testing.assert_array_equal(estimator.apply(table), model.apply(table))
            if model.classes is None:
                expected = np.array([lab.link(model, total) for total in totals])
                found = estimator.predict(table).reshape(expected.shape)
                np.testing.assert_allclose(found, expected, rtol=1e-14 if model.link == "exp" else 0, atol=0)
            else:
                assert estimator.predict(table).tolist() == [lab.label(model, total) for total in totals]
                np.testing.assert_allclose(
                    estimator.predict_proba(table), [lab.link(model, t) for t in totals], rtol=0, atol=1e-14
                )


def _numbers(lab, case):
    columns = tuple(Column(name, "number") for name in "abc")
    model = lab.model(np.random.default_rng(8), case, trees=3, columns=columns)
    model = dataclasses.replace(model, base=model.base * 0)
    return model, pd.DataFrame(np.random.default_rng(1).normal(size=(200, 3)), columns=list("abc"))


def test_scikit_learns_tools_take_it(lab, tmp_path):
    model, x = _numbers(lab, "binary, sigmoid")
    estimator = _load(model, tmp_path)
    y = model.predict(x)
    assert len(set(y)) == 2
    assert estimator.classes_.tolist() == [False, True]
    assert estimator.feature_names_in_.tolist() == ["a", "b", "c"]
    assert estimator.fit(x[:3], y[:3]) is estimator
    assert estimator.score(x, y) == 1.0
    assert get_scorer("roc_auc")(estimator, x, y) == 1.0
    pipeline = make_pipeline(FunctionTransformer(), estimator)
    assert pipeline.predict(x).tolist() == y.tolist()
    found = permutation_importance(estimator, x, y, n_repeats=3, random_state=0)
    tested = np.isin(np.arange(3), model.feature[model.feature >= 0])
    assert (found.importances_mean[~tested] == 0).all()
    assert found.importances_mean.max() > 0
    assert partial_dependence(estimator, x, [0], grid_resolution=5)["average"].shape == (1, 5)
    noisy = np.where(np.arange(200) % 7 == 0, ~y, y)
    calibrated = CalibratedClassifierCV(FrozenEstimator(estimator)).fit(x, noisy)
    assert calibrated.predict_proba(x).shape == (200, 2)


def test_a_regressor_scores_by_r2(lab, tmp_path):
    model, x = _numbers(lab, "regression")
    assert _load(model, tmp_path).score(x, model.predict(x)) == 1.0


def test_raw_values_mean_what_they_mean_to_the_model(lab, tmp_path):
    columns = (Column("n", "number"), Column("b", "boolean"), Column("c", "category", ("1", "True", "x")))
    model = lab.model(np.random.default_rng(2), trees=6, columns=columns)
    estimator = _load(model, tmp_path)
    frame = pd.DataFrame({"c": [1, 1.0, "1", True, None, "x"], "n": [1, 7, np.nan, 0.1, -3, 0], "z": 0,
                          "b": [True, False, None, 1, 0, np.nan]})  # fmt: skip
    expected = [model.predict([[row.n, row.b, row.c]])[0] for row in frame.itertuples()]
    assert [estimator.predict(frame[i : i + 1])[0] for i in range(6)] == expected
    assert estimator.predict(frame[["n", "b", "c"]].to_numpy()[2:3])[0] == expected[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.drop(columns="b"), "lacks the column 'b'"),
        (lambda x: x.to_numpy()[:, :2], "X has 2 features, but this model has 3"),
        (lambda x: x.replace({"a": {1.0: np.inf}}), "column 'a' holds infinity"),
        (lambda x: x.astype(object).replace({"a": {1.0: "old"}}), "could not convert string"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(lab, tmp_path, change, message):
    model, x = _numbers(lab, "regression")
    x.loc[0, "a"] = 1.0
    with pytest.raises(ValueError, match=message):
        _load(model, tmp_path).predict(change(x))


def test_the_file_imports_no_softwood_and_no_pickle(lab):
    tree = ast.parse(write_sklearn(lab.model(np.random.default_rng(1), "softmax")))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"numpy", "pandas", "sklearn.base"}
