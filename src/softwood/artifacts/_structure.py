"""Checks and measures of the flat arrays of a ``HardEnsemble``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from softwood.core import InputError, check_choice

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble

LINKS = ("identity", "exp", "probability", "sigmoid", "softmax")


def check_structure(model: HardEnsemble) -> None:
    """Refuse arrays that do not describe trees, so that a damaged file can neither hang nor read out of bounds.

    Raises:
        InputError: naming the first rule that is broken.
    """
    check_choice("link", model.link, LINKS)
    nodes, leaves, outputs = len(model.feature), len(model.values), len(model.outputs)
    inner = model.feature >= 0
    for name in ("threshold", "missing_left", "left", "right", "level_set", "leaf"):
        _demand(getattr(model, name).shape == (nodes,), f"{name} has another length than feature", nodes)
    _demand(model.values.shape == (leaves, outputs), "values is not [leaves, outputs]", model.values.shape)
    _demand(model.counts.shape == (leaves,), "counts has another length than values", model.counts.shape)
    _demand(model.base.shape == (outputs,), "base is not [outputs]", model.base.shape)
    _demand(model.levels_left.ndim == 2, "levels_left is not two-dimensional", model.levels_left.shape)
    _demand(outputs > 0 and np.isfinite(model.values).all() and np.isfinite(model.base).all(), "values", "NaN or inf")
    _demand(np.isfinite(model.counts).all() and (model.counts >= 0).all(), "counts", "NaN, inf or negative")
    _demand(not np.isinf(model.threshold).any(), "a threshold is not finite", "inf")
    _demand((model.feature < len(model.columns)).all(), "feature names a column that is not there", "too large")
    _demand(_within(model.roots, nodes), "a root is no node", model.roots)
    index = np.arange(nodes)
    for name in ("left", "right"):
        child = getattr(model, name)[inner]
        _demand(_within(child, nodes) and (child > index[inner]).all(), f"{name} does not point forward", child)
    _demand(_within(model.leaf[~inner], leaves), "a leaf has no row in values", model.leaf[~inner])
    named = np.bincount(np.concatenate([model.roots, model.left[inner], model.right[inner]]), minlength=nodes)
    _demand((named == 1).all(), "a node is no root and no child, or more than one", np.flatnonzero(named != 1))
    _check_tests(model, inner)
    _check_classes(model, outputs)


def _check_tests(model: HardEnsemble, inner: np.ndarray) -> None:
    categorical = np.array([column.kind == "category" for column in model.columns] or [False])
    on_category = inner & categorical[np.maximum(model.feature, 0)]
    _demand(((model.level_set >= 0) == on_category).all(), "category nodes and level sets do not match", "mismatch")
    _demand(_within(model.level_set[on_category], len(model.levels_left)), "a level set is absent", "out of range")
    widest = max((len(model.columns[f].levels) for f in model.feature[on_category]), default=0)
    _demand(model.levels_left.shape[1] >= widest, "levels_left is narrower than a column's levels", widest)
    _demand(np.isfinite(model.threshold[inner & ~on_category]).all(), "a threshold is not finite", "NaN or inf")


def _check_classes(model: HardEnsemble, outputs: int) -> None:
    if model.classes is None:
        _demand(model.link in ("identity", "exp"), "a link of probabilities needs classes", model.link)
        return
    expected = 2 if outputs == 1 else outputs
    _demand(model.link not in ("identity", "exp"), "classes need a link of probabilities", model.link)
    _demand(model.link != "sigmoid" or outputs == 1, "the sigmoid link has one output", outputs)
    _demand(len(model.classes) == expected, f"{outputs} outputs need {expected} classes", len(model.classes))
    _demand(len({type(label) for label in model.classes}) == 1, "classes are of several types", model.classes)
    _demand(len(set(model.classes)) == expected, "classes are repeated", model.classes)


def _within(index: np.ndarray, size: int) -> bool:
    return bool(((index >= 0) & (index < size)).all())


def _demand(holds: bool | np.bool_, rule: str, got: Any) -> None:
    if not holds:
        raise InputError(
            f"the arrays do not describe trees: {rule}", got=repr(got), allowed="what HardEnsemble documents",
            fix="build the model with soften, fit or load instead of by hand",
        )  # fmt: skip


def node_depths(model: HardEnsemble) -> np.ndarray:
    """Return the depth of each node, int32 ``[N]``; parents stand before children, so one pass is enough."""
    depth = np.zeros(len(model.feature), np.int32)
    for node in np.flatnonzero(model.feature >= 0):
        depth[model.left[node]] = depth[model.right[node]] = depth[node] + 1
    return depth


def tree_depth(model: HardEnsemble) -> int:
    """Return the number of splits on the longest path."""
    return int(node_depths(model).max(initial=0))


def leaf_values(model: HardEnsemble) -> int:
    """Return how many numbers the leaves hold, outputs that are zero in all leaves of a tree left out."""
    tree_of_node = np.zeros(len(model.feature), np.int64)
    tree_of_node[model.roots] = np.arange(len(model.roots))
    for node in np.flatnonzero(model.feature >= 0):
        tree_of_node[model.left[node]] = tree_of_node[model.right[node]] = tree_of_node[node]
    ends = np.flatnonzero(model.feature < 0)
    tree_of_leaf = np.zeros(len(model.values), np.int64)
    tree_of_leaf[model.leaf[ends]] = tree_of_node[ends]
    used = np.zeros((len(model.roots), len(model.outputs)), bool)
    np.logical_or.at(used, tree_of_leaf, model.values != 0)
    return int(np.maximum(used.sum(1), 1)[tree_of_leaf].sum())
