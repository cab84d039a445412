"""Walk hard trees: which leaf does each row reach in each tree, and through which nodes."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def goes_left(
    value: float,
    node: int,
    threshold: np.ndarray,
    missing_left: np.ndarray,
    level_set: np.ndarray,
    levels_left: np.ndarray,
) -> bool:
    """Say whether a row with this value in the column that ``node`` tests goes left; arrays as in ``leaf_indices``."""
    if np.isnan(value):
        return missing_left[node]
    if level_set[node] >= 0:
        return levels_left[level_set[node], int(value)]
    return value <= threshold[node]


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
                go_left = goes_left(value, node, threshold, missing_left, level_set, levels_left)
                node = left[node] if go_left else right[node]
            out[row, tree] = leaf[node]
    return out


@njit(nogil=True, cache=True)
def path_nodes(
    x: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    missing_left: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    level_set: np.ndarray,
    levels_left: np.ndarray,
    roots: np.ndarray,
    depth: int,
) -> np.ndarray:
    """Return the nodes that each row passes in each tree, the leaf's node last.

    Args:
        x: float64 ``[n, C]``; this and the arrays of nodes as in ``leaf_indices``.
        feature: int32 ``[N]``.
        threshold: float64 ``[N]``.
        missing_left: bool ``[N]``.
        left: int32 ``[N]``.
        right: int32 ``[N]``.
        level_set: int32 ``[N]``.
        levels_left: bool ``[M, max_levels]``.
        roots: int32 ``[T]``.
        depth: splits on the longest path.

    Returns:
        int32 ``[n, T, depth + 1]``, filled up with -1. Cost: O(n T depth) time and memory.

    Example:
        >>> one = np.zeros(1)
        >>> path_nodes(np.zeros((1, 1)), np.array([-1]), one, one > 0, np.array([0]), np.array([0]),
        ...            np.array([-1]), np.zeros((0, 0), bool), np.array([0]), 1)
        array([[[ 0, -1]]], dtype=int32)
    """
    rows, trees = x.shape[0], roots.shape[0]
    out = np.full((rows, trees, depth + 1), -1, dtype=np.int32)
    for row in range(rows):
        for tree in range(trees):
            node, place = roots[tree], 0
            out[row, tree, 0] = node
            while feature[node] >= 0:
                value = x[row, feature[node]]
                go_left = goes_left(value, node, threshold, missing_left, level_set, levels_left)
                node = left[node] if go_left else right[node]
                place += 1
                out[row, tree, place] = node
    return out
