"""Given trees on new rows: leaves grown again one tree after the other, and the cut to a size budget."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np

from softwood.kernels import scatter_leaves
from softwood.trees._forest import BoostedTree, Forest
from softwood.trees._rows import Group

_LEAST_CURVATURE = 1e-6
_L2 = 1.0  # added to the curvature of each leaf


def newton_leaves(forest: Forest, group: Group, rate: float) -> tuple[Forest, np.ndarray]:
    """Fit the leaves of given trees as the booster does: one Newton step of each tree in turn, times ``rate``.

    Nothing of the values that came is used: only the tests are.

    Args:
        forest: tests.
        group: rows to learn from.
        rate: what each step is multiplied by.

    Returns:
        The forest with its leaves, and for each leaf the sums of gradient and curvature before its tree's step,
        ``[L, 2, K]``.

    Cost: O(n T (depth + K)).
    """
    active = group.active & (group.rows.weight > 0)
    rows = group.rows.take(active)
    leaves = forest.leaves(np.ascontiguousarray(group.codes[:, active]))
    base = rows.loss.start(rows, rows.weight, group.prior)
    raw = np.tile(base, (rows.n, 1))
    outputs = len(base)
    values, sums = np.zeros_like(forest.values), np.zeros((len(forest.values), 2, outputs))
    for leaf, of_node in zip(leaves, forest.leaf_of_node, strict=True):
        _, gradient, curvature = rows.loss.parts(raw, rows)
        parts = np.column_stack([gradient, np.maximum(curvature, _LEAST_CURVATURE)]) * rows.weight[:, None]
        own = np.unique(of_node[of_node >= 0])
        local = (leaf - own[0]).astype(np.int32)
        mask = forest.mask[own]
        sums[own] = scatter_leaves(local[None], parts, len(own)).reshape(len(own), 2, outputs) * mask[:, None]
        steps = -sums[own, 0] / (sums[own, 1] + _L2)
        values[own] = rate * rows.loss.leaf_steps(raw, rows, rows.weight, local, steps) * mask
        raw += values[leaf]
    return replace(forest, values=values, base=base), sums


def cut_to(forest: Forest, group: Group, rate: float, budget: int) -> Forest:
    r"""Collapse sibling leaves until at most ``budget`` leaf values are left; a tree of one leaf is dropped.

    The pair whose merging costs least goes first, where leaves with sums G of the gradient and H of the curvature
    cost :math:`-G^2 / (2 (H + \lambda))` each, all before their tree's own step.

    Args:
        forest: trees; their values are not looked at.
        group: rows to learn from.
        rate: of ``newton_leaves``, in whose course the sums are taken.
        budget: leaf values.

    Cost: that of ``newton_leaves`` and O(N log N).
    """
    if forest.size <= budget:
        return forest
    _, sums = newton_leaves(forest, group, rate)
    total, collapsed = _statistics(forest, sums), [np.zeros(len(tree.feature), bool) for tree in forest.trees]
    widths = [int(forest.mask[of_node.max()].sum()) for of_node in forest.leaf_of_node]
    queue: list[tuple[float, int, int]] = []

    def is_leaf(tree: int, node: int) -> bool:
        return bool(forest.trees[tree].feature[node] < 0 or collapsed[tree][node])

    def offer(tree: int, node: int) -> None:
        left = int(forest.trees[tree].left[node])
        if is_leaf(tree, left) and is_leaf(tree, left + 1):
            gain = _gain(total[tree][left]) + _gain(total[tree][left + 1])
            gain -= _gain(total[tree][node]) if node else 0.0
            saved = widths[tree] * (1 if node else 2)
            heapq.heappush(queue, (gain / saved, tree, node))

    for place, part in enumerate(forest.trees):
        for split in np.flatnonzero(part.feature >= 0):
            offer(place, int(split))
    parents = [_parents(tree) for tree in forest.trees]
    size = forest.size
    while size > budget and queue:
        _, tree, node = heapq.heappop(queue)
        collapsed[tree][node] = True
        size -= widths[tree] * (1 if node else 2)
        if node:
            offer(tree, int(parents[tree][node]))
    return _without(forest, collapsed)


def _gain(sums: np.ndarray) -> float:
    return float((sums[0] ** 2 / (2 * (sums[1] + _L2))).sum())


def _statistics(forest: Forest, sums: np.ndarray) -> list[np.ndarray]:
    """Return the sums of each node, ``[N, 2, K]`` for each tree."""
    found = []
    for tree, of_node in zip(forest.trees, forest.leaf_of_node, strict=True):
        total = np.zeros((len(of_node), *sums.shape[1:]))
        total[of_node >= 0] = sums[of_node[of_node >= 0]]
        for node in np.flatnonzero(tree.feature >= 0)[::-1]:  # children stand after their parents
            total[node] = total[tree.left[node]] + total[tree.left[node] + 1]
        found.append(total)
    return found


def _parents(tree: BoostedTree) -> np.ndarray:
    parent = np.zeros(len(tree.feature), np.int64)
    inner = np.flatnonzero(tree.feature >= 0)
    parent[tree.left[inner]] = parent[tree.left[inner] + 1] = inner
    return parent


def _without(forest: Forest, collapsed: list[np.ndarray]) -> Forest:
    """Return the forest with collapsed nodes as leaves, whose values are zero until they are fitted."""
    trees, of_nodes, masks, leaves = [], [], [], 0
    for tree, of_node, gone in zip(forest.trees, forest.leaf_of_node, collapsed, strict=True):
        if gone[0]:
            continue
        order, place, left = [0], 0, []
        while place < len(order):
            node = order[place]
            inner = tree.feature[node] >= 0 and not gone[node]
            left.append(len(order) if inner else 0)
            if inner:
                order += [int(tree.left[node]), int(tree.left[node]) + 1]
            place += 1
        nodes = np.array(order)
        ends = np.array(left) == 0
        trees.append(
            BoostedTree(
                np.where(ends, -1, tree.feature[nodes]).astype(np.int32), tree.cut[nodes],
                tree.missing_left[nodes] & ~ends, np.array(left, np.int32),
            )
        )  # fmt: skip
        of_nodes.append(np.where(ends, np.cumsum(ends) - 1 + leaves, -1).astype(np.int32))
        masks.append(np.tile(forest.mask[of_node.max()], (int(ends.sum()), 1)))
        leaves += int(ends.sum())
    mask = np.concatenate([np.zeros((0, forest.mask.shape[1])), *masks])
    return Forest(tuple(trees), tuple(of_nodes), np.zeros_like(mask), mask, forest.base)
