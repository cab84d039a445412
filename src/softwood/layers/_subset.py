"""Layers that keep k of n: by learned scores, and by the scores that come in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from softwood.core import InputError, capability, check_number
from softwood.layers._hard import Gate, TopKMask
from softwood.layers._soft_module import SoftModule
from softwood.ops import sample_subset, topk_mask


def _edges(x: Tensor, k: int) -> Tensor:
    """Return how far each entry is above the middle between the k-th and the next one."""
    if x.shape[-1] <= k:
        return x[..., :0]
    best = x.topk(k + 1, dim=-1).values
    return x - 0.5 * (best[..., k - 1] + best[..., k]).unsqueeze(-1)


def _checked(in_features: int, k: int) -> tuple[int, int]:
    in_features = check_number("in_features", in_features, low=1, integer=True)
    return in_features, check_number("k", k, low=1, high=in_features, integer=True)


@capability(
    "soft module",
    hardens_to="Gate",
    cost="O(n) time and memory a row",
    example=lambda: SubsetLayer(6, 2, temperature=0.3, scores=torch.randn(6)).eval(),
)
class SubsetLayer(SoftModule):
    r"""A gate that learns which k of its n inputs to keep: ``x * m`` with m the soft mask of the top k scores.

    Args:
        in_features: n.
        k: how many are kept, from 1 to n.
        sample: draw the subset in training (Gumbel noise on the scores).
        hard: exactly 0 and 1 forward and the relaxed gradient backward, in training.
        temperature: > 0 in units of the scores.
        scores: the scores at the start, ``[n]``; small random ones by default.
        generator: source of the start and of the draws.

    Shape: ``[..., n]`` to ``[..., n]``.

    Raises:
        InputError: a parameter is out of range, or the scores do not fit.

    Limit: as temperature goes to 0, the k inputs with the largest scores.

    Example:
        >>> gate = SubsetLayer(3, 1, temperature=0.01, scores=torch.tensor([0.0, 1.0, 0.5])).eval()
        >>> gate(torch.tensor([5.0, 6.0, 7.0])).round(decimals=3), gate.harden()(torch.tensor([5.0, 6.0, 7.0]))
        (tensor([0., 6., 0.], grad_fn=<RoundBackward1>), tensor([0., 6., 0.]))

    Cost: O(n) time and memory a row.

    Source: Xie and Ermon 2019; Balın, Abid and Zou 2019 (concrete autoencoders).
    """

    def __init__(
        self,
        in_features: int,
        k: int,
        *,
        sample: bool = False,
        hard: bool = False,
        temperature: float = 0.1,
        scores: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(temperature)
        self.in_features, self.k = _checked(in_features, k)
        if scores is None:
            scores = 0.1 * torch.randn(self.in_features, generator=generator)
        if scores.shape != (self.in_features,):
            raise InputError("scores do not fit", got=tuple(scores.shape), allowed=f"({self.in_features},)",
                             fix="give one score for each input")  # fmt: skip
        self.scores = nn.Parameter(scores.detach().clone())
        self.sample, self.hard, self.generator = sample, hard, generator

    def forward(self, x: Tensor) -> Tensor:
        """Return the inputs times their weights."""
        hard = self.hard and self.training
        if self.sample and self.training:
            weights = sample_subset(
                self.scores, self.k, temperature=self.temperature, hard=hard, generator=self.generator
            )
        else:
            weights = topk_mask(self.scores, self.k, temperature=self.temperature, hard=hard)
        return x * weights.to(x.dtype)

    def margins(self, x: Tensor) -> Tensor:
        """Return how far each score is from the edge of the top k, whatever x is."""
        return _edges(self.scores, self.k)

    def harden(self) -> nn.Module:
        """Return the gate that keeps the top k, of the largest scores."""
        return Gate(TopKMask(self.k)(self.scores.detach()).bool())


@capability(
    "soft module",
    hardens_to="TopKMask",
    cost="O(n) time and memory",
    example=lambda: CappedSimplexProjection(6, 2, temperature=0.5),
)
class CappedSimplexProjection(SoftModule):
    r"""The weights in [0, 1] of sum k that are nearest to :math:`x / \tau` (up to a shift); implicit backward.

    Args:
        in_features: n.
        k: sum of the weights, from 1 to n.
        relax: ``"budget"`` (nearest; sparse), or another relaxation of ``sw.ops.topk_mask``.
        temperature: :math:`\tau > 0` in units of x.

    Shape: ``[..., n]`` to ``[..., n]``.

    Raises:
        InputError: a parameter is out of range.

    Limit: as :math:`\tau \to 0`, the mask of the top k.

    Example:
        >>> CappedSimplexProjection(4, 2, temperature=0.1)(torch.tensor([0.0, 3.0, 2.0, -1.0]))
        tensor([0., 1., 1., 0.])

    Cost: O(n) time and memory.

    Source: Amos, Koltun and Kolter 2019 (limited multi-label projection); Wang and Lu 2015.
    """

    def __init__(self, in_features: int, k: int, *, relax: str = "budget", temperature: float = 0.5) -> None:
        super().__init__(temperature)
        self.in_features, self.k = _checked(in_features, k)
        self.relax = relax

    def forward(self, x: Tensor) -> Tensor:
        """Return the weights."""
        return topk_mask(x, self.k, relax=self.relax, temperature=self.temperature)

    def margins(self, x: Tensor) -> Tensor:
        """Return how far each entry is from the edge of the top k."""
        return _edges(x, self.k)

    def harden(self) -> nn.Module:
        """Return the mask of the top k."""
        return TopKMask(self.k)
