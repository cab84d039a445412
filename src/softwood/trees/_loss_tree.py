r"""One tree under a loss that the kernels do not know: exact leaves, and tests found through quadratic models.

Around the scores r of a tree the loss is about :math:`\sum_i h_i (F_i - z_i)^2 / 2` with :math:`z = r - g / h`, and
that is what the kernels grow, polish and kick. Whatever they find counts only if it lowers the loss itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from softwood.kernels import SQUARED, Problem, best_splits
from softwood.trees._dense_tree import DenseTree, polished

if TYPE_CHECKING:
    from softwood.trees._rows import Group

_ROUNDS = 3  # quadratic models, each around what the one before has found
_PASSES = 10  # of exact polishing; mostly it stops after two or three
_NO_COSTS = np.zeros(0)


class LossFit:
    """The rows that a group may learn from, under its loss.

    Args:
        group: the group.
    """

    def __init__(self, group: Group) -> None:
        live = group.active & (group.rows.weight > 0)
        self.rows = group.rows.take(live)
        self.loss, self.weight = self.rows.loss, self.rows.weight
        self.codes, self.n_bins = np.ascontiguousarray(group.codes[:, live]), group.codec.n_bins
        self.allowed = np.ones(group.codec.n_features, bool)
        self.direction = group.direction if group.rows.direction.any() else np.zeros(0, np.int8)
        self.start = self.loss.start(self.rows, self.weight, group.prior)
        self._known: dict[tuple[bytes, int, float], np.ndarray] = {}

    def scores(self, leaf: np.ndarray, count: int, strength: float = 0.0) -> np.ndarray:
        """Return the best raw score of each leaf ``[count, K]``, with ``strength`` pseudo-rows at the start."""
        key = (hashlib.blake2b(leaf.tobytes(), digest_size=16).digest(), count, strength)
        if key not in self._known:
            found = self.loss.leaf_scores(self.rows, self.weight, leaf, count, self.start, strength)
            self._known[key] = found
        return self._known[key]

    def values(self, tree: DenseTree, strength: float) -> np.ndarray:
        """Return what each leaf of a tree answers, ``[2^D, K]``."""
        leaf = tree.leaf_of(self.codes)
        return self.loss.answers(self.scores(leaf, len(tree.feature) + 1, strength))

    def costs(self, place: np.ndarray, count: int) -> np.ndarray:
        """Return the loss of each of ``count`` sets of rows at its best constant."""
        raw = self.scores(place, count)[place]
        return np.bincount(place, self.loss.by_row(raw, self.rows) * self.weight, count)

    def cost(self, tree: DenseTree) -> float:
        """Return the loss of a tree at its best leaves."""
        return float(self.costs(tree.leaf_of(self.codes), len(tree.feature) + 1).sum())

    def level_costs(self, tree: DenseTree) -> list[np.ndarray]:
        """Return for each level, root first, what each node would cost as a leaf."""
        leaf = tree.leaf_of(self.codes)
        return [self.costs(leaf >> (tree.depth - level), 1 << level) for level in range(tree.depth + 1)]

    def quadratic(self, raw: np.ndarray, min_leaf: float) -> Problem:
        """Return the quadratic model around ``raw`` as the kernels take it; curvatures have mean 1."""
        slope, bend = self.loss.quadratic(raw, self.rows)
        bend = np.maximum(bend.mean(1, keepdims=True), 1e-9)
        weight = self.weight * bend[:, 0] / np.average(bend[:, 0], weights=self.weight)
        return Problem(
            self.codes, self.n_bins, np.zeros(0, np.int32), weight[:, None] * (raw - slope / bend), weight, weight > 0,
            self.allowed, self.start, 0.0, float(min_leaf), SQUARED, self.direction,
        )  # fmt: skip

    def grown(self, depth: int, min_leaf: float) -> DenseTree:
        """Grow a tree level by level on the quadratic model around its own leaves.

        Args:
            depth: D.
            min_leaf: least weight on each side of a split.
        """
        inner = (1 << depth) - 1
        tree = DenseTree(np.full(inner, -1, np.int32), np.zeros(inner, np.int32), np.zeros(inner, bool))
        for level in range(depth):
            tree = self._fresh(tree, level, min_leaf)
        return tree

    def found(self, starts: Sequence[DenseTree], min_leaf: float, kicks: int, seed: int) -> DenseTree:
        """Return the best start after kicks and polishing.

        Args:
            starts: trees.
            min_leaf: least weight on each side of a split.
            kicks: in each round.
            seed: of the kicks.
        """
        generator = np.random.default_rng(seed)
        tree = self.polished(min(starts, key=self.cost), min_leaf)
        for _ in range(_ROUNDS):
            leaf = tree.leaf_of(self.codes)
            model = self.quadratic(self.scores(leaf, len(tree.feature) + 1)[leaf], min_leaf)
            other = self.polished(polished(tree, model, generator, -(-kicks // _ROUNDS)), min_leaf)
            if self.cost(other) >= self.cost(tree):
                break
            tree = other
        return tree

    def polished(self, tree: DenseTree, min_leaf: float) -> DenseTree:
        """Improve a tree by exact search, level by level from below, with the leaves of the other side as they are.

        The loss falls with every change; leaves are re-fitted after each level.

        Args:
            tree: the start.
            min_leaf: least weight on each side of a split.
        """
        before = self.cost(tree)
        for _ in range(_PASSES):
            for level in range(tree.depth - 1, -1, -1):
                tree = self._moved(tree, level, min_leaf)
            tree = self._fresh(tree, tree.depth - 1, min_leaf)
            now = self.cost(tree)
            if now >= before * (1 - 1e-6) - 1e-12:
                break
            before = now
        return tree

    def _moved(self, tree: DenseTree, level: int, min_leaf: float) -> DenseTree:
        """Find the best test of each node on a level, its subtrees being given."""
        first, width = (1 << level) - 1, 1 << level
        leaf = tree.leaf_of(self.codes)
        scores = self.scores(leaf, len(tree.feature) + 1)
        here = slice(first, first + width)
        sides = []
        for go_right in (False, True):  # a cut before all bins, missing on the right, sends every row right
            feature, cut, missing_left = tree.feature.copy(), tree.cut.copy(), tree.missing_left.copy()
            feature[here], cut[here], missing_left[here] = (0 if go_right else -1), -1, False
            reached = DenseTree(feature, cut, missing_left).leaf_of(self.codes)
            sides.append((reached, self.loss.by_row(scores[reached], self.rows) * self.weight))
        costs = sides[0][1] - sides[1][1]
        place = (leaf >> (tree.depth - level)).astype(np.int32)
        model = Problem(
            self.codes, self.n_bins, np.zeros(0, np.int32), np.zeros((self.rows.n, 1)), self.weight, self.weight > 0,
            self.allowed, self.start, 0.0, float(min_leaf), SQUARED,
        )  # fmt: skip
        feature, cut, missing_left, cost = best_splits(model, place, width, costs)
        now = np.bincount(place, np.where(leaf == sides[0][0], costs, 0.0), width)
        better = (feature >= 0) & (cost < now - 1e-9 * (1 + np.abs(now)))
        return _with(tree, first + np.flatnonzero(better), feature[better], cut[better], missing_left[better])

    def _fresh(self, tree: DenseTree, level: int, min_leaf: float) -> DenseTree:
        """Choose tests for the nodes of a level together with two new leaves each, by the quadratic model."""
        first, width = (1 << level) - 1, 1 << level
        above = _with(tree, np.arange(first, len(tree.feature)), -1, 0, False)
        place = (above.leaf_of(self.codes) >> (tree.depth - level)).astype(np.int32)
        model = self.quadratic(self.scores(place, width)[place], min_leaf)
        feature, cut, missing_left, _ = best_splits(model, place, width, _NO_COSTS)
        other = _with(tree, np.arange(first, first + width), feature, cut, missing_left)
        shift = tree.depth - level - 1
        now, then = (
            self.costs(each.leaf_of(self.codes) >> shift, 2 * width).reshape(width, 2).sum(1) for each in (tree, other)
        )
        better = (feature >= 0) & (then < now - 1e-9 * (1 + np.abs(now)))
        return _with(tree, first + np.flatnonzero(better), feature[better], cut[better], missing_left[better])


def _with(tree: DenseTree, nodes: np.ndarray, feature: Any, cut: Any, missing_left: Any) -> DenseTree:
    """Return the tree with other tests at some nodes."""
    parts = tree.feature.copy(), tree.cut.copy(), tree.missing_left.copy()
    for part, new in zip(parts, (feature, cut, missing_left), strict=True):
        part[nodes] = new
    return DenseTree(*parts)
