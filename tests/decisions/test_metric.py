"""Classifiers for a metric: scikit-learn's manners, the metrics of scikit-learn, batches, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    fbeta_score,
    jaccard_score,
    matthews_corrcoef,
)
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from softwood.core import InputError
from softwood.decisions import MetricClassifier
from softwood.decisions._training import stratified


@parametrize_with_checks([MetricClassifier(max_iter=100), MetricClassifier("accuracy", hidden=(8,), max_iter=100)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def unbalanced(seed=0, rows=4000):
    x, y = make_classification(rows, 10, n_informative=5, weights=[0.95], class_sep=1.2, random_state=seed)
    return train_test_split(x, y, test_size=0.5, stratify=y, random_state=0)


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_for_balanced_accuracy_it_is_far_ahead_of_log_loss_at_one_half(hidden):
    x, x_test, y, y_test = unbalanced()
    plain = balanced_accuracy_score(y_test, LogisticRegression().fit(x, y).predict(x_test))
    assert MetricClassifier("balanced_accuracy", hidden=hidden).fit(x, y).measure(x_test, y_test) > plain + 0.05


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        ("accuracy", accuracy_score),
        ("balanced_accuracy", balanced_accuracy_score),
        ("f_beta", f1_score),
        ("iou", jaccard_score),
        ("mcc", matthews_corrcoef),
    ],
)
def test_its_measure_is_scikit_learns(metric, theirs):
    x, x_test, y, y_test = unbalanced()
    model = MetricClassifier(metric, max_iter=50).fit(x, y)
    assert model.measure(x_test, y_test) == pytest.approx(theirs(y_test, model.predict(x_test)))


def test_beta_leans_towards_recall():
    x, x_test, y, y_test = unbalanced()
    said = [MetricClassifier(beta=beta).fit(x, y).predict(x_test).sum() for beta in (0.3, 1.0, 3.0)]
    assert said[0] < said[1] < said[2]
    model = MetricClassifier(beta=3.0).fit(x, y)
    assert model.measure(x_test, y_test) == pytest.approx(fbeta_score(y_test, model.predict(x_test), beta=3))


def test_several_classes_with_names():
    x, y = load_wine(return_X_y=True)
    names = np.array(["barolo", "grignolino", "barbera"])[y]
    model = MetricClassifier(max_iter=200).fit(x, names)
    assert model.measure(x, names) > 0.95
    assert model.measure(x, names) == pytest.approx(f1_score(names, model.predict(x), average="macro"))


# ---------------------------------------------------------------- traps


def test_no_batch_is_without_a_class_and_every_row_is_dealt_once():
    labels = torch.zeros(1000, dtype=torch.int64)
    labels[:7] = 1
    batches = stratified(labels, 10, torch.Generator().manual_seed(0))
    for _ in range(3):
        turn = [next(batches) for _ in range(7)]  # as many as rows of the rarest class
        assert all(labels[batch].sum() == 1 for batch in turn)
        assert torch.equal(torch.cat(turn).sort().values, torch.arange(1000))


def test_batches_hold_classes_in_their_share():
    labels = torch.arange(1000) % 10 // 9  # a tenth
    batches = stratified(labels, 100, torch.Generator().manual_seed(0))
    assert {(len(batch), int(labels[batch].sum())) for batch, _ in zip(batches, range(30), strict=False)} == {(100, 10)}


def test_small_batches_learn_too():
    x, x_test, y, y_test = unbalanced()
    whole, parts = (MetricClassifier(batch_size=size).fit(x, y).measure(x_test, y_test) for size in (5000, 256))
    assert parts > whole - 0.05


def test_a_temperature_of_nothing_has_no_gradient_left():
    x, _, y, _ = unbalanced()
    start = MetricClassifier(max_iter=0).fit(x, y).predict_proba(x)
    stuck = MetricClassifier(max_iter=50, temperature=1e-9, weight_decay=0).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(stuck, start)
    assert np.abs(MetricClassifier(max_iter=50).fit(x, y).predict_proba(x) - start).max() > 0.1


def test_what_cannot_be_is_refused():
    x, _, y, _ = unbalanced()
    with pytest.raises(InputError, match="metric is unknown"):
        MetricClassifier("f1").fit(x, y)
    with pytest.raises(InputError, match="one class only"):
        MetricClassifier().fit(x, np.zeros(len(x)))
    with pytest.raises(InputError, match="a label is unknown"):
        MetricClassifier(max_iter=1).fit(x, y).measure(x, y + 1)
