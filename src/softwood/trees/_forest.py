"""Forests on bin codes: the Newton booster with vector leaves, and the joint re-fit of all leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from softwood.kernels import boosted_leaves, grow_boosted, scatter_leaves, sum_leaves
from softwood.trees._constraints import monotone_boosted
from softwood.trees._rows import Group, Rows

_REFIT_STEPS = 60  # of L-BFGS; the objective is convex and starts near its optimum


@dataclass(frozen=True, eq=False)
class BoostedTree:
    """One tree of unequal depth on codes; the right child of a node stands after the left one.

    Args:
        feature: int32 ``[N]``, -1 at a leaf.
        cut: int32 ``[N]``.
        missing_left: bool ``[N]``.
        left: int32 ``[N]``.
    """

    feature: np.ndarray
    cut: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray


@dataclass(frozen=True, eq=False)
class Forest:
    """A sum of trees. T trees, L leaves in all, K outputs.

    Args:
        trees: T trees.
        leaf_of_node: for each tree int32 ``[N]``, row of ``values`` at a leaf, -1 inside.
        values: float64 ``[L, K]``, in the units of the raw score.
        mask: float64 ``[L, K]``, 1 where a value is free; 0 where a tree of one class holds nothing for the others.
        base: float64 ``[K]``.
    """

    trees: tuple[BoostedTree, ...]
    leaf_of_node: tuple[np.ndarray, ...]
    values: np.ndarray
    mask: np.ndarray
    base: np.ndarray

    @property
    def size(self) -> int:
        """Leaf values that a budget counts."""
        return int(self.mask.sum())

    def leaves(self, codes: np.ndarray) -> np.ndarray:
        """Return the leaf that each row reaches in each tree, int32 ``[T, n]``."""
        found = np.empty((len(self.trees), codes.shape[1]), np.int32)
        for place, (tree, of_node) in enumerate(zip(self.trees, self.leaf_of_node, strict=True)):
            found[place] = of_node[boosted_leaves(codes, tree.feature, tree.cut, tree.missing_left, tree.left)]
        return found

    def raw(self, codes: np.ndarray) -> np.ndarray:
        """Return the raw score of each row, ``[n, K]``."""
        scores: np.ndarray = sum_leaves(self.leaves(codes), self.values, self.base)
        return scores


def first_trees(forest: Forest, budget: int) -> Forest:
    """Return as many of the first trees as ``budget`` leaf values hold, at least one.

    Args:
        forest: trees in the order in which they were grown.
        budget: leaf values.
    """
    ends = [int(of_node.max()) + 1 for of_node in forest.leaf_of_node]
    spent = np.cumsum(forest.mask.sum(1))
    keep = max(sum(spent[end - 1] <= budget for end in ends), 1)
    if keep >= len(ends):
        return forest
    return Forest(
        forest.trees[:keep], forest.leaf_of_node[:keep], forest.values[: ends[keep - 1]], forest.mask[: ends[keep - 1]],
        forest.base,
    )  # fmt: skip


@dataclass(frozen=True)
class BoostSetting:
    """How a forest is grown.

    Args:
        leaves: of each tree.
        rate: what each tree's values are multiplied by.
        min_leaf: least weight in a leaf.
        l2: added to the curvature of each leaf.
        per_class: one tree for each class in turn, instead of vector leaves.
        max_depth: of each tree.
        columns: share of the features, drawn for each tree, that its nodes may test.
        sample: share of the rows, drawn for each tree, that it learns from.
        seed: of these draws.
    """

    leaves: int
    rate: float
    min_leaf: float = 5.0
    l2: float = 1.0
    per_class: bool = False
    max_depth: int = 6
    columns: float = 1.0
    sample: float = 1.0
    seed: int = 0

    @property
    def is_sampled(self) -> bool:
        """Is a tree grown on some of the rows or columns?"""
        return self.columns < 1 or self.sample < 1


def _drawn(mask: np.ndarray, share: float, seed: np.random.Generator) -> np.ndarray:
    """Return the mask with a share of its True places, one at least, drawn at random."""
    if share >= 1:
        return mask
    places = np.flatnonzero(mask)
    out = np.zeros_like(mask)
    out[seed.choice(places, min(max(round(share * len(places)), 1), len(places)), replace=False)] = True
    return out


def n_outputs(rows: Rows) -> int:
    """Return K: 1 for two classes."""
    width = rows.targets.shape[1]
    return 1 if rows.is_classification and width == 2 else width


def boost(group: Group, setting: BoostSetting, budget: int, enough: int | None = None) -> Forest:
    """Grow trees one after the other on the Newton direction of the loss until the budget is spent.

    Args:
        group: rows to learn from.
        setting: how.
        budget: leaf values in all.
        enough: leaf values after which no tree is grown; None for the budget.

    Cost: O(T n F depth) time, O(n (F + K)) memory.
    """
    rows, outputs = group.rows, n_outputs(group.rows)
    active = group.active & (rows.weight > 0)
    width = 1 if setting.per_class else outputs
    loss, weight = rows.loss, rows.weight * active
    base = loss.start(rows, weight, group.prior)
    raw = np.tile(base, (rows.n, 1))
    trees: list[BoostedTree] = []
    places: list[np.ndarray] = []
    values: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    every, direction, seed = np.ones(group.codec.n_features, bool), group.direction, np.random.default_rng(setting.seed)
    left, turn, idle = budget, 0, 0
    while left >= 2 * width and idle < outputs and budget - left < (enough or budget):
        _, gradient, curvature = loss.parts(raw, rows)
        part = slice(turn % outputs, turn % outputs + 1) if setting.per_class else slice(None)
        sums = np.column_stack([np.ones(rows.n), gradient[:, part], np.maximum(curvature[:, part], 1e-6)])
        sums *= rows.weight[:, None]
        drawn, allowed = _drawn(active, setting.sample, seed), _drawn(every, setting.columns, seed)
        feature, cut, missing_left, child, found = grow_boosted(
            group.codes, group.codec.n_bins, sums, drawn, allowed, min(setting.leaves, left // width),
            setting.max_depth, setting.min_leaf, setting.l2, direction,
        )  # fmt: skip
        turn += 1
        if len(feature) == 1:  # no split helps this output any more
            idle += 1 if setting.per_class else outputs
            continue
        idle = 0
        ends = feature < 0
        of_node = np.where(ends, np.cumsum(ends) - 1 + sum(map(len, values)), -1).astype(np.int32)
        nodes = boosted_leaves(group.codes, feature, cut, missing_left, child)
        steps = np.zeros((len(feature), outputs))
        steps[:, part] = found
        steps = setting.rate * loss.leaf_steps(raw, rows, weight, np.where(drawn, nodes, -1).astype(np.int32), steps)
        grown = BoostedTree(feature, cut, missing_left, child)
        if direction.any():
            heavy = np.bincount(nodes, weight, len(steps))
            steps[:, 0] = monotone_boosted(grown, steps[:, 0], heavy, group.codec.n_bins, direction)
        leaf = np.zeros((int(ends.sum()), outputs))
        mask = np.zeros_like(leaf)
        leaf[:, part], mask[:, part] = steps[ends][:, part], 1.0
        trees.append(grown)
        places.append(of_node)
        raw[:, part] += steps[nodes][:, part]
        values.append(leaf)
        masks.append(mask)
        left -= len(leaf) * width
    empty = np.zeros((0, outputs))
    return Forest(
        tuple(trees), tuple(places), np.concatenate([empty, *values]), np.concatenate([empty, *masks]), base
    )  # fmt: skip


def refit_leaves(forest: Forest, group: Group, l2: float) -> Forest:
    r"""Return the forest with all leaf values re-fitted together.

    Minimises :math:`\sum_i w_i \ell(F(x_i), y_i) + \frac{\lambda}{2} \sum (v - v_0)^2` over all values v and the
    base, :math:`v_0` being those that the forest has, by L-BFGS. A loss with kinks is rounded for that, and what is
    found counts only if it lowers the loss itself.

    Args:
        forest: what to re-fit; its tests stay.
        group: rows to learn from.
        l2: :math:`\lambda`.

    Cost: O(n T K) a step.
    """
    if not forest.trees:
        return forest
    active = group.active & (group.rows.weight > 0)
    rows = group.rows.take(active)
    leaf = forest.leaves(np.ascontiguousarray(group.codes[:, active]))
    shape, count = forest.values.shape, forest.values.size

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        values, base = flat[:count].reshape(shape), flat[count:]
        losses, gradient = rows.loss.smooth_parts(sum_leaves(leaf, values, base), rows)
        pull = (values - forest.values) * forest.mask
        weighted = gradient * rows.weight[:, None]
        by_leaf = scatter_leaves(leaf, weighted, len(values)) * forest.mask + l2 * pull
        total = float(losses @ rows.weight + 0.5 * l2 * (pull**2).sum())
        return total, np.concatenate([by_leaf.ravel(), weighted.sum(0)])

    start = np.concatenate([forest.values.ravel(), forest.base])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _REFIT_STEPS})
    better = _monotone(replace(forest, values=found.x[:count].reshape(shape), base=found.x[count:]), group)
    before, after = (
        float(rows.loss.parts(sum_leaves(leaf, each.values, each.base), rows)[0] @ rows.weight)
        for each in (forest, better)
    )
    return better if after <= before else forest


def _monotone(forest: Forest, group: Group) -> Forest:
    """Return the forest with the leaves of each tree projected on the order that monotone columns ask for."""
    direction = group.direction
    if not direction.any():
        return forest
    values = forest.values.copy()
    weight = group.rows.weight * group.active
    leaves = forest.leaves(group.codes)
    for tree, of_node, leaf in zip(forest.trees, forest.leaf_of_node, leaves, strict=True):
        ends = of_node >= 0
        heavy, here = np.zeros(len(of_node)), np.zeros(len(of_node))
        heavy[ends] = np.bincount(leaf, weight, len(values))[of_node[ends]]
        here[ends] = values[of_node[ends], 0]
        values[of_node[ends], 0] = monotone_boosted(tree, here, heavy, group.codec.n_bins, direction)[ends]
    return replace(forest, values=values)
