"""The selective ensemble: scikit-learn's manners, k calls at most, frozen members, and what it gains."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from softwood.core import InputError
from softwood.decisions import SelectiveEnsembleClassifier
from softwood.gradients import Perturbed


@parametrize_with_checks(
    [SelectiveEnsembleClassifier([GaussianNB(), DecisionTreeClassifier(max_depth=2, random_state=0)], max_iter=20)]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


class Knows(BaseEstimator):
    """Answers class 0 or 1 rightly where the first column has its sign, else wrongly; remembers how often."""

    classes_ = np.array([0, 1])

    def __init__(self, sign):
        self.sign, self.asked = sign, 0

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, x, y):
        raise AssertionError("a fitted member was fitted again")

    def predict_proba(self, x):
        self.asked += len(x)
        right = (x[:, 1] > 0) == (np.sign(x[:, 0]) == self.sign)
        return np.stack([1 - 0.9 * right - 0.05, 0.9 * right + 0.05], 1)


def problem(n=600, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x, (x[:, 1] > 0).astype(int)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_it_learns_whom_to_ask_and_asks_nobody_else(combine):
    members = [Knows(-1), Knows(1), Knows(1)]
    model = SelectiveEnsembleClassifier(members, k=1, combine=combine).fit(*problem())
    x, y = problem(400, 1)
    before = sum(one.asked for one in members)
    assert model.score(x, y) > 0.93  # each member alone is right on half of the rows
    assert sum(one.asked for one in members) - before == 400
    chosen = model.select(x)
    assert (chosen.sum(1) == 1).all()
    assert (chosen[:, 0] == (x[:, 0] < 0)).mean() > 0.93


def test_k_is_how_many_are_asked_and_the_answer_is_their_mean():
    x, y = problem()
    members = [GaussianNB().fit(x[:100] + shift, y[:100]) for shift in (0.0, 0.5, 1.0, 1.5)]
    model = SelectiveEnsembleClassifier(members, k=2, max_iter=30).fit(x[100:], y[100:])
    chosen = model.select(x)
    assert (chosen.sum(1) == 2).all()
    answers = np.stack([one.predict_proba(x) for one in members], 1)
    expected = (answers * chosen[:, :, None]).sum(1) / 2
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-5)
    assert SelectiveEnsembleClassifier(members, k=9, max_iter=2).fit(x, y).select(x).all()


def test_rows_of_the_members_are_not_those_of_the_selector():
    class Watched(LogisticRegression):
        def fit(self, x, y):
            type(self).seen = x
            return super().fit(x, y)

        def predict_proba(self, x):
            if not hasattr(type(self), "selector"):
                type(self).selector = x
            return super().predict_proba(x)

    x, y = problem(101)
    SelectiveEnsembleClassifier([Watched()], share=0.4, max_iter=1).fit(x, y)
    rows = {tuple(row) for row in Watched.seen}
    assert rows.isdisjoint({tuple(row) for row in Watched.selector})
    assert len(Watched.selector) == pytest.approx(40, abs=2)
    assert len(rows) + len(Watched.selector) == 101


def test_members_that_know_some_classes_only_are_lined_up():
    x = np.repeat(np.eye(3), 60, 0) + np.random.default_rng(0).normal(0, 0.1, (180, 3))
    y = np.repeat(["a", "b", "c"], 60)
    pairs = [GaussianNB().fit(x[y != out], y[y != out]) for out in "abc"]
    model = SelectiveEnsembleClassifier(pairs, k=1, max_iter=200).fit(x, y)
    assert model.score(x, y) > 0.95
    np.testing.assert_allclose(model.predict_proba(x).sum(1), 1)


def test_frozen_members_survive_a_clone():
    x, y = problem()
    frozen = FrozenEstimator(GaussianNB().fit(x[:100], y[:100]))
    model = clone(SelectiveEnsembleClassifier([frozen, frozen], max_iter=2)).fit(x[100:], y[100:])
    np.testing.assert_array_equal(model.members_[0].predict(x), frozen.predict(x))


def test_estimators_of_the_gradient_swap_and_the_seed_decides():
    x, y = problem()
    members = [Knows(-1), Knows(1)]
    make = lambda **options: SelectiveEnsembleClassifier(members, max_iter=20, **options).fit(x, y).scores(x)  # noqa: E731
    np.testing.assert_array_equal(make(random_state=3), make(random_state=3))
    assert np.abs(make() - make(estimator=Perturbed(1.0, 8, sampling="antithetic"))).max() > 0


def test_what_cannot_be_is_refused():
    x, y = problem()
    with pytest.raises(InputError, match="no member"):
        SelectiveEnsembleClassifier().fit(x, y)
    with pytest.raises(InputError, match="combine is unknown"):
        SelectiveEnsembleClassifier([GaussianNB()], combine="mean").fit(x, y)
    with pytest.raises(InputError, match="too few rows"):
        SelectiveEnsembleClassifier([GaussianNB()]).fit(x[:2], np.array([0, 1]))
