"""``HardForest``: what a ``SoftForest`` becomes inside a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from softwood.artifacts import Column, HardEnsemble
from softwood.core import UnsupportedError


class AxisTests(nn.Module):
    """Tests of one feature each. Q tests a tree: one a node, or one a level.

    Args:
        feature: integer ``[T, Q]``.
        threshold: ``[T, Q]``; a row goes left if ``x <= threshold``.
        missing_left: bool ``[T, Q]``.
    """

    feature: Tensor
    threshold: Tensor
    missing_left: Tensor

    def __init__(self, feature: Tensor, threshold: Tensor, missing_left: Tensor) -> None:
        super().__init__()
        for name, tensor in (("feature", feature), ("threshold", threshold), ("missing_left", missing_left)):
            self.register_buffer(name, tensor.detach().clone())

    def forward(self, rows: Tensor, at: Tensor) -> Tensor:
        """Return which rows ``[n, F]`` go right at the tests ``[n, T]``, bool ``[n, T]``."""
        trees = torch.arange(at.shape[1], device=at.device)
        value = rows.gather(1, self.feature[trees, at])
        return torch.where(torch.isnan(value), ~self.missing_left[trees, at], value > self.threshold[trees, at])


class LinearTests(nn.Module):
    """Tests of a weighted sum of all features.

    Args:
        weight: ``[T, Q, F]``; a row goes left if ``weight @ x <= threshold``.
        threshold: ``[T, Q]``.
        fill: ``[F]``, what stands for a missing value.
    """

    weight: Tensor
    threshold: Tensor
    fill: Tensor

    def __init__(self, weight: Tensor, threshold: Tensor, fill: Tensor) -> None:
        super().__init__()
        for name, tensor in (("weight", weight), ("threshold", threshold), ("fill", fill)):
            self.register_buffer(name, tensor.detach().clone())

    def forward(self, rows: Tensor, at: Tensor) -> Tensor:
        """Return which rows ``[n, F]`` go right at the tests ``[n, T]``, bool ``[n, T]``."""
        trees = torch.arange(at.shape[1], device=at.device)
        filled = torch.where(torch.isnan(rows), self.fill, rows).unsqueeze(1)
        return (self.weight[trees, at] * filled).sum(-1) > self.threshold[trees, at]


class HardForest(nn.Module):
    """A sum of complete decision trees as a torch module. Leaves and base stay trainable.

    Args:
        tests: axis-aligned or linear ones, of T trees.
        leaf: ``[T, 2^D, K]``.
        base: ``[K]``.
        in_features: F.
        oblivious: do all nodes of a level share one test?

    Shapes: x ``[..., F]`` -> ``[..., K]``. Cost: O(n T D), times F for linear tests.

    Example:
        >>> from softwood.trees import SoftForest
        >>> hard = SoftForest(3, 2, trees=4, depth=2, kind="oblivious").harden()
        >>> hard(torch.rand(5, 3)).shape, hard.to_artifact().n_trees
        (torch.Size([5, 2]), 4)
    """

    def __init__(
        self, tests: AxisTests | LinearTests, leaf: Tensor, base: Tensor, in_features: int, *, oblivious: bool = False
    ) -> None:
        super().__init__()
        self.tests, self.in_features, self.oblivious = tests, in_features, oblivious
        self.leaf = nn.Parameter(leaf.detach().clone())
        self.base = nn.Parameter(base.detach().clone())

    @property
    def depth(self) -> int:
        """D."""
        return int(self.leaf.shape[1]).bit_length() - 1

    def leaf_of(self, x: Tensor) -> Tensor:
        """Return the leaf that each row reaches in each tree, ``[..., F] -> [..., T]``."""
        rows = x.reshape(-1, self.in_features)
        node = torch.zeros(rows.shape[0], self.leaf.shape[0], dtype=torch.long, device=x.device)
        for level in range(self.depth):
            right = self.tests(rows, torch.full_like(node, level) if self.oblivious else node)
            node = 2 * node + 1 + right.long()
        return (node - (2**self.depth - 1)).reshape(*x.shape[:-1], self.leaf.shape[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the leaves and the base, ``[..., F] -> [..., K]``."""
        trees = torch.arange(self.leaf.shape[0], device=x.device)
        return self.leaf[trees, self.leaf_of(x)].sum(-2) + self.base

    def size(self) -> int:
        """Return the leaf values that a budget counts; of axis-aligned trees without dead branches."""
        return self.to_artifact().n_leaf_values if isinstance(self.tests, AxisTests) else self.leaf.numel()

    def to_artifact(self, columns: Sequence[Column] | None = None) -> HardEnsemble:
        """Return the forest as an artefact that runs without torch; see ``HardTree.to_artifact``.

        Args:
            columns: F raw columns; by default numbers ``x0, x1, ...``.

        Raises:
            UnsupportedError: the tests are linear.
        """
        if not isinstance(self.tests, AxisTests):
            raise UnsupportedError(
                "a HardEnsemble tests one column in each node, and this forest tests weighted sums of all; ship the "
                'HardForest itself (state_dict, torch.export), or train kind="axis" or "oblivious"'
            )
        from softwood.trees._torch_convert import complete_trees  # here: it builds on this file

        tests = [self.tests.feature, self.tests.threshold, self.tests.missing_left]
        if self.oblivious:
            level = torch.arange(1, 2**self.depth, device=self.leaf.device).double().log2().long()
            tests = [part[:, level] for part in tests]
        return complete_trees(tests[0], tests[1], tests[2], self.leaf, self.base, self.in_features, columns)
