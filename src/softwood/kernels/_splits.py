"""Exact search for the best test of every node on one level of a tree.

Rows that reach different nodes of a level are disjoint, so one histogram pass over the data serves the whole
level. Two objectives share the scan:

* *given costs*: every row says what it would cost on the left minus on the right (the node's subtrees stay);
* *fresh leaves*: both sides become leaves whose values are re-fitted (growing, and the lowest level of polishing).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from softwood.kernels._dense import MISSING

ENTROPY, SQUARED, ERROR = 0, 1, 2  # how a leaf is charged: log-loss, squared error, wrong labels
ERROR_TIE = 0.1  # share of the log-loss beside the wrong labels: alone they are flat nearly everywhere


class Problem(NamedTuple):
    """The rows that a tree is fitted to, and how its leaves are charged. F features, n rows, K outputs.

    Args:
        codes: uint8 ``[F, n]``, bin codes; 255 is missing.
        n_bins: int32 ``[F]``, bins in use by feature.
        labels: int32 ``[n]``, the class of each row; empty when ``moments`` is used.
        moments: float64 ``[n, K]``, weighted targets; empty when ``labels`` is used.
        weight: float64 ``[n]``.
        active: bool ``[n]``, the rows that count (a fold is a mask).
        allowed: bool ``[F]``, the features that may be tested.
        prior: float64 ``[K]``, the leaf value of an empty leaf.
        smoothing: float, pseudo-rows at the prior in each leaf, >= 0.
        min_leaf: float, least weight on each side of a split.
        kind: ``ENTROPY``, ``SQUARED`` or ``ERROR``.
        direction: int8 ``[F]``: 1 or -1 where the last output may not fall or rise from a left leaf to the right one
            of a fresh split; empty for no such feature.

    Example:
        >>> codes = np.array([[0, 1, MISSING]], np.uint8)
        >>> data = Problem(codes, np.array([2], np.int32), np.array([0, 1, 1], np.int32), np.zeros((0, 2)), np.ones(3),
        ...                np.ones(3, bool), np.ones(1, bool), np.array([0.5, 0.5]), 1.0, 0.0, ENTROPY)
        >>> data.codes.shape, data.kind == ENTROPY
        ((1, 3), True)
    """

    codes: np.ndarray
    n_bins: np.ndarray
    labels: np.ndarray
    moments: np.ndarray
    weight: np.ndarray
    active: np.ndarray
    allowed: np.ndarray
    prior: np.ndarray
    smoothing: float
    min_leaf: float
    kind: int
    direction: np.ndarray = np.zeros(0, np.int8)


@njit(nogil=True, cache=True)
def leaf_cost(stats: np.ndarray, prior: np.ndarray, smoothing: float, kind: int) -> float:
    r"""Return the regularised loss of a leaf at its best value.

    With weight w, sums s_k and m = ``smoothing`` pseudo-rows of value ``prior``, the best leaf value is
    v_k = (s_k + m prior_k) / (w + m). Entropy: -sum_k (s_k + m prior_k) log v_k; for values instead of classes
    that is half the Poisson deviance (the part that depends on the leaf). Squared (the part that depends
    on the leaf, without the sum of squares): -sum_k (s_k + m prior_k)^2 / (w + m). Error: the weight of all
    classes but the largest, plus 0.1 of the entropy.

    Args:
        stats: float64 ``[K + 1]``: weight, then the K weighted sums.
        prior: float64 ``[K]``.
        smoothing: m >= 0.
        kind: ``ENTROPY``, ``SQUARED`` or ``ERROR``.

    Example:
        >>> leaf_cost(np.array([4.0, 2.0, 2.0]), np.array([0.5, 0.5]), 0.0, SQUARED)
        -2.0
    """
    total = stats[0] + smoothing
    if total <= 0.0:
        return 0.0
    squares, entropy, largest = 0.0, 0.0, 0.0
    for k in range(prior.shape[0]):
        mass = stats[k + 1] + smoothing * prior[k]
        if kind == SQUARED:
            squares += mass * mass / total
        elif mass > 0.0:
            entropy -= mass * np.log(mass / total)
            largest = max(largest, mass)
    if kind == SQUARED:
        return -squares
    return entropy if kind == ENTROPY else total - largest + ERROR_TIE * entropy


@njit(nogil=True, cache=True)
def _falls(data: Problem, left: np.ndarray, right: np.ndarray, direction: int) -> bool:
    """Say whether the last output goes against a direction from the left leaf to the right one."""
    k = data.prior.shape[0] - 1
    added = data.smoothing * data.prior[k]
    left_value = (left[1 + k] + added) / (left[0] + data.smoothing)
    right_value = (right[1 + k] + added) / (right[0] + data.smoothing)
    return direction * (right_value - left_value) < 0.0


@njit(nogil=True, cache=True)
def best_splits(
    data: Problem, node: np.ndarray, n_nodes: int, costs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the best (feature, cut, missing direction) of each node on one level, and its cost.

    A side is charged by ``leaf_cost``. If ``costs`` is not empty, the left side is charged the sum of ``costs`` over
    its rows instead (what going left costs more than going right), and the right side nothing.

    Args:
        data: rows and charges.
        node: int32 ``[n]``, node of each row on this level, -1 for rows that do not count.
        n_nodes: nodes on this level.
        costs: float64 ``[n]``, or empty.

    Returns:
        feature int32, cut int32, missing_left bool, cost float64, each ``[n_nodes]``; feature -1 and cost inf
        where no split is possible. A cut of -1 sends all that is not missing right. The first of equally good
        splits wins. Cost: O(n F + n_nodes bins F K) time, O(n_nodes bins K) memory.

    Example:
        >>> codes, one, y = np.array([[0, 1, 2, 2]], np.uint8), np.ones(1), np.array([[0.0], [0.0], [5.0], [5.0]])
        >>> data = Problem(codes, np.array([3], np.int32), np.zeros(0, np.int32), y, np.ones(4),
        ...                np.ones(4, bool), one > 0, one, 0.0, 1.0, SQUARED)
        >>> feature, cut, missing_left, cost = best_splits(data, np.zeros(4, np.int32), 1, np.zeros(0))
        >>> feature.tolist(), cut.tolist(), cost.tolist()
        ([0], [1], [-50.0])
    """
    given = costs.shape[0] > 0
    by_label = data.labels.shape[0] > 0
    outputs = 1 if given else data.prior.shape[0]
    codes, weight = data.codes, data.weight
    best_feature = np.full(n_nodes, -1, dtype=np.int32)
    best_cut = np.zeros(n_nodes, dtype=np.int32)
    best_missing = np.zeros(n_nodes, dtype=np.bool_)
    best_cost = np.full(n_nodes, np.inf)
    side_left, side_right = np.empty(outputs + 1), np.empty(outputs + 1)
    total = np.empty(outputs + 1)
    histogram = np.empty((n_nodes, MISSING + 1, outputs + 1))
    for feature in range(codes.shape[0]):
        bins = data.n_bins[feature]
        if not data.allowed[feature] or bins < 1:
            continue
        histogram[:, :bins, :] = 0.0
        histogram[:, MISSING, :] = 0.0
        for row in range(codes.shape[1]):
            if node[row] < 0:
                continue
            cell = histogram[node[row], codes[feature, row]]
            cell[0] += weight[row]
            if given:
                cell[1] += costs[row]
            elif by_label:
                cell[1 + data.labels[row]] += weight[row]
            else:
                for k in range(outputs):
                    cell[1 + k] += data.moments[row, k]
        for v in range(n_nodes):
            lost = histogram[v, MISSING]
            for k in range(outputs + 1):
                total[k] = lost[k]
                for b in range(bins):
                    total[k] += histogram[v, b, k]
            has_missing = lost[0] > 0.0
            # missing goes right (0) or left (1); without any, one direction is enough
            for direction in range(2 if has_missing else 1):
                for k in range(outputs + 1):
                    side_left[k] = lost[k] if direction == 1 else 0.0
                # Missing against all others: the last cut, missing right, once; but where the costs of the sides
                # are given, the other way round (cut -1, missing left) is another split.
                first_cut = -1 if given and direction == 1 else 0
                for b in range(first_cut, bins if has_missing and direction == 0 else bins - 1):
                    if b >= 0 and histogram[v, b, 0] == 0.0:
                        continue
                    for k in range(outputs + 1):
                        if b >= 0:
                            side_left[k] += histogram[v, b, k]
                        side_right[k] = total[k] - side_left[k]
                    # a sum of weights is not exact, so the least weight of a leaf has a tolerance
                    lighter = min(side_left[0], side_right[0])
                    if lighter < data.min_leaf * (1.0 - 1e-9) or side_right[0] <= 1e-12 * total[0]:
                        continue
                    if given:
                        cost = side_left[1]
                    elif data.direction.shape[0] > 0 and _falls(data, side_left, side_right, data.direction[feature]):
                        continue
                    else:
                        cost = leaf_cost(side_left, data.prior, data.smoothing, data.kind)
                        cost += leaf_cost(side_right, data.prior, data.smoothing, data.kind)
                    if best_feature[v] < 0 or cost < best_cost[v] - 1e-12 * abs(best_cost[v]):
                        best_feature[v], best_cut[v] = feature, b
                        # where nothing was missing, what is missing later goes with the heavier side
                        best_missing[v] = direction == 1 if has_missing else side_left[0] >= side_right[0]
                        best_cost[v] = cost
    return best_feature, best_cut, best_missing, best_cost
