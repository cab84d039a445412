from __future__ import annotations

import numpy as np
import pytest

from softwood.kernels import leaf_indices, pack, raw_scores
from softwood.kernels._layout import BY_LEVELS, BY_NODES, BY_TESTS

LEVELS = 4


def random_forest(rng, trees, depth, *, columns, category, complete, oblivious=False, outputs=1):
    """Return the arguments of ``pack``; the last column is a category where asked for."""
    nodes, sets, roots = [], [], []
    leaves = 0
    same = []

    def test():
        feature = int(rng.integers(columns))
        is_category = category and feature == columns - 1
        if is_category:
            sets.append(rng.random(LEVELS) < 0.5)
        threshold = np.nan if is_category else float(rng.integers(0, LEVELS))
        return feature, threshold, bool(rng.random() < 0.5), len(sets) - 1 if is_category else -1

    def grow(level):
        nonlocal leaves
        index = len(nodes)
        nodes.append(None)
        if level == depth or (not complete and rng.random() < 0.3):
            nodes[index] = (-1, np.nan, False, 0, 0, -1, leaves)
            leaves += 1
            return index
        feature, threshold, missing_left, level_set = same[level] if oblivious else test()
        nodes[index] = (feature, threshold, missing_left, grow(level + 1), grow(level + 1), level_set, -1)
        return index

    for _ in range(trees):
        same = [test() for _ in range(depth)]
        roots.append(grow(0))
    feature, threshold, missing_left, left, right, level_set, leaf = map(np.array, zip(*nodes, strict=True))
    return (
        feature, threshold, missing_left, left, right, level_set, np.array(sets, bool).reshape(-1, LEVELS), leaf,
        rng.normal(size=(leaves, outputs)), np.array(roots), rng.normal(size=outputs),
    )  # fmt: skip


def added_up(x, arrays):
    """Return the sum by the leaves that ``leaf_indices`` finds, added in the order of the trees."""
    *walk, leaf, values, roots, base = arrays
    leaves = leaf_indices(x, *walk, leaf, roots)
    total = np.tile(base, (len(x), 1))
    for tree in range(len(roots)):
        total += values[leaves[:, tree]]
    return total


SHAPES = {
    "numbers": {"category": False, "complete": False},
    "complete": {"category": False, "complete": True},
    "oblivious": {"category": False, "complete": True, "oblivious": True},
    "categories": {"category": True, "complete": False},
    "oblivious with categories": {"category": True, "complete": True, "oblivious": True},
}


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("trees", "rows", "outputs"), [(1, 1, 1), (3, 700, 3), (12, 256, 1), (12, 257, 2)])
def test_scores_equal_the_leaves_added_up(shape, missing, trees, rows, outputs):
    rng = np.random.default_rng(trees * rows)
    arrays = random_forest(rng, trees, 5, columns=4, outputs=outputs, **SHAPES[shape])
    x = rng.integers(0, LEVELS, (rows, 4)).astype(float)  # whole numbers: many lie exactly on a threshold
    x[rng.random(x.shape) < missing] = np.nan
    found = raw_scores(x, pack(*arrays))
    np.testing.assert_array_equal(found, added_up(x, arrays))
    assert rows == 1 or len(np.unique(found)) > 5


@pytest.mark.parametrize(
    ("shape", "depth", "way"),
    [("numbers", 5, BY_TESTS), ("categories", 6, BY_TESTS), ("oblivious with categories", 6, BY_TESTS),
     ("oblivious", 7, BY_LEVELS), ("complete", 7, BY_NODES), ("oblivious with categories", 7, BY_NODES)],
)  # fmt: skip
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_each_way_leads_to_the_same_leaves(shape, depth, way, missing, rows):
    rng = np.random.default_rng(depth)
    arrays = random_forest(rng, 9, depth, columns=1 if "with" in shape else 4, **SHAPES[shape])
    packed = pack(*arrays)
    assert (packed.trees["way"] == way).all()
    x = rng.integers(0, LEVELS, (rows, 4)).astype(float)
    x[rng.random(x.shape) < missing] = np.nan
    np.testing.assert_array_equal(raw_scores(x, packed), added_up(x, arrays))


def test_an_oblivious_tree_is_asked_one_test_a_level():
    for category in (False, True):
        rng = np.random.default_rng(1)
        packed = pack(*random_forest(rng, 20, 4, columns=5, category=category, complete=True, oblivious=True))
        assert packed.trees["tests"].max() == 4
        assert packed.trees["tests"].min() >= 1
    arrays = random_forest(np.random.default_rng(1), 1, 6, columns=500, category=False, complete=True)
    tree = pack(*arrays).trees[0]
    assert tree["leaves"] == 64
    assert tree["tests"] == len({*zip(*[part[arrays[0] >= 0] for part in arrays[:3]], strict=True)}) > 60


def test_an_oblivious_tree_without_its_dead_branches_still_asks_few_tests():
    #        x0 <= 1           a row above 1 is above 0 as well: on the right the second level is gone
    #     x0 <= 0   x1 <= 2
    # x1 <= 2  x1 <= 2
    feature = np.array([0, 0, 1, 1, 1, -1, -1, -1, -1, -1, -1])
    threshold = np.array([1.0, 0, 2, 2, 2, *[np.nan] * 6])
    left = np.array([1, 3, 5, 7, 9, *[0] * 6])
    leaf = np.array([-1] * 5 + [0, 1, 2, 3, 4, 5])
    arrays = (
        feature, threshold, feature > 9, left, left + 1, np.full(11, -1), np.zeros((0, 0), bool), leaf,
        np.arange(6.0)[:, None], np.zeros(1, int), np.zeros(1),
    )  # fmt: skip
    packed = pack(*arrays)
    assert packed.trees["tests"].tolist() == [3]
    x = np.random.default_rng(0).integers(0, 4, (200, 2)).astype(float)
    np.testing.assert_array_equal(raw_scores(x, packed), added_up(x, arrays))


def test_levels_that_differ_only_in_the_missing_direction_are_not_one_test():
    rng = np.random.default_rng(0)
    for depth, way in ((2, BY_TESTS), (7, BY_NODES)):
        arrays = list(random_forest(rng, 1, depth, columns=1, category=False, complete=True, oblivious=True))
        inner = np.flatnonzero(arrays[0] >= 0)
        arrays[2] = np.isin(np.arange(len(arrays[0])), inner[-1:])  # of the lowest nodes only one
        packed = pack(*arrays)
        assert packed.trees["way"][0] == way
        assert depth > 2 or packed.trees["tests"][0] == len({*zip(arrays[1][inner], arrays[2][inner], strict=True)})
        x = np.tile([[np.nan], [0.0], [3.0]], (100, 1))
        np.testing.assert_array_equal(raw_scores(x, packed), added_up(x, arrays))


def test_outputs_that_are_zero_in_a_tree_are_left_out():
    arrays = list(random_forest(np.random.default_rng(2), 6, 3, columns=3, outputs=3, **SHAPES["complete"]))
    owner = np.repeat(np.arange(6), 8) % 3
    arrays[8] = np.where(np.arange(3) == owner[:, None], arrays[8], 0.0)
    arrays[8][:8] = 0.0  # one tree of zeros only
    packed = pack(*arrays)
    assert packed.trees["output"].tolist() == [0, 1, 2, 0, 1, 2]
    x = np.random.default_rng(0).integers(0, LEVELS, (100, 3)).astype(float)
    np.testing.assert_array_equal(raw_scores(x, packed), added_up(x, arrays))


def test_no_rows_no_trees_and_single_leaves():
    arrays = random_forest(np.random.default_rng(0), 2, 3, columns=2, category=False, complete=True)
    assert raw_scores(np.zeros((0, 2)), pack(*arrays)).shape == (0, 1)
    assert (
        raw_scores(np.zeros((3, 2)), pack(*arrays[:-2], np.zeros(0, int), arrays[-1])).tolist() == [[arrays[-1][0]]] * 3
    )
    single = random_forest(np.random.default_rng(0), 3, 0, columns=1, category=False, complete=True)
    np.testing.assert_array_equal(
        raw_scores(np.full((2, 1), np.nan), pack(*single)), added_up(np.zeros((2, 1)), single)
    )
