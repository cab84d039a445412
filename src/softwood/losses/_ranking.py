"""Ranked retrieval: NDCG, reciprocal rank, recall at k. Soft ranks in O(n log n)."""

from __future__ import annotations

import torch
from torch import Tensor

from softwood.core import capability, check_choice, check_number
from softwood.losses._lists import Lists, as_lists, descending_rank, divided, hard_or_soft, reduced
from softwood.ops._axes import full_precision

GAINS = ("exponential", "linear")


def graded(target: Tensor, gain: str) -> Tensor:
    """Return what an item of this relevance is worth."""
    return torch.exp2(target) - 1 if check_choice("gain", gain, GAINS) == "exponential" else target


def discount(rank: Tensor, k: int | None) -> Tensor:
    """Return 1 / log2(1 + rank); beyond k a straight line down to 0 at k + 1, so that whole ranks are exact."""
    worth = 1 / torch.log2(1 + rank)
    return worth if k is None else worth * (k + 1 - rank).clamp(0, 1)


def ideal_dcg(lists: Lists, gain: str, k: int | None) -> Tensor:
    """Return the DCG of the best order, ``[...]``."""
    best = graded(lists.target, gain).mul(lists.weight).sort(-1, descending=True).values
    places = torch.arange(1, best.shape[-1] + 1, dtype=best.dtype, device=best.device)
    return (best * discount(places, k)).sum(-1)


def checked_k(k: int | None) -> int | None:
    """Return k, at least 1, or None."""
    return None if k is None else check_number("k", k, low=1, integer=True)


def _graded_example() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 8), torch.arange(24).reshape(3, 8) % 4


def _binary_example() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 8), torch.arange(24).reshape(3, 8) % 3 == 0


@capability("loss", papers=("neural-ndcg",), cost="O(n log n) time, O(n) memory", example=_graded_example)
@full_precision
def ndcg_loss(
    scores: Tensor,
    target: Tensor,
    *,
    k: int | None = None,
    dim: int = -1,
    gain: str = "exponential",
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - NDCG@k, from soft ranks.

    .. math:: 1 - \frac{1}{\mathrm{IDCG}} \sum_i \frac{2^{y_i} - 1}{\log_2(1 + r_i)}, \qquad
              r_i = 1 + \sum_{j \ne i} F((s_j - s_i) / \tau)

    with F the distribution function of the Laplace distribution. From rank k to k + 1 the discount falls to 0 on a
    straight line.

    Args:
        scores: ``[..., n, ...]``, higher is ranked first.
        target: relevance >= 0, in the shape of the scores.
        k: places that count; all by default.
        dim: the axis of the list.
        gain: ``"exponential"`` (:math:`2^y - 1`) or ``"linear"`` (y).
        temperature: :math:`\tau > 0` in units of the scores.
        hard: the exact value forward (ties share their mean rank), the soft gradient backward.
        mask: bool, True where an item is present.
        reduction: ``"mean"`` over the lists with something relevant, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as :math:`\tau \to 0`, 1 - NDCG@k.

    Example:
        >>> ndcg_loss(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([2, 1, 0]), hard=True)
        tensor(0.)

    Cost: O(n log n) time, O(n) memory.

    Source: Qin, Liu and Li 2010 (ApproxNDCG); ranks: Struski et al. 2025 (LapSum).
    """
    k = checked_k(k)
    lists = as_lists(scores, target, dim, temperature, mask, None)
    ideal, worth = ideal_dcg(lists, gain, k), graded(lists.target, gain) * lists.weight

    def value(exact: bool) -> Tensor:
        rank = descending_rank(lists, lists.weight, exact)
        return 1 - divided((worth * discount(rank, k)).sum(-1), ideal)

    return reduced(hard_or_soft(value, hard), ideal != 0, reduction)


@capability("loss", cost="O(n log n) time, O(n) memory", example=_binary_example)
@full_precision
def mrr_loss(
    scores: Tensor,
    target: Tensor,
    *,
    dim: int = -1,
    temperature: float | Tensor = 0.1,
    hard: bool = False,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Return 1 - the reciprocal rank of the first relevant item.

    :math:`1 - \sum_i p_i / r_i` with p the softmax of ``scores / temperature`` over the relevant items, and soft ranks
    r as in ``ndcg_loss``.

    Args:
        scores: ``[..., n, ...]``, higher is ranked first.
        target: 0 or 1 (or bool), in the shape of the scores.
        dim: the axis of the list.
        temperature: > 0 in units of the scores.
        hard: the exact value forward, the soft gradient backward.
        mask: bool, True where an item is present.
        reduction: ``"mean"`` over the lists with a relevant item, or ``"none"`` (0 for the others).

    Raises:
        InputError: an argument does not fit.

    Limit: as temperature goes to 0, 1 - the reciprocal rank.

    Example:
        >>> mrr_loss(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([0, 1, 1]), hard=True)
        tensor(0.5000)

    Cost: O(n log n) time, O(n) memory.

    Source: Shi et al. 2012 (CLiMF); ranks: Struski et al. 2025 (LapSum).
    """
    lists = as_lists(scores, target, dim, temperature, mask, None)
    relevant = (lists.target > 0) & lists.present
    lowest = torch.finfo(lists.scores.dtype).min

    def value(exact: bool) -> Tensor:
        rank = descending_rank(lists, lists.weight, exact)
        inside = lists.scores.masked_fill(~relevant, lowest)
        if exact:
            best = inside == inside.amax(-1, keepdim=True) if inside.shape[-1] else inside > 0
            first = divided(best.to(rank.dtype), best.sum(-1, keepdim=True).to(rank.dtype))
        else:
            first = (lists.scores / lists.temperature).masked_fill(~relevant, lowest).softmax(-1)
        return 1 - (first * relevant / rank).sum(-1)

    return reduced(hard_or_soft(value, hard), relevant.any(-1), reduction)
