"""Fits that divide rows by groups or by time: honest where a random division is not."""

import numpy as np
import pandas as pd
import pytest

from softwood.core import InputError
from softwood.trees import ForestClassifier, ForestRegressor, TreeClassifier, TreeRegressor
from softwood.trees._rows import Group, Rows
from softwood.trees._select import judged_weight, paired_difference

LEARNERS = {
    "tree": TreeClassifier(max_depth=5, effort=0.02, n_jobs=1, holdout=0.2),
    "forest": ForestClassifier(budget=64, effort=0.05, n_jobs=1, holdout=0.2),
}
REGRESSORS = {
    "tree": TreeRegressor(max_depth=5, effort=0.02, n_jobs=1, holdout=0.2),
    "forest": ForestRegressor(budget=64, effort=0.05, n_jobs=1, holdout=0.2),
}


def leaky_groups(n=900, groups=30, seed=0):
    """Return a table in which the group alone decides the class, and one column tells the groups apart."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, n)
    x = np.column_stack([rng.permutation(groups)[group] + rng.random(n) / 2, rng.normal(size=n)])
    return x, rng.permutation(np.arange(groups) % 2)[group], group


def drifting(n=1200, seed=0):
    """Return a table in which the answer turns into its contrary late."""
    rng = np.random.default_rng(seed)
    time = rng.random(n)
    x = rng.random((n, 2))
    return x, ((x[:, 0] > 0.5) ^ (time > 0.8)).astype(int), time


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_leak_through_groups_shows_in_the_score_only_if_groups_are_given(kind):
    x, y, group = leaky_groups()
    fooled = LEARNERS[kind].fit(x, y).certificate_
    honest = LEARNERS[kind].fit(x, y, groups=group)
    assert fooled.score.value > 0.9
    assert honest.certificate_.score.value < 0.7
    assert "whole groups" in honest.certificate_.rows
    assert any("too narrow for groups" in limit for limit in honest.certificate_.not_covered)
    assert honest.record_["split"].startswith("by group: 30 groups")
    assert LEARNERS[kind].fit(x, y).record_["split"] == "at random"


@pytest.mark.parametrize("kind", LEARNERS)
def test_drift_shows_in_the_score_only_if_the_time_is_given(kind):
    x, y, time = drifting()
    fooled = LEARNERS[kind].fit(x, y).certificate_
    stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.round(time * 1e6), unit="s")
    honest = LEARNERS[kind].fit(x, y, time=stamps)
    assert fooled.score.value > 0.68
    assert honest.certificate_.score.value < 0.3
    assert honest.certificate_.rows.startswith("the latest 240 rows")
    assert honest.record_["folds"] == [5, 1]
    assert honest.record_["split"].startswith("by time: ")


@pytest.mark.parametrize("kind", REGRESSORS)
def test_regressions_are_divided_too(kind):
    x, y, group = leaky_groups()
    y = y + np.random.default_rng(0).normal(size=len(y)) / 10
    fooled = REGRESSORS[kind].fit(x, y).certificate_
    honest = REGRESSORS[kind].fit(x, y, groups=group).certificate_
    assert fooled.score.value > 0.5 > 0.3 > honest.score.value
    latest = REGRESSORS[kind].fit(x, y, time=np.arange(len(y)))
    assert latest.certificate_.rows == "the latest 180 rows, held out from training and selection"
    assert latest.certificate_.loss_shipped == pytest.approx(((latest.predict(x[-180:]) - y[-180:]) ** 2).mean())


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_few_groups_give_few_folds(groups):
    x, y = drifting(n=200)[:2]
    model = LEARNERS["tree"].fit(x, y, groups=np.arange(200) % groups)
    left = groups - (groups > 2)  # of three and more one is set aside
    assert model.record_["folds"] == [left, 1]
    assert (model.record_["held_out_rows"] > 0) == (groups > 2)


def test_rows_of_weight_zero_leave_with_their_group_and_time():
    x, y, group = leaky_groups()
    weight = (group != 3).astype(float)
    with_zeros = LEARNERS["tree"].fit(x, y, weight, groups=group)
    without = LEARNERS["tree"].fit(x[group != 3], y[group != 3], weight[group != 3], groups=group[group != 3])
    assert with_zeros.artifact_ == without.artifact_
    assert with_zeros.certificate_ == without.certificate_


def test_a_class_that_comes_late_is_no_reason_to_fail():
    x, y, _ = drifting(n=400)
    labels = np.where(np.arange(400) > 380, "late", np.where(y, "one", "two"))
    model = LEARNERS["tree"].fit(x, labels, time=np.arange(400))
    assert set(model.classes_) == {"late", "one", "two"}
    assert model.predict_proba(x)[:, 0].max() < 0.1  # it was only seen in the certificate
    early = LEARNERS["tree"].fit(x, np.where(np.arange(400) > 300, "b", "a"), time=np.arange(400))
    assert early.certificate_.score.value == 0
    only = LEARNERS["tree"].fit(x, np.where(np.arange(400) >= 320, "b", "a"), time=np.arange(400))
    assert set(only.predict(x)) == {"a"}  # all that was learned from is of one class


def test_groups_and_time_exclude_each_other():
    x, y, group = leaky_groups(n=200)
    with pytest.raises(InputError, match="both groups and time"):
        LEARNERS["tree"].fit(x, y, groups=group, time=group)
    with pytest.raises(InputError, match="the table and the group differ in length"):
        LEARNERS["tree"].fit(x, y, groups=group[1:])


# ---------------------------------------------------------------- what is never judged


def test_rows_that_no_fold_is_judged_on_weigh_nothing():
    rows = Rows((), np.zeros((6, 0)), np.zeros(0, np.int32), np.zeros((6, 1)), np.arange(1.0, 7.0))
    first = np.arange(6) < 2
    groups = [Group(rows, np.ones(6, bool))]
    groups += [Group(rows, np.arange(6) < k, np.arange(6) // 2 == k // 2) for k in (2, 4)]
    assert judged_weight(groups).tolist() == [0.0, 0.0, 3.0, 4.0, 5.0, 6.0]
    difference = np.where(first, 100.0, 1.0)
    assert paired_difference(difference, judged_weight(groups)) == (1.0, 0.0)
    assert judged_weight(groups[:1]).tolist() == rows.weight.tolist()


def test_the_standard_error_of_whole_groups_is_that_of_their_means():
    rng = np.random.default_rng(0)
    together = np.repeat(np.arange(25), 4)
    difference = rng.normal(size=25)[together]  # rows of one group are all alike: 25 values, not 100
    mean, error = paired_difference(difference, np.ones(100), together)
    means = difference[::4]
    assert mean == pytest.approx(means.mean())
    assert error == pytest.approx(means.std(ddof=1) / 5)
    alone = paired_difference(difference, np.ones(100), np.arange(100))
    assert alone == pytest.approx(paired_difference(difference, np.ones(100)))
