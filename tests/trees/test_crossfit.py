import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris, load_wine

from softwood.trees import ForestClassifier, TreeClassifier, TreeRegressor
from softwood.trees._crossfit import FOLDS, Stitched, crossfit
from softwood.trees._rows import Rows

QUICK = {"max_depth": 3, "effort": 0.05, "n_jobs": 1}


def noise(n=120):
    random = np.random.default_rng(0)
    return random.normal(size=(n, 6)), random.integers(0, 2, n)


@pytest.mark.parametrize("kind", [TreeClassifier, ForestClassifier])
def test_the_score_of_a_small_table_is_honest(kind):
    """Labels that no column tells: what ships remembers them, the certificate does not."""
    x, y = noise()
    model = kind(effort=0.05, n_jobs=1).fit(x, y)
    assert model.certificate_.n == model.record_["crossfitted_rows"] == 120
    assert "each answered by one of 5 models fitted in the same way without it" in model.certificate_.rows
    assert any("the very model that ships" in limit for limit in model.certificate_.not_covered)
    assert model.certificate_.score.value < 0.65
    optimistic = kind(effort=0.05, n_jobs=1, holdout=0.0).fit(x, y)
    assert "crossfitted_rows" not in optimistic.record_
    assert optimistic.certificate_.score.value >= model.certificate_.score.value


def test_what_ships_has_learned_from_all_rows_and_is_the_same_as_without_a_certificate():
    x, y = load_wine(return_X_y=True)
    model = TreeClassifier(**QUICK).fit(x, y)
    assert model.record_["rows"] == len(y)
    assert model.artifact_ == TreeClassifier(**QUICK, holdout=0.0).fit(x, y).artifact_


def test_a_share_that_was_asked_for_is_held_out_of_small_tables_too():
    x, y = load_iris(return_X_y=True)
    model = TreeClassifier(**QUICK, holdout=0.2).fit(x, y)
    assert model.certificate_.n == model.record_["held_out_rows"] == 30


@pytest.mark.parametrize("n", [299, 300])
def test_from_three_hundred_rows_on_a_tenth_is_held_out(n):
    x, y = noise(n)
    model = TreeClassifier(max_depth=1, effort=0.01, n_jobs=1).fit(x, y)
    assert model.certificate_.n == (299 if n == 299 else 30)


def test_each_row_is_answered_by_the_model_that_has_not_seen_it():
    x, y = load_iris(return_X_y=True)
    model = TreeClassifier(**QUICK).fit(x, y)
    data = model._table(x, y).weighted(None)
    rows = model._class_rows(data)
    found = crossfit(model, data, rows, 0)
    assert found.folds == FOLDS
    assert found.shipped.answers.shape == (150, 3)
    np.testing.assert_allclose(found.shipped.answers.sum(1), 1.0)
    # a label that only one row has is unknown to the model that answers that row
    lone = y.copy()
    lone[7] = 9
    data = model._table(x, lone).weighted(None)
    model.classes_ = np.unique(lone)
    found = crossfit(model, data, model._class_rows(data), 0)
    assert found.shipped.answers[7, 3] == 0.0
    assert found.shipped.answers[:, 3].max() > 0.0 or len(set(lone)) == 4


def test_groups_stay_whole_in_the_folds():
    together = np.repeat(np.arange(8), 15)
    labels = np.array([0, 1, 1, 0, 0, 1, 0, 1])[together]
    leaky = np.column_stack([noise()[0], together])
    honest = TreeClassifier(**QUICK).fit(leaky, labels, groups=together).certificate_
    fooled = TreeClassifier(**QUICK).fit(leaky, labels).certificate_
    assert honest.score.value < 0.7 < fooled.score.value


def test_tables_come_as_frames_and_targets_as_values():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=90), "c": random.choice(["u", "v", "w"], 90)})
    y = frame["a"].to_numpy() + (frame["c"] == "v")
    certificate = TreeRegressor(**QUICK).fit(frame, y).certificate_
    assert certificate.n == 90
    assert 0.2 < certificate.score.value < 1.0


def test_later_rows_are_never_answered_by_models_that_know_them_and_not_the_earlier_ones():
    x, y = noise()
    model = TreeClassifier(**QUICK).fit(x, y, time=np.arange(120))
    assert "the latest" in model.certificate_.rows


def test_rows_that_a_fold_would_leave_with_one_class_are_not_divided():
    x = noise(30)[0]
    rows = Rows((), x, np.array([1] + [0] * 29, np.int32), np.eye(2)[[1] + [0] * 29], np.ones(30))
    learner = TreeClassifier(**QUICK)
    assert crossfit(learner, None, rows, 0) is None


def test_a_stitched_model_answers_what_it_was_given():
    answers, banded = np.arange(3.0), np.array([True, False, True])
    stitched = Stitched(answers, banded)
    assert stitched(None) is answers
    assert stitched.in_band(None) is banded
