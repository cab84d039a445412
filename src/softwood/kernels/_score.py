"""Add up the leaves that rows reach, for many rows and trees at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

_BLOCK = 256  # rows that walk down a tree together: their values stay in the nearest cache
_WORTH_A_LOOK = 8  # with fewer trees, looking for missing values costs more than it saves


class Packed(NamedTuple):
    """Trees laid out for quick walks: siblings side by side, leaves that lead to themselves.

    Args:
        feature: int32 ``[N]``, 0 at a leaf.
        threshold: float64 ``[N]``, infinite at a leaf.
        left: int32 ``[N]``; the right child follows. At a leaf the leaf itself.
        missing_right: bool ``[N]``, False at a leaf.
        level_set: int32 ``[N]``, row of ``levels_left`` or -1.
        levels_left: bool ``[M, max_levels]``.
        leaf: int32 ``[N]``, row of ``values``.
        values: float64 ``[L, K]``.
        roots: int32 ``[T]``.
        depths: int32 ``[T]``, splits on the longest path.
        plain: bool ``[T]``, whether no node of the tree tests a category.
        oblivious: bool ``[T]``, whether the tree is plain and complete, and makes one test a level.
        base: float64 ``[K]``.

    Example:
        >>> Packed(*[np.zeros(1)] * 13).base
        array([0.])
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    missing_right: np.ndarray
    level_set: np.ndarray
    levels_left: np.ndarray
    leaf: np.ndarray
    values: np.ndarray
    roots: np.ndarray
    depths: np.ndarray
    plain: np.ndarray
    oblivious: np.ndarray
    base: np.ndarray


def pack(
    feature: np.ndarray,
    threshold: np.ndarray,
    missing_left: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    level_set: np.ndarray,
    levels_left: np.ndarray,
    leaf: np.ndarray,
    values: np.ndarray,
    roots: np.ndarray,
    base: np.ndarray,
) -> Packed:
    """Lay out the arrays of ``leaf_indices`` for ``raw_scores``.

    Args:
        feature: with the nine that follow: as in ``leaf_indices``; values float64 ``[L, K]``.
        threshold: see ``feature``.
        missing_left: see ``feature``.
        left: see ``feature``.
        right: see ``feature``.
        level_set: see ``feature``.
        levels_left: see ``feature``.
        leaf: see ``feature``.
        values: see ``feature``.
        roots: see ``feature``.
        base: float64 ``[K]``.

    Cost: O(N).

    Example:
        >>> none = np.zeros(1, np.int32)
        >>> pack(none - 1, np.zeros(1), none > 0, none, none, none - 1, np.zeros((0, 0), bool), none, np.ones((1, 1)),
        ...      none, np.zeros(1)).threshold
        array([inf])
    """
    order, depths, plain, oblivious, starts = [], [], [], [], []
    count = 0
    for root in roots:
        level, depth, has_category, same = np.array([root]), 0, False, True
        starts.append(count)
        while len(level):
            order.append(level)
            count += len(level)
            inner = level[feature[level] >= 0]
            has_category |= bool((level_set[inner] >= 0).any())
            if len(inner):
                same &= len(inner) == len(level) and all(
                    bool((test[inner] == test[inner[0]]).all()) for test in (feature, threshold, missing_left)
                )
            level = np.column_stack([left[inner], right[inner]]).ravel()
            depth += len(level) > 0
        depths.append(depth)
        plain.append(not has_category)
        oblivious.append(same and not has_category)
    old = np.concatenate(order) if order else np.zeros(0, np.int64)
    place = np.zeros(len(feature), np.int32)
    place[old] = np.arange(len(old), dtype=np.int32)
    is_leaf = feature[old] < 0
    return Packed(
        feature=np.where(is_leaf, 0, feature[old]).astype(np.int32),
        threshold=np.where(is_leaf, np.inf, threshold[old]),
        left=np.where(is_leaf, place[old], place[left[old]]).astype(np.int32),
        missing_right=~missing_left[old] & ~is_leaf,
        level_set=np.where(is_leaf, -1, level_set[old]).astype(np.int32),
        levels_left=levels_left,
        leaf=leaf[old].astype(np.int32),
        values=values,
        roots=np.array(starts, np.int32),
        depths=np.array(depths, np.int32),
        plain=np.array(plain, bool),
        oblivious=np.array(oblivious, bool),
        base=base,
    )


@njit(nogil=True, cache=True)
def raw_scores(x: np.ndarray, trees: Packed) -> np.ndarray:
    """Return base plus the sum of the leaves that each row reaches, added in the order of the trees.

    Args:
        x: float64 ``[n, C]``, encoded as for ``leaf_indices``.
        trees: from ``pack``.

    Returns:
        float64 ``[n, K]``. Cost: O(n T (depth + K)) time, O(n K) memory.

    Example:
        >>> none = np.zeros(1, np.int32)
        >>> trees = pack(none - 1, np.zeros(1), none > 0, none, none, none - 1, np.zeros((0, 0), bool), none,
        ...              np.ones((1, 1)), none, np.zeros(1))
        >>> raw_scores(np.zeros((2, 1)), trees)
        array([[1.],
               [1.]])
    """
    rows, outputs = x.shape[0], len(trees.base)
    out = np.empty((rows, outputs))
    node = np.zeros(_BLOCK, np.int32)
    has_oblivious = trees.oblivious.any()
    columns = np.zeros((x.shape[1] if has_oblivious else 0, _BLOCK))
    for start in range(0, rows, _BLOCK):
        block = x[start : start + _BLOCK]
        count = len(block)
        complete = len(trees.roots) >= _WORTH_A_LOOK and not np.isnan(block).any()
        total = out[start : start + count]
        total[:] = trees.base
        if has_oblivious:
            columns[:, :count] = block.T
        for tree in range(len(trees.roots)):
            root, depth = trees.roots[tree], trees.depths[tree]
            if trees.oblivious[tree]:
                _walk_levels(columns, trees, root, depth, node[:count])
            elif trees.plain[tree] and complete:
                _walk_numbers(block, trees, root, depth, node)
            elif trees.plain[tree]:
                _walk_numbers_and_missing(block, trees, root, depth, node)
            else:
                _walk_all(block, trees, root, node)
            if outputs == 1:
                for row in range(count):
                    total[row, 0] += trees.values[trees.leaf[node[row]], 0]
            else:
                for row in range(count):
                    for output in range(outputs):
                        total[row, output] += trees.values[trees.leaf[node[row]], output]
    return out


@njit(nogil=True, cache=True)
def _walk_levels(columns: np.ndarray, trees: Packed, root: int, depth: int, node: np.ndarray) -> None:
    """Take one test a level for all rows: its answers are the bits of the leaf's number."""
    node[:] = 0
    for level in range(depth):
        first = root + 2**level - 1
        threshold, values = trees.threshold[first], columns[trees.feature[first]]
        if trees.missing_right[first]:
            for row in range(len(node)):
                node[row] = 2 * node[row] + (not values[row] <= threshold)
        else:
            for row in range(len(node)):
                node[row] = 2 * node[row] + (values[row] > threshold)
    node += np.int32(root + 2**depth - 1)


@njit(nogil=True, cache=True)
def _walk_numbers(block: np.ndarray, trees: Packed, root: int, depth: int, node: np.ndarray) -> None:
    """Move all rows down together, without a branch that could be guessed wrong; at a leaf a step stays."""
    feature, threshold, left = trees.feature, trees.threshold, trees.left
    node[: len(block)] = root
    for _ in range(depth):
        moved = False
        for row in range(len(block)):
            here = node[row]
            node[row] = left[here] + np.int32(block[row, feature[here]] > threshold[here])
            moved |= node[row] != here
        if not moved:
            return


@njit(nogil=True, cache=True)
def _walk_numbers_and_missing(block: np.ndarray, trees: Packed, root: int, depth: int, node: np.ndarray) -> None:
    """Do the same where values may be missing."""
    feature, threshold, left, missing_right = trees.feature, trees.threshold, trees.left, trees.missing_right
    node[: len(block)] = root
    for _ in range(depth):
        moved = False
        for row in range(len(block)):
            here = node[row]
            value = block[row, feature[here]]
            right = (value > threshold[here]) | ((value != value) & missing_right[here])
            node[row] = left[here] + np.int32(right)
            moved |= node[row] != here
        if not moved:
            return


@njit(nogil=True, cache=True)
def _walk_all(block: np.ndarray, trees: Packed, root: int, node: np.ndarray) -> None:
    """Walk row by row, with categories."""
    for row in range(len(block)):
        here = root
        while trees.left[here] != here:
            value = block[row, trees.feature[here]]
            if np.isnan(value):
                right = trees.missing_right[here]
            elif trees.level_set[here] >= 0:
                right = not trees.levels_left[trees.level_set[here], int(value)]
            else:
                right = value > trees.threshold[here]
            here = trees.left[here] + np.int32(right)
        node[row] = here
