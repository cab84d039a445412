"""Walk complete trees on bin codes.

A complete tree of depth D is four arrays over its 2^D - 1 inner nodes in breadth-first order: ``feature`` (-1: the
node tests nothing, every row goes left), ``cut`` (a row goes left if its code is at most the cut) and
``missing_left``. Leaf l of 2^D is reached by the bits of l, 0 for left, from the root down.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MISSING = 255  # the code of a missing value; bins are 0 .. 254


@njit(nogil=True, cache=True)
def step(code: int, feature: int, cut: int, missing_left: bool) -> int:
    """Return 0 if a row with this code goes left, 1 if right."""
    if feature < 0:
        return 0
    if code == MISSING:
        return 0 if missing_left else 1
    return 0 if code <= cut else 1


@njit(nogil=True, cache=True)
def walk(
    codes: np.ndarray, row: int, node: int, steps: int, feature: np.ndarray, cut: np.ndarray, missing_left: np.ndarray
) -> int:
    """Return the breadth-first index that ``row`` reaches from ``node`` in ``steps`` steps."""
    for _ in range(steps):
        f = feature[node]
        code = codes[f, row] if f >= 0 else 0
        node = 2 * node + 1 + step(code, f, cut[node], missing_left[node])
    return node


@njit(nogil=True, cache=True)
def dense_leaf_indices(codes: np.ndarray, feature: np.ndarray, cut: np.ndarray, missing_left: np.ndarray) -> np.ndarray:
    """Return the leaf of a complete tree that each row reaches.

    Args:
        codes: uint8 ``[F, n]``, bin codes by feature; 255 is missing.
        feature: int32 ``[2^D - 1]``, -1 where a node tests nothing.
        cut: int32 ``[2^D - 1]``.
        missing_left: bool ``[2^D - 1]``.

    Returns:
        int32 ``[n]``, in 0 .. 2^D - 1. Cost: O(n D).

    Example:
        >>> codes = np.array([[0, 1, 2]], np.uint8)
        >>> dense_leaf_indices(codes, np.array([0]), np.array([1]), np.array([True]))
        array([0, 0, 1], dtype=int32)
    """
    inner = feature.shape[0]
    depth = 0
    while (1 << depth) - 1 < inner:
        depth += 1
    out = np.empty(codes.shape[1], dtype=np.int32)
    for row in range(codes.shape[1]):
        out[row] = walk(codes, row, 0, depth, feature, cut, missing_left) - inner
    return out
