"""Soft ranks: where each entry would stand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softwood.core import capability
from softwood.gradients import straight_through
from softwood.ops._axes import full_precision, mask_last, move_back, move_last, temperature_last
from softwood.ops._isotonic import Isotonic
from softwood.ops._lapsum import LapSum
from softwood.ops._pairwise import Pairwise
from softwood.ops._relax import resolve

RELAXATIONS = {
    "isotonic-l2": Isotonic("l2"),
    "isotonic-kl": Isotonic("kl"),
    "lapsum": LapSum(),
    "pairwise": Pairwise(),
}


@capability("operation", cost="O(n log n) time, O(n) memory (isotonic, lapsum); pairwise O(n^2) time")
@full_precision
def rank(
    x: Tensor,
    dim: int = -1,
    descending: bool = False,
    *,
    relax: Any = "isotonic-l2",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return soft ranks along an axis: 1 for the smallest, n for the largest.

    ``"isotonic-l2"`` is the point nearest to :math:`x / \tau` of all convex mixtures of the orders of
    :math:`(1, \dots, n)`: exact where neighbours are at least :math:`\tau` apart; closer ones share their ranks.
    ``"isotonic-kl"`` is nearest in relative entropy.

    Args:
        x: floating, any shape of one axis or more.
        dim: the axis.
        descending: 1 for the largest.
        relax: ``"isotonic-l2"``, ``"isotonic-kl"``, or the dataclass.
        temperature: :math:`\tau > 0` in units of x, a number, or a tensor of size 1 along the axis.
        hard: exact ranks forward (ties: their mean), the soft gradient backward.
        mask: bool, True where an entry is present. The absent have rank 0.

    Returns:
        Ranks of x's shape; float32, or float64 where x is. They add up to n (n + 1) / 2.

    Ties share the mean of their ranks. Infinities stand at the ends and leave the others alone. A NaN makes its
    row NaN.

    Raises:
        InputError: x is not floating or has no such axis; ``relax``, ``temperature`` or ``mask`` is not usable.

    Example:
        >>> rank(torch.tensor([30.0, 10.0, 20.0]))
        tensor([3., 1., 2.])
        >>> rank(torch.tensor([9.0, 2.0, 2.2]), temperature=1.0)
        tensor([3.0000, 1.4000, 1.6000])

    Limit: as :math:`\tau \to 0`, ``scipy.stats.rankdata``.

    Cost: O(n log n) time, O(n) memory for each row, forward and backward.

    Source: Blondel, Teboul, Berthet and Djolonga, "Fast Differentiable Sorting and Ranking", 2020.
    """
    relaxation = resolve(relax, RELAXATIONS)
    data, present = move_last(x, dim), mask_last(mask, x, dim)
    scale = temperature_last(temperature, data)
    soft = relaxation.rank(data, -scale if descending else scale, present)
    if hard:
        exact = _hard_rank(-data if descending else data, present)
        soft = straight_through(exact.masked_fill(soft.isnan(), torch.nan), soft)
    return move_back(soft, dim)


def _hard_rank(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of the ranks of equal entries, ``[..., n]``."""
    x = (x.detach() if mask is None else x.detach().masked_fill(~mask, torch.inf)).contiguous()
    found = x.sort(-1).values.contiguous()
    below, upto = (torch.searchsorted(found, x, right=right) for right in (False, True))
    if mask is None:
        return (below + upto + 1).to(x.dtype) / 2
    upto = torch.minimum(upto, mask.sum(-1, keepdim=True))  # the absent stand last
    return ((below + upto + 1).to(x.dtype) / 2).masked_fill(~mask, 0.0)
