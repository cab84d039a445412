"""Rank correlation: Spearman's rho and Kendall's tau."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability
from softwood.losses._lists import as_lists, descending_rank, divided, hard_or_soft, reduced, weight_below
from softwood.ops._axes import full_precision


def _example() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 7), torch.randn(3, 7)


@capability("loss", cost="O(n log n) time, O(n) memory", example=_example)
@full_precision
def spearman_loss(
    scores: Tensor,
    target: Tensor,
    *,
    dim: int = -1,
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - Spearman's rank correlation: 1 minus the correlation of soft ranks with the ranks of the target.

    Args:
        scores: ``[..., n, ...]``.
        target: of the same shape; any order, ties share their mean rank.
        dim: the axis of the list.
        temperature: > 0 in units of the scores; ranks are softened as in ``ndcg_loss``.
        hard: the exact value forward, the soft gradient backward.
        mask: bool, True where an item is present.
        reduction: ``"mean"`` over the lists whose target has an order, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, 1 - Spearman's rho.

    Example:
        >>> spearman_loss(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 30.0, 20.0]), hard=True)
        tensor(0.5000)

    Cost: O(n log n) time, O(n) memory.

    Source: Blondel et al. 2020; ranks: Struski et al. 2025 (LapSum).
    """
    lists = as_lists(scores, target, dim, temperature, mask, None)
    count = lists.weight.sum(-1, keepdim=True).clamp_min(1)

    def centred(rank: Tensor) -> Tensor:
        return (rank - (rank * lists.weight).sum(-1, keepdim=True) / count) * lists.weight

    wanted = centred(weight_below(lists.target, lists.weight, lists.temperature, True))

    def value(exact: bool) -> Tensor:
        rank = centred(-descending_rank(lists, lists.weight, exact))
        power = (rank * rank).sum(-1) * (wanted * wanted).sum(-1)
        root = torch.where(power != 0, torch.where(power != 0, power, 1.0).sqrt(), 0.0)
        return 1 - divided((rank * wanted).sum(-1), root)

    return reduced(hard_or_soft(value, hard), (wanted != 0).any(-1), reduction)


@capability("loss", cost="O(n^2) time and memory", example=_example)
@full_precision
def kendall_loss(
    scores: Tensor,
    target: Tensor,
    *,
    dim: int = -1,
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - Kendall's tau-b.

    .. math:: 1 - \frac{\sum_{i < j} \tanh\frac{s_i - s_j}{2 \tau}\, \operatorname{sign}(y_i - y_j)}{\sqrt{n_s n_y}}

    with :math:`n_y` the pairs that the target does not tie and :math:`n_s` all pairs (exact: those not tied by the
    scores).

    Args:
        scores: ``[..., n, ...]``.
        target: of the same shape; any order.
        dim: the axis of the list.
        temperature: :math:`\tau > 0` in units of the scores.
        hard: the exact value forward, the soft gradient backward.
        mask: bool, True where an item is present.
        reduction: ``"mean"`` over the lists whose target has an order, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, 1 - Kendall's tau-b where no two scores are equal.

    Example:
        >>> kendall_loss(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 30.0, 20.0]), hard=True)
        tensor(0.6667)

    Cost: O(n^2) time and memory.

    Source: Kendall 1945; soft: Zheng et al. 2023.
    """
    lists = as_lists(scores, target, dim, temperature, mask, None)
    s, y = lists.scores, lists.target
    pair = (lists.present.unsqueeze(-1) & lists.present.unsqueeze(-2)).to(s.dtype)
    gap = s.unsqueeze(-1) - s.unsqueeze(-2)
    gap = torch.where(gap.isnan() & (s.unsqueeze(-1) == s.unsqueeze(-2)), 0.0, gap)  # infinities of one sign
    order = (y.unsqueeze(-1) - y.unsqueeze(-2)).sign() * pair
    tau = lists.temperature.unsqueeze(-1) if isinstance(lists.temperature, Tensor) else lists.temperature
    pairs = pair.sum((-1, -2)) - lists.weight.sum(-1)
    ordered = order.abs().sum((-1, -2))

    def value(exact: bool) -> Tensor:
        agree = torch.where(gap.isnan(), gap, gap.sign()) if exact else torch.tanh(gap / (2 * tau))
        apart = (agree.abs() * pair).sum((-1, -2)) if exact else pairs
        return 1 - divided((agree * order).sum((-1, -2)), (apart * ordered).sqrt())

    return reduced(hard_or_soft(value, hard), ordered != 0, reduction)
