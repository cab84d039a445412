"""From trees and forests on codes to artefacts, and the roundings of a soft tree on raw numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.artifacts import Column, HardEnsemble
from softwood.core import Budget
from softwood.data import QuantileCodec
from softwood.kernels import ENTROPY, SQUARED, Problem, scatter_leaves
from softwood.trees._coded_tree import leaf_logits
from softwood.trees._dense_tree import DenseTree, hardening_steps
from softwood.trees._forest import Forest
from softwood.trees._rows import Group
from softwood.trees._soft_tree import HardTree


def to_ensemble(
    tree: DenseTree,
    codec: QuantileCodec,
    values: np.ndarray,
    counts: np.ndarray,
    *,
    outputs: Sequence[str],
    link: str,
    classes: Sequence[Any] | None,
    drop_unreached: bool = True,
) -> HardEnsemble:
    """Turn a complete tree into the artefact; leaves with equal values are merged.

    Args:
        tree: the tests.
        codec: what the codes mean.
        values: float64 ``[2^D, K]``.
        counts: float64 ``[2^D]``, training weight of each leaf.
        outputs: K names.
        link: see ``HardEnsemble``.
        classes: labels, or None.
        drop_unreached: leave out a side that no training row reaches; its leaves were never fitted.
    """
    nodes: list[tuple[int, float, bool, int, int, int]] = []  # column, threshold, missing, left, right, leaf
    sets: list[np.ndarray] = []
    set_of: list[int] = []
    kept_values: list[np.ndarray] = []
    kept_counts: list[float] = []
    inner = len(tree.feature)

    def subtree(node: int) -> Any:
        """Return nested (node, left, right), or (values, count) at a leaf."""
        if node >= inner:
            return values[node - inner], counts[node - inner]
        left, right = subtree(2 * node + 1), subtree(2 * node + 2)
        if tree.feature[node] < 0:
            return left
        weight_left, weight_right = _weight(left), _weight(right)
        if drop_unreached and (weight_left == 0 or weight_right == 0):
            return left if weight_left >= weight_right else right
        if len(left) == len(right) == 2 and np.array_equal(left[0], right[0]):
            return left[0], left[1] + right[1]
        return node, left, right

    def emit(branch: Any) -> int:
        index = len(nodes)
        set_of.append(-1)
        if len(branch) == 2:
            kept_values.append(branch[0])
            kept_counts.append(branch[1])
            nodes.append((-1, np.nan, False, 0, 0, len(kept_values) - 1))
            return index
        node, left, right = branch
        feature, cut = int(tree.feature[node]), int(tree.cut[node])
        column, threshold = codec.features[feature].column, np.nan
        if codec.columns[column].kind == "category":
            set_of[index] = len(sets)
            sets.append(codec.levels_left(feature, cut))
        else:
            threshold = codec.threshold_of(feature, cut)
        nodes.append((-1, np.nan, False, 0, 0, -1))  # holds the place: a parent stands before its children
        children = emit(left), emit(right)
        nodes[index] = (column, threshold, bool(tree.missing_left[node]), *children, -1)
        return index

    emit(subtree(0))
    column, threshold, missing, left, right, leaf = (np.array(part) for part in zip(*nodes, strict=True))
    levels = np.zeros((len(sets), max(map(len, sets), default=0)), bool)
    for row, members in enumerate(sets):
        levels[row, : len(members)] = members
    return HardEnsemble(
        codec.columns, tuple(outputs), link, None if classes is None else tuple(classes), column, threshold, missing,
        left, right, np.array(set_of), levels, leaf, np.array(kept_values), np.array(kept_counts), np.zeros(1),
        np.zeros(len(outputs)),
    )  # fmt: skip


def _weight(branch: Any) -> float:
    return float(branch[1]) if len(branch) == 2 else _weight(branch[1]) + _weight(branch[2])


def forest_to_ensemble(
    forest: Forest,
    group: Group,
    *,
    outputs: Sequence[str],
    link: str,
    classes: Sequence[Any] | None,
) -> HardEnsemble:
    """Turn a boosted forest into the artefact.

    Args:
        forest: the trees.
        group: what the codes mean, and the rows whose weight the leaves count.
        outputs: K names.
        link: see ``HardEnsemble``.
        classes: labels, or None.
    """
    codec = group.codec
    if not forest.trees:
        return HardEnsemble.single_leaf(codec.columns, forest.base, outputs=outputs, link=link, classes=classes)
    sizes = [len(tree.feature) for tree in forest.trees]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    feature = np.concatenate([tree.feature for tree in forest.trees])
    cut = np.concatenate([tree.cut for tree in forest.trees])
    inner = feature >= 0
    left = np.concatenate([tree.left + root for tree, root in zip(forest.trees, roots, strict=True)])
    column = np.where(inner, np.array([f.column for f in codec.features])[np.maximum(feature, 0)], -1)
    categorical = inner & np.array([c.kind == "category" for c in codec.columns])[np.maximum(column, 0)]
    level_set = np.where(categorical, np.cumsum(categorical) - 1, -1)
    sets = [codec.levels_left(int(feature[node]), int(cut[node])) for node in np.flatnonzero(categorical)]
    levels = np.zeros((len(sets), max(map(len, sets), default=0)), bool)
    for row, members in enumerate(sets):
        levels[row, : len(members)] = members
    threshold = np.full(len(feature), np.nan)
    for node in np.flatnonzero(inner & ~categorical):
        threshold[node] = codec.threshold_of(int(feature[node]), int(cut[node]))
    weight = group.rows.weight * group.active
    counts = scatter_leaves(forest.leaves(group.codes), weight[:, None], len(forest.values))[:, 0]
    return HardEnsemble(
        codec.columns, tuple(outputs), link, None if classes is None else tuple(classes), column, threshold,
        np.concatenate([tree.missing_left for tree in forest.trees]), np.where(inner, left, 0),
        np.where(inner, left + 1, 0), level_set, levels, np.concatenate(forest.leaf_of_node), forest.values, counts,
        roots, forest.base,
    )  # fmt: skip


def tree_roundings(
    plain: HardTree, x: Tensor, y: Tensor | None, budget: Budget | None
) -> Iterator[tuple[str, HardTree]]:
    """Yield what ``sw.harden`` tries after plain rounding for a soft tree on raw numbers.

    With targets (the tree is the whole model) leaves are re-fitted and nodes polished: log-loss for integer
    targets, whose leaves are logits, squared error for others. Without, thresholds move to float32-safe midpoints.

    Args:
        plain: the plain rounding.
        x: ``[n, F]``, what reached the tree.
        y: ``[n]`` classes, ``[n]`` or ``[n, K]`` values, or None.
        budget: leaf values allowed, or None.
    """
    rows = x.detach().reshape(-1, x.shape[-1]).cpu().double().numpy()
    columns = [Column(f"x{i}", "number") for i in range(rows.shape[1])]
    codec = QuantileCodec.fit(rows, columns, np.ones((len(rows), 1)), np.ones(len(rows)))
    if codec.n_features == 0:
        return
    codes = codec.transform(rows)
    tree = _on_codes(plain, codec, rows, codes)
    if y is None or not _fits(y, plain.leaf.shape, len(rows)):
        yield "float32-safe midpoints", _on_numbers(tree, codec, plain.leaf.detach().cpu().numpy())
        return
    is_classes = not torch.is_floating_point(y)
    problem = _problem(codec, codes, y.detach().cpu().numpy(), plain.leaf.shape[1], is_classes)
    for name, better, values in hardening_steps(tree, problem, budget):
        yield name, _on_numbers(better, codec, leaf_logits(values, is_classes))


def _problem(codec: QuantileCodec, codes: np.ndarray, y: np.ndarray, outputs: int, is_classes: bool) -> Problem:
    """Return log-loss of classes or squared error of values, all rows of weight 1, as the kernels take it."""
    weight = np.ones(codes.shape[1])
    labels = y.astype(np.int32) if is_classes else np.zeros(0, np.int32)
    moments = np.zeros((0, outputs)) if is_classes else y.astype(np.float64).reshape(-1, outputs)
    counts = np.bincount(labels, minlength=outputs) + 0.5
    return Problem(
        codes, codec.n_bins, labels, moments, weight, weight > 0, np.ones(codec.n_features, bool),
        counts / counts.sum() if is_classes else moments.mean(0), 1.0 if is_classes else 0.0, 1.0,
        ENTROPY if is_classes else SQUARED,
    )  # fmt: skip


def _fits(y: Tensor, leaves: Sequence[int], rows: int) -> bool:
    """Are these classes of K logits, or values for K outputs? Other targets mean something to the loss alone."""
    if torch.is_floating_point(y):
        return bool(y.shape[0] == rows and y.numel() == rows * leaves[1] and torch.isfinite(y).all())
    return y.shape == (rows,) and 0 <= int(y.min()) <= int(y.max()) < leaves[1]


def _on_codes(plain: HardTree, codec: QuantileCodec, rows: np.ndarray, codes: np.ndarray) -> DenseTree:
    """Move each threshold to the cut that parts these rows as it does."""
    feature_of = {feature.column: index for index, feature in enumerate(codec.features)}
    columns, missing_left = plain.feature.tolist(), plain.missing_left.cpu().numpy().copy()
    features = np.array([feature_of.get(column, -1) for column in columns], np.int32)
    cuts = np.full(len(features), -1, np.int32)
    for node, (column, threshold) in enumerate(zip(columns, plain.threshold.tolist(), strict=True)):
        values = rows[:, column]
        goes_left = np.where(np.isnan(values), missing_left[node], values <= threshold)
        if features[node] >= 0:
            cuts[node] = codes[features[node]].astype(int)[values <= threshold].max(initial=-1)
        elif not goes_left.any():  # a constant column, and all rows go right: so says a cut before all bins
            features[node], missing_left[node] = 0, False
    return DenseTree(features, cuts, missing_left)


def _on_numbers(tree: DenseTree, codec: QuantileCodec, leaf: np.ndarray) -> HardTree:
    """Return the torch module on raw numbers that does what a complete tree does on codes."""
    dead = tree.feature < 0
    tests = list(zip(tree.feature.tolist(), tree.cut.tolist(), strict=True))
    column = [0 if f < 0 else codec.features[f].column for f, _ in tests]
    threshold = [np.inf if f < 0 else codec.threshold_of(f, c) for f, c in tests]
    return HardTree(
        torch.tensor(column),
        torch.tensor(threshold),
        torch.from_numpy(tree.missing_left | dead),
        torch.from_numpy(leaf).float(),
    )
