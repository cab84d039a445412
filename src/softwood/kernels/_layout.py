"""Lay trees out for ``raw_scores``: nodes level by level, leaves from left to right, distinct tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

BY_NODES, BY_TESTS, BY_LEVELS = 0, 1, 2
ALL = np.uint64(2**64 - 1)
_MOST_LEAVES = 64  # bits of a number
_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def lay_out(
    feature: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    level_set: np.ndarray,
    leaf: np.ndarray,
    roots: np.ndarray,
    threshold: np.ndarray,
    missing_left: np.ndarray,
    levels_left: np.ndarray,
    values: np.ndarray,
    nodes: np.ndarray,
    tests: np.ndarray,
    trees: np.ndarray,
    packed_values: np.ndarray,
) -> tuple[int, int, int]:
    """Fill the arrays of ``Packed``; return how many nodes, tests and leaves were written.

    Args:
        feature: int64 ``[N]``; this and the eight that follow as in ``leaf_indices``.
        left: see ``feature``.
        right: see ``feature``.
        level_set: see ``feature``.
        leaf: see ``feature``.
        roots: int64 ``[T]``.
        threshold: float64 ``[N]``.
        missing_left: bool ``[N]``.
        levels_left: bool ``[M, max_levels]``.
        values: float64 ``[L, K]``.
        nodes: ``NODE [N]``, filled.
        tests: ``TEST [N]``, filled.
        trees: ``TREE [T]``, filled.
        packed_values: float64 ``[N, K]``, filled.

    Cost: O(N), and in trees of at most 64 leaves O(tests^2) each.
    """
    n_nodes, n_tests, n_leaves = 0, 0, 0
    old = np.empty(len(nodes), np.int64)
    level, leaves, first = (
        np.empty(len(nodes), np.int64),
        np.empty(len(nodes), np.int64),
        np.empty(len(nodes), np.int64),
    )
    for number in range(len(roots)):
        tree = trees[number]
        root = n_nodes
        old[root], level[root] = roots[number], 0
        n_nodes += 1
        here = root
        plain = True
        while here < n_nodes:  # level by level: whoever is visited puts its children at the end
            source, node = old[here], nodes[here]
            if feature[source] >= 0:
                node.feature, node.level_set, node.left = feature[source], level_set[source], n_nodes
                node.missing_right = not missing_left[source]
                node.threshold = threshold[source]
                plain &= level_set[source] < 0
                old[n_nodes], old[n_nodes + 1] = left[source], right[source]
                level[n_nodes] = level[n_nodes + 1] = level[here] + 1
                n_nodes += 2
            else:
                node.feature, node.level_set, node.left = 0, -1, here
                node.missing_right = False
                node.threshold = np.inf
            here += 1
        for place in range(n_nodes - 1, root - 1, -1):
            below = nodes[place].left
            leaves[place] = 1 if below == place else leaves[below] + leaves[below + 1]
        first[root] = 0
        for place in range(root, n_nodes):
            below = nodes[place].left
            if below == place:
                nodes[place].leaf = n_leaves + first[place]
                packed_values[n_leaves + first[place]] = values[leaf[old[place]]]
            else:
                first[below], first[below + 1] = first[place], first[place] + leaves[below]
        tree.root, tree.depth, tree.plain = root, level[n_nodes - 1], plain
        tree.first_leaf, tree.leaves, tree.first_test, tree.tests = n_leaves, leaves[root], n_tests, 0
        tree.output = _only_output(packed_values[n_leaves : n_leaves + leaves[root]])
        if tree.leaves <= _MOST_LEAVES:
            tree.way = BY_TESTS
            for place in range(root, n_nodes):
                if nodes[place].left != place:
                    found = _find(nodes[place], tests, tree.first_test, n_tests, levels_left)
                    if found == n_tests:
                        _write_test(nodes[place], tests[found])
                        n_tests += 1
                    inside = (_ONE << np.uint64(leaves[nodes[place].left])) - _ONE  # fewer than 64 leaves: no overflow
                    tests[found].keeps &= ~(inside << np.uint64(first[place]))
            tree.tests = n_tests - tree.first_test
        elif plain and _one_test_a_level(nodes, root, n_nodes, level):
            tree.way, tree.tests = BY_LEVELS, tree.depth
        else:
            tree.way = BY_NODES
        n_leaves += leaves[root]
    return n_nodes, n_tests, n_leaves


@njit(nogil=True, cache=True)
def _only_output(values: np.ndarray) -> int:
    """Return the only output that is not 0 in all leaves, the first if there is none, -1 if there are several."""
    found = -1
    for output in range(values.shape[1]):
        if (values[:, output] != 0.0).any():
            if found >= 0:
                return -1
            found = output
    return max(found, 0)


@njit(nogil=True, cache=True)
def _write_test(node: Any, test: Any) -> None:
    test.feature, test.threshold, test.level_set = node.feature, node.threshold, node.level_set
    test.missing_right, test.keeps = node.missing_right, ALL


@njit(nogil=True, cache=True)
def _find(node: Any, tests: np.ndarray, begin: int, end: int, levels_left: np.ndarray) -> int:
    """Return the place of a node's test among those of its tree, or ``end``."""
    for place in range(begin, end):
        if _same(node, tests[place], levels_left):
            return place
    return end


@njit(nogil=True, cache=True)
def _same(one: Any, other: Any, levels_left: np.ndarray) -> bool:
    if one.feature != other.feature or one.missing_right != other.missing_right:
        return False
    if (one.level_set >= 0) != (other.level_set >= 0):
        return False
    if one.level_set >= 0:
        return (levels_left[one.level_set] == levels_left[other.level_set]).all()
    return one.threshold == other.threshold


@njit(nogil=True, cache=True)
def _one_test_a_level(nodes: np.ndarray, root: int, end: int, level: np.ndarray) -> bool:
    """Tell whether a tree of numbers is complete, and all nodes of a level make the same test."""
    if end - root != 2 ** (level[end - 1] + 1) - 1:
        return False
    for place in range(root, end):
        node, leader = nodes[place], nodes[root + 2 ** level[place] - 1]
        if node.feature != leader.feature or node.missing_right != leader.missing_right:
            return False
        if node.threshold != leader.threshold:
            return False
    return True
