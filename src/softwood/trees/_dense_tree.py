"""A hard tree in complete form on bin codes: what growing, polishing and pruning work on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from softwood.core import Budget
from softwood.kernels import Problem, dense_leaf_indices, grow, kick, leaf_cost, leaf_statistics, leaf_values, polish

_PASSES = 30  # polishing stops by itself, mostly after three to six
_NODES_IN_A_KICK = 3


@dataclass(frozen=True, eq=False)
class DenseTree:
    """The 2^D - 1 tests of a complete tree in breadth-first order.

    Args:
        feature: int32 ``[2^D - 1]``, codec feature, -1 where nothing is tested and every row goes left.
        cut: int32 ``[2^D - 1]``, a row goes left if its code is at most the cut.
        missing_left: bool ``[2^D - 1]``.
    """

    feature: np.ndarray
    cut: np.ndarray
    missing_left: np.ndarray

    @property
    def depth(self) -> int:
        """D."""
        return int(len(self.feature) + 1).bit_length() - 1

    @property
    def n_leaves(self) -> int:
        """Leaves that are not cut off by a node without a test."""
        reachable = np.ones(1, bool)
        for level in range(self.depth):
            here = self.feature[(1 << level) - 1 : (1 << (level + 1)) - 1]
            reachable = np.column_stack([reachable, reachable & (here >= 0)]).ravel()
        return int(reachable.sum())

    def leaf_of(self, codes: np.ndarray) -> np.ndarray:
        """Return the leaf of each row, int32 ``[n]`` in 0 .. 2^D - 1, for uint8 codes ``[F, n]``."""
        leaves: np.ndarray = dense_leaf_indices(codes, self.feature, self.cut, self.missing_left)
        return leaves

    def statistics(self, data: Problem) -> np.ndarray:
        """Return weight and sums of each leaf over the active rows, ``[2^D, K + 1]``."""
        leaf = np.where(data.active, self.leaf_of(data.codes), -1).astype(np.int32)
        stats: np.ndarray = leaf_statistics(data, leaf, len(self.feature) + 1)
        return stats

    def values(self, data: Problem, smoothing: float) -> np.ndarray:
        """Return the best value of each leaf with ``smoothing`` pseudo-rows at the prior, ``[2^D, K]``."""
        values: np.ndarray = leaf_values(self.statistics(data), data.prior, smoothing)
        return values


def grown(data: Problem, depth: int) -> DenseTree:
    """Grow a tree greedily (CART)."""
    return DenseTree(*grow(data, depth))


def polished(tree: DenseTree, data: Problem, seed: np.random.Generator | None = None, kicks: int = 0) -> DenseTree:
    """Polish a copy of a tree by exact node search, then try random kicks, each polished, keeping what is better.

    Args:
        tree: the start.
        data: rows and charges.
        seed: source of the kicks.
        kicks: how many.
    """
    feature, cut, missing_left = tree.feature.copy(), tree.cut.copy(), tree.missing_left.copy()
    polish(data, feature, cut, missing_left, tree.depth, _PASSES)
    if kicks and seed is not None and len(data.n_bins):
        shape = (kicks, _NODES_IN_A_KICK)
        nodes = seed.integers(0, len(feature), shape).astype(np.int32)
        size = seed.integers(1, _NODES_IN_A_KICK + 1, (kicks, 1))
        nodes[np.arange(_NODES_IN_A_KICK) >= size] = -1
        features = seed.choice(np.flatnonzero(data.allowed), shape).astype(np.int32)
        kick(data, feature, cut, missing_left, tree.depth, _PASSES, nodes, features, seed.random(shape))
    return DenseTree(feature, cut, missing_left)


def node_statistics(tree: DenseTree, data: Problem) -> list[np.ndarray]:
    """Return weight and sums of the rows that reach each node, level by level, root first: ``[2^d, K + 1]``."""
    levels = [tree.statistics(data)]
    while len(levels[0]) > 1:
        levels.insert(0, levels[0][0::2] + levels[0][1::2])
    return levels


def node_costs(tree: DenseTree, data: Problem) -> list[np.ndarray]:
    """Return for each level, root first, what each node would cost as a leaf."""
    return [
        np.array([leaf_cost(s, data.prior, data.smoothing, data.kind) for s in stats])
        for stats in node_statistics(tree, data)
    ]


def pruned(tree: DenseTree, levels: Sequence[np.ndarray], alpha: float) -> DenseTree:
    """Return the smallest subtree that minimises loss + alpha times its leaves (cost-complexity pruning).

    Args:
        tree: what to prune.
        levels: what each node would cost as a leaf, as ``node_costs`` gives it.
        alpha: price of a leaf, in the units of the loss summed over rows, >= 0.
    """
    collapses: list[np.ndarray] = []  # by level, root first
    best = levels[-1] + alpha
    for level in range(tree.depth - 1, -1, -1):
        here = tree.feature[(1 << level) - 1 : (1 << (level + 1)) - 1]
        below = np.where(here >= 0, best[0::2] + best[1::2], best[0::2])
        alone = levels[level] + alpha
        collapses.insert(0, alone <= below + 1e-9 * np.abs(below))
        best = np.where(collapses[0], alone, below)
    feature, kept = tree.feature.copy(), np.ones(1, bool)  # kept: nodes that a row can still reach as inner nodes
    for level, collapse in enumerate(collapses):
        here = feature[(1 << level) - 1 : (1 << (level + 1)) - 1]
        kept &= ~collapse
        here[~kept] = -1
        kept = np.column_stack([kept, kept & (here >= 0)]).ravel()
    return DenseTree(feature, tree.cut, tree.missing_left)


def pruned_to(tree: DenseTree, levels: Sequence[np.ndarray], leaves: int) -> DenseTree:
    """Return the tree with its weakest link cut, again and again, until it has at most ``leaves`` leaves.

    The weakest link is the node whose subtree lowers the loss least for each leaf that it adds.

    Args:
        tree: what to prune.
        levels: what each node would cost as a leaf, as ``node_costs`` gives it.
        leaves: >= 1.
    """
    if tree.n_leaves <= leaves:
        return tree
    inner = len(tree.feature)
    tree = pruned(tree, levels, 0.0)  # without tests that gain nothing, or that no row reaches
    while tree.n_leaves > leaves:
        best, count = levels[-1], np.ones(inner + 1)
        links: list[np.ndarray] = []
        for level in range(tree.depth - 1, -1, -1):
            splits = tree.feature[(1 << level) - 1 : (1 << (level + 1)) - 1] >= 0
            best = np.where(splits, best[0::2] + best[1::2], best[0::2])
            count = np.where(splits, count[0::2] + count[1::2], count[0::2])
            links.insert(0, np.where(count > 1, (levels[level] - best) / np.maximum(count - 1, 1), np.inf))
        first = last = int(np.concatenate(links).argmin())
        feature = tree.feature.copy()
        while first < inner:
            feature[first : last + 1] = -1
            first, last = 2 * first + 1, 2 * last + 2
        tree = DenseTree(feature, tree.cut, tree.missing_left)
    return tree


def lightest_leaf(tree: DenseTree, data: Problem) -> float:
    """Return the least weight on a side of a test that rows can reach; infinity where nothing is tested."""
    levels, lightest = node_statistics(tree, data), np.inf
    for level in range(tree.depth):
        tested = tree.feature[(1 << level) - 1 : (1 << (level + 1)) - 1] >= 0
        sides = levels[level + 1][:, 0].reshape(-1, 2)[tested & (levels[level][:, 0] > 0)]
        lightest = min(lightest, float(sides.min(initial=np.inf)))
    return lightest


def with_heavy_leaves(tree: DenseTree, data: Problem, least: float) -> DenseTree:
    """Return the tree with each side that weighs less than ``least`` cut off: the other side takes its parent's place.

    Polishing weighs the two sides of the node that it moves, not the leaves further below; this repairs those.

    Args:
        tree: what to repair.
        data: rows and charges.
        least: weight of a leaf.
    """
    bar = least * (1 - 1e-9)  # sums of weights are not exact
    while lightest_leaf(tree, data) < bar:
        weights = [stats[:, 0] for stats in node_statistics(tree, data)]
        for node in np.flatnonzero(tree.feature >= 0):  # the first from the root; below it all changes
            level = int(node + 1).bit_length() - 1
            place = node + 1 - (1 << level)
            left, right = weights[level + 1][2 * place : 2 * place + 2]
            if weights[level][place] > 0 and min(left, right) < bar:
                tree = _lifted(tree, int(node), int(2 * node + 1 if left >= right else 2 * node + 2))
                break
    return tree


def _lifted(tree: DenseTree, node: int, child: int) -> DenseTree:
    """Return the tree with the subtree at ``child`` in the place of its parent ``node``."""
    parts = tree.feature.copy(), tree.cut.copy(), tree.missing_left.copy()
    inner, width = len(tree.feature), 1
    while node < inner:
        fits = child + width <= inner
        for part, source in zip(parts, (tree.feature, tree.cut, tree.missing_left), strict=True):
            part[node : node + width] = source[child : child + width] if fits else 0
        if not fits:
            parts[0][node : node + width] = -1
        node, child, width = 2 * node + 1, 2 * child + 1, 2 * width
    return DenseTree(*parts)


def hardening_steps(
    plain: DenseTree, data: Problem, budget: Budget | None
) -> Iterator[tuple[str, DenseTree, np.ndarray]]:
    """Yield what hardening tries after plain rounding: name, tree, leaf values ``[2^D, K]``.

    Args:
        plain: the plain rounding.
        data: rows and charges.
        budget: leaf values allowed, or None.
    """
    better = polished(plain, data)
    yield "leaves re-fitted", plain, plain.values(data, data.smoothing)
    yield "nodes polished, leaves re-fitted", better, better.values(data, data.smoothing)
    if budget is not None:
        small = pruned_to(better, node_costs(better, data), max(budget.limit // len(data.prior), 1))
        yield f"polished, pruned to {budget}", small, small.values(data, data.smoothing)
