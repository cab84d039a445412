"""How much of a shipped model comes back when it is fitted again to bootstrap samples of its training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from softwood.artifacts import HardEnsemble
from softwood.lifecycle import Estimate
from softwood.trees._convert import forest_to_ensemble
from softwood.trees._dense_tree import DenseTree, grown, node_costs, polished, pruned_to
from softwood.trees._forest import BoostSetting, boost, n_outputs
from softwood.trees._rows import Group, Rows
from softwood.trees._threads import each

BOOTSTRAPS = 50
_MOST_TREE_ROWS, _MOST_FOREST_ROWS = 20_000, 5_000
_LEAST_THRESHOLDS = 5  # fewer say nothing of their spread
_TOP = 10  # columns
_PART = 4  # a forest is fitted again to this part of its budget, where its first and strongest splits are


@dataclass(frozen=True)
class SplitStability:
    """How often a split of the shipped tree comes back.

    Args:
        node: its number in the model's arrays.
        column: name of the column that it tests.
        depth: splits above it.
        same_place: share of the bootstrap trees that test this column at the same place.
        same_depth: share that test it somewhere at this depth.
        anywhere: share that test it at all.
        threshold: the shipped one, with the ends that 90 % of the thresholds at the same place lie between; None for a
            category, a boolean, and where fewer than 5 trees test the column there.
    """

    node: int
    column: str
    depth: int
    same_place: float
    same_depth: float
    anywhere: float
    threshold: Estimate | None


@dataclass(frozen=True)
class ColumnStability:
    """How often a column matters.

    Args:
        column: its name.
        used: share of the bootstrap models that test it.
        top: share in which it is among the ten most important columns.
        importance: median of its share in the training weight that passes all splits, with the ends that 90 % of the
            bootstrap models lie between.
    """

    column: str
    used: float
    top: float
    importance: Estimate


@dataclass(frozen=True)
class Stability:
    """What bootstrap samples of the training rows say about the parts of a model.

    Args:
        bootstraps: how many samples.
        how: how the model was fitted to them, in words.
        splits: of one tree, each split; none of a forest.
        columns: those that the shipped model or a bootstrap model tests, the most important first.

    Example:
        >>> Stability(50, "CART", (), ()).to_dict()["bootstraps"]
        50
    """

    bootstraps: int
    how: str
    splits: tuple[SplitStability, ...]
    columns: tuple[ColumnStability, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.bootstraps} bootstrap samples of the training rows, {self.how}"]
        for split in self.splits:
            known = "" if split.threshold is None else f", threshold {split.threshold}"
            lines.append(
                f"{'  ' * split.depth}{split.column}: same place {split.same_place:.0%}, same depth "
                f"{split.same_depth:.0%}, anywhere {split.anywhere:.0%}{known}"
            )
        if not self.splits:
            lines += [f"{c.column}: used {c.used:.0%}, importance {c.importance}" for c in self.columns[:_TOP]]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class TreeRefit:
    """What it takes to fit one tree again: cheaply, as CART, polished if the shipped one is no CART.

    Args:
        rows: the training rows.
        criterion: what splits are judged by.
        min_leaf: least weight on each side of a split.
        depth: D.
        polish: by exact node search.
        seed: of the samples.
        jobs: threads.
    """

    rows: Rows
    criterion: str
    min_leaf: float
    depth: int
    polish: bool
    seed: int
    jobs: int

    def stability(self, model: HardEnsemble, bootstraps: int = BOOTSTRAPS) -> Stability:
        """Return how often the splits of the shipped tree come back.

        Args:
            model: the shipped tree.
            bootstraps: B.

        Cost: O(B n F D), with at most 20,000 rows; polishing takes about five times as long as growing.
        """
        generator = np.random.default_rng(self.seed)
        rows = _at_most(self.rows, _MOST_TREE_ROWS, generator)
        group = Group(rows, np.ones(rows.n, bool))
        whole = group.problem(self.criterion, self.min_leaf, 0.0)

        def fit(counts: np.ndarray) -> tuple[DenseTree, np.ndarray]:
            weight = rows.weight * counts
            moments = whole.moments * counts[:, None] if len(whole.moments) else whole.moments
            data = whole._replace(weight=weight, moments=moments, active=weight > 0)
            tree = grown(data, self.depth)
            tree = polished(tree, data) if self.polish else tree
            tree = pruned_to(tree, node_costs(tree, data), max(model.n_leaves, 1))
            passed = tree.statistics(data)[:, 0]
            return tree, passed

        fitted = each(_samples(rows.n, bootstraps, generator), fit, self.jobs)
        columns = np.array([feature.column for feature in group.codec.features], np.int64)
        tested = [np.where(t.feature >= 0, columns[np.maximum(t.feature, 0)], -1) for t, _ in fitted]
        shares = [_dense_shares(at, passed, len(model.columns)) for at, (_, passed) in zip(tested, fitted, strict=True)]
        splits = []
        for node, place in _places(model):
            column = int(model.feature[node])
            level = slice((1 << depth_of(place)) - 1, (1 << (depth_of(place) + 1)) - 1)
            here = [t for (t, _), at in zip(fitted, tested, strict=True) if place < len(at) and at[place] == column]
            cuts = (
                [group.codec.threshold_of(int(t.feature[place]), int(t.cut[place])) for t in here]
                if (model.columns[column].kind == "number")
                else []
            )
            splits.append(SplitStability(
                node, model.columns[column].name, depth_of(place), len(here) / bootstraps,
                float(np.mean([(at[level] == column).any() for at in tested])),
                float(np.mean([(at == column).any() for at in tested])),
                _spread(float(model.threshold[node]), cuts) if len(cuts) >= _LEAST_THRESHOLDS else None,
            ))  # fmt: skip
        how = "fitted again by CART" + (" and node polish" if self.polish else "") + ", pruned to the shipped size"
        return Stability(bootstraps, how, tuple(splits), _columns(model, np.array(shares)))


@dataclass(frozen=True, eq=False)
class ForestRefit:
    """What it takes to fit the first trees of a forest again.

    Args:
        rows: the training rows.
        setting: of the booster.
        budget: leaf values of the shipped forest.
        seed: of the samples.
        jobs: threads.
    """

    rows: Rows
    setting: BoostSetting
    budget: int
    seed: int
    jobs: int

    def stability(self, model: HardEnsemble, bootstraps: int = BOOTSTRAPS) -> Stability:
        """Return how often the columns of the shipped forest come back in the first quarter of its budget.

        Args:
            model: the shipped forest.
            bootstraps: B.

        Cost: O(B T n F depth) for T trees in a quarter of the budget, with at most 5,000 rows.
        """
        generator = np.random.default_rng(self.seed)
        rows = _at_most(self.rows, _MOST_FOREST_ROWS, generator)
        whole = Group(rows, np.ones(rows.n, bool))
        budget = max(self.budget // _PART, self.setting.leaves * n_outputs(rows))

        def fit(counts: np.ndarray) -> np.ndarray:
            group = Group(replace(rows, weight=rows.weight * counts), counts > 0)
            vars(group).update(codec=whole.codec, codes=whole.codes)  # what the codes mean stays the same
            forest = boost(group, self.setting, budget)
            names = [str(k) for k in range(n_outputs(rows))]
            return split_weights(forest_to_ensemble(forest, group, outputs=names, link="identity", classes=None))

        shares = each(_samples(rows.n, bootstraps, generator), fit, self.jobs)
        how = f"each fitted again by the booster to a quarter of the budget, {budget} leaf values"
        return Stability(bootstraps, how, (), _columns(model, np.array(shares)))


def split_weights(model: HardEnsemble) -> np.ndarray:
    """Return how the training weight that passes all splits is shared among the columns, ``[C]``.

    Args:
        model: a ``HardEnsemble`` with counts.
    """
    inner = model.feature >= 0
    weight = np.where(inner, 0.0, model.counts[np.maximum(model.leaf, 0)])
    for node in np.flatnonzero(inner)[::-1]:  # children stand after their parents
        weight[node] = weight[model.left[node]] + weight[model.right[node]]
    total = np.bincount(model.feature[inner], weights=weight[inner], minlength=len(model.columns))
    shares: np.ndarray = total / total.sum() if total.sum() > 0 else total
    return shares


# ------------------------------------------------------------------ samples
def _at_most(rows: Rows, most: int, generator: np.random.Generator) -> Rows:
    """Return so many of the rows, each weighing more."""
    if rows.n <= most:
        return rows
    keep = np.zeros(rows.n, bool)
    keep[generator.choice(rows.n, most, replace=False)] = True
    kept = rows.take(keep)
    return replace(kept, weight=kept.weight * (rows.weight.sum() / kept.weight.sum()))


def _samples(n: int, bootstraps: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Return how often each row is drawn, for each sample."""
    return [np.bincount(generator.integers(0, n, n), minlength=n).astype(np.float64) for _ in range(bootstraps)]


# ------------------------------------------------------------------ counting
def _places(model: HardEnsemble) -> list[tuple[int, int]]:
    """Return each split of a single tree with its place in a complete tree, whose children of i are 2i+1 and 2i+2."""
    found, waiting = [], [(int(model.roots[0]), 0)]
    while waiting:
        node, place = waiting.pop()
        if model.feature[node] >= 0:
            found.append((node, place))
            waiting += [(int(model.right[node]), 2 * place + 2), (int(model.left[node]), 2 * place + 1)]
    return found


def depth_of(place: int) -> int:
    """Return the depth of a place in a complete tree."""
    return (place + 1).bit_length() - 1


def _dense_shares(tested: np.ndarray, passed: np.ndarray, columns: int) -> np.ndarray:
    """Return how the weight that passes all splits of a complete tree is shared among the columns, ``[C]``."""
    weight = passed
    levels: list[np.ndarray] = []
    while len(weight) > 1:
        weight = weight[0::2] + weight[1::2]
        levels.insert(0, weight)
    through = np.concatenate(levels) if levels else np.zeros(0)
    inner = tested >= 0
    total = np.bincount(tested[inner], weights=through[inner], minlength=columns)
    return np.asarray(total / total.sum() if total.sum() > 0 else total)


def _columns(model: HardEnsemble, shares: np.ndarray) -> tuple[ColumnStability, ...]:
    """Return what the shares ``[B, C]`` of the bootstrap models say about each column."""
    shipped = np.isin(np.arange(len(model.columns)), model.feature)
    mean = shares.mean(axis=0)  # some columns have a median of 0
    ranks = np.argsort(np.argsort(-shares, axis=1, kind="stable"), axis=1)
    top = ((ranks < _TOP) & (shares > 0)).mean(axis=0)
    low, middle, high = np.quantile(shares, [0.05, 0.5, 0.95], axis=0)
    order = [int(at) for at in np.argsort(-mean, kind="stable") if shipped[at] or mean[at] > 0]
    return tuple(
        ColumnStability(
            model.columns[at].name, float((shares[:, at] > 0).mean()), float(top[at]),
            Estimate(float(middle[at]), float(low[at]), float(high[at])),
        )
        for at in order
    )  # fmt: skip


def _spread(shipped: float, cuts: Sequence[float]) -> Estimate:
    low, high = np.quantile(cuts, [0.05, 0.95])
    return Estimate(shipped, float(low), float(high))
