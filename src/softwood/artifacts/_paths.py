"""The way of a row through the trees: which nodes, which tests, and how near each one was to deciding otherwise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from softwood.artifacts._rules import describe_leaf, describe_test
from softwood.kernels import path_nodes

if TYPE_CHECKING:
    from softwood.artifacts._ensemble import HardEnsemble


@dataclass(frozen=True)
class Gate:
    """One test on a row's path.

    Args:
        node: its number in the model's arrays.
        column: name of the column that is tested.
        value: the row's value: a number, True or False, a text; None where it is missing or a level never seen.
        test: the condition in words.
        holds: does the row meet it, and go left?
        distance: of a number ``|value - threshold|``, in the column's own unit; else None.
        steps: of a number, how many of the model's distinct thresholds on this column lie from the value to this
            one, which counts: at 1 no other test on this column is nearer on this side.

    Example:
        >>> Gate(0, "age", 31.0, "age <= 30", False, 1.0, 1).holds
        False
    """

    node: int
    column: str
    value: Any
    test: str
    holds: bool
    distance: float | None
    steps: int | None


@dataclass(frozen=True)
class TreePath:
    """A row's path through one tree.

    Args:
        tree: which tree.
        gates: the tests, from the root.
        leaf: the leaf that is reached.
        n: training weight that reached it.
        values: what the leaf adds to the raw score, one number for each output.
        says: the leaf in words.

    Example:
        >>> TreePath(0, (), 0, 12.0, (0.5,), "y = 0.5  (n = 12)").to_dict()["leaf"]
        0
    """

    tree: int
    gates: tuple[Gate, ...]
    leaf: int
    n: float
    values: tuple[float, ...]
    says: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON content."""
        return {**asdict(self), "gates": [asdict(gate) for gate in self.gates], "values": list(self.values)}


def nodes_passed(model: HardEnsemble, x: np.ndarray) -> np.ndarray:
    """Return the nodes that encoded rows ``[n, C]`` pass, int32 ``[n, T, depth + 1]``, filled up with -1."""
    passed: np.ndarray = path_nodes(
        np.ascontiguousarray(x), model.feature, model.threshold, model.missing_left, model.left, model.right,
        model.level_set, model.levels_left, model.roots, model.depth,
    )  # fmt: skip
    return passed


def node_indicator(model: HardEnsemble, x: np.ndarray) -> tuple[csr_matrix, np.ndarray]:
    """Return which nodes encoded rows pass, in scikit-learn's form.

    Args:
        model: the ensemble, with N nodes in T trees.
        x: float64 ``[n, C]``, encoded.

    Returns:
        Indicator CSR ``[n, N]``, 1 at a node that is passed, and ``n_nodes_ptr`` int ``[T + 1]``: the columns of
        tree t are ``n_nodes_ptr[t]`` to ``n_nodes_ptr[t + 1]``, in the order of the model's arrays.

    Cost: O(n T depth) time and memory.
    """
    order, starts = nodes_by_tree(model)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    passed = nodes_passed(model, x).reshape(len(x), -1)
    there = passed >= 0
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    indicator = csr_matrix((np.ones(ends[-1], np.int64), place[passed[there]], ends), shape=(len(x), len(order)))
    indicator.sort_indices()
    return indicator, starts


def nodes_by_tree(model: HardEnsemble) -> tuple[np.ndarray, np.ndarray]:
    """Return all nodes, those of the first tree first, ``[N]``, and where each tree begins, ``[T + 1]``."""
    tree = np.zeros(len(model.feature), np.int64)
    tree[model.roots] = np.arange(model.n_trees)
    for node in np.flatnonzero(model.feature >= 0):  # parents before children
        tree[model.left[node]] = tree[model.right[node]] = tree[node]
    starts = np.concatenate([[0], np.cumsum(np.bincount(tree, minlength=model.n_trees))])
    return np.argsort(tree, kind="stable"), starts


def tree_paths(model: HardEnsemble, x: np.ndarray) -> list[tuple[TreePath, ...]]:
    """Return the paths of each encoded row, one for each tree.

    Args:
        model: the ensemble.
        x: float64 ``[n, C]``, encoded.

    Cost: O(n T depth).
    """
    passed = nodes_passed(model, x)
    thresholds = model_thresholds(model)
    inner = np.flatnonzero(model.feature >= 0)
    tests = {int(node): describe_test(model, int(node)) for node in inner[np.isin(inner, passed)]}
    return [
        tuple(_path(model, x[row], tree, [int(n) for n in passed[row, tree] if n >= 0], tests, thresholds)
              for tree in range(model.n_trees))
        for row in range(len(x))
    ]  # fmt: skip


def _path(
    model: HardEnsemble, x: np.ndarray, tree: int, nodes: list[int], tests: dict[int, str],
    thresholds: dict[int, np.ndarray],
) -> TreePath:  # fmt: skip
    gates = [_gate(model, x, node, after, tests[node], thresholds) for node, after in pairwise(nodes)]
    leaf = int(model.leaf[nodes[-1]])
    values = tuple(model.values[leaf].tolist())
    return TreePath(tree, tuple(gates), leaf, float(model.counts[leaf]), values, describe_leaf(model, leaf))


def _gate(
    model: HardEnsemble, x: np.ndarray, node: int, after: int, test: str, thresholds: dict[int, np.ndarray]
) -> Gate:
    position = int(model.feature[node])
    column, value = model.columns[position], float(x[position])
    distance = steps = None
    if column.kind == "number" and not np.isnan(value):
        threshold = float(model.threshold[node])
        distance = abs(value - threshold)
        steps = between(thresholds[position], value, threshold)
    return Gate(
        node, column.name, raw_value(model, position, value), test, int(model.left[node]) == after, distance, steps
    )


def between(thresholds: np.ndarray, value: float, threshold: float) -> int:
    """Return how many of the sorted thresholds are crossed on the way from a value through one of them."""
    here, there = np.searchsorted(thresholds, [value, threshold])
    return int(there - here + 1 if value <= threshold else here - there)


def model_thresholds(model: HardEnsemble) -> dict[int, np.ndarray]:
    """Return the distinct thresholds on each number or boolean column that is tested, ascending."""
    numeric = (model.feature >= 0) & (model.level_set < 0)
    return {
        int(column): np.unique(model.threshold[numeric & (model.feature == column)])
        for column in np.unique(model.feature[numeric])
    }


def raw_value(model: HardEnsemble, position: int, coded: float) -> Any:
    """Return an encoded value as the user writes it: a number, True or False, a level; None for NaN."""
    column = model.columns[position]
    if np.isnan(coded):
        return None
    if column.kind == "category":
        return column.levels[int(coded)]
    return bool(coded) if column.kind == "boolean" else float(coded)
