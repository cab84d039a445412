"""A ``HardEnsemble`` as text that a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble

_MOST_TREES, _MOST_LEVELS = 5, 6


def rules(model: HardEnsemble) -> str:
    """Return the model as nested rules; of a forest the first trees.

    Args:
        model: the ensemble.

    Example:
        >>> from softwood.artifacts import Column, HardEnsemble
        >>> print(rules(HardEnsemble.single_leaf((Column("x", "number"),), np.array([2.0]), outputs=("y",))))
        HardEnsemble(1 tree, 0 splits, 1 leaves, 1 leaf values, depth 0, identity)
        answer: y
        -> y = 2
    """
    lines = [repr(model), _answer(model)]
    for number, root in enumerate(model.roots[:_MOST_TREES]):
        if model.n_trees > 1:
            lines.append(f"tree {number}:")
        _describe_tree(model, int(root), lines)
    if model.n_trees > _MOST_TREES:
        lines.append(f"... and {model.n_trees - _MOST_TREES} more trees")
    return "\n".join(lines)


def _answer(model: HardEnsemble) -> str:
    if model.classes is None:
        logs = " (leaves hold logarithms)" if model.link == "exp" else ""
        return f"answer: {', '.join(model.outputs)}{logs}"
    names = ", ".join(map(str, model.classes))
    scale = "probabilities" if model.link == "probability" else f"logits, through {model.link}"
    return f"answer: one of {names} (leaves hold {scale})"


def _describe_tree(model: HardEnsemble, root: int, lines: list[str]) -> None:
    waiting: list[tuple[int, int, str]] = [(root, 0, "")]  # a list instead of recursion: trees may be deep
    while waiting:
        node, level, before = waiting.pop()
        lines += [before] if before else []
        indent = "  " * level
        if model.feature[node] < 0:
            lines.append(f"{indent}-> {describe_leaf(model, int(model.leaf[node]))}")
            continue
        lines.append(f"{indent}if {describe_test(model, node)}:")
        waiting.append((int(model.right[node]), level + 1, f"{indent}else:"))
        waiting.append((int(model.left[node]), level + 1, ""))


def describe_leaf(model: HardEnsemble, leaf: int) -> str:
    """Return what a leaf answers, and the training weight that reached it."""
    values = model.values[leaf]
    count = f"  (n = {model.counts[leaf]:g})" if model.counts[leaf] > 0 else ""
    if model.link == "probability" and model.classes is not None:
        shares = np.array([1 - values[0], values[0]]) if len(values) == 1 else values
        best = int(shares.argmax())
        return f"{model.classes[best]} with probability {shares[best]:.3f}{count}"
    log = "log " if model.link == "exp" else ""
    return ", ".join(f"{log}{name} = {value:.6g}" for name, value in zip(model.outputs, values, strict=True)) + count


def describe_test(model: HardEnsemble, node: int) -> str:
    """Return the condition under which a row goes left at ``node``."""
    column = model.columns[model.feature[node]]
    missing = " or missing" if model.missing_left[node] else ""
    if model.level_set[node] < 0:
        if column.kind == "boolean":
            return f"{column.name} is false{missing}"
        if model.threshold[node] == np.finfo(np.float64).max:  # every number is below: only a missing value may not be
            return f"{column.name} is known" if not missing else f"{column.name} is anything"
        return f"{column.name} <= {model.threshold[node]:.9g}{missing}"
    row = model.levels_left[model.level_set[node]]
    inside = [level for level, left in zip(column.levels, row, strict=False) if left]
    more = f", ... {len(inside) - _MOST_LEVELS} more" if len(inside) > _MOST_LEVELS else ""
    return f"{column.name} in {{{', '.join(inside[:_MOST_LEVELS])}{more}}}{missing}"
