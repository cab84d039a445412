"""``SoftForest``: many soft trees as one batched tensor, for use inside any network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from softwood.artifacts import Column, HardEnsemble
from softwood.core import capability, check_choice, check_number
from softwood.layers import SoftModule
from softwood.trees._hard_forest import AxisTests, HardForest, LinearTests
from softwood.trees._soft_tree import (
    GATES,
    MAX_DEPTH,
    node_margins,
    path_probabilities,
    right_probability,
    straight_through,
)

KINDS = ("axis", "oblivious", "oblique")


@capability(
    "soft module",
    papers=("gradtree",),
    hardens_to="HardEnsemble",
    cost="O(n T 2^D (F + K)) time, O(n T 2^D) memory; oblivious: O(n T (D F + 2^D K)) time",
    example=lambda: SoftForest(5, 3, trees=4, depth=2),
)
class SoftForest(SoftModule):
    r"""A sum of soft decision trees, trained together as one tensor.

    .. math:: F(x) = \text{base} + \sum_{t=1}^{T} \sum_l p_{tl}(x)\, v_{tl}

    with :math:`p_{tl}` the probability of the path to leaf l, as in ``SoftTree``. As :math:`\tau \to 0` it is a
    forest of decision trees. A node goes right with probability :math:`g(m / \tau)`, where by ``kind``

    - ``"axis"``: each node tests one feature, :math:`m = x_f - t_{if}`, its choice straight-through;
    - ``"oblivious"``: the same, but all nodes of a level share one test, so D bits give the leaf;
    - ``"oblique"``: :math:`m = w_i^T x - t_i`.

    A missing value (NaN) takes the test's learned direction; in an oblique test a learned value stands for it.

    Args:
        in_features: F.
        out_features: K, numbers in a leaf.
        trees: T.
        depth: D, 1 to 10.
        kind: see above.
        active: most features that an oblique test weighs: those with the largest weights, straight-through. None
            for all.
        gate: as in ``SoftTree``.
        straight_through: as in ``SoftTree``.
        temperature: :math:`\tau`, in units of x.
        missing: can x hold NaN? False saves half of the time.
        generator: source of the initial tests and leaves (thresholds uniform in [0, 1]: feed quantiles or normalised
            inputs).

    Shapes: x ``[..., F]`` -> ``[..., K]``.

    Raises:
        InputError: a size or a choice is out of range.

    Example:
        >>> forest = SoftForest(4, 3, trees=8, depth=2, generator=torch.Generator().manual_seed(0))
        >>> forest(torch.rand(6, 4)).shape, forest.harden()(torch.rand(6, 4)).shape
        (torch.Size([6, 3]), torch.Size([6, 3]))
        >>> forest.to_artifact()
        HardEnsemble(8 trees, 24 splits, 32 leaves, 96 leaf values, depth 2, identity)

    Source: GradTree (Marton et al., 2024) for straight-through tests; oblivious trees as in NODE (Popov et al., 2020);
    oblique soft trees (Frosst and Hinton, 2017).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        trees: int = 64,
        depth: int = 5,
        *,
        kind: str = "axis",
        active: int | None = None,
        gate: str = "sigmoid",
        straight_through: bool = False,
        temperature: float = 0.1,
        missing: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(temperature)
        self.in_features = check_number("in_features", in_features, low=1, integer=True)
        self.out_features = check_number("out_features", out_features, low=1, integer=True)
        self.trees = check_number("trees", trees, low=1, integer=True)
        self.depth = check_number("depth", depth, low=1, high=MAX_DEPTH, integer=True)
        self.kind = check_choice("kind", kind, KINDS)
        most = self.in_features if kind == "oblique" else 1
        self.active = most if active is None else check_number("active", active, low=1, high=most, integer=True)
        self.gate = check_choice("gate", gate, GATES)
        self.straight_through = straight_through
        self.missing = missing
        tests = (self.trees, self.depth if kind == "oblivious" else 2**self.depth - 1)
        if kind == "oblique":
            weight = torch.randn(*tests, self.in_features, generator=generator)
            weight = weight / weight.norm(dim=-1, keepdim=True)
            # each plane goes through a point of the unit cube
            through = torch.rand(*tests, self.in_features, generator=generator)
            self.weight = nn.Parameter(weight)
            self.threshold = nn.Parameter((_strongest(weight, self.active) * through).sum(-1))
            self.fill = nn.Parameter(torch.full((self.in_features,), 0.5))
        else:
            self.feature_logits = nn.Parameter(torch.randn(*tests, self.in_features, generator=generator))
            self.threshold = nn.Parameter(torch.rand(*tests, self.in_features, generator=generator))
            self.missing_logit = nn.Parameter(torch.zeros(tests))
        leaf = torch.randn(self.trees, 2**self.depth, self.out_features, generator=generator)
        self.leaf = nn.Parameter(0.1 * leaf / self.trees**0.5)
        self.base = nn.Parameter(torch.zeros(self.out_features))

    def extra_repr(self) -> str:
        """Return the sizes, for ``print``."""
        return (
            f"{self.in_features}, {self.out_features}, trees={self.trees}, depth={self.depth}, kind={self.kind}, "
            f"gate={self.gate}"
        )

    def _margins(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return margins and shares that are missing, ``[..., F] -> [T, Q, n]``: rows last, over contiguous memory."""
        rows = x.reshape(-1, self.in_features)
        shape = (*self.threshold.shape[:2], rows.shape[0])
        if self.kind == "oblique":
            filled = torch.where(torch.isnan(rows), self.fill, rows) if self.missing else rows
            weight = _strongest(self.weight, self.active).flatten(0, 1)
            return (weight @ filled.mT).reshape(shape) - self.threshold.unsqueeze(-1), None
        margin, lost = node_margins(rows, self.feature_logits.flatten(0, 1), self.threshold.flatten(0, 1), self.missing)
        return margin.mT.contiguous().reshape(shape), None if lost is None else lost.mT.contiguous().reshape(shape)

    def _paths(self, x: Tensor) -> Tensor:
        """Return the probability of each leaf, ``[..., F] -> [T, 2^D, n]``."""
        margin, lost = self._margins(x)
        logit = self.missing_logit.unsqueeze(-1) if lost is not None else margin
        right = right_probability(margin, lost, logit, self.temperature, self.gate, self.straight_through)
        return path_probabilities(right, dim=1, by_level=self.kind == "oblivious")

    def forward(self, x: Tensor) -> Tensor:
        """Return the base and the trees' mean leaves, ``[..., F] -> [..., K]``."""
        paths = self._paths(x)
        answer = self.leaf.flatten(0, 1).mT @ paths.flatten(0, 1)
        return (answer.mT + self.base).reshape(*x.shape[:-1], self.out_features)

    def margins(self, *inputs: Tensor) -> Tensor:
        """Return ``[..., T, Q]``, the distance of each row to each of the Q thresholds of a tree."""
        return self._margins(inputs[0])[0].movedim(-1, 0).reshape(*inputs[0].shape[:-1], *self.threshold.shape[:2])

    def in_band(self, *inputs: Tensor) -> Tensor:
        """Return which rows reach the soft band of a node of a tree, where soft and hard may differ, bool ``[...]``."""
        return (self._paths(inputs[0]).amax(1) < 1).any(0).reshape(inputs[0].shape[:-1])

    def bound(self, *inputs: Tensor) -> Tensor:
        r"""Return the provable worst case of |soft - plain rounding| over the outputs, for each row.

        :math:`\max_k \sum_t (1 - p_t(\text{hard leaf})) (\max_l v_{tlk} - \min_l v_{tlk})`.
        """
        leaf = self.harden().leaf_of(inputs[0]).reshape(-1, self.trees)
        on_path = self._paths(inputs[0]).gather(1, leaf.mT.unsqueeze(1)).squeeze(1)
        spread = self.leaf.amax(1) - self.leaf.amin(1)
        return ((1 - on_path).mT @ spread).amax(-1).reshape(inputs[0].shape[:-1])

    def harden(self) -> HardForest:
        """Return the forest with the likeliest feature in each test, its threshold, and the same leaves.

        An oblique one keeps its weights: only the gates become hard.
        """
        tests: AxisTests | LinearTests
        if self.kind == "oblique":
            tests = LinearTests(_strongest(self.weight, self.active), self.threshold, self.fill)
        else:
            feature = self.feature_logits.argmax(-1)
            threshold = self.threshold.gather(-1, feature.unsqueeze(-1)).squeeze(-1)
            tests = AxisTests(feature, threshold, self.missing_logit >= 0)
        return HardForest(tests, self.leaf, self.base, self.in_features, oblivious=self.kind == "oblivious")

    def to_artifact(self, columns: Sequence[Column] | None = None) -> HardEnsemble:
        """Return the hardened forest as an artefact; see ``HardForest.to_artifact``."""
        return self.harden().to_artifact(columns)


def _strongest(weight: Tensor, active: int) -> Tensor:
    """Keep the ``active`` largest weights of each test, ``[..., F]``; the gradient reaches all of them."""
    if active >= weight.shape[-1]:
        return weight
    kept = torch.zeros_like(weight).scatter_(-1, weight.abs().topk(active, dim=-1).indices, 1.0)
    return straight_through(weight * kept, weight)
