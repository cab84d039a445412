"""Exact Shapley values of trees, by one integral for each leaf."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from softwood.kernels._traverse import goes_left


class Paths(NamedTuple):
    """The way to each leaf, with the steps that test one column joined.

    Args:
        ends: int64 ``[L]``, the leaf nodes.
        starts: int64 ``[L + 1]``, where the path of each leaf begins in the arrays below, ``[S]`` in all.
        steps: int64 ``[S]``, ``2 * node + 1`` for a step to the left, ``2 * node`` to the right; from the leaf up.
        slots: int64 ``[S]``, which of the leaf's distinct columns the step tests, in order of appearance.
        tested: int64 ``[S]``, the distinct columns themselves, in the leaf's first places.
        share: float64 ``[S]``, beside ``tested``: the share of training weight that this column's steps let through.

    Example:
        >>> Paths(*[np.zeros(1, np.int64)] * 5, np.zeros(1)).share
        array([0.])
    """

    ends: np.ndarray
    starts: np.ndarray
    steps: np.ndarray
    slots: np.ndarray
    tested: np.ndarray
    share: np.ndarray


@njit(nogil=True, cache=True)
def node_covers(
    feature: np.ndarray, left: np.ndarray, right: np.ndarray, leaf: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return the training weight that reached each node: that of its leaves, summed upward.

    Args:
        feature: int32 ``[N]``, -1 at a leaf.
        left: int32 ``[N]``; children stand after their parents.
        right: int32 ``[N]``.
        leaf: int32 ``[N]``.
        counts: float64 ``[L]``.

    Returns:
        float64 ``[N]``. Cost: O(N).

    Example:
        >>> node_covers(np.array([0, -1, -1]), np.array([1, 0, 0]), np.array([2, 0, 0]), np.array([-1, 0, 1]),
        ...             np.array([3.0, 4.0]))
        array([7., 3., 4.])
    """
    cover = np.zeros(len(feature))
    for node in range(len(feature) - 1, -1, -1):
        cover[node] = counts[leaf[node]] if feature[node] < 0 else cover[left[node]] + cover[right[node]]
    return cover


@njit(nogil=True, cache=True)
def leaf_paths(feature: np.ndarray, left: np.ndarray, right: np.ndarray, cover: np.ndarray) -> Paths:
    """List the path to each leaf.

    Args:
        feature: int32 ``[N]``, -1 at a leaf.
        left: int32 ``[N]``; children stand after their parents.
        right: int32 ``[N]``.
        cover: float64 ``[N]``; where a node has none, its children share equally.

    Cost: O(sum of path lengths times the distinct columns on them).

    Example:
        >>> stump = np.array([0, -1, -1]), np.array([1, 0, 0]), np.array([2, 0, 0])
        >>> leaf_paths(*stump, np.array([4.0, 1.0, 3.0])).share
        array([0.25, 0.75])
    """
    parent = np.full(len(feature), -1)
    depth = np.zeros(len(feature), np.int64)
    total = 0
    for node in range(len(feature)):
        if feature[node] >= 0:
            parent[left[node]] = parent[right[node]] = node
            depth[left[node]] = depth[right[node]] = depth[node] + 1
        else:
            total += depth[node]
    ends = np.flatnonzero(feature < 0)
    starts = np.zeros(len(ends) + 1, np.int64)
    steps, slots, tested = np.zeros(total, np.int64), np.zeros(total, np.int64), np.full(total, -1)
    share = np.ones(total)
    for number, end in enumerate(ends):
        start = starts[number]
        starts[number + 1] = start + depth[end]
        child, distinct = end, 0
        for step in range(start, start + depth[end]):
            node = parent[child]
            steps[step] = 2 * node + (1 if left[node] == child else 0)
            slot = start
            while slot < start + distinct and tested[slot] != feature[node]:
                slot += 1
            if slot == start + distinct:
                tested[slot] = feature[node]
                distinct += 1
            slots[step] = slot - start
            share[slot] *= cover[child] / cover[node] if cover[node] > 0 else 0.5
            child = node
    return Paths(ends, starts, steps, slots, tested, share)


@njit(nogil=True, cache=True)
def shapley_values(
    x: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    missing_left: np.ndarray,
    level_set: np.ndarray,
    levels_left: np.ndarray,
    leaf: np.ndarray,
    values: np.ndarray,
    paths: Paths,
    points: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    r"""Return how much each column moved the sum of the trees away from its expectation, for each row.

    The game of a leaf with value v and m distinct columns on its path: a known column lets the row through or not
    (:math:`o_j \in \{0, 1\}`), an unknown one lets the share :math:`z_j` of the training weight through. With
    :math:`s! (m-1-s)! / m! = \int_0^1 t^s (1-t)^{m-1-s} dt` Shapley's sum over coalitions becomes

    .. math:: \varphi_i = v \, (o_i - z_i) \int_0^1 \prod_{j \ne i} \bigl(t \, o_j + (1 - t) \, z_j\bigr) \, dt,

    a polynomial of degree m - 1, so that Gauss-Legendre quadrature with ceil(m / 2) points is exact; no term of
    the integral is negative, so that nothing cancels.

    Args:
        x: float64 ``[n, C]``.
        feature: with the five that follow: as in ``leaf_indices``.
        threshold: see ``feature``.
        missing_left: see ``feature``.
        level_set: see ``feature``.
        levels_left: see ``feature``.
        leaf: see ``feature``.
        values: float64 ``[L, K]``.
        paths: from ``leaf_paths``.
        points: float64 ``[Q, Q]``; row q - 1 holds the points of the rule with q of them on [0, 1].
        weights: float64 ``[Q, Q]``, beside ``points``.

    Returns:
        float64 ``[n, C, K]``. Cost: O(n L m (m + K)) time for paths with m distinct columns.

    Example:
        >>> paths = leaf_paths(np.array([0, -1, -1]), np.array([1, 0, 0]), np.array([2, 0, 0]), np.array([4.0, 1, 3]))
        >>> none, leaf = np.array([-1, -1, -1]), np.array([-1, 0, 1])
        >>> shapley_values(np.array([[0.0]]), np.array([0, -1, -1]), np.zeros(3), none > 0, none,
        ...                np.zeros((0, 0), bool), leaf, np.array([[8.0], [0.0]]), paths,
        ...                np.array([[0.5]]), np.array([[1.0]]))  # 8 for this row, 2 on average
        array([[[6.]]])
    """
    out = np.zeros((x.shape[0], x.shape[1], values.shape[1]))
    left = np.zeros(len(feature), np.bool_)
    passes = np.empty(2 * len(points) + 1, np.bool_)
    parts = np.empty(2 * len(points) + 1)
    for row in range(x.shape[0]):
        for node in range(len(feature)):
            if feature[node] >= 0:
                value = x[row, feature[node]]
                left[node] = goes_left(value, node, threshold, missing_left, level_set, levels_left)
        for number in range(len(paths.ends)):
            start = paths.starts[number]
            distinct = _shares_of_one_leaf(left, paths, number, points, weights, passes, parts)
            vector = values[leaf[paths.ends[number]]]
            for slot in range(distinct):
                for output in range(len(vector)):
                    out[row, paths.tested[start + slot], output] += parts[slot] * vector[output]
    return out


@njit(nogil=True, cache=True)
def _shares_of_one_leaf(
    left: np.ndarray,
    paths: Paths,
    number: int,
    points: np.ndarray,
    weights: np.ndarray,
    passes: np.ndarray,
    parts: np.ndarray,
) -> int:
    """Write the Shapley values of a leaf with value 1 to ``parts``; return how many columns have one."""
    start, stop = paths.starts[number], paths.starts[number + 1]
    distinct = 0
    for step in range(start, stop):
        slot = paths.slots[step]
        if slot == distinct:
            passes[slot] = True
            distinct += 1
        if left[paths.steps[step] // 2] != (paths.steps[step] % 2 == 1):
            passes[slot] = False
    stopped, blocked = 1.0, 0  # product of z over the columns that stop the row, and their number
    for slot in range(distinct):
        parts[slot] = 0.0
        if not passes[slot]:
            stopped *= paths.share[start + slot]
            blocked += 1
    if stopped == 0 or distinct == 0:
        return 0
    rule = (distinct + 1) // 2 - 1
    for q in range(rule + 1):
        t = points[rule, q]
        product = weights[rule, q] * stopped * (1 - t) ** blocked
        for slot in range(distinct):
            if passes[slot]:
                product *= t + (1 - t) * paths.share[start + slot]
        for slot in range(distinct):
            z = paths.share[start + slot]
            # without column i its factor is taken out again; z_i stays in where the column stops the row
            parts[slot] += product * (1 - z) / (t + (1 - t) * z) if passes[slot] else -product / (1 - t)
    return distinct
