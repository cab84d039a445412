"""The flat arrays of a ``HardEnsemble`` in the form that ONNX's ``TreeEnsemble`` takes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from softwood.artifacts._ensemble import HardEnsemble


@dataclass
class TreeArrays:
    """Inner nodes and leaves, numbered apart, one tree after another.

    ONNX tests numbers only, so a set of levels is one feature: 0 if the level is in the set, 1 if not, NaN if it
    is missing or unseen; its split is ``feature <= 0.5``.

    Args:
        tested: (column, rows of ``levels_left``) for each tested column, in the order of the features.
        roots: node of each tree.
        feature: feature tested by each node.
        split: its threshold.
        missing_left: 1 if NaN goes left.
        children: left and right child: a node, or a leaf where ``child_is_leaf`` is 1.
        child_is_leaf: 1 or 0.
        leaf_tree: tree of each leaf.
        leaf_row: its row of ``values``.

    Example:
        >>> from softwood.artifacts import Column
        >>> TreeArrays.of(HardEnsemble.single_leaf([Column("x", "number")], [0.5], outputs=["y"])).leaf_row
        [0]
    """

    tested: list[tuple[int, list[int]]] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    split: list[float] = field(default_factory=list)
    missing_left: list[int] = field(default_factory=list)
    children: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    child_is_leaf: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    leaf_tree: list[int] = field(default_factory=list)
    leaf_row: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, model: HardEnsemble) -> TreeArrays:
        """Build the arrays. Cost: O(nodes)."""
        arrays = cls()
        places = arrays._place_features(model)
        for tree, root in enumerate(model.roots.tolist()):
            arrays._add_tree(model, tree, root, places)
        return arrays

    def _place_features(self, model: HardEnsemble) -> dict[tuple[int, int], int]:
        """Number the features: (column, set of levels or -1) -> feature."""
        inner = model.feature >= 0
        pairs = np.unique(np.column_stack([model.feature[inner], model.level_set[inner]]), axis=0).tolist()
        places: dict[tuple[int, int], int] = {}
        for column, row in pairs:
            if not self.tested or self.tested[-1][0] != column:
                self.tested.append((column, []))
            if row >= 0:
                self.tested[-1][1].append(row)
            places[column, row] = len(places)
        if not self.tested:  # no split at all: the first column says how many rows there are
            self.tested.append((0, []))
        return places

    def _add_tree(self, model: HardEnsemble, tree: int, root: int, places: dict[tuple[int, int], int]) -> None:
        self.roots.append(len(self.feature))
        if model.feature[root] < 0:  # the operator wants a node above each leaf: one whose sides are the same
            leaf = self._add_leaf(model, tree, root)
            self._add_node(0, 0.0, 0)
            self._link(len(self.feature) - 1, 0, leaf, True)
            self._link(len(self.feature) - 1, 1, leaf, True)
            return
        waiting = [(root, -1, 0)]  # a list instead of recursion: trees may be deep
        while waiting:
            node, parent, side = waiting.pop()
            if model.feature[node] < 0:
                self._link(parent, side, self._add_leaf(model, tree, node), True)
                continue
            row = int(model.level_set[node])
            split = 0.5 if row >= 0 else float(model.threshold[node])
            self._add_node(places[int(model.feature[node]), row], split, int(model.missing_left[node]))
            here = len(self.feature) - 1
            if parent >= 0:
                self._link(parent, side, here, False)
            waiting += [(int(model.right[node]), here, 1), (int(model.left[node]), here, 0)]

    def _add_node(self, feature: int, split: float, missing_left: int) -> None:
        self.feature.append(feature)
        self.split.append(split)
        self.missing_left.append(missing_left)
        for side in (0, 1):
            self.children[side].append(0)
            self.child_is_leaf[side].append(0)

    def _add_leaf(self, model: HardEnsemble, tree: int, node: int) -> int:
        self.leaf_tree.append(tree)
        self.leaf_row.append(int(model.leaf[node]))
        return len(self.leaf_row) - 1

    def _link(self, parent: int, side: int, child: int, is_leaf: bool) -> None:
        self.children[side][parent] = child
        self.child_is_leaf[side][parent] = int(is_leaf)
