"""The booster's tree: gains and values against enumeration, and the two leaf sums against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from softwood.kernels import MISSING, boosted_leaves, grow_boosted, scatter_leaves, sum_leaves

FREE = np.zeros(3, np.int8)


def problem(seed, n=60, features=3, bins=6, outputs=2, missing=0.2):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, bins, (features, n)).astype(np.uint8)
    codes[rng.random(codes.shape) < missing] = MISSING
    weight = rng.uniform(0.5, 2.0, n)
    sums = np.column_stack([np.ones(n), rng.normal(size=(n, outputs)), rng.uniform(0.2, 1.0, (n, outputs))])
    return codes, np.full(features, bins, np.int32), sums * weight[:, None]


def score(sums, l2):
    total, outputs = sums.sum(0), sums.shape[1] // 2
    return float((total[1 : 1 + outputs] ** 2 / (total[1 + outputs :] + l2)).sum())


def best_gain(codes, bins, sums, rows, min_leaf, l2):
    """Try every feature, cut and missing direction."""
    best = 0.0
    for f in range(len(codes)):
        for cut in range(bins[f]):
            for missing_left in (False, True):
                left = rows & np.where(codes[f] == MISSING, missing_left, codes[f] <= cut)
                right = rows & ~left
                if min(sums[left, 0].sum(), sums[right, 0].sum()) < min_leaf:
                    continue
                best = max(best, score(sums[left], l2) + score(sums[right], l2) - score(sums[rows], l2))
    return best


def gains(tree, codes, sums, active, l2):
    """Return what each split of a tree gains, and its rows, parents first."""
    feature, cut, missing_left, left, _ = tree
    found, rows_of = {}, {0: active}
    for node in range(len(feature)):
        if feature[node] < 0:
            continue
        code, rows = codes[feature[node]], rows_of[node]
        to_left = rows & np.where(code == MISSING, missing_left[node], code <= cut[node])
        rows_of[left[node]], rows_of[left[node] + 1] = to_left, rows & ~to_left
        found[node] = score(sums[to_left], l2) + score(sums[rows & ~to_left], l2) - score(sums[rows], l2)
    return found, rows_of


@pytest.mark.parametrize("seed", range(4))
def test_every_split_is_the_best_of_its_leaf_and_leaves_are_split_by_gain(seed):
    codes, bins, sums = problem(seed)
    active = np.random.default_rng(seed).random(codes.shape[1]) < 0.8
    tree = grow_boosted(codes, bins, sums, active, np.ones(3, bool), 5, 8, 2.0, 0.7, FREE)
    found, rows_of = gains(tree, codes, sums, active, 0.7)
    for node, gain in found.items():
        np.testing.assert_allclose(gain, best_gain(codes, bins, sums, rows_of[node], 2.0, 0.7), rtol=1e-9)
    leaves = [node for node in range(len(tree[0])) if tree[0][node] < 0]
    assert len(leaves) == 5
    last = next(node for node in found if tree[3][node] == max(tree[3]))  # its children came last
    others = [leaf for leaf in leaves if leaf not in (tree[3][last], tree[3][last] + 1)]
    assert found[last] >= max(best_gain(codes, bins, sums, rows_of[leaf], 2.0, 0.7) for leaf in others) - 1e-9


def test_leaf_values_are_newton_steps():
    codes, bins, sums = problem(9)
    active = np.ones(codes.shape[1], bool)
    tree = grow_boosted(codes, bins, sums, active, np.ones(3, bool), 4, 8, 1.0, 0.5, FREE)
    reached = boosted_leaves(codes, *tree[:4])
    for leaf in np.unique(reached):
        total = sums[reached == leaf].sum(0)
        np.testing.assert_allclose(tree[4][leaf], -total[1:3] / (total[3:5] + 0.5), rtol=1e-9)


def test_limits_hold():
    codes, bins, sums = problem(3, n=200)
    active, allowed = np.ones(200, bool), np.array([False, True, True])
    shallow = grow_boosted(codes, bins, sums, active, allowed, 31, 2, 1.0, 1.0, FREE)
    assert (shallow[0] >= 0).sum() == 3
    assert 0 not in shallow[0][shallow[0] >= 0]
    heavy = grow_boosted(codes, bins, sums, active, allowed, 31, 9, 40.0, 1.0, FREE)
    reached = boosted_leaves(codes, *heavy[:4])
    assert min(sums[reached == leaf, 0].sum() for leaf in np.unique(reached)) >= 40.0


def test_rows_that_do_not_count_change_nothing():
    codes, bins, sums = problem(5, n=100)
    active = np.arange(100) < 70
    tree = grow_boosted(codes, bins, sums, active, np.ones(3, bool), 6, 5, 1.0, 1.0, FREE)
    other = sums.copy()
    other[70:] *= 100
    again = grow_boosted(codes, bins, other, active, np.ones(3, bool), 6, 5, 1.0, 1.0, FREE)
    for first, second in zip(tree, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_leaf_sums_are_products_with_the_indicator_matrix():
    rng = np.random.default_rng(0)
    leaf = rng.integers(-1, 5, (3, 40)).astype(np.int32)
    values, base, amounts = rng.normal(size=(5, 2)), rng.normal(size=2), rng.normal(size=(40, 2))
    indicator = sum((leaf[t][:, None] == np.arange(5)).astype(float) for t in range(3))
    np.testing.assert_allclose(sum_leaves(leaf, values, base), indicator @ values + base, atol=1e-12)
    np.testing.assert_allclose(scatter_leaves(leaf, amounts, 5), indicator.T @ amounts, atol=1e-12)
