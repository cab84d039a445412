import itertools

import numpy as np
import pytest

from softwood.artifacts import Column
from softwood.core import Budget
from softwood.kernels import tree_cost
from softwood.trees._convert import to_ensemble
from softwood.trees._dense_tree import (
    DenseTree,
    grown,
    hardening_steps,
    lightest_leaf,
    node_costs,
    node_statistics,
    polished,
    pruned,
    pruned_to,
    with_heavy_leaves,
)
from softwood.trees._rows import Group, Rows


def random_tree(rng, codec, depth, dead=0.1):
    inner = 2**depth - 1
    feature = rng.integers(0, codec.n_features, inner).astype(np.int32)
    cut = np.array([rng.integers(-1, codec.n_bins[f]) for f in feature], np.int32)
    feature[rng.random(inner) < dead] = -1
    return DenseTree(feature, cut, rng.random(inner) < 0.5)


def cost(tree, data):
    return tree_cost(data, tree.feature, tree.cut, tree.missing_left, tree.depth)


def subtrees(tree):
    """Yield every tree that comes from replacing inner nodes and all below them by a leaf."""
    inner = len(tree.feature)
    below = {node: [2 * node + 1, 2 * node + 2] for node in range(inner)}

    def killed(node):
        if node >= inner:
            return []
        return [node, *killed(below[node][0]), *killed(below[node][1])]

    live = np.flatnonzero(tree.feature >= 0)
    for count in range(len(live) + 1):
        for collapsed in itertools.combinations(live, count):
            feature = tree.feature.copy()
            for node in collapsed:
                feature[killed(int(node))] = -1
            yield DenseTree(feature, tree.cut, tree.missing_left)


def leaves_in_use(tree):
    """Count the leaves that some path of live tests leads to."""

    def count(node):
        if node >= len(tree.feature):
            return 1
        right = count(2 * node + 2) if tree.feature[node] >= 0 else 0
        return count(2 * node + 1) + right

    return count(0)


@pytest.mark.parametrize("criterion", ["gini", "entropy", "error", "squared"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("start", ["grown", "random"])
def test_pruning_finds_the_best_subtree_for_the_price(make, criterion, depth, start):
    shrunk = 0
    for seed in range(3):
        group = make.group(make.rows(seed, n=120, classes=None if criterion == "squared" else 3))
        data = group.problem(criterion, 1.0, 0.0)
        rng = np.random.default_rng(seed)
        tree = grown(data, depth) if start == "grown" else random_tree(rng, group.codec, depth)
        for price in (0.0, 0.5, 3.0, 20.0, 1e9):
            found = pruned(tree, node_costs(tree, data), price)
            options = [cost(other, data) + price * leaves_in_use(other) for other in subtrees(tree)]
            assert found.n_leaves == leaves_in_use(found)
            np.testing.assert_allclose(cost(found, data) + price * found.n_leaves, min(options), rtol=1e-9)
            shrunk += found.n_leaves < leaves_in_use(tree)
        assert pruned(tree, node_costs(tree, data), 1e9).n_leaves == 1
    assert shrunk >= 3


def test_pruning_a_root_leaves_nothing_below_it(make):
    group = make.group(make.rows())
    data = group.problem("gini", 1.0, 0.0)
    tree = pruned(grown(data, 3), node_costs(grown(data, 3), data), 1e9)
    assert (tree.feature == -1).all()
    assert (tree.leaf_of(group.codes) == 0).all()


@pytest.mark.parametrize("leaves", [1, 2, 3, 5, 16])
def test_pruning_to_a_size_keeps_to_it_and_leaves_smaller_trees_alone(make, leaves):
    for seed in range(3):
        group = make.group(make.rows(seed, n=300, classes=3))
        data = group.problem("entropy", 1.0, 1.0)
        tree = polished(grown(data, 4), data)
        found = pruned_to(tree, node_costs(tree, data), leaves)
        assert found.n_leaves == leaves_in_use(found) <= leaves
        if tree.n_leaves <= leaves:
            assert found is tree
        assert cost(found, data) >= cost(tree, data) - 1e-9 or leaves >= tree.n_leaves


@pytest.mark.parametrize("least", [15, 40])
def test_repair_leaves_no_light_leaf_and_changes_nothing_else(make, least):
    repaired = 0
    for seed in range(10):
        group = make.group(make.rows(seed, n=200, classes=3))
        data = group.problem("entropy", float(least), 1.0)
        tree = polished(grown(data, 4), data, np.random.default_rng(0), 10)
        better = with_heavy_leaves(tree, data, least)
        weight = better.statistics(data)[:, 0]
        assert weight[weight > 0].min() >= least
        assert lightest_leaf(better, data) >= least
        if lightest_leaf(tree, data) >= least:
            np.testing.assert_array_equal(better.feature, tree.feature)
        else:
            repaired += 1
            assert 1 <= better.n_leaves < tree.n_leaves
    assert repaired


def test_a_lifted_subtree_takes_the_place_of_its_parent():
    # the root sends one row of ten left: what tests feature 1 below takes its place, with its own children
    codes = np.array([[0] + [1] * 9, [0, 1] * 5, [1, 0, 0, 0, 0, 1, 1, 1, 1, 1]], np.uint8)
    columns = tuple(Column(name, "number") for name in "abc")
    rows = Rows(columns, codes.T.astype(float), np.zeros(10, np.int32), np.ones((10, 1)), np.ones(10))
    data = Group(rows, np.ones(10, bool)).problem("gini", 1.0, 0.0)
    tree = DenseTree(
        np.array([0, -1, 1, -1, -1, 2, -1], np.int32), np.zeros(7, np.int32), np.zeros(7, bool)
    )  # fmt: skip
    lifted = with_heavy_leaves(tree, data, 2)
    np.testing.assert_array_equal(lifted.feature, [1, 2, -1, -1, -1, -1, -1])


def test_leaves_are_counted_where_a_row_can_go():
    tree = DenseTree(np.array([-1, 0, 0], np.int32), np.zeros(3, np.int32), np.zeros(3, bool))
    assert tree.n_leaves == leaves_in_use(tree) == 2


def test_statistics_of_a_node_are_those_of_its_rows(make):
    group = make.group(make.rows(weighted=True), np.arange(200) % 4 > 0)
    data = group.problem("gini", 1.0, 0.0)
    tree = grown(data, 3)
    leaf = tree.leaf_of(group.codes)
    for level, stats in enumerate(node_statistics(tree, data)):
        node = leaf >> (3 - level)
        for index, row in enumerate(stats):
            mask = (node == index) & data.active
            expected = [data.weight[mask].sum(), *(data.weight[mask] @ group.rows.targets[mask])]
            np.testing.assert_allclose(row, expected, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3, None])
def test_hardening_steps_lower_the_loss_and_obey_the_budget(make, classes):
    group = make.group(make.rows(classes=classes))
    data = group.problem("entropy" if classes else "squared", 1.0, 1.0 if classes else 0.0)
    plain = random_tree(np.random.default_rng(0), group.codec, 3, dead=0)
    steps = list(hardening_steps(plain, data, Budget(4 * len(data.prior), "leaf values")))
    names = [name for name, _, _ in steps]
    assert len(steps) == 3
    assert cost(steps[1][1], data) <= cost(plain, data)
    assert steps[2][1].n_leaves <= 4, names
    for _, tree, values in steps:
        np.testing.assert_allclose(values, tree.values(data, data.smoothing))
    assert len(list(hardening_steps(plain, data, None))) == 2


# ---------------------------------------------------------------- to the artefact


def shipped(tree, group, values=None, strength=1.0, **options):
    data = group.problem("gini", 0.0, strength)
    values = tree.values(data, strength) if values is None else values
    counts = tree.statistics(data)[:, 0]
    names = [f"y{k}" for k in range(values.shape[1])]
    return (
        values,
        counts,
        to_ensemble(tree, group.codec, values, counts, outputs=names, link="identity", classes=None, **options),
    )


@pytest.mark.parametrize("depth", [1, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_artefact_answers_every_training_row_as_the_complete_tree_does(make, depth, seed):
    rows = make.rows(seed, n=300, classes=3, weighted=True)
    group = make.group(rows, np.random.default_rng(seed).random(300) < 0.8)
    tree = random_tree(np.random.default_rng(seed), group.codec, depth)
    values, counts, model = shipped(tree, group)
    seen = group.active & (counts[tree.leaf_of(group.codes)] > 0)
    frame = rows.x[seen]
    np.testing.assert_array_equal(model.raw_encoded(frame), values[tree.leaf_of(group.codes)][seen])
    np.testing.assert_allclose(model.counts.sum(), rows.weight[group.active].sum())
    assert (model.counts > 0).all()
    reached = np.bincount(model.apply_encoded(frame)[:, 0], weights=rows.weight[seen], minlength=model.n_leaves)
    np.testing.assert_allclose(reached, model.counts)
    assert model.columns == make.columns
    assert model.n_leaves <= 2**depth


def test_a_category_is_tested_by_its_set_of_levels(make):
    rows = make.rows(n=300, missing=0.0)
    group = make.group(rows)
    feature = next(i for i, f in enumerate(group.codec.features) if f.column == 2)
    tree = DenseTree(np.array([feature], np.int32), np.array([1], np.int32), np.array([False]))
    _, _, model = shipped(tree, group)
    left = np.array(model.columns[2].levels)[model.levels_left[0]]
    assert len(left) == 2
    assert set(left) == set(np.array(["u", "v", "w", "x"])[group.codec.features[feature].level_bin <= 1])


def test_leaves_of_equal_values_are_merged_and_unreached_sides_dropped(make):
    group = make.group(make.rows(n=300, missing=0.0))
    tree = DenseTree(np.array([0, 1, 1], np.int32), np.array([50, 3, 3], np.int32), np.zeros(3, bool))
    values = np.array([[1.0], [1.0], [2.0], [3.0]])
    _, _, model = shipped(tree, group, values)
    assert model.values[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert model.counts.sum() == 300
    same = np.ones((4, 1))
    assert shipped(tree, group, same)[2].n_leaves == 1
    never = DenseTree(tree.feature, np.array([50, -1, 3], np.int32), tree.missing_left)
    assert shipped(never, group, np.array([[7.0], [1.0], [2.0], [3.0]]))[2].values[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_a_side_that_no_row_reaches_stays_where_every_leaf_was_trained(make):
    group = make.group(make.rows(n=300, missing=0.0))
    never = DenseTree(np.array([0], np.int32), np.array([-1], np.int32), np.zeros(1, bool))
    values = np.array([[7.0], [1.0]])
    model = shipped(never, group, values, drop_unreached=False)[2]
    assert model.values[:, 0].tolist() == [7.0, 1.0]
    assert model.counts.tolist() == [0, 300]


def test_a_tree_without_tests_is_one_leaf(make):
    group = make.group(make.rows())
    tree = DenseTree(np.full(7, -1, np.int32), np.zeros(7, np.int32), np.zeros(7, bool))
    _, counts, model = shipped(tree, group)
    assert (model.n_leaves, model.depth, model.counts.tolist()) == (1, 0, [counts.sum()])


def test_a_test_of_missing_against_present_is_exact_for_every_number(make):
    columns = (Column("a", "number"),)
    from softwood.trees._rows import Rows

    x = np.array([[1.0], [5.0], [np.nan], [np.nan]])
    labels = np.array([0, 0, 1, 1], np.int32)
    group = make.group(Rows(columns, x, labels, np.eye(2)[labels], np.ones(4)))
    tree = grown(group.problem("gini", 1.0, 0.0), 1)
    _, _, model = shipped(tree, group, strength=0.0)
    beyond = np.array([[-1e300], [1e300], [3.0], [np.nan]])
    assert model.predict(beyond).tolist() == [[1, 0], [1, 0], [1, 0], [0, 1]]
