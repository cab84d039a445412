"""Soft ranks: where each entry would stand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softwood.core import capability
from softwood.ops._axes import (
    as_rows,
    exact_forward,
    from_rows,
    full_precision,
    mask_last,
    move_back,
    move_last,
    over_temperature,
    temperature_last,
)
from softwood.ops._isotonic import Isotonic
from softwood.ops._lapsum import LapSum, laplace_sums, present_last
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
    ``"isotonic-kl"`` is nearest in relative entropy. ``"lapsum"`` and ``"pairwise"`` add up, over all entries, a smooth
    step of the difference: the Laplace distribution function, in O(n log n), or a sigmoid, in O(n^2).

    Args:
        x: floating, any shape of one axis or more.
        dim: the axis.
        descending: 1 for the largest.
        relax: ``"isotonic-l2"``, ``"isotonic-kl"``, ``"lapsum"``, ``"pairwise"``, or the dataclass.
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

    Source: Blondel, Teboul, Berthet and Djolonga, "Fast Differentiable Sorting and Ranking", 2020; Struski et al.,
    "LapSum - One Method to Differentiate Them All: Ranking, Sorting and Top-k Selection", 2025.
    """
    relaxation = resolve(relax, RELAXATIONS)
    data, present = move_last(x, dim), mask_last(mask, x, dim)
    scale = temperature_last(temperature, data)
    soft = relaxation.rank(data, -scale if descending else scale, present)
    if hard:
        exact = _hard_rank(-data if descending else data, present)
        soft = exact_forward(exact, soft)
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


@capability("operation", cost="as rank")
def percentile_rank(
    x: Tensor,
    dim: int = -1,
    *,
    relax: Any = "isotonic-l2",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return the soft share of entries below each, half of the equal ones included: :math:`(r - 1/2) / n`.

    Args:
        x: floating, any shape of one axis or more.
        dim: the axis.
        relax: as in ``rank``.
        temperature: :math:`\tau > 0` in units of x.
        hard: exact shares forward, the soft gradient backward.
        mask: bool, True where an entry is present. The absent have 0.

    Returns:
        Shares in (0, 1) of x's shape; float32, or float64 where x is.

    Raises:
        InputError: as ``rank``.

    Example:
        >>> percentile_rank(torch.tensor([30.0, 10.0, 20.0, 40.0]))
        tensor([0.6250, 0.1250, 0.3750, 0.8750])

    Limit: as :math:`\tau \to 0`, ``scipy.stats.percentileofscore`` of kind "mean", over 100.

    Cost: as ``rank``.

    Source: Blondel, Teboul, Berthet and Djolonga, "Fast Differentiable Sorting and Ranking", 2020.
    """
    ranks = rank(x, dim, relax=relax, temperature=temperature, hard=hard, mask=mask)
    if mask is None:
        return (ranks - 0.5) / max(x.shape[dim], 1)
    present = mask.expand(x.shape)
    return torch.where(present, (ranks - 0.5) / present.sum(dim, keepdim=True).clamp_min(1), 0.0)


@capability("operation", cost="O(n log n) time, O(n) memory")
@full_precision
def dense_rank(
    x: Tensor,
    dim: int = -1,
    descending: bool = False,
    *,
    relax: Any = "lapsum",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Return soft ranks among the distinct values: equal entries count once.

    :math:`\tfrac12 + \sum_j F((x_i - x_j) / \tau) / c_j` with F the Laplace distribution function and
    :math:`c_j = \sum_l e^{-|x_j - x_l| / \tau}`, how many entries are about equal to :math:`x_j`.

    Args:
        x: floating, any shape of one axis or more.
        dim: the axis.
        descending: 1 for the largest.
        relax: ``"lapsum"``.
        temperature: :math:`\tau > 0` in units of x, a number, or a tensor of size 1 along the axis.
        hard: exact ranks forward, the soft gradient backward.
        mask: bool, True where an entry is present. The absent have rank 0.

    Returns:
        Ranks of x's shape; float32, or float64 where x is. A NaN makes its row NaN; infinities stand at the ends.

    Raises:
        InputError: as ``rank``.

    Example:
        >>> dense_rank(torch.tensor([30.0, 10.0, 10.0, 20.0]))
        tensor([3., 1., 1., 2.])

    Limit: as :math:`\tau \to 0`, ``scipy.stats.rankdata`` of method "dense".

    Cost: O(n log n) time, O(n) memory for each row, forward and backward.

    Source: Struski et al., "LapSum - One Method to Differentiate Them All: Ranking, Sorting and Top-k Selection", 2025.
    """
    resolve(relax, {"lapsum": LapSum()})
    data, present = move_last(x, dim), mask_last(mask, x, dim)
    scale = temperature_last(temperature, data)
    scaled, weights = present_last(over_temperature(data, -scale if descending else scale), present)
    rows, weight = as_rows(scaled), as_rows(weights)
    alike = 2 * laplace_sums(rows, rows, weight, 1)
    share = torch.where(weight > 0, weight / torch.where(weight > 0, alike, 1.0), 0.0)
    ranks = from_rows(laplace_sums(rows, rows, share, 0), data) + 0.5
    ranks = ranks if present is None else ranks.masked_fill(~present, 0.0)
    if hard:
        exact = _hard_dense_rank(-data if descending else data, present)
        ranks = exact_forward(exact, ranks)
    return move_back(ranks, dim)


def _hard_dense_rank(x: Tensor, mask: Tensor | None) -> Tensor:
    x = (x.detach() if mask is None else x.detach().masked_fill(~mask, torch.inf)).contiguous()
    found = x.sort(-1).values.contiguous()
    new = torch.ones_like(found)
    new[..., 1:] = (found[..., 1:] != found[..., :-1]).to(x.dtype)
    if x.shape[-1] == 0:
        return x
    first = torch.searchsorted(found, x).clamp_max(x.shape[-1] - 1)
    ranks = new.cumsum(-1).gather(-1, first)
    return ranks if mask is None else ranks.masked_fill(~mask, 0.0)
