import numpy as np
import pytest
from sklearn.datasets import load_wine

from softwood.artifacts import Column
from softwood.trees import TreeClassifier
from softwood.trees._candidates import Effort, Setting, kick_candidates, taught_candidates
from softwood.trees._rows import Group, Rows
from softwood.trees._teacher import taught


def group_of(make, classes, **options):
    return make.group(make.rows(n=150, classes=classes, **options))


@pytest.mark.parametrize("classes", [3, None])
def test_real_rows_come_first_and_made_ones_weigh_four_times_as_much(make, classes):
    group = group_of(make, classes)
    real = group.problem("entropy" if classes else "squared", 5.0, 0.0)
    data = taught(group, real, 5, 0)
    n = int(real.active.sum())
    assert np.array_equal(data.codes[:, :n], real.codes[:, real.active])
    assert data.weight[n:].sum() == pytest.approx(4 * data.weight[:n].sum())
    assert len(data.weight) == n + 1_000
    assert data.active.all()


def test_a_made_row_holds_only_codes_of_real_rows_in_each_column(make):
    group = group_of(make, 3)
    real = group.problem("entropy", 5.0, 0.0)
    data = taught(group, real, 5, 0)
    for made, seen in zip(data.codes, real.codes, strict=True):
        assert set(made) <= set(seen)


def test_the_orders_of_one_category_column_stay_together():
    random = np.random.default_rng(0)
    x = random.integers(0, 8, (300, 1)).astype(float)
    labels = ((x[:, 0] * 7) % 3).astype(np.int32)
    column = Column("c", "category", tuple("abcdefgh"))
    group = Group(Rows((column,), x, labels, np.eye(3)[labels], np.ones(300)), np.ones(300, bool))
    assert group.codec.n_features > 1
    data = taught(group, group.problem("entropy", 1.0, 0.0), 5, 0)
    real = {tuple(codes) for codes in group.codes.T}
    assert {tuple(codes) for codes in data.codes.T} <= real


def test_what_is_held_out_does_not_teach(make):
    rows = make.rows(n=150, classes=3)
    active = np.arange(150) < 100
    group = Group(rows, active)
    before = taught(group, group.problem("entropy", 5.0, 0.0), 5, 0)
    labels = rows.labels.copy()
    labels[~active] = (labels[~active] + 1) % 3
    other = Group(Rows(rows.columns, rows.x, labels, np.eye(3)[labels], rows.weight), active)
    after = taught(other, other.problem("entropy", 5.0, 0.0), 5, 0)
    assert np.array_equal(before.labels, after.labels)
    assert np.array_equal(before.codes, after.codes)


def test_a_taught_tree_errs_less_than_one_of_few_rows():
    """Half of scikit-learn's wines, six times: the forest knows more than 89 rows tell one tree."""
    x, y = load_wine(return_X_y=True)
    columns = tuple(Column(f"x{i}", "number") for i in range(x.shape[1]))
    right = np.zeros(2)
    for seed in range(6):
        train = np.random.default_rng(seed).permutation(len(y)) < len(y) // 2
        labels = y[train].astype(np.int32)
        group = Group(Rows(columns, x[train], labels, np.eye(3)[labels], np.ones(len(labels))), np.ones(89, bool))
        codes = group.codec.transform(x[~train])
        for place, find in enumerate((kick_candidates, taught_candidates)):
            setting = Setting("kicks", "entropy", 5.0)
            tree = find([group], [setting], 4, 1, Effort(kicks=20), seed)[0].trees[0]
            values = group.values(tree, "entropy", 1.0)
            right[place] += (values[tree.leaf_of(codes)].argmax(1) == y[~train]).mean() / 6
    assert right[1] > right[0] + 0.01


def test_a_taught_tree_can_ship():
    """The record names the search, and its out-of-fold losses stand beside the others'."""
    x = np.random.default_rng(0).normal(size=(200, 3))
    model = TreeClassifier(max_depth=2, effort=0.05, n_jobs=1).fit(x, (x.sum(1) > 0).astype(int))
    assert "teacher" in {trial["search"] for trial in model.record_["trials"]}
