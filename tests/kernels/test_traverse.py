import numpy as np
import pytest

from softwood.kernels import leaf_indices

LEVELS = 4


def random_forest(rng, trees, depth, columns):
    """Return flat arrays of random trees; the last column is a category with ``LEVELS`` levels."""
    nodes, sets, roots = [], [], []
    leaves = 0

    def grow(level):
        nonlocal leaves
        index = len(nodes)
        nodes.append(None)
        if level == depth or rng.random() < 0.2:
            nodes[index] = (-1, np.nan, False, 0, 0, -1, leaves)
            leaves += 1
            return index
        feature = int(rng.integers(columns))
        level_set, threshold = -1, float(rng.integers(0, 5))
        if feature == columns - 1:
            level_set, threshold = len(sets), np.nan
            sets.append(rng.random(LEVELS) < 0.5)
        nodes[index] = (feature, threshold, bool(rng.random() < 0.5), grow(level + 1), grow(level + 1), level_set, -1)
        return index

    for _ in range(trees):
        roots.append(grow(0))
    feature, threshold, missing_left, left, right, level_set, leaf = (
        np.array(part) for part in zip(*nodes, strict=True)
    )
    levels_left = np.array(sets, bool).reshape(-1, LEVELS)
    return feature, threshold, missing_left, left, right, level_set, levels_left, leaf, np.array(roots)


def walk(row, feature, threshold, missing_left, left, right, level_set, levels_left, leaf, root):
    node = root
    while feature[node] >= 0:
        value = row[feature[node]]
        if value != value:
            goes_left = missing_left[node]
        elif level_set[node] >= 0:
            goes_left = levels_left[level_set[node]][int(value)]
        else:
            goes_left = value <= threshold[node]
        node = left[node] if goes_left else right[node]
    return leaf[node]


@pytest.mark.parametrize("seed", range(5))
def test_every_row_reaches_the_leaf_that_a_plain_walk_reaches(seed):
    rng = np.random.default_rng(seed)
    forest = random_forest(rng, trees=4, depth=5, columns=4)
    x = rng.integers(0, 5, (200, 4)).astype(float)  # integers: many values lie exactly on a threshold
    x[:, 3] = rng.integers(0, LEVELS, 200)
    x[rng.random(x.shape) < 0.15] = np.nan
    found = leaf_indices(x, *forest)
    expected = [[walk(row, *forest[:-1], root) for root in forest[-1]] for row in x]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 10


def test_a_value_on_the_threshold_goes_left_and_its_neighbour_right():
    inner, leaf = np.array([0, -1, -1]), np.array([-1, 0, 1])
    none = np.full(3, -1)
    for threshold in (0.1, 16.8, -3.0, 1e300, 5e-324):
        x = np.array([[threshold], [np.nextafter(threshold, np.inf)], [np.nextafter(threshold, -np.inf)]])
        found = leaf_indices(
            x, inner, np.full(3, threshold), np.zeros(3, bool), np.array([1, 0, 0]), np.array([2, 0, 0]),
            none, np.zeros((0, 0), bool), leaf, np.array([0]),
        )  # fmt: skip
        assert found.ravel().tolist() == [0, 1, 0]


def test_no_rows_and_no_trees_give_empty_answers():
    forest = random_forest(np.random.default_rng(0), trees=2, depth=2, columns=2)
    assert leaf_indices(np.zeros((0, 2)), *forest).shape == (0, 2)
    assert leaf_indices(np.zeros((3, 2)), *forest[:-1], np.zeros(0, int)).shape == (3, 0)
