"""Peers on the rows of the certificate."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import log_loss

from softwood.trees import ForestRegressor, TreeClassifier
from softwood.trees._peers import peers


def test_a_tree_stands_beside_cart_of_its_size_and_a_booster():
    x, y = load_breast_cancer(return_X_y=True)
    model = TreeClassifier(max_depth=3, effort=0.05, holdout=0).fit(x[:400], y[:400])
    learned, judged = (x[:400], y[:400], np.ones(400)), (x[400:], y[400:], np.ones(169))
    ours, cart, booster = peers(model.artifact_, learned, judged, effort=0.1, seed=0)
    assert ours["name"] == "what ships"
    assert ours["loss"] == pytest.approx(log_loss(y[400:], model.predict_proba(x[400:])))
    assert ours["error"] == pytest.approx(1 - model.score(x[400:], y[400:]))
    assert ours["versus"]["difference"] == 0
    assert 2 <= cart["leaf_values"] <= ours["leaf_values"] == model.artifact_.n_leaf_values
    assert 0 < cart["loss"] < 1
    assert cart["versus"]["difference"] == pytest.approx(ours["loss"] - cart["loss"])
    assert booster["name"] == "histogram boosting, 10 rounds"
    assert booster["leaf_values"] > 40


def test_classes_count_in_the_size_of_peers():
    x, y = load_iris(return_X_y=True)
    model = TreeClassifier(max_depth=2, effort=0.02, holdout=0).fit(x, y)
    rows = (x, y, np.ones(150))
    ours, cart, booster = peers(model.artifact_, rows, rows, effort=0.02, seed=0)
    assert cart["leaf_values"] % 3 == 0
    assert cart["leaf_values"] <= ours["leaf_values"]
    assert booster["leaf_values"] > 6


def test_the_record_holds_peers_where_rows_were_held_out():
    x, y = load_diabetes(return_X_y=True)
    model = ForestRegressor(budget=40, effort=0.05).fit(x, y)
    assert [peer["name"] for peer in model.record_["peers"]][:2] == ["what ships", "CART of the same size"]
    assert model.record_["peers"][0]["loss"] == pytest.approx(model.certificate_.loss_shipped)
    assert "peers" not in ForestRegressor(budget=40, effort=0.05, holdout=0).fit(x, y).record_
