"""Monotone columns and forbidden ones: what was asked, and the projection of leaf values that makes it hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import nnls

from softwood.artifacts import Column
from softwood.core import InputError, check_choice

if TYPE_CHECKING:
    from softwood.trees._dense_tree import DenseTree
    from softwood.trees._forest import BoostedTree

_FIRM = 1e-9  # violations up to this share of the spread are repaired at the end, without another projection


def read_directions(asked: Any, columns: Sequence[Column], outputs: int) -> np.ndarray:
    """Return 1, -1 or 0 for each column, int8 ``[C]``.

    Args:
        asked: ``monotonic_cst``: a dict from name to direction, an array of C directions, or None.
        columns: of the table.
        outputs: K.

    Raises:
        InputError: an unknown column or direction, a category, several outputs.
    """
    names = [column.name for column in columns]
    found = np.zeros(len(names), np.int8)
    if asked is None:
        return found
    if not isinstance(asked, Mapping):
        given = np.asarray(asked).reshape(-1).tolist()
        if len(given) != len(names):
            raise InputError(
                "monotonic_cst has another length than the columns", got=f"{len(given)} directions",
                allowed=f"{len(names)}, or a dict", fix="pass a dict from column name to 1 or -1",
            )  # fmt: skip
        asked = dict(zip(names, given, strict=True))
    for name, direction in asked.items():
        check_choice("monotonic_cst: the column", name, names)
        column = columns[names.index(name)]
        if direction not in (-1, 0, 1) or (direction and column.kind == "category"):
            raise InputError(
                "monotonic_cst is not usable", got=f"{name!r}, a {column.kind}: {direction!r}",
                allowed="1 (never falls), -1 (never rises) or 0, of numbers and booleans",
                fix="correct the direction, or leave the column out",
            )  # fmt: skip
        found[names.index(name)] = direction
    if found.any() and outputs > 1:
        raise InputError(
            "monotonic_cst takes one output", got=f"{outputs} outputs", allowed="two classes, or one target",
            fix="leave monotonic_cst out, or fit one model for each",
        )  # fmt: skip
    return found


def read_forbidden(asked: Any, columns: Sequence[Column]) -> np.ndarray:
    """Return which columns no node may test, bool ``[C]``.

    Args:
        asked: ``forbidden``: names, or None.
        columns: of the table.
    """
    names = [column.name for column in columns]
    for name in asked or ():
        check_choice("forbidden: the column", name, names)
    found = np.isin(names, list(asked or ()))
    if len(found) and found.all():
        raise InputError("all columns are forbidden", got=", ".join(names), allowed="one at least that is not",
                         fix="forbid fewer columns")  # fmt: skip
    return found


def asked_constraints(directions: Any, forbidden: Any, columns: Sequence[Column]) -> dict[str, Any]:
    """Return what was asked as ``verified_constraints`` takes it: JSON content.

    Args:
        directions: as in ``read_directions``.
        forbidden: as in ``read_forbidden``.
        columns: of the model.
    """
    found = read_directions(directions, columns, 1).tolist()
    named = {column.name: sign for column, sign in zip(columns, found, strict=True) if sign}
    return {"directions": named, "forbidden": list(forbidden or ())}


def isotonic(values: np.ndarray, weight: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    r"""Return the nearest values that keep an order: :math:`\min \sum w (v - y)^2` with v[low] <= v[high].

    The dual is a problem of non-negative least squares; pairs enter it when they are violated. For sums of
    log-losses and of Poisson deviances of leaves the same solution is the best one.

    Args:
        values: y ``[L]``.
        weight: ``[L]``, >= 0.
        low: int ``[P]``.
        high: int ``[P]``.

    Example:
        >>> isotonic(np.array([3.0, 1.0, 2.0]), np.ones(3), np.array([0, 1]), np.array([1, 2])).tolist()
        [2.0, 2.0, 2.0]

    Source: Best and Chakravarti, Active set algorithms for isotonic regression, 1990, for the active pairs.
    """
    weight = np.maximum(weight, 1e-6 * max(float(weight.max()), 1e-300))
    root, found = np.sqrt(weight), values.astype(float).copy()
    bar = _FIRM * max(float(np.ptp(values)), 1e-300)
    chosen = np.zeros(len(low), bool)
    while True:
        gap = found[low] - found[high]
        fresh = np.flatnonzero((gap > bar) & ~chosen)
        if not len(fresh):
            break
        chosen[fresh[np.argsort(-gap[fresh], kind="stable")[: 2 * len(values)]]] = True
        at = np.flatnonzero(chosen)
        matrix = np.zeros((len(values), len(at)))
        matrix[high[at], np.arange(len(at))] += 1
        matrix[low[at], np.arange(len(at))] -= 1
        force, _ = nnls(matrix / root[:, None], -root * values, maxiter=50 * (len(at) + 10))
        found = values + matrix @ force / weight
    before = np.full_like(found, np.nan)
    while not np.array_equal(before, found):  # the last digits: a leaf is at least what stands below it
        before = found.copy()
        np.maximum.at(found, high, before[low])
    return found


def leaf_pairs(
    feature: np.ndarray, cut: np.ndarray, missing_left: np.ndarray, children: np.ndarray, n_bins: np.ndarray,
    direction: np.ndarray, *, root: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return the leaves of a tree on codes, and the pairs (low, high) of them whose values have an order.

    Two leaves have one if, all other features being equal, one lies beside the other along a monotone feature.

    Args:
        feature: int ``[N]``, -1 at a leaf.
        cut: int ``[N]``.
        missing_left: bool ``[N]``.
        children: int ``[N, 2]``, read at inner nodes.
        n_bins: int ``[F]``.
        direction: ``[F]``.
        root: node.
    """
    used = np.unique(feature[feature >= 0])
    at = {int(f): place for place, f in enumerate(used)}
    start = np.stack([np.zeros(len(used)), n_bins[used] - 1.0, np.ones(len(used))])  # lowest and highest code, missing
    waiting: list[tuple[int, np.ndarray]] = [(root, start)]
    leaves: list[int] = []
    boxes: list[np.ndarray] = []
    while waiting:
        node, box = waiting.pop()
        if feature[node] < 0:
            leaves.append(node)
            boxes.append(box)
            continue
        place, sides = at[int(feature[node])], (box.copy(), box.copy())
        sides[0][1, place] = min(box[1, place], cut[node])
        sides[1][0, place] = max(box[0, place], cut[node] + 1)
        sides[1 if missing_left[node] else 0][2, place] = 0
        waiting += [(int(children[node, side]), sides[side]) for side in (0, 1)]
    low, high, missing = np.array(boxes).transpose(1, 0, 2)
    count, meets = np.zeros((len(leaves), len(leaves)), int), np.zeros((len(used), len(leaves), len(leaves)), bool)
    for place in range(len(used)):
        known = np.maximum(low[:, None, place], low[None, :, place]) <= np.minimum(
            high[:, None, place], high[None, :, place]
        )
        meets[place] = known | ((missing[:, None, place] > 0) & (missing[None, :, place] > 0))
        count += meets[place]
    pairs = [np.zeros((0, 2), int)]
    for place, sign in enumerate(direction[used]):
        if sign:
            there = low[:, place] <= high[:, place]
            below = (high[:, None, place] < low[None, :, place]) & there[:, None] & there[None, :]
            found = np.argwhere(below & (count - meets[place] == len(used) - 1))
            pairs.append(found if sign > 0 else found[:, ::-1])
    every = np.concatenate(pairs)
    return np.array(leaves), every[:, 0], every[:, 1]


def monotone_leaves(
    tree: DenseTree, values: np.ndarray, weight: np.ndarray, n_bins: np.ndarray, direction: np.ndarray
) -> np.ndarray:
    """Return the leaf values of a complete tree, projected; ``[2^D, K]`` with K = 1, or 2 for shares of two classes.

    Args:
        tree: the tests.
        values: ``[2^D, K]``.
        weight: of the leaves ``[2^D]``.
        n_bins: int ``[F]``.
        direction: ``[F]``.
    """
    inner = len(tree.feature)
    nodes = np.arange(inner)
    feature = np.concatenate([tree.feature, np.full(inner + 1, -1)])
    # below a node without a test only the left child is reached: its subtree stands in its place
    children = np.column_stack([2 * nodes + 1, 2 * nodes + 2])
    ends = np.arange(2 * inner + 1)
    for node in nodes[::-1]:
        if tree.feature[node] < 0:
            ends[node] = ends[2 * node + 1]
    leaves, low, high = leaf_pairs(
        feature, tree.cut, tree.missing_left, ends[children], n_bins, direction, root=int(ends[0])
    )
    rows = leaves - inner
    result = values.copy()
    last = values.shape[1] - 1
    result[rows, last] = isotonic(values[rows, last], weight[rows], low, high)
    if last:
        result[rows, 0] = 1.0 - result[rows, 1]
    return result


def monotone_boosted(
    tree: BoostedTree, values: np.ndarray, weight: np.ndarray, n_bins: np.ndarray, direction: np.ndarray
) -> np.ndarray:
    """Return the values of a boosted tree's nodes ``[N]``, those of its leaves projected.

    Args:
        tree: the tests.
        values: ``[N]``.
        weight: of the leaves, ``[N]``.
        n_bins: int ``[F]``.
        direction: ``[F]``.
    """
    children = np.column_stack([tree.left, tree.left + 1])
    leaves, low, high = leaf_pairs(tree.feature, tree.cut, tree.missing_left, children, n_bins, direction)
    result = values.copy()
    result[leaves] = isotonic(values[leaves], weight[leaves], low, high)
    return result
