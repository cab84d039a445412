"""Grow a complete tree greedily, and polish one by exact alternating search over its nodes."""

from __future__ import annotations

import numpy as np
from numba import njit

from softwood.kernels._dense import walk
from softwood.kernels._splits import ENTROPY, ERROR_TIE, SQUARED, Problem, best_splits, leaf_cost


@njit(nogil=True, cache=True)
def leaf_statistics(data: Problem, leaf: np.ndarray, n_leaves: int) -> np.ndarray:
    """Return weight and weighted sums of the rows in each leaf, float64 ``[n_leaves, K + 1]``. Cost: O(n K).

    Args:
        data: rows and charges.
        leaf: int32 ``[n]``, -1 for rows that do not count.
        n_leaves: number of leaves.

    Example:
        >>> codes, labels = np.array([[0, 0, 1]], np.uint8), np.array([0, 0, 1], np.int32)
        >>> data = Problem(codes, np.array([2], np.int32), labels, np.zeros((0, 2)), np.ones(3),
        ...                np.ones(3, bool), np.ones(1, bool), np.array([0.5, 0.5]), 0.0, 1.0, SQUARED)
        >>> leaf_statistics(data, np.array([0, 0, 1], np.int32), 2).tolist()
        [[2.0, 2.0, 0.0], [1.0, 0.0, 1.0]]
    """
    outputs = data.prior.shape[0]
    stats = np.zeros((n_leaves, outputs + 1))
    for row in range(leaf.shape[0]):
        if leaf[row] < 0:
            continue
        cell = stats[leaf[row]]
        cell[0] += data.weight[row]
        if data.labels.shape[0] > 0:
            cell[1 + data.labels[row]] += data.weight[row]
        else:
            for k in range(outputs):
                cell[1 + k] += data.moments[row, k]
    return stats


@njit(nogil=True, cache=True)
def leaf_values(stats: np.ndarray, prior: np.ndarray, smoothing: float) -> np.ndarray:
    """Return the best value of each leaf, ``(s + m prior) / (w + m)``; the prior itself where nothing arrives.

    Args:
        stats: float64 ``[L, K + 1]`` from ``leaf_statistics``.
        prior: float64 ``[K]``.
        smoothing: m, pseudo-rows at the prior.

    Example:
        >>> leaf_values(np.array([[3.0, 3.0, 0.0], [0.0, 0.0, 0.0]]), np.array([0.5, 0.5]), 1.0).tolist()
        [[0.875, 0.125], [0.5, 0.5]]
    """
    values = np.empty((stats.shape[0], prior.shape[0]))
    for leaf in range(stats.shape[0]):
        total = stats[leaf, 0] + smoothing
        for k in range(prior.shape[0]):
            values[leaf, k] = (stats[leaf, k + 1] + smoothing * prior[k]) / total if total > 0.0 else prior[k]
    return values


@njit(nogil=True, cache=True)
def _leaves_cost(data: Problem, stats: np.ndarray) -> np.ndarray:
    costs = np.empty(stats.shape[0])
    for v in range(stats.shape[0]):
        costs[v] = leaf_cost(stats[v], data.prior, data.smoothing, data.kind)
    return costs


@njit(nogil=True, cache=True)
def tree_cost(data: Problem, feature: np.ndarray, cut: np.ndarray, missing_left: np.ndarray, depth: int) -> float:
    """Return the regularised training loss of a complete tree at its best leaf values. Cost: O(n (D + K)).

    Args:
        data: rows and charges.
        feature: int32 ``[2^D - 1]``.
        cut: int32 ``[2^D - 1]``.
        missing_left: bool ``[2^D - 1]``.
        depth: D.

    Example:
        >>> codes, labels = np.array([[0, 0, 1]], np.uint8), np.array([0, 0, 1], np.int32)
        >>> data = Problem(codes, np.array([2], np.int32), labels, np.zeros((0, 2)), np.ones(3),
        ...                np.ones(3, bool), np.ones(1, bool), np.array([0.5, 0.5]), 0.0, 1.0, SQUARED)
        >>> zero = np.zeros(1, np.int32)
        >>> tree_cost(data, zero, zero, np.array([True]), 1)  # 0, less the constant 3
        -3.0
    """
    inner = feature.shape[0]
    leaf = np.full(data.codes.shape[1], -1, dtype=np.int32)
    for row in range(data.codes.shape[1]):
        if data.active[row]:
            leaf[row] = walk(data.codes, row, 0, depth, feature, cut, missing_left) - inner
    return _leaves_cost(data, leaf_statistics(data, leaf, inner + 1)).sum()


@njit(nogil=True, cache=True)
def grow(data: Problem, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grow a complete tree greedily, level by level, as CART does.

    A node that no split improves, or that is too light, tests nothing (feature -1).

    Args:
        data: rows and charges.
        depth: D.

    Returns:
        feature, cut, missing_left of the 2^D - 1 nodes. Cost: O(D n F + 2^D bins F K).

    Example:
        >>> codes, labels = np.array([[0, 0, 1]], np.uint8), np.array([0, 0, 1], np.int32)
        >>> data = Problem(codes, np.array([2], np.int32), labels, np.zeros((0, 2)), np.ones(3),
        ...                np.ones(3, bool), np.ones(1, bool), np.array([0.5, 0.5]), 0.0, 1.0, SQUARED)
        >>> [part.tolist() for part in grow(data, 1)]
        [[0], [0], [True]]
    """
    inner = (1 << depth) - 1
    feature = np.full(inner, -1, dtype=np.int32)
    cut = np.zeros(inner, dtype=np.int32)
    missing_left = np.zeros(inner, dtype=np.bool_)
    place = np.where(data.active, 0, -1).astype(np.int32)
    no_costs = np.zeros(0)
    for level in range(depth):
        first, width = (1 << level) - 1, 1 << level
        unsplit = _leaves_cost(data, leaf_statistics(data, place, width))
        f, c, m, cost = best_splits(data, place, width, no_costs)
        for v in range(width):
            if f[v] >= 0 and cost[v] < unsplit[v] - 1e-10 * (1.0 + abs(unsplit[v])):
                feature[first + v], cut[first + v], missing_left[first + v] = f[v], c[v], m[v]
        for row in range(place.shape[0]):
            if place[row] >= 0:
                node = walk(data.codes, row, first + place[row], 1, feature, cut, missing_left)
                place[row] = node - (2 * first + 1)
    return feature, cut, missing_left


@njit(nogil=True, cache=True)
def _row_cost(data: Problem, row: int, value: np.ndarray) -> float:
    """Loss of one row at a leaf value: -w log v_y, w |y - v|^2 without its constant w |y|^2, or w [y != argmax v].

    Entropy of values is half the Poisson deviance without its constant: w sum_k (v_k - y_k log v_k).
    """
    weight, by_label, squares, cross = data.weight[row], data.labels.shape[0] > 0, 0.0, 0.0
    if by_label and data.kind != SQUARED:
        label = data.labels[row]
        log_loss = -np.log(max(value[label], 1e-12))
        if data.kind == ENTROPY:
            return weight * log_loss
        return weight * (ERROR_TIE * log_loss + (0.0 if np.argmax(value) == label else 1.0))
    if data.kind == ENTROPY:
        deviance = 0.0
        for k in range(value.shape[0]):
            deviance += weight * value[k] - data.moments[row, k] * np.log(max(value[k], 1e-12))
        return deviance
    for k in range(value.shape[0]):
        squares += value[k] * value[k]
        if not by_label:
            cross += data.moments[row, k] * value[k]
    if by_label:
        cross = weight * value[data.labels[row]]
    return weight * squares - 2.0 * cross


@njit(nogil=True, cache=True)
def polish(
    data: Problem, feature: np.ndarray, cut: np.ndarray, missing_left: np.ndarray, depth: int, passes: int
) -> float:
    """Improve a complete tree in place by exact search, node by node, bottom-up, with everything else fixed.

    On the lowest level a split is chosen together with the values of its two leaves; above, every row is charged
    what its two sub-trees would answer. Each accepted change lowers the regularised training loss, so the loss
    never rises. Stops when a pass changes nothing.

    Args:
        data: rows and charges.
        feature: int32 ``[2^D - 1]``, changed in place.
        cut: int32 ``[2^D - 1]``, changed in place.
        missing_left: bool ``[2^D - 1]``, changed in place.
        depth: D.
        passes: at most this many.

    Returns:
        The loss at the end. Cost of a pass: O(D n F + 2^D bins F K).

    Example:
        >>> codes, labels = np.array([[0, 0, 1, 1], [0, 1, 0, 1]], np.uint8), np.array([0, 1, 1, 0], np.int32)
        >>> data = Problem(codes, np.array([2, 2], np.int32), labels, np.zeros((0, 2)), np.ones(4),
        ...                np.ones(4, bool), np.ones(2, bool), np.array([0.5, 0.5]), 0.0, 1.0, SQUARED)
        >>> feature, cut, missing_left = np.array([1, -1, 0], np.int32), np.zeros(3, np.int32), np.ones(3, bool)
        >>> before = tree_cost(data, feature, cut, missing_left, 2)
        >>> before, polish(data, feature, cut, missing_left, 2, 10), feature.tolist()
        (-3.0, -4.0, [1, 0, 0])
    """
    return _polish_dirty(data, feature, cut, missing_left, depth, passes, np.ones(feature.shape[0], dtype=np.bool_))


@njit(nogil=True, cache=True)
def _mark(dirty: np.ndarray, node: int) -> None:
    """Mark a changed node, its ancestors and its descendants: the nodes whose best test may now be another."""
    above = node
    while above > 0:
        above = (above - 1) // 2
        dirty[above] = True
    first, last = node, node
    while first < dirty.shape[0]:
        dirty[first : last + 1] = True
        first, last = 2 * first + 1, 2 * last + 2


@njit(nogil=True, cache=True)
def _polish_dirty(
    data: Problem,
    feature: np.ndarray,
    cut: np.ndarray,
    missing_left: np.ndarray,
    depth: int,
    passes: int,
    dirty: np.ndarray,
) -> float:
    """Do ``polish``, looking only at nodes that are marked in ``dirty`` and at those that their changes mark."""
    inner, rows = feature.shape[0], data.codes.shape[1]
    place, leaf = np.empty(rows, dtype=np.int32), np.empty(rows, dtype=np.int32)
    costs, no_costs = np.zeros(rows), np.zeros(0)
    for _ in range(passes):
        if not dirty.any():
            break
        for level in range(depth - 1, -1, -1):
            first, width, below = (1 << level) - 1, 1 << level, depth - level - 1
            look = dirty[first : first + width].copy()
            if not look.any():
                continue
            dirty[first : first + width] = False
            for row in range(rows):
                place[row], leaf[row] = -1, -1
                if data.active[row]:
                    node = walk(data.codes, row, 0, level, feature, cut, missing_left)
                    if look[node - first]:
                        place[row] = node - first
                        leaf[row] = walk(data.codes, row, node, below + 1, feature, cut, missing_left) - inner
            stats = leaf_statistics(data, leaf, inner + 1)
            current = np.zeros(width)
            if below == 0:
                as_leaves = _leaves_cost(data, stats)
                for v in range(width):
                    current[v] = as_leaves[2 * v] + as_leaves[2 * v + 1]
                f, c, m, cost = best_splits(data, place, width, no_costs)
            else:
                values = leaf_values(stats, data.prior, data.smoothing)
                for row in range(rows):
                    if place[row] < 0:
                        continue
                    child = 2 * (first + place[row]) + 1
                    to_left = walk(data.codes, row, child, below, feature, cut, missing_left) - inner
                    to_right = walk(data.codes, row, child + 1, below, feature, cut, missing_left) - inner
                    costs[row] = _row_cost(data, row, values[to_left]) - _row_cost(data, row, values[to_right])
                    if leaf[row] == to_left:
                        current[place[row]] += costs[row]
                f, c, m, cost = best_splits(data, place, width, costs)
            for v in range(width):
                if look[v] and f[v] >= 0 and cost[v] < current[v] - 1e-9 * (1.0 + abs(current[v])):
                    feature[first + v], cut[first + v], missing_left[first + v] = f[v], c[v], m[v]
                    _mark(dirty, first + v)
    return tree_cost(data, feature, cut, missing_left, depth)


@njit(nogil=True, cache=True)
def kick(
    data: Problem,
    feature: np.ndarray,
    cut: np.ndarray,
    missing_left: np.ndarray,
    depth: int,
    passes: int,
    nodes: np.ndarray,
    features: np.ndarray,
    places: np.ndarray,
) -> float:
    """Escape local optima: set a few nodes at random, polish, keep what is better; once for each row of ``nodes``.

    The random numbers come from the caller, so that threads do not change the answer.

    Args:
        data: rows and charges.
        feature: int32 ``[2^D - 1]`` of a polished tree, changed in place.
        cut: int32 ``[2^D - 1]``, changed in place.
        missing_left: bool ``[2^D - 1]``, changed in place.
        depth: D.
        passes: at most this many a kick.
        nodes: int32 ``[kicks, 3]``, nodes to set, -1 for none.
        features: int32 ``[kicks, 3]``, what they test then.
        places: float64 ``[kicks, 3]`` in [0, 1), where in the feature's bins they cut.

    Returns:
        The loss at the end. Cost: kicks times that of ``polish``.

    Example:
        >>> codes, labels = np.array([[0, 0, 1, 1], [0, 1, 0, 1]], np.uint8), np.array([0, 1, 1, 0], np.int32)
        >>> data = Problem(codes, np.array([2, 2], np.int32), labels, np.zeros((0, 2)), np.ones(4),
        ...                np.ones(4, bool), np.ones(2, bool), np.array([0.5, 0.5]), 0.0, 1.0, SQUARED)
        >>> tree = grow(data, 2)  # no single test tells anything of an exclusive or
        >>> tree[0].tolist(), polish(data, *tree, 2, 10)
        ([-1, -1, -1], -2.0)
        >>> nodes, features = np.array([[0, -1, -1]], np.int32), np.array([[1, 0, 0]], np.int32)
        >>> kick(data, *tree, 2, 10, nodes, features, np.zeros((1, 3)))
        -4.0
    """
    best = tree_cost(data, feature, cut, missing_left, depth)
    for k in range(nodes.shape[0]):
        f, c, m = feature.copy(), cut.copy(), missing_left.copy()
        dirty = np.zeros(feature.shape[0], dtype=np.bool_)
        for j in range(nodes.shape[1]):
            if nodes[k, j] >= 0:
                _mark(dirty, nodes[k, j])
                f[nodes[k, j]] = features[k, j]
                c[nodes[k, j]] = int(places[k, j] * max(data.n_bins[features[k, j]] - 1, 1))
        cost = _polish_dirty(data, f, c, m, depth, passes, dirty)
        if cost < best - 1e-9 * (1.0 + abs(best)):
            best = cost
            feature[:], cut[:], missing_left[:] = f, c, m
    return best
