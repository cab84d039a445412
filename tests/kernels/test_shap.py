from __future__ import annotations

import numpy as np

from softwood.kernels import leaf_paths, node_covers, shapley_values

# x0 <= 0 ? (x1 <= 0 ? a : (x0 <= -1 ? b : c)) : d
FEATURE = np.array([0, 1, -1, -1, 0, -1, -1], np.int32)
THRESHOLD = np.array([0.0, 0.0, np.nan, np.nan, -1.0, np.nan, np.nan])
LEFT, RIGHT = np.array([1, 3, 0, 0, 5, 0, 0], np.int32), np.array([2, 4, 0, 0, 6, 0, 0], np.int32)
LEAF = np.array([-1, -1, 3, 0, -1, 1, 2], np.int32)
COUNTS = np.array([1.0, 2.0, 3.0, 4.0])


def test_covers_are_sums_of_leaves():
    assert node_covers(FEATURE, LEFT, RIGHT, LEAF, COUNTS).tolist() == [10, 6, 4, 1, 5, 2, 3]


def test_steps_on_one_column_are_joined():
    paths = leaf_paths(FEATURE, LEFT, RIGHT, node_covers(FEATURE, LEFT, RIGHT, LEAF, COUNTS))
    assert paths.ends.tolist() == [2, 3, 5, 6]
    assert paths.starts.tolist() == [0, 1, 3, 6, 9]
    assert paths.steps.tolist() == [0, 3, 1, 9, 2, 1, 8, 2, 1]
    assert paths.slots.tolist() == [0, 0, 1, 0, 1, 0, 0, 1, 0]
    assert paths.tested.tolist() == [0, 1, 0, 0, 1, -1, 0, 1, -1]
    np.testing.assert_allclose(paths.share[[0, 1, 2, 3, 4, 6, 7]], [0.4, 1 / 6, 0.6, 0.24, 5 / 6, 0.36, 5 / 6])


def test_children_share_equally_where_there_is_no_weight():
    paths = leaf_paths(FEATURE[:3] * 0 + [0, -1, -1], np.array([1, 0, 0]), np.array([2, 0, 0]), np.zeros(3))
    assert paths.share.tolist() == [0.5, 0.5]


def test_two_columns_by_hand():
    values = np.array([[1.0], [2.0], [3.0], [4.0]])
    paths = leaf_paths(FEATURE, LEFT, RIGHT, node_covers(FEATURE, LEFT, RIGHT, LEAF, COUNTS))
    none = np.full(7, -1, np.int32)
    found = shapley_values(
        np.array([[-0.5, 1.0]]), FEATURE, THRESHOLD, none > 0, none, np.zeros((0, 0), bool), LEAF, values, paths,
        np.array([[0.5]]), np.array([[1.0]]),
    )  # fmt: skip
    nothing = 0.1 * 1 + 0.2 * 2 + 0.3 * 3 + 0.4 * 4
    first = 1 / 6 * 1 + 5 / 6 * 3  # x0 known
    second = 0.6 * (0.4 * 2 + 0.6 * 3) + 0.4 * 4  # x1 known
    both = 3.0
    expected = [(first - nothing + both - second) / 2, (second - nothing + both - first) / 2]
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=0, atol=1e-15)
