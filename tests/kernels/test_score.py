from __future__ import annotations

import numpy as np
import pytest

from softwood.kernels import leaf_indices, pack, raw_scores

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


def test_each_kind_of_tree_is_recognised():
    for shape, settings in SHAPES.items():
        packed = pack(*random_forest(np.random.default_rng(1), 6, 5, columns=3, **settings))
        assert packed.plain.all() == (not settings["category"])
        if settings.get("oblivious"):
            np.testing.assert_array_equal(packed.oblivious, packed.plain)
        else:
            assert not packed.oblivious.all(), shape


def test_levels_that_differ_only_in_the_missing_direction_are_not_one_test():
    rng = np.random.default_rng(0)
    arrays = list(random_forest(rng, 1, 2, columns=1, category=False, complete=True, oblivious=True))
    inner = np.flatnonzero(arrays[0] >= 0)
    arrays[2] = np.isin(np.arange(len(arrays[0])), inner[2:])  # of the two lower nodes only one
    x = np.array([[np.nan], [0.0], [3.0]])
    packed = pack(*arrays)
    assert not packed.oblivious.any()
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
