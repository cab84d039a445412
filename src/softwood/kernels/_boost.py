"""Grow one tree of a Newton booster, leaf by leaf, with vector leaves."""

from __future__ import annotations

import numpy as np
from numba import njit

from softwood.kernels._dense import MISSING


@njit(nogil=True, cache=True)
def _score(sums: np.ndarray, outputs: int, l2: float) -> float:
    """Return sum_k G_k^2 / (H_k + l2) from ``[weight, G_1 ... G_K, H_1 ... H_K]``."""
    total = 0.0
    for k in range(outputs):
        curvature = sums[1 + outputs + k] + l2
        if curvature > 0.0:
            total += sums[1 + k] * sums[1 + k] / curvature
    return total


@njit(nogil=True, cache=True)
def _bounded(sums: np.ndarray, l2: float, low: float, high: float) -> tuple[float, float]:
    """Return the best value of a leaf with one output within bounds, and minus twice the loss that it adds."""
    curvature = sums[2] + l2
    value = min(max(-sums[1] / curvature if curvature > 0.0 else 0.0, low), high)
    return value, -2.0 * sums[1] * value - curvature * value * value


@njit(nogil=True, cache=True)
def _best_split(
    codes: np.ndarray,
    n_bins: np.ndarray,
    rows: np.ndarray,
    sums: np.ndarray,
    allowed: np.ndarray,
    l2: float,
    min_leaf: float,
    signs: np.ndarray,
    low: float,
    high: float,
) -> tuple[float, int, int, bool]:
    """Return gain, feature, cut and missing direction of the best split of one leaf; feature -1 if there is none.

    Args:
        codes: uint8 ``[F, n]``.
        n_bins: int32 ``[F]``.
        rows: int32, the rows in the leaf.
        sums: float64 ``[n, 2 K + 1]``, weight, gradients and curvatures of each row.
        allowed: bool ``[F]``.
        l2: added to each curvature.
        min_leaf: least weight on each side.
        signs: ``direction`` of ``grow_boosted``.
        low: least value of the leaf's two sides, if there is a direction.
        high: largest.
    """
    width = sums.shape[1]
    outputs = width // 2
    best_gain, best_feature, best_cut, best_missing = 0.0, -1, 0, False
    total, left, right = np.zeros(width), np.empty(width), np.empty(width)
    for row in rows:
        for j in range(width):
            total[j] += sums[row, j]
    constrained = signs.any()
    unsplit = _bounded(total, l2, low, high)[1] if constrained else _score(total, outputs, l2)
    histogram = np.empty((MISSING + 1, width))
    for feature in range(codes.shape[0]):
        if not allowed[feature]:
            continue
        bins = n_bins[feature]
        histogram[:bins] = 0.0
        histogram[MISSING] = 0.0
        for row in rows:
            code = codes[feature, row]
            for j in range(width):
                histogram[code, j] += sums[row, j]
        lost = histogram[MISSING]
        has_missing = lost[0] > 0.0
        for direction in range(2 if has_missing else 1):
            for j in range(width):
                left[j] = lost[j] if direction == 1 else 0.0
            for b in range(bins if has_missing and direction == 0 else bins - 1):
                if histogram[b, 0] == 0.0:
                    continue
                for j in range(width):
                    left[j] += histogram[b, j]
                    right[j] = total[j] - left[j]
                if min(left[0], right[0]) < min_leaf or right[0] <= 1e-12 * total[0]:
                    continue
                if constrained:
                    left_value, left_score = _bounded(left, l2, low, high)
                    right_value, right_score = _bounded(right, l2, low, high)
                    if signs[feature] * (right_value - left_value) < 0.0:
                        continue
                    gain = left_score + right_score - unsplit
                else:
                    gain = _score(left, outputs, l2) + _score(right, outputs, l2) - unsplit
                if gain > best_gain + 1e-12 * abs(unsplit):
                    best_gain, best_feature, best_cut = gain, feature, b
                    best_missing = direction == 1 if has_missing else left[0] >= right[0]
    return best_gain, best_feature, best_cut, best_missing


@njit(nogil=True, cache=True)
def grow_boosted(
    codes: np.ndarray,
    n_bins: np.ndarray,
    sums: np.ndarray,
    active: np.ndarray,
    allowed: np.ndarray,
    max_leaves: int,
    max_depth: int,
    min_leaf: float,
    l2: float,
    direction: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Grow a tree that follows the Newton direction of a loss, splitting the leaf with the largest gain first.

    The gain of a split is :math:`\sum_k G_k^2 / (H_k + \lambda)` of its two sides minus that of the leaf, and the
    value of a leaf :math:`-G_k / (H_k + \lambda)`, with G and H the sums of gradients and curvatures of its rows.

    Args:
        codes: uint8 ``[F, n]``.
        n_bins: int32 ``[F]``.
        sums: float64 ``[n, 2 K + 1]``: weight, K gradients, K curvatures, the latter already weighted.
        active: bool ``[n]``, rows that count.
        allowed: bool ``[F]``.
        max_leaves: >= 1.
        max_depth: >= 1.
        min_leaf: least weight on each side of a split.
        l2: :math:`\lambda`.
        direction: int8 ``[F]``: 1 where the value may not fall with the feature, -1 where it may not rise, else 0;
            zeros only, or K = 1. The two sides of a split on such a feature keep to their sides of the middle between
            their values, and so does all that is split off them.

    Returns:
        feature (-1 at a leaf), cut, missing_left, left child, values ``[N, K]`` (zero at inner nodes), of
        ``N <= 2 max_leaves - 1`` nodes; the right child is the one after the left.
        Cost: O(n F K depth) time, O(n + bins K) memory.

    Example:
        >>> codes = np.array([[0, 0, 1, 1]], np.uint8)
        >>> sums = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, -1.0, 1.0]])
        >>> on = np.ones(4, np.bool_)
        >>> tree = grow_boosted(codes, np.array([2], np.int32), sums, on, on[:1], 2, 3, 1.0, 0.0, np.zeros(1, np.int8))
        >>> tree[0].tolist(), tree[4].ravel().tolist()
        ([0, -1, -1], [0.0, -1.0, 1.0])
    """
    outputs = sums.shape[1] // 2
    most = 2 * max_leaves - 1
    feature, cut = np.full(most, -1, dtype=np.int32), np.zeros(most, dtype=np.int32)
    missing_left, left = np.zeros(most, dtype=np.bool_), np.zeros(most, dtype=np.int32)
    values = np.zeros((most, outputs))
    order = np.flatnonzero(active).astype(np.int32)
    start, stop = np.zeros(most, dtype=np.int64), np.zeros(most, dtype=np.int64)
    depth = np.zeros(most, dtype=np.int32)
    gains = np.full(most, -1.0)
    found = np.zeros((most, 3), dtype=np.int32)
    low, high = np.full(most, -np.inf), np.full(most, np.inf)
    constrained = direction.any()
    stop[0] = order.shape[0]
    used, leaves, fresh = 1, 1, 0  # nodes from ``fresh`` on have not been searched yet
    while True:
        for node in range(fresh, used):
            if depth[node] < max_depth and leaves < max_leaves:
                gain, f, c, m = _best_split(
                    codes, n_bins, order[start[node] : stop[node]], sums, allowed, l2, min_leaf, direction, low[node],
                    high[node],
                )  # fmt: skip
                if f >= 0:
                    gains[node] = gain
                    found[node, 0], found[node, 1], found[node, 2] = f, c, 1 if m else 0
        fresh = used
        node = int(np.argmax(gains[:used]))
        if leaves >= max_leaves or gains[node] <= 0.0:
            break
        feature[node], cut[node], missing_left[node] = found[node, 0], found[node, 1], found[node, 2] == 1
        left[node] = used
        middle = _partition(codes[feature[node]], order, start[node], stop[node], cut[node], missing_left[node])
        start[used], stop[used], depth[used] = start[node], middle, depth[node] + 1
        start[used + 1], stop[used + 1], depth[used + 1] = middle, stop[node], depth[node] + 1
        gains[node] = -1.0
        if constrained:
            _bound_children(sums, order, start, stop, l2, direction[feature[node]], node, used, low, high)
        used, leaves = used + 2, leaves + 1
    for node in range(used):
        if feature[node] >= 0:
            continue
        for k in range(outputs):
            gradient, curvature = 0.0, l2
            for row in order[start[node] : stop[node]]:
                gradient += sums[row, 1 + k]
                curvature += sums[row, 1 + outputs + k]
            values[node, k] = -gradient / curvature if curvature > 0.0 else 0.0
            if constrained:
                values[node, k] = min(max(values[node, k], low[node]), high[node])
    return feature[:used], cut[:used], missing_left[:used], left[:used], values[:used]


@njit(nogil=True, cache=True)
def _bound_children(
    sums: np.ndarray,
    order: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    l2: float,
    direction: int,
    node: int,
    left: int,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Hand a node's bounds on to its children, and part them at the middle of their values along a direction."""
    values = np.zeros(2)
    for side in range(2):
        child = left + side
        low[child], high[child] = low[node], high[node]
        total = np.zeros(3)
        for row in order[start[child] : stop[child]]:
            for j in range(3):
                total[j] += sums[row, j]
        values[side] = _bounded(total, l2, low[node], high[node])[0]
    middle = 0.5 * (values[0] + values[1])
    if direction > 0:
        high[left], low[left + 1] = middle, middle
    elif direction < 0:
        low[left], high[left + 1] = middle, middle


@njit(nogil=True, cache=True)
def _partition(code: np.ndarray, order: np.ndarray, start: int, stop: int, cut: int, missing_left: bool) -> int:
    """Bring the rows that go left to the front of a segment, keeping their order; return where the others begin."""
    others = np.empty(stop - start, dtype=np.int32)
    place, count = start, 0
    for i in range(start, stop):
        row = order[i]
        go_left = missing_left if code[row] == MISSING else code[row] <= cut
        if go_left:
            order[place] = row
            place += 1
        else:
            others[count] = row
            count += 1
    order[place:stop] = others[:count]
    return place


@njit(nogil=True, cache=True)
def boosted_leaves(
    codes: np.ndarray, feature: np.ndarray, cut: np.ndarray, missing_left: np.ndarray, left: np.ndarray
) -> np.ndarray:
    """Return the node at which each row ends in a tree of ``grow_boosted``, int32 ``[n]``. Cost: O(n depth).

    Args:
        codes: uint8 ``[F, n]``.
        feature: int32 ``[N]``.
        cut: int32 ``[N]``.
        missing_left: bool ``[N]``.
        left: int32 ``[N]``.

    Example:
        >>> one = np.array([0, -1, -1], np.int32)
        >>> boosted_leaves(np.array([[0, 1, 255]], np.uint8), one, one * 0, one < 0, np.array([1, 0, 0])).tolist()
        [1, 2, 2]
    """
    out = np.empty(codes.shape[1], dtype=np.int32)
    for row in range(codes.shape[1]):
        node = 0
        while feature[node] >= 0:
            code = codes[feature[node], row]
            go_left = missing_left[node] if code == MISSING else code <= cut[node]
            node = left[node] if go_left else left[node] + 1
        out[row] = node
    return out


@njit(nogil=True, cache=True)
def sum_leaves(leaf: np.ndarray, values: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return ``base`` plus the values of the leaves that each row reaches, ``[n, K]``. Cost: O(n T K).

    Args:
        leaf: int32 ``[T, n]``, rows of ``values``; negative ones add nothing.
        values: float64 ``[L, K]``.
        base: float64 ``[K]``.

    Example:
        >>> sum_leaves(np.array([[0, 1], [1, 1]], np.int32), np.array([[1.0], [10.0]]), np.zeros(1)).ravel().tolist()
        [11.0, 20.0]
    """
    out = np.empty((leaf.shape[1], base.shape[0]))
    out[:] = base
    for tree in range(leaf.shape[0]):
        for row in range(leaf.shape[1]):
            if leaf[tree, row] >= 0:
                for k in range(base.shape[0]):
                    out[row, k] += values[leaf[tree, row], k]
    return out


@njit(nogil=True, cache=True)
def scatter_leaves(leaf: np.ndarray, amounts: np.ndarray, n_leaves: int) -> np.ndarray:
    """Return the sum of ``amounts`` over the rows of each leaf, ``[L, K]``: the transpose of ``sum_leaves``.

    Args:
        leaf: int32 ``[T, n]``, negative ones take nothing.
        amounts: float64 ``[n, K]``.
        n_leaves: L.

    Example:
        >>> scatter_leaves(np.array([[0, 1], [1, 1]], np.int32), np.array([[1.0], [10.0]]), 2).ravel().tolist()
        [1.0, 21.0]
    """
    out = np.zeros((n_leaves, amounts.shape[1]))
    for tree in range(leaf.shape[0]):
        for row in range(leaf.shape[1]):
            if leaf[tree, row] >= 0:
                for k in range(amounts.shape[1]):
                    out[leaf[tree, row], k] += amounts[row, k]
    return out
