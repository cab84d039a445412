"""Add up the leaves that rows reach, for many rows and trees at once.

Three ways lead to the same leaves. A tree of at most 64 leaves asks all its tests of a block of rows: a leaf is a bit,
a row that goes right at a test loses the leaves on the test's left side, and the first bit that is left is its leaf.
There is no branch and no jump in memory, so the processor takes several rows at once; in an oblivious tree a level is
one test. A larger oblivious tree reads the leaf's number off the answers. Any other tree, and any few rows, walk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from softwood.kernels._layout import ALL, BY_LEVELS, BY_TESTS, lay_out

_BLOCK = 256  # rows that are taken together: their values stay in the nearest cache
_ASK = 4  # asking pays for more rows than this, times tests over levels; below, a walk is quicker
_WORTH_A_LOOK = 8  # with fewer trees, looking for missing values costs more than it saves

NODE = np.dtype(
    [("threshold", np.float64), ("feature", np.int32), ("left", np.int32), ("level_set", np.int32),
     ("leaf", np.int32), ("missing_right", np.bool_)], align=True,
)  # fmt: skip
TEST = np.dtype(
    [("threshold", np.float64), ("keeps", np.uint64), ("feature", np.int32), ("level_set", np.int32),
     ("missing_right", np.bool_)], align=True,
)  # fmt: skip
TREE = np.dtype(
    [("root", np.int32), ("depth", np.int32), ("first_leaf", np.int32), ("leaves", np.int32), ("first_test", np.int32),
     ("tests", np.int32), ("way", np.int32), ("output", np.int32), ("plain", np.bool_)], align=True,
)  # fmt: skip


class Packed(NamedTuple):
    """Trees laid out for quick answers.

    Args:
        nodes: ``NODE [N]``, tree by tree and level by level, siblings side by side: the right child follows the left
            one. At a leaf the threshold is infinite, the feature 0, the left child the leaf itself, and ``leaf`` the
            row of ``values``.
        tests: ``TEST [Q]``, the distinct tests of each tree that is asked all of them; ``keeps`` has a bit for each
            leaf that a row may still reach which goes right.
        trees: ``TREE [T]``: places in the other arrays; ``way`` is ``BY_TESTS``, ``BY_LEVELS`` or ``BY_NODES``,
            ``output`` the only output that is not 0 in all leaves or -1, ``plain`` tells that no test is of a category.
        levels_left: bool ``[M, max_levels]``.
        values: float64 ``[L, K]``, leaves from left to right.
        base: float64 ``[K]``.

    Example:
        >>> Packed(*[np.zeros(1)] * 6).base
        array([0.])
    """

    nodes: np.ndarray
    tests: np.ndarray
    trees: np.ndarray
    levels_left: np.ndarray
    values: np.ndarray
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
        feature: with the nine that follow: as in ``leaf_indices``; values float64 ``[L, K]``. Each node is the root
            or the child of one other.
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

    Cost: O(N), and in trees of at most 64 leaves O(tests^2) each.

    Example:
        >>> none = np.zeros(1, np.int32)
        >>> pack(none - 1, np.zeros(1), none > 0, none, none, none - 1, np.zeros((0, 0), bool), none, np.ones((1, 1)),
        ...      none, np.zeros(1)).nodes["threshold"]
        array([inf])
    """
    count = len(feature)
    nodes, tests, trees = np.zeros(count, NODE), np.zeros(count, TEST), np.zeros(len(roots), TREE)
    packed_values = np.empty((count, values.shape[1]))
    levels = np.ascontiguousarray(levels_left, bool)
    structure = [np.asarray(array, np.int64) for array in (feature, left, right, level_set, leaf, roots)]
    n_nodes, n_tests, n_leaves = lay_out(
        structure[0], structure[1], structure[2], structure[3], structure[4], structure[5],
        np.asarray(threshold, float), np.asarray(missing_left, bool), levels, np.asarray(values, float),
        nodes, tests, trees, packed_values,
    )  # fmt: skip
    # + 0.0: a base of -0.0 would show which zeros were added
    return Packed(nodes[:n_nodes], tests[:n_tests], trees, levels, packed_values[:n_leaves].copy(), base + 0.0)


@njit(nogil=True, cache=True)
def raw_scores(x: np.ndarray, packed: Packed) -> np.ndarray:
    """Return base plus the sum of the leaves that each row reaches, added in the order of the trees.

    Args:
        x: float64 ``[n, C]``, encoded as for ``leaf_indices``.
        packed: from ``pack``.

    Returns:
        float64 ``[n, K]``. Cost: O(n T (depth + K)) time, tests instead of depth for trees of at most 64 leaves;
        O(n K) memory.

    Example:
        >>> none = np.zeros(1, np.int32)
        >>> trees = pack(none - 1, np.zeros(1), none > 0, none, none, none - 1, np.zeros((0, 0), bool), none,
        ...              np.ones((1, 1)), none, np.zeros(1))
        >>> raw_scores(np.zeros((2, 1)), trees)
        array([[1.],
               [1.]])
    """
    rows = x.shape[0]
    out = np.empty((rows, len(packed.base)))
    size = min(_BLOCK, rows)
    place = np.empty(size, np.int64)
    columns = np.empty((x.shape[1] if rows > _ASK and (packed.trees["way"] > 0).any() else 0, size))
    alive = np.empty(size, np.uint64)
    power = np.empty(size)
    for start in range(0, rows, _BLOCK):
        block = x[start : start + _BLOCK]
        count = len(block)
        complete = len(packed.trees) >= _WORTH_A_LOOK and not np.isnan(block).any()
        if len(columns) > 0:
            columns[:, :count] = block.T
        total = out[start : start + count]
        total[:] = packed.base
        for number in range(len(packed.trees)):
            tree = packed.trees[number]
            worth = len(columns) > 0 and count * tree.depth > _ASK * tree.tests
            if worth and tree.way == BY_TESTS:
                _ask_all(columns, packed.tests, tree.first_test, tree.tests, packed.levels_left, count, alive)
                _first_alive(alive, tree.first_leaf, count, power, place)
            elif worth and tree.way == BY_LEVELS:
                _ask_levels(columns, packed.nodes, tree.root, tree.depth, tree.first_leaf, place[:count])
            else:
                if not tree.plain or count <= _ASK:
                    _walk_all(block, packed, tree.root, place)
                elif complete:
                    _walk_numbers(block, packed, tree.root, tree.depth, place)
                else:
                    _walk_numbers_and_missing(block, packed, tree.root, tree.depth, place)
                for row in range(count):
                    place[row] = packed.nodes[place[row]].leaf
            _add(packed.values, tree.output, place[:count], total)
    return out


@njit(nogil=True, cache=True)
def _add(values: np.ndarray, output: int, leaf: np.ndarray, total: np.ndarray) -> None:
    if output >= 0:
        for row in range(len(leaf)):
            total[row, output] += values[leaf[row], output]
    else:
        for row in range(len(leaf)):
            for k in range(values.shape[1]):
                total[row, k] += values[leaf[row], k]


# ------------------------------------------------------------------ all tests of a tree
_ONE, _MANTISSA, _BIAS = np.uint64(1), np.uint64(52), np.uint64(1023)  # of a float64: its exponent stands above 52 bits


@njit(nogil=True, cache=True)
def _ask_all(
    columns: np.ndarray, tests: np.ndarray, first: int, asked: int, levels_left: np.ndarray, rows: int,
    alive: np.ndarray,
) -> None:  # fmt: skip
    """Strike out the leaves that the tests of a tree exclude."""
    for row in range(rows):
        alive[row] = ALL
    for index in range(first, first + asked):
        feature, threshold, keeps = tests[index].feature, tests[index].threshold, tests[index].keeps
        missing_right, level_set = tests[index].missing_right, tests[index].level_set
        if level_set >= 0:
            for row in range(rows):
                value = columns[feature, row]
                right = not levels_left[level_set, int(value)] if value == value else missing_right
                alive[row] &= keeps if right else ALL
        elif missing_right:
            for row in range(rows):
                alive[row] &= ALL if columns[feature, row] <= threshold else keeps
        else:
            for row in range(rows):
                alive[row] &= keeps if columns[feature, row] > threshold else ALL


@njit(nogil=True, cache=True)
def _first_alive(alive: np.ndarray, first_leaf: int, rows: int, power: np.ndarray, leaf: np.ndarray) -> None:
    """Find the first leaf that is left: the lowest bit, alone, is a power of 2, and a float64 writes down which."""
    exponent = power.view(np.uint64)
    for row in range(rows):
        power[row] = alive[row] & (~alive[row] + _ONE)
    shift = np.uint64(first_leaf) - _BIAS
    for row in range(rows):
        leaf[row] = (exponent[row] >> _MANTISSA) + shift


@njit(nogil=True, cache=True)
def _ask_levels(
    columns: np.ndarray, nodes: np.ndarray, root: int, depth: int, first_leaf: int, leaf: np.ndarray
) -> None:  # fmt: skip
    """Take one test a level for all rows: its answers are the bits of the leaf's number."""
    leaf[:] = 0
    for level in range(depth):
        node = nodes[root + 2**level - 1]
        feature, threshold = node.feature, node.threshold
        if node.missing_right:
            for row in range(len(leaf)):
                leaf[row] = 2 * leaf[row] + (not columns[feature, row] <= threshold)
        else:
            for row in range(len(leaf)):
                leaf[row] = 2 * leaf[row] + (columns[feature, row] > threshold)
    leaf += first_leaf


# ------------------------------------------------------------------ node by node
@njit(nogil=True, cache=True)
def _walk_numbers(block: np.ndarray, packed: Packed, root: int, depth: int, place: np.ndarray) -> None:
    """Move all rows down together, without a branch that could be guessed wrong; at a leaf a step stays."""
    place[: len(block)] = root
    for _ in range(depth):
        moved = False
        for row in range(len(block)):
            here = place[row]
            node = packed.nodes[here]
            place[row] = node.left + (block[row, node.feature] > node.threshold)
            moved |= place[row] != here
        if not moved:
            return


@njit(nogil=True, cache=True)
def _walk_numbers_and_missing(block: np.ndarray, packed: Packed, root: int, depth: int, place: np.ndarray) -> None:
    """Do the same where values may be missing."""
    place[: len(block)] = root
    for _ in range(depth):
        moved = False
        for row in range(len(block)):
            here = place[row]
            node = packed.nodes[here]
            value = block[row, node.feature]
            place[row] = node.left + ((value > node.threshold) | ((value != value) & node.missing_right))
            moved |= place[row] != here
        if not moved:
            return


@njit(nogil=True, cache=True)
def _walk_all(block: np.ndarray, packed: Packed, root: int, place: np.ndarray) -> None:
    """Walk row by row, with categories."""
    for row in range(len(block)):
        here = root
        while packed.nodes[here].left != here:
            node = packed.nodes[here]
            value = block[row, node.feature]
            if np.isnan(value):
                right = node.missing_right
            elif node.level_set >= 0:
                right = not packed.levels_left[node.level_set, int(value)]
            else:
                right = value > node.threshold
            here = node.left + np.int32(right)
        place[row] = here
