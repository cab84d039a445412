"""``SoftTree``: a decision tree that a gradient can train, and ``HardTree``, what it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from softwood.artifacts import Column, HardEnsemble
from softwood.core import Budget, InputError, capability, check_choice, check_number
from softwood.layers import SoftModule

MAX_DEPTH = 10  # a complete tree has 2^D leaves
GATES = ("sigmoid", "smooth_step")


def gate(z: Tensor, kind: str) -> Tensor:
    r"""Return the soft answer to "is z > 0", in [0, 1].

    ``sigmoid``: :math:`1 / (1 + e^{-z})`. ``smooth_step``: the cubic :math:`3 t^2 - 2 t^3` of
    :math:`t = \mathrm{clamp}((z + 1) / 2, 0, 1)`, exactly 0 or 1 for :math:`|z| \ge 1`.

    Args:
        z: any shape, already divided by the temperature.
        kind: ``"sigmoid"`` or ``"smooth_step"``.

    Example:
        >>> gate(torch.tensor([-1.0, 0.0, 1.0]), "smooth_step")
        tensor([0.0000, 0.5000, 1.0000])
    """
    if check_choice("gate", kind, GATES) == "sigmoid":
        return torch.sigmoid(z)
    t = ((z + 1) / 2).clamp(0, 1)
    return t * t * (3 - 2 * t)


def path_probabilities(right: Tensor, dim: int = -1, *, by_level: bool = False) -> Tensor:
    r"""Return the probability of each leaf of a complete tree, by doubling level after level.

    :math:`p_{2l} = p_l (1 - g)`, :math:`p_{2l+1} = p_l\, g` with g the node's probability of going right.

    Args:
        right: ``[..., 2^D - 1, ...]``, probability of going right at each inner node, breadth first; or
            ``[..., D, ...]``, one for each level.
        dim: the axis of the nodes.
        by_level: is one test shared by all nodes of a level (an oblivious tree)?

    Returns:
        ``[..., 2^D, ...]``. Time and memory O(2^D) a row, not the O(D 2^D) of a product over gathered paths.

    Example:
        >>> path_probabilities(torch.tensor([0.25, 0.5, 1.0]))
        tensor([0.3750, 0.3750, 0.0000, 0.2500])
    """
    dim = dim % right.ndim
    leaves = torch.ones_like(right.narrow(dim, 0, 1))
    first, count = 0, 1
    while first < right.shape[dim]:
        to_right = leaves * right.narrow(dim, first, count)
        leaves = torch.stack([leaves - to_right, to_right], dim=dim + 1).flatten(dim, dim + 1)
        first, count = first + count, count if by_level else 2 * count
    return leaves


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """Return ``hard`` forward, with the gradient of ``soft``."""
    return hard + (soft - soft.detach())


def node_margins(x: Tensor, feature_logits: Tensor, threshold: Tensor, missing: bool) -> tuple[Tensor, Tensor | None]:
    r"""Return how far each row is right of each node's threshold, and the share of its feature that is missing.

    :math:`m = \sum_f w_f (x_f - t_f)`, with w the one-hot argmax of the feature logits forward and their softmax
    backward, so that a test is always on one feature; missing features count 0.

    Args:
        x: ``[..., n, F]``, NaN where missing.
        feature_logits: ``[..., I, F]``.
        threshold: ``[..., I, F]``.
        missing: can x hold NaN? False saves a product.

    Returns:
        ``[..., n, I]`` twice; None instead of the second unless ``missing``.
    """
    largest = torch.finfo(x.dtype).max
    x = x.clamp(-largest, largest)  # infinity times a weight of 0 would be NaN
    weight = torch.softmax(feature_logits, dim=-1)
    chosen = torch.zeros_like(weight).scatter_(-1, weight.argmax(-1, keepdim=True), 1.0)
    weight = straight_through(chosen, weight)
    offset = (weight * threshold).sum(-1)
    offset = offset.unsqueeze(-2) if offset.ndim > 1 else offset  # a single row has no axis of rows
    if not missing:
        return x @ weight.transpose(-1, -2) - offset, None
    absent = torch.isnan(x)
    share = absent.to(x.dtype)
    # a missing feature takes its own threshold out of the sum, so that its gradient does not shift the others
    margin = torch.where(absent, 0.0, x) @ weight.transpose(-1, -2) - offset
    return margin + share @ (weight * threshold).transpose(-1, -2), share @ weight.transpose(-1, -2)


@capability(
    "soft module",
    papers=("gradtree",),
    hardens_to="HardEnsemble",
    cost="O(n 2^D (F + K)) time, O(n 2^D) memory",
    example=lambda: SoftTree(5, 3, depth=2),
)
class SoftTree(SoftModule):
    r"""An axis-aligned decision tree with soft tests, usable inside any network.

    Node i tests the feature with the largest logit (straight-through: the gradient is that of the softmax) and
    goes right with probability :math:`g((x_f - t_{if}) / \tau)`; the answer is the mean of the leaves under the
    path probabilities. As :math:`\tau \to 0` it is a decision tree. A missing value (NaN) takes the node's learned
    direction, straight-through too. Infinity counts as the largest number of its type;
    train on finite rows, for the gradient of the choice of a feature grows with its value.

    Args:
        in_features: F.
        out_features: K, numbers in a leaf.
        depth: D, 1 to 10.
        gate: ``"sigmoid"``, or ``"smooth_step"`` (soft equals hard for every row outside the band
            :math:`|m| < \tau`).
        straight_through: answer hard, differentiate soft, in the gates too.
        temperature: :math:`\tau`, in units of x.
        missing: can x hold NaN? False saves half of the time.
        generator: source of the initial features and thresholds (uniform in [0, 1]: feed quantiles or normalised
            inputs).

    Shapes: x ``[..., F]`` -> ``[..., K]``.

    Raises:
        InputError: a size or a choice is out of range.

    Example:
        >>> tree = SoftTree(4, 3, depth=2, generator=torch.Generator().manual_seed(0))
        >>> tree(torch.rand(8, 4)).shape, tree.harden()(torch.rand(8, 4)).shape
        (torch.Size([8, 3]), torch.Size([8, 3]))

    Source: GradTree (Marton et al., 2024) for the dense form and straight-through; smooth-step gate from the
    tree ensemble layer (Hazimeh et al., 2020).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        depth: int = 4,
        *,
        gate: str = "sigmoid",
        straight_through: bool = False,
        temperature: float = 0.1,
        missing: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(temperature)
        self.in_features = check_number("in_features", in_features, low=1, integer=True)
        self.out_features = check_number("out_features", out_features, low=1, integer=True)
        self.depth = check_number("depth", depth, low=1, high=MAX_DEPTH, integer=True)
        self.gate = check_choice("gate", gate, GATES)
        self.straight_through = straight_through
        self.missing = missing
        nodes = 2**self.depth - 1
        self.feature_logits = nn.Parameter(torch.randn(nodes, self.in_features, generator=generator))
        self.threshold = nn.Parameter(torch.rand(nodes, self.in_features, generator=generator))
        self.missing_logit = nn.Parameter(torch.zeros(nodes))
        self.leaf = nn.Parameter(0.1 * torch.randn(nodes + 1, self.out_features, generator=generator))

    def extra_repr(self) -> str:
        """Return the sizes, for ``print``."""
        return f"{self.in_features}, {self.out_features}, depth={self.depth}, gate={self.gate}"

    def go_right(self, x: Tensor) -> Tensor:
        """Return the probability of going right at each node, ``[..., F] -> [..., 2^D - 1]``."""
        hard = self.straight_through
        margin, missing = node_margins(x, self.feature_logits, self.threshold, self.missing)
        return right_probability(margin, missing, self.missing_logit, self.temperature, self.gate, hard)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean leaf, ``[..., F] -> [..., K]``."""
        return path_probabilities(self.go_right(x)) @ self.leaf

    def margins(self, *inputs: Tensor) -> Tensor:
        """Return ``[..., 2^D - 1]``, the distance of each row to each threshold, in units of x."""
        return node_margins(inputs[0], self.feature_logits, self.threshold, self.missing)[0]

    def in_band(self, *inputs: Tensor) -> Tensor:
        """Return which rows lie in the soft band of a node, where soft and hard may differ, bool ``[...]``."""
        right = self.go_right(inputs[0])
        return ((right > 0) & (right < 1)).any(-1)

    def bound(self, *inputs: Tensor) -> Tensor:
        r"""Return the provable worst case of |soft - plain rounding| over the outputs, for each row.

        :math:`(1 - p(\text{hard leaf})) \max_k (\max_l v_{lk} - \min_l v_{lk})`.
        """
        hard = self.harden()
        leaf = hard.leaf_of(inputs[0]).unsqueeze(-1)
        on_path = path_probabilities(self.go_right(inputs[0])).gather(-1, leaf).squeeze(-1)
        spread = (self.leaf.amax(0) - self.leaf.amin(0)).amax()
        return (1 - on_path) * spread

    def harden(self) -> HardTree:
        """Return the tree with the likeliest feature in each node, its threshold, and the same leaves."""
        feature = self.feature_logits.argmax(-1)
        threshold = self.threshold.detach().gather(-1, feature.unsqueeze(-1)).squeeze(-1)
        missing_left = self.missing_logit.detach() >= 0
        return HardTree(feature, threshold, missing_left, self.leaf.detach(), in_features=self.in_features)

    def roundings(self, x: Any, y: Any, budget: Budget | None) -> Iterator[tuple[str, nn.Module]]:
        """Yield further discrete candidates for ``sw.harden``: leaves re-fitted, nodes polished, leaves pruned."""
        from softwood.trees._convert import tree_roundings  # here: it builds on this file

        yield from tree_roundings(self.harden(), x[0], y, budget)

    def to_artifact(self, columns: Sequence[Column] | None = None) -> HardEnsemble:
        """Return the hardened tree as an artefact; see ``HardTree.to_artifact``."""
        return self.harden().to_artifact(columns)


def right_probability(
    margin: Tensor, missing: Tensor | None, missing_logit: Tensor, temperature: Tensor, kind: str, hard: bool
) -> Tensor:
    """Return the probability of going right from margins: the gate, the missing direction, straight-through.

    Args:
        margin: ``[..., I]``.
        missing: ``[..., I]`` share of the node's feature that is missing, or None.
        missing_logit: ``[I]``, left if > 0.
        temperature: scalar.
        kind: gate.
        hard: the gate is 0 or 1 forward.
    """
    right = gate(margin / temperature, kind)
    if hard:
        right = straight_through((margin > 0).to(margin.dtype), right)
    if missing is None:
        return right
    lost = straight_through((missing_logit < 0).to(margin.dtype), torch.sigmoid(-missing_logit))
    return (1 - missing) * right + missing * lost


class HardTree(nn.Module):
    """A decision tree as a torch module: what a ``SoftTree`` becomes inside a network. Leaves stay trainable.

    Args:
        feature: integer ``[2^D - 1]``.
        threshold: ``[2^D - 1]``; a row goes left if ``x <= threshold``.
        missing_left: bool ``[2^D - 1]``.
        leaf: ``[2^D, K]``.
        in_features: F; by default those up to the last one tested.

    Example:
        >>> tree = HardTree(torch.tensor([0]), torch.tensor([0.5]), torch.tensor([True]), torch.tensor([[1.], [2.]]))
        >>> tree(torch.tensor([[0.5], [0.6], [float("nan")]])).ravel()
        tensor([1., 2., 1.], grad_fn=<ViewBackward0>)
    """

    feature: Tensor
    threshold: Tensor
    missing_left: Tensor

    def __init__(
        self, feature: Tensor, threshold: Tensor, missing_left: Tensor, leaf: Tensor, in_features: int | None = None
    ) -> None:
        super().__init__()
        self.is_exact = in_features is not None
        self.in_features = int(feature.max()) + 1 if in_features is None else in_features
        self.register_buffer("feature", feature.detach().clone())
        self.register_buffer("threshold", threshold.detach().clone())
        self.register_buffer("missing_left", missing_left.detach().clone())
        self.leaf = nn.Parameter(leaf.detach().clone())

    @property
    def depth(self) -> int:
        """D."""
        return int(len(self.feature) + 1).bit_length() - 1

    def leaf_of(self, x: Tensor) -> Tensor:
        """Return the leaf that each row reaches, ``[..., F] -> [...]``. Cost: O(n D).

        Raises:
            InputError: x is narrower than F, or, where ``in_features`` was given, wider.
        """
        narrow = x.shape[-1] < self.in_features
        if narrow or (self.is_exact and x.shape[-1] != self.in_features):
            raise InputError(
                "the rows have another width than the tree", got=f"{x.shape[-1]} features",
                allowed=f"{self.in_features}", fix="pass the features that the tree was made for, or in_features=",
            )  # fmt: skip
        node = torch.zeros(x.shape[:-1], dtype=torch.long, device=x.device)
        for _ in range(self.depth):
            value = x.gather(-1, self.feature[node].unsqueeze(-1)).squeeze(-1)
            right = torch.where(torch.isnan(value), ~self.missing_left[node], value > self.threshold[node])
            node = 2 * node + 1 + right.long()
        return node - len(self.feature)

    def forward(self, x: Tensor) -> Tensor:
        """Return the leaf of each row, ``[..., F] -> [..., K]``."""
        return self.leaf[self.leaf_of(x)]

    def size(self) -> int:
        """Return the leaf values that a budget counts, dead branches left out."""
        return self.to_artifact().n_leaf_values

    def to_artifact(self, columns: Sequence[Column] | None = None) -> HardEnsemble:
        """Return the tree as an artefact that runs without torch, without the nodes that send every row left
        (threshold +inf, missing left).

        Args:
            columns: F raw columns; by default numbers ``x0, x1, ...``.
        """
        from softwood.trees._torch_convert import complete_trees  # here: it builds on this file

        return complete_trees(
            self.feature[None], self.threshold[None], self.missing_left[None], self.leaf[None],
            torch.zeros_like(self.leaf[0]), self.in_features, columns,
        )  # fmt: skip
