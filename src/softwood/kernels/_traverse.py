"""Walk hard trees: which leaf does each row reach in each tree."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def leaf_indices(
    x: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    missing_left: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    level_set: np.ndarray,
    levels_left: np.ndarray,
    leaf: np.ndarray,
    roots: np.ndarray,
) -> np.ndarray:
    """Return the leaf that each row reaches in each tree.

    A row goes left at a number node if ``x <= threshold`` in float64, at a category node if its level is in the
    node's set; NaN takes the node's missing direction.

    Args:
        x: float64 ``[n, C]``, one column for each model column; a category is the index of its level.
        feature: int32 ``[N]``, column tested, -1 at a leaf.
        threshold: float64 ``[N]``.
        missing_left: bool ``[N]``.
        left: int32 ``[N]``, left child.
        right: int32 ``[N]``, right child.
        level_set: int32 ``[N]``, row of ``levels_left`` or -1.
        levels_left: bool ``[M, max_levels]``.
        leaf: int32 ``[N]``, leaf row at a leaf.
        roots: int32 ``[T]``.

    Returns:
        int32 ``[n, T]``. Cost: O(n T depth) time, O(n T) memory.

    Example:
        >>> one = np.zeros(1)
        >>> leaf_indices(np.zeros((1, 1)), np.array([-1]), one, one > 0, np.array([0]), np.array([0]),
        ...              np.array([-1]), np.zeros((0, 0), bool), np.array([0]), np.array([0]))
        array([[0]], dtype=int32)
    """
    rows, trees = x.shape[0], roots.shape[0]
    out = np.empty((rows, trees), dtype=np.int32)
    for tree in range(trees):
        for row in range(rows):
            node = roots[tree]
            while feature[node] >= 0:
                value = x[row, feature[node]]
                if np.isnan(value):
                    go_left = missing_left[node]
                elif level_set[node] >= 0:
                    go_left = levels_left[level_set[node], int(value)]
                else:
                    go_left = value <= threshold[node]
                node = left[node] if go_left else right[node]
            out[row, tree] = leaf[node]
    return out
