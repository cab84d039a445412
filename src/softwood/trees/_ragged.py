"""Soft trees of any shape on ranks, side by side: what fine-tuning trains, and the soft parent of a forest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from softwood.layers import SoftModule
from softwood.trees._soft_tree import gate


@dataclass(frozen=True, eq=False)
class FlatTrees:
    """Trees one behind the other. N nodes, L leaves, T trees.

    Args:
        feature: ``[N]``, row of the inputs that a test reads, -1 at a leaf.
        missing_left: bool ``[N]``.
        left: ``[N]``, child.
        right: ``[N]``, child.
        leaf: ``[N]``, number of a leaf in 0 .. L - 1, -1 at a test.
        roots: ``[T]``.
    """

    feature: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    roots: np.ndarray


class _Level(nn.Module):
    """The nodes of one depth, over all trees: which are tests, which are leaves, and what the tests read."""

    inner: Tensor
    ends: Tensor
    node: Tensor
    feature: Tensor
    missing_side: Tensor

    def __init__(self, trees: FlatTrees, nodes: np.ndarray) -> None:
        super().__init__()
        is_test = trees.feature[nodes] >= 0
        tests = nodes[is_test]
        parts = {"inner": np.flatnonzero(is_test), "ends": np.flatnonzero(~is_test), "node": tests,
                 "feature": trees.feature[tests]}  # fmt: skip
        for name, part in parts.items():
            self.register_buffer(name, torch.from_numpy(part.astype(np.int64)))
        side = torch.from_numpy(np.where(trees.missing_left[tests], 0.0, 1.0)).unsqueeze(-1)
        self.register_buffer("missing_side", side.float())


class RaggedTrees(SoftModule):
    r"""Soft trees of any shape. Thresholds and leaves are trained; features and missing directions stay.

    A node goes right with probability :math:`g((u - t) / \tau)`, g the smooth step, which is exactly 0 or 1 outside
    the band: a cooled forest answers as its rounding for every row outside all bands. G groups of trees (folds) are
    one batch: each leaf adds to the answer of its owner.

    Args:
        trees: of all groups.
        threshold: ``[N]``, in ranks; read at tests.
        values: ``[L, K]``.
        owner: ``[L]``, group of each leaf.
        base: ``[G, K]``.
        mask: ``[L, K]``, 0 where a value has to stay 0; None for none.
        temperature: in ranks.

    Shapes: u ``[R, n]``, ranks with rows last, NaN where missing -> ``[G, K, n]``. Cost: O(N n + L G K n).
    """

    mask: Tensor
    owner: Tensor
    order: Tensor

    def __init__(
        self, trees: FlatTrees, threshold: np.ndarray, values: np.ndarray, owner: np.ndarray, base: np.ndarray, *,
        mask: np.ndarray | None = None, temperature: float,
    ) -> None:  # fmt: skip
        super().__init__(temperature)
        self.hard = False
        self.n_trees = len(trees.roots)
        levels: list[_Level] = []
        ends: list[np.ndarray] = []
        nodes = np.asarray(trees.roots, np.int64)
        while len(nodes):
            levels.append(_Level(trees, nodes))
            tests = nodes[trees.feature[nodes] >= 0]
            ends.append(trees.leaf[nodes[trees.feature[nodes] < 0]])
            nodes = np.column_stack([trees.left[tests], trees.right[tests]]).ravel()
        self._levels = nn.ModuleList(levels)
        self.register_buffer("order", torch.from_numpy(np.argsort(np.concatenate(ends))))
        self.threshold = nn.Parameter(torch.from_numpy(threshold).float())
        self.leaf = nn.Parameter(torch.from_numpy(values).float())
        self.base = nn.Parameter(torch.from_numpy(base).float())
        self.register_buffer("mask", torch.ones_like(self.leaf) if mask is None else torch.from_numpy(mask).float())
        owners = nn.functional.one_hot(torch.from_numpy(owner.astype(np.int64)), len(base)).float()
        self.register_buffer("owner", owners)

    @property
    def levels(self) -> list[_Level]:
        """The depths, from the roots down."""
        return [level for level in self._levels if isinstance(level, _Level)]

    def paths(self, u: Tensor) -> Tensor:
        """Return the probability of each leaf, ``[R, n] -> [L, n]``."""
        reached = torch.ones(self.n_trees, u.shape[1], dtype=u.dtype, device=u.device)
        ends = []
        for level in self.levels:
            ends.append(reached[level.ends])
            value = u[level.feature]
            margin = (value - self.threshold[level.node].unsqueeze(-1)) / self.temperature
            right = (margin > 0).to(u.dtype) if self.hard else gate(margin, "smooth_step")
            right = torch.where(torch.isnan(value), level.missing_side.to(u.dtype), right)
            parent = reached[level.inner]
            to_right = parent * right
            reached = torch.stack([parent - to_right, to_right], 1).flatten(0, 1)
        return torch.cat(ends)[self.order]

    def forward(self, u: Tensor) -> Tensor:
        """Return raw scores, ``[R, n] -> [G, K, n]``."""
        by_group = self.owner.unsqueeze(-1) * (self.leaf * self.mask).unsqueeze(1)  # [L, G, K]
        scores = by_group.flatten(1).mT @ self.paths(u)
        return scores.reshape(*self.base.shape, u.shape[1]) + self.base.unsqueeze(-1)

    def margins(self, *inputs: Tensor) -> Tensor:
        """Return the distance of each row to each threshold, ``[R, n] -> [tests, n]``."""
        feature, node = (torch.cat([getattr(level, name) for level in self.levels]) for name in ("feature", "node"))
        return inputs[0][feature] - self.threshold[node].unsqueeze(-1)

    def harden(self) -> RaggedTrees:
        """Return the same trees with hard gates: the limit of temperature zero. It shares the parameters."""
        twin = RaggedTrees.__new__(RaggedTrees)
        nn.Module.__init__(twin)
        twin.__dict__.update({**self.__dict__, "hard": True})
        return twin
