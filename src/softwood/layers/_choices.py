"""Layers that choose: one of n by scores, relaxed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from softwood.core import capability, check_choice, check_number
from softwood.layers._hard import Matching, OneHot
from softwood.layers._soft_module import SoftModule
from softwood.ops import assignment, entmax15, gumbel_softmax, softmax, sparsemax

_SIMPLEX = {"softmax": softmax, "sparsemax": sparsemax, "entmax15": entmax15}


def _lead(x: Tensor, k: int = 1) -> Tensor:
    """Return by how much the k-th largest entry leads the next one, ``[...]``; nothing where there is no next one."""
    if x.shape[-1] <= k:
        return x[..., :0]
    best = x.topk(k + 1, dim=-1).values
    return best[..., k - 1] - best[..., k]


@capability(
    "soft module",
    papers=("gumbel-softmax",),
    hardens_to="OneHot",
    cost="O(n) time and memory",
    example=lambda: RelaxedCategorical(5, temperature=0.2).eval(),
)
class RelaxedCategorical(SoftModule):
    r"""A categorical choice by logits: a Gumbel-softmax sample in training, a relaxed one-hot in evaluation.

    Args:
        in_features: n, the number of classes.
        relax: ``"softmax"``, ``"sparsemax"`` or ``"entmax15"``; samples are drawn for softmax only.
        hard: one-hot forward and the relaxed gradient backward, in training.
        temperature: > 0 in units of the logits.
        generator: source of the noise.

    Shape: ``[..., n]`` to ``[..., n]``, on the simplex.

    Raises:
        InputError: a parameter is out of range or unknown.

    Limit: as temperature goes to 0, the one-hot of the largest logit (plus noise, in training).

    Example:
        >>> choice = RelaxedCategorical(3, temperature=0.01).eval()
        >>> choice(torch.tensor([0.0, 1.0, 0.5])).round(decimals=4)
        tensor([0., 1., 0.])

    Cost: O(n) time and memory.

    Source: Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017.
    """

    def __init__(
        self,
        in_features: int,
        *,
        relax: str = "softmax",
        hard: bool = False,
        temperature: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(temperature)
        self.in_features = check_number("in_features", in_features, low=1, integer=True)
        self.relax = check_choice("relax", relax, _SIMPLEX)
        self.hard, self.generator = hard, generator

    def forward(self, logits: Tensor) -> Tensor:
        """Return a point of the simplex for each row of logits."""
        if self.training and self.relax == "softmax":
            return gumbel_softmax(logits, temperature=self.temperature, hard=self.hard, generator=self.generator)
        return _SIMPLEX[self.relax](logits, temperature=self.temperature)

    def margins(self, logits: Tensor) -> Tensor:
        """Return by how much the best class leads the second."""
        return _lead(logits)

    def harden(self) -> nn.Module:
        """Return the one-hot of the largest logit."""
        return OneHot()


@capability(
    "soft module",
    hardens_to="OneHot",
    cost="O(n) time and memory",
    example=lambda: SimplexProjection(temperature=0.5),
)
class SimplexProjection(SoftModule):
    r"""The point of the simplex nearest to :math:`x / \tau`, along the last axis; backward through its support.

    Args:
        temperature: :math:`\tau > 0` in units of x.

    Shape: ``[..., n]`` to ``[..., n]``.

    Raises:
        InputError: a parameter is out of range.

    Limit: the one-hot of the largest entry as soon as it leads by :math:`\tau`.

    Example:
        >>> SimplexProjection(temperature=1.0)(torch.tensor([1.0, 0.5, -2.0]))
        tensor([0.7500, 0.2500, 0.0000])

    Cost: O(n) time and memory.

    Source: Duchi et al. 2008; Martins and Astudillo 2016.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the projection."""
        return sparsemax(x, temperature=self.temperature)

    def margins(self, x: Tensor) -> Tensor:
        """Return by how much the largest entry leads the second."""
        return _lead(x)

    def harden(self) -> nn.Module:
        """Return the one-hot of the largest entry."""
        return OneHot()


@capability(
    "soft module",
    hardens_to="Matching",
    cost="O(n^2 log n) time a round, O(n^2) memory",
    example=lambda: BirkhoffProjection(4, temperature=0.5),
)
class BirkhoffProjection(SoftModule):
    r"""The doubly stochastic matrix nearest to :math:`S / \tau` (or its entropic relative); implicit backward.

    Args:
        in_features: n, rows and columns.
        relax: ``"birkhoff"`` (nearest; sparse) or ``"sinkhorn"`` (entropy).
        temperature: :math:`\tau > 0` in units of the scores.

    Shape: ``[..., n, n]`` to ``[..., n, n]``.

    Raises:
        InputError: a parameter is out of range or unknown.

    Limit: as :math:`\tau \to 0`, the permutation matrix of the best assignment.

    Example:
        >>> BirkhoffProjection(2, temperature=2.0)(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        tensor([[0.6250, 0.3750],
                [0.3750, 0.6250]])

    Cost: O(n^2 log n) time a round, O(n^2) memory.

    Source: Blondel, Seguy and Rolet 2018; Mena et al. 2018.
    """

    def __init__(self, in_features: int, *, relax: str = "birkhoff", temperature: float = 0.5) -> None:
        super().__init__(temperature)
        self.in_features = check_number("in_features", in_features, low=1, integer=True)
        self.relax = check_choice("relax", relax, ("birkhoff", "sinkhorn"))
        self.in_shape = (self.in_features, self.in_features)

    def forward(self, scores: Tensor) -> Tensor:
        """Return the doubly stochastic matrix."""
        return assignment(scores, relax=self.relax, temperature=self.temperature)

    def margins(self, scores: Tensor) -> Tensor:
        """Return by how much the best entry of each row leads the second."""
        return _lead(scores)

    def harden(self) -> nn.Module:
        """Return the best assignment."""
        return Matching()
