import numpy as np
import pytest

from softwood.kernels import MISSING, dense_leaf_indices


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 6])
def test_every_row_reaches_the_leaf_that_a_plain_walk_reaches(depth, naive):
    rng = np.random.default_rng(depth)
    codes = rng.integers(0, 6, (4, 300)).astype(np.uint8)
    codes[rng.random(codes.shape) < 0.2] = MISSING
    inner = 2**depth - 1
    feature = rng.integers(-1, 4, inner).astype(np.int32)
    cut = rng.integers(-1, 6, inner).astype(np.int32)
    missing_left = rng.random(inner) < 0.5
    found = dense_leaf_indices(codes, feature, cut, missing_left)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, naive.leaves(codes, feature, cut, missing_left))


def test_the_largest_bin_is_not_the_code_of_a_missing_value():
    codes = np.array([[0, 253, 254, MISSING]], np.uint8)
    for cut, expected in ((-1, [1, 1, 1, 0]), (253, [0, 0, 1, 0]), (254, [0, 0, 0, 0])):
        found = dense_leaf_indices(codes, np.zeros(1, np.int32), np.array([cut], np.int32), np.array([True]))
        assert found.tolist() == expected
    found = dense_leaf_indices(codes, np.zeros(1, np.int32), np.array([254], np.int32), np.array([False]))
    assert found.tolist() == [0, 0, 0, 1]


def test_a_node_without_a_test_sends_every_row_left_missing_ones_too():
    codes = np.array([[0, 7, MISSING]], np.uint8)
    found = dense_leaf_indices(codes, np.full(3, -1, np.int32), np.zeros(3, np.int32), np.zeros(3, bool))
    assert found.tolist() == [0, 0, 0]
