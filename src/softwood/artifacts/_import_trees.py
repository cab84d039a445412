"""Trees of other libraries as plain arrays, and how they become one ``HardEnsemble``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from softwood.artifacts._columns import Column
from softwood.artifacts._ensemble import HardEnsemble

_LARGEST = np.finfo(np.float64).max


@dataclass
class ForeignTree:
    """One tree, node 0 being the root; children may stand anywhere, nodes that no path reaches are left out.

    Args:
        feature: int ``[N]``, column tested, -1 at a leaf.
        threshold: float64 ``[N]``; left if ``x <= threshold`` in float64. Infinite where all known values go one way.
        missing_left: bool ``[N]``.
        left: int ``[N]``.
        right: int ``[N]``.
        values: float64 ``[N, K]``, read at leaves.
        counts: float64 ``[N]``, training weight, read at leaves.
        sets: for each category node, which levels go left.
    """

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    sets: dict[int, np.ndarray] = field(default_factory=dict)


def as_ensemble(
    trees: Sequence[ForeignTree],
    *,
    columns: Sequence[Column],
    outputs: Sequence[str],
    link: str,
    classes: Sequence[Any] | None,
    base: Any,
) -> HardEnsemble:
    """Put trees one behind the other, parents before children.

    Args:
        trees: T trees.
        columns: C columns, in the order in which ``feature`` counts them.
        outputs: K names.
        link: see ``HardEnsemble``.
        classes: labels, or None.
        base: ``[K]``.

    Cost: O(N) time and memory over all trees.
    """
    parts: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "missing_left", "left", "right")}
    level_set, leaf, values, counts, roots = [], [], [], [], []
    sets: list[np.ndarray] = []
    n_nodes = n_leaves = 0
    for tree in trees:
        order = _breadth_first(tree)
        place = np.zeros(len(tree.feature), np.int64)
        place[order] = np.arange(len(order)) + n_nodes
        inner = tree.feature[order] >= 0
        # "all known values go right" has no finite threshold: the children change sides
        turned = inner & (tree.threshold[order] == -np.inf)
        left, right = (place[np.where(inner, child[order], 0)] for child in (tree.left, tree.right))
        parts["left"].append(np.where(inner, np.where(turned, right, left), 0))
        parts["right"].append(np.where(inner, np.where(turned, left, right), 0))
        parts["missing_left"].append((tree.missing_left[order] ^ turned) & inner)
        parts["threshold"].append(
            np.where(
                inner,
                np.minimum(np.abs(tree.threshold[order]), _LARGEST)
                * np.sign(tree.threshold[order])
                * np.where(turned, -1, 1),
                np.nan,
            )
        )
        parts["feature"].append(np.where(inner, tree.feature[order], -1))
        rows = np.full(len(order), -1)
        for position in np.flatnonzero(inner) if tree.sets else ():
            if int(order[position]) in tree.sets:
                rows[position] = len(sets)
                sets.append(tree.sets[int(order[position])])
        level_set.append(rows)
        leaf.append(np.where(inner, -1, n_leaves + np.cumsum(~inner) - 1))
        values.append(tree.values[order[~inner]])
        counts.append(tree.counts[order[~inner]])
        roots.append(n_nodes)
        n_nodes, n_leaves = n_nodes + len(order), n_leaves + int((~inner).sum())
    levels_left = np.zeros((len(sets), max(map(len, sets), default=0)), bool)
    for row, goes_left in enumerate(sets):
        levels_left[row, : len(goes_left)] = goes_left
    joined = {name: np.concatenate(blocks) for name, blocks in parts.items()}
    joined["threshold"][np.concatenate(level_set) >= 0] = np.nan
    return HardEnsemble(
        columns=tuple(columns),
        outputs=tuple(outputs),
        link=link,
        classes=None if classes is None else tuple(classes),
        level_set=np.concatenate(level_set),
        levels_left=levels_left,
        leaf=np.concatenate(leaf),
        values=np.concatenate(values),
        counts=np.concatenate(counts),
        roots=np.array(roots),
        base=np.asarray(base, float).reshape(len(outputs)),
        **joined,
    )


def _breadth_first(tree: ForeignTree) -> np.ndarray:
    """Return the nodes that can be reached, level by level."""
    levels = [np.zeros(1, np.int64)]
    while True:
        inner = levels[-1][tree.feature[levels[-1]] >= 0]
        if not len(inner):
            return np.concatenate(levels)
        levels.append(np.column_stack([tree.left[inner], tree.right[inner]]).ravel())


def largest_below_float32(threshold: np.ndarray, *, strict: bool) -> np.ndarray:
    r"""Return thresholds for float64 values that decide as the rounded float32 value is decided.

    .. math:: x \le t' \iff \mathrm{float32}(x) \le t \quad (\text{strict: } < t) \quad \text{for every float64 } x

    Let f be the largest float32 that goes left, and m the middle between f and its successor. What rounds to f or
    below goes left: all x < m, and m itself exactly if f has an even last digit, because ties round to even.

    Args:
        threshold: float ``[N]``, as the other library compares it with float32 values.
        strict: whether it compares with ``<`` instead of ``<=``.

    Returns:
        float64 ``[N]``; -inf where nothing goes left.

    Example:
        >>> [float(t).hex() for t in largest_below_float32(np.array([1.0]), strict=False)]
        ['0x1.0000010000000p+0']
        >>> float(np.float32(1.00000005)), float(np.float32(1.00000007))
        (1.0, 1.0000001192092896)
    """
    given = np.asarray(threshold, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        single = given.astype(np.float32)
        down = (single >= given) if strict else (single > given)
        single = np.where(down, np.nextafter(single, np.float32(-np.inf)), single)
        following = np.nextafter(single, np.float32(np.inf)).astype(np.float64)
        # beyond the largest float32, numbers are rounded as if the next one were 2 ** 128
        following = np.where(np.isinf(following), 2.0**128, following)
        middle = single.astype(np.float64) / 2 + following / 2
        even = (single.view(np.uint32) & 1) == 0
        result = np.where(even, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isinf(single), single.astype(np.float64), result)
