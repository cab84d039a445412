from dataclasses import replace

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from softwood.artifacts import Column
from softwood.trees._folds import fold_of_rows, folds_that_fit, held_out, make_groups
from softwood.trees._rows import Rows


@pytest.mark.parametrize("classes", [2, 3, None])
@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_are_equally_large_and_hold_the_same_share_of_each_class(make, classes, folds):
    rows = make.rows(n=203, classes=classes)
    fold = fold_of_rows(rows, folds, np.random.default_rng(0))
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in np.unique(rows.labels):
        sizes = np.bincount(fold[rows.labels == label], minlength=folds)
        assert sizes.max() - sizes.min() <= 1


def test_folds_are_random_and_follow_the_seed(make):
    rows = make.rows()
    first, again, other = (fold_of_rows(rows, 5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).mean() > 0.5
    assert (first[:-1] == first[1:]).mean() < 0.5


def test_groups_are_all_rows_and_all_but_each_fold(make):
    rows = make.rows()
    groups = make_groups(rows, 5, 2, np.random.default_rng(0))
    assert len(groups) == 11
    assert groups[0].active.all()
    for repeat in (groups[1:6], groups[6:]):
        assert (np.sum([~group.active for group in repeat], axis=0) == 1).all()
    assert len(make_groups(rows, 0, 0, np.random.default_rng(0))) == 1


def with_classes(make, counts):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    n = len(labels)
    return Rows(make.columns, make.table(0, n), labels, np.eye(len(counts))[labels], np.ones(n))


@pytest.mark.parametrize("counts", [[100, 1], [1, 1, 98], [3, 3, 3], [1, 1, 1, 1], [50, 50]])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_the_rows_set_aside_never_take_the_last_row_of_a_class(make, counts, share):
    rows = with_classes(make, counts)
    for seed in range(20):
        aside = held_out(rows, share, 1000, np.random.default_rng(seed))
        assert set(rows.labels[~aside]) == set(range(len(counts)))


@pytest.mark.parametrize("n", [100, 109, 157, 1000])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.4, 0.5])
@pytest.mark.parametrize("most", [7, 5000])
def test_at_most_the_share_and_at_most_the_limit_is_set_aside(make, n, share, most):
    rows = make.rows(n=n)
    aside = held_out(rows, share, most, np.random.default_rng(0))
    assert aside.sum() == min(int(share * n), most)
    counts = np.bincount(rows.labels)
    np.testing.assert_allclose(np.bincount(rows.labels[aside]), aside.mean() * counts, atol=1)


def test_no_share_sets_nothing_aside(make):
    assert not held_out(make.rows(), 0.0, 100, np.random.default_rng(0)).any()


# ---------------------------------------------------------------- whole groups


def in_groups(make, groups, n=400, classes=3, seed=0):
    """Return rows in groups of very different sizes, whose classes depend on the group."""
    rng = np.random.default_rng(seed)
    together = rng.choice(groups, n, p=rng.dirichlet(np.full(groups, 0.7)))
    rows = make.rows(n=n, classes=classes)
    labels = np.where(rng.random(n) < 0.6, together % classes, rows.labels).astype(np.int32)
    return replace(rows, labels=labels, targets=np.eye(classes)[labels], together=together)


def spread(fold, labels):
    """Return how unequal the folds are: the mean deviation of each class's share."""
    counts = np.array([np.bincount(labels[fold == f], minlength=labels.max() + 1) for f in range(fold.max() + 1)])
    return (counts / counts.sum(0)).std(0).mean()


@pytest.mark.parametrize("groups", [2, 3, 7, 40, 200])
@pytest.mark.parametrize("seed", range(3))
def test_no_group_is_on_both_sides_of_a_fold_or_of_the_hold_out(make, groups, seed):
    rows = in_groups(make, groups, seed=seed)
    present = len(np.unique(rows.together))
    folds, repeats = folds_that_fit(rows, 5, 2)
    assert folds == min(5, present)
    assert repeats == (1 if present <= 5 else 2)  # with one group a fold, each repeat would be the same
    made = make_groups(rows, folds, repeats, np.random.default_rng(seed))
    assert len(made) == 1 + folds * repeats
    for group in made[1:]:
        assert group.active.any()
        assert group.judged.any()
        assert not set(rows.together[group.active]) & set(rows.together[group.judged])
    aside = held_out(rows, 0.2, 5000, np.random.default_rng(seed))
    assert not set(rows.together[aside]) & set(rows.together[~aside])
    assert aside.any() == (present >= 3)
    assert len(np.unique(rows.together[~aside])) >= 2


def test_whole_groups_are_spread_about_as_well_as_by_scikit_learn(make):
    ours, theirs = [], []
    for seed in range(10):
        rows = in_groups(make, 60, seed=seed)
        ours.append(spread(fold_of_rows(rows, 5, np.random.default_rng(seed)), rows.labels))
        fold = np.empty(rows.n, int)
        other = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for index, (_, judged) in enumerate(other.split(rows.x, rows.labels, rows.together)):
            fold[judged] = index
        theirs.append(spread(fold, rows.labels))
    assert np.mean(ours) <= 1.2 * np.mean(theirs)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_about_the_share_is_set_aside_in_groups(make, share):
    rows = in_groups(make, 100, n=1000)
    aside = held_out(rows, share, 5000, np.random.default_rng(0))
    assert abs(aside.mean() - share) < 0.05
    assert abs(held_out(rows, share, 60, np.random.default_rng(0)).sum() - 60) < 30


def test_a_class_of_one_group_is_not_set_aside(make):
    rows = in_groups(make, 30)
    alone = rows.together == rows.together[0]
    labels = np.where(alone, 2, rows.labels % 2).astype(np.int32)
    rows = replace(rows, labels=labels, targets=np.eye(3)[labels])
    for seed in range(20):
        aside = held_out(rows, 0.4, 5000, np.random.default_rng(seed))
        assert not (aside & alone).any()
        assert not set(rows.together[aside]) & set(rows.together[~aside])


def test_one_group_cannot_be_divided(make):
    rows = replace(make.rows(), together=np.zeros(200, int))
    assert folds_that_fit(rows, 5, 2) == (0, 0)
    assert not held_out(rows, 0.3, 5000, np.random.default_rng(0)).any()


# ---------------------------------------------------------------- by time


@pytest.mark.parametrize("times", [2, 3, 4, 6, 50, 400])
def test_each_fold_is_judged_on_the_next_block_of_time(make, times):
    rng = np.random.default_rng(times)
    rows = replace(make.rows(n=400), time=np.unique(rng.integers(0, times, 400), return_inverse=True)[1])
    folds, repeats = folds_that_fit(rows, 5, 2)
    assert (folds, repeats) == (min(5, len(np.unique(rows.time)) - 1), 1)
    made = make_groups(rows, folds, repeats, rng)
    latest = -1
    for group in made[1:]:
        learned, judged = rows.time[group.active], rows.time[group.judged]
        assert len(learned)
        assert len(judged)
        assert learned.max() < judged.min()
        assert learned.max() > latest  # windows grow
        assert set(range(judged.min(), judged.max() + 1)) <= set(rows.time[group.judged])
        assert (group.active == (rows.time < judged.min())).all()
        latest = learned.max()
    assert made[-1].judged[rows.time == rows.time.max()].all()
    if times == 400:
        sizes = [group.judged.sum() for group in made[1:]]
        assert max(sizes) - min(sizes) < 20


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("times", [3, 10, 300])
def test_the_latest_rows_are_set_aside_and_ties_stay_together(make, share, times):
    rng = np.random.default_rng(0)
    rows = replace(make.rows(n=600), time=rng.integers(0, times, 600))
    aside = held_out(rows, share, 5000, rng)
    assert rows.time[aside].min() > rows.time[~aside].max()
    assert len(np.unique(rows.time[~aside])) >= 2
    if times == 300:
        assert abs(aside.mean() - share) < 0.01
    assert not held_out(replace(rows, time=rows.time % 2), share, 5000, rng).any()


def test_rows_keep_their_groups_and_times_when_some_are_taken(make):
    rows = replace(make.rows(), together=np.arange(200) // 3, time=np.arange(200))
    kept = rows.take(np.arange(200) % 2 == 0)
    assert kept.together.tolist() == (np.arange(0, 200, 2) // 3).tolist()
    assert kept.time.tolist() == list(range(0, 200, 2))
    prints = {replace(rows, **part).fingerprint for part in ({}, {"time": None}, {"together": None})}
    assert len(prints) == 3


def test_made_rows_are_learned_from_with_their_parents_and_judge_nothing():
    n = 40
    own = np.arange(n)
    parents = np.concatenate([np.column_stack([own, own]), [[0, 1], [5, 30], [-1, -1]]])
    labels = np.arange(n + 3) % 2
    rows = Rows(
        (Column("x", "number"),), np.arange(n + 3.0)[:, None], labels.astype(np.int32), np.eye(2)[labels],
        np.ones(n + 3), parents=parents,
    )  # fmt: skip
    groups = make_groups(rows, 5, 1, np.random.default_rng(0))
    assert groups[0].active.all()
    plain = make_groups(rows.take(np.arange(n + 3) < n), 5, 1, np.random.default_rng(0))
    for group, real in zip(groups[1:], plain[1:], strict=True):
        np.testing.assert_array_equal(group.active[:n], real.active)
        np.testing.assert_array_equal(group.judged[:n], real.judged)
        assert not group.judged[n:].any()
        expected = [real.active[0] & real.active[1], real.active[5] & real.active[30], True]
        assert group.active[n:].tolist() == expected
    kept = rows.take(np.arange(n + 3) != 1)  # one parent goes: the made row stays made
    assert kept.parents[-3:].tolist() == [[0, -1], [4, 29], [-1, -1]]
    assert len(plain[0].rows.parents) == 0
